"""Making an artifact: create, manifests, upload links, commit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from wandb_governance.server.artifacts import aliases as alias_moves
from wandb_governance.server.artifacts.lookup import artifact_by_gid, collection_named, latest_artifact
from wandb_governance.server.artifacts.manifests import blob_by_md5, build, checked_md5
from wandb_governance.server.artifacts.nodes import ARTIFACT
from wandb_governance.server.artifacts.tags import set_tags
from wandb_governance.server.events import Event
from wandb_governance.server.gid import decode, encode
from wandb_governance.server.graphql.connection import connection
from wandb_governance.server.graphql.schema import MUTATION
from wandb_governance.server.problem import BadRequest, NotFound, Unprocessable
from wandb_governance.server.projects.lookup import checked_name, ensure_project
from wandb_governance.server.runs.filestream import dumps
from wandb_governance.server.runs.lookup import json_object, run_named
from wandb_governance.server.store.blobs import md5_hex

if TYPE_CHECKING:
    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Args, Row

PART_BYTES = 100 * 1024 * 1024
"""The SDK's part size for files over 2 GiB."""

_MANIFEST_TYPES = frozenset({"FULL", "PATCH", "INCREMENTAL"})


@MUTATION.field("createArtifact")
def create_artifact(_root: Row, args: Args, ctx: Context) -> Row:
    """A pending version; or the committed one that has the same digest, so that nothing need be uploaded."""
    given = args.get("input") or {}
    project = ensure_project(ctx, given.get("entityName"), given.get("projectName"))
    sequence = _sequence(ctx, project, given)
    names = [entry.get("alias") for entry in given.get("aliases") or () if isinstance(entry, dict)]
    aliases = [alias_moves.checked_alias(name) for name in names]
    artifact = _known(ctx, sequence["id"], given)
    resent = artifact is not None and given.get("clientID") and artifact["client_id"] == given["clientID"]
    if artifact is not None and artifact["state"] == "COMMITTED" and not resent:
        alias_moves.point(ctx, sequence["id"], artifact["id"], ["latest", *aliases])
    if artifact is None:
        artifact = _insert(ctx, project, sequence, given, aliases)
    set_tags(ctx, "artifact", artifact["id"], add=given.get("tags"))
    return {"artifact": ARTIFACT(artifact)}


def _sequence(ctx: Context, project: Row, given: Args) -> Row:
    names = given.get("artifactCollectionNames") or [given.get("artifactCollectionName")]
    name = checked_name("artifact", names[0] if isinstance(names, list) and names else None)
    type_id = ensure_type(ctx, project["id"], given.get("artifactTypeName"))
    found = collection_named(ctx, project["id"], name)
    if found is None:
        return insert_collection(ctx, project["id"], type_id, "sequence", name, client_id=given.get("sequenceClientID"))
    if found["kind"] != "sequence":
        raise Unprocessable(f"{name!r} is a portfolio; artifacts are linked to it, not logged")
    if found["type_id"] != type_id:
        other = ctx.tx.scalar("SELECT name FROM artifact_type WHERE id = ?", found["type_id"])
        raise Unprocessable(f"artifact {name!r} has type {other!r}, not {given.get('artifactTypeName')!r}")
    return found


def ensure_type(ctx: Context, project_id: int, name: Any) -> int:
    """Row id of an artifact type, made when missing."""
    wanted = checked_name("artifact type", name)
    found = ctx.tx.scalar("SELECT id FROM artifact_type WHERE project_id = ? AND name = ?", project_id, wanted)
    if found is not None:
        return int(found)
    return ctx.tx.insert("artifact_type", project_id=project_id, name=wanted, created_at=ctx.now_ns)


def insert_collection(
    ctx: Context, project_id: int, type_id: int, kind: str, name: str, *, client_id: str | None = None
) -> Row:
    """A new collection."""
    now = ctx.now_ns
    row_id = ctx.tx.insert(
        "collection", project_id=project_id, type_id=type_id, kind=kind, name=name, client_id=client_id,
        user_id=ctx.user["id"], created_at=now, updated_at=now,
    )  # fmt: skip
    row = ctx.tx.one("SELECT * FROM collection WHERE id = ?", row_id)
    assert row is not None
    return row


def _known(ctx: Context, sequence_id: int, given: Args) -> Row | None:
    if given.get("clientID"):
        # the SDK resends a request whose answer it never got
        again = ctx.tx.one(
            "SELECT * FROM artifact WHERE sequence_id = ? AND client_id = ? AND state <> 'DELETED'",
            sequence_id, str(given["clientID"]),
        )  # fmt: skip
        if again is not None:
            return again
    if given.get("distributedID"):
        return ctx.tx.one(
            "SELECT * FROM artifact WHERE sequence_id = ? AND distributed_id = ? AND state = 'PENDING'",
            sequence_id, str(given["distributedID"]),
        )  # fmt: skip
    latest = latest_artifact(ctx, sequence_id) if given.get("enableDigestDeduplication") else None
    return latest if latest and latest["digest"] == given.get("digest") else None


def _insert(ctx: Context, project: Row, sequence: Row, given: Args, aliases: list[str]) -> Row:
    metadata = json_object("metadata", given.get("metadata"))
    run = run_named(ctx, project["id"], given["runName"]) if given.get("runName") else None
    step = given.get("historyStep")
    now = ctx.now_ns
    artifact_id = ctx.tx.insert(
        "artifact", sequence_id=sequence["id"], type_id=sequence["type_id"], state="PENDING",
        digest=str(given.get("digest") or ""), digest_algorithm=str(given.get("digestAlgorithm") or "MANIFEST_MD5"),
        description=_text(given.get("description")), metadata_json=None if metadata is None else dumps(metadata),
        client_id=_text(given.get("clientID")), distributed_id=_text(given.get("distributedID")),
        ttl_seconds=ttl_column(given.get("ttlDurationSeconds")),
        history_step=step if isinstance(step, int) and abs(step) < 2**53 else None,
        pending_aliases_json=dumps(aliases), run_id=run["id"] if run else None, user_id=ctx.user["id"],
        created_at=now, updated_at=now,
    )  # fmt: skip
    row = ctx.tx.one("SELECT * FROM artifact WHERE id = ?", artifact_id)
    assert row is not None
    return row


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def ttl_column(value: Any) -> int | None:
    """What is stored of ``ttlDurationSeconds``: None inherits, -2 never ends, else seconds.

    Raises:
        BadRequest: It is not such a number.
    """
    if value is None or value == -1:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or abs(value) > 2**40:
        raise BadRequest("ttlDurationSeconds must be a number of seconds")
    return int(value) if value > 0 else -2


@MUTATION.field("createArtifactManifest")
def create_manifest(_root: Row, args: Args, ctx: Context) -> Row:
    """A manifest of a pending version, with a link to upload it."""
    given = args.get("input") or {}
    artifact = artifact_by_gid(ctx, given.get("artifactID"))
    kind = given.get("type") or "FULL"
    if kind not in _MANIFEST_TYPES:
        raise BadRequest(f"unknown manifest type {str(kind)[:40]!r}")
    name = checked_name("manifest", given.get("name"))
    known = None
    if kind == "FULL":
        known = ctx.tx.one(
            "SELECT * FROM manifest WHERE artifact_id = ? AND name = ? AND type = 'FULL'", artifact["id"], name
        )
    digest = str(given.get("digest") or "")
    if known is None:
        base = decode(given["baseArtifactID"], "Artifact") if given.get("baseArtifactID") else None
        manifest_id = ctx.tx.insert(
            "manifest", artifact_id=artifact["id"], name=name, type=kind, digest=digest, base_artifact_id=base,
            created_at=ctx.now_ns,
        )  # fmt: skip
    else:
        manifest_id = known["id"]
        ctx.tx.update("manifest", manifest_id, digest=digest)
    return {"artifactManifest": manifest_answer(ctx, manifest_id, name)}


@MUTATION.field("updateArtifactManifest")
def update_manifest(_root: Row, args: Args, ctx: Context) -> Row:
    """Digest and base of a manifest whose content is known only now."""
    given = args.get("input") or {}
    manifest_id = decode(given.get("artifactManifestID"), "ArtifactManifest")
    row = ctx.tx.one("SELECT * FROM manifest WHERE id = ?", manifest_id)
    if row is None:
        raise NotFound("no such artifact manifest")
    ctx.tx.update("manifest", manifest_id, digest=str(given.get("digest") or row["digest"]))
    if given.get("baseArtifactID"):
        ctx.tx.update("manifest", manifest_id, base_artifact_id=decode(given["baseArtifactID"], "Artifact"))
    return {"artifactManifest": manifest_answer(ctx, manifest_id, row["name"])}


def manifest_answer(ctx: Context, manifest_id: int, name: str) -> Row:
    """``artifactManifest`` with its file and upload link."""
    return {
        "id": encode("ArtifactManifest", manifest_id),
        "file": {
            "id": encode("File", f"manifest-{manifest_id}"),
            "name": name,
            "uploadUrl": ctx.link("PUT", f"/storage/manifest/{manifest_id}"),
            "uploadHeaders": [],
        },
    }


@MUTATION.field("createArtifactFiles")
def create_files(_root: Row, args: Args, ctx: Context) -> Row:
    """Upload links in the order of the request; null for bytes that are here already."""
    given = args.get("input") or {}
    specs = given.get("artifactFiles")
    if not isinstance(specs, list) or len(specs) > 50_000:
        raise BadRequest("artifactFiles must be a list of at most 50,000 files")
    return {"files": connection([_upload(ctx, spec) for spec in specs])}


def _upload(ctx: Context, spec: Any) -> Row:
    if not isinstance(spec, dict):
        raise BadRequest("each of artifactFiles must be an object")
    artifact = artifact_by_gid(ctx, spec.get("artifactID"))
    md5 = checked_md5(spec.get("md5") or spec.get("digest"))
    path = f"/storage/cas/{artifact['id']}/{md5_hex(md5)}"
    parts = spec.get("uploadPartsInput")
    known = blob_by_md5(ctx, md5) is not None
    return {
        "__typename": "File",
        "storagePath": f"wandb_artifacts/{artifact['id']}/{md5_hex(md5)}",
        "uploadUrl": None if known else ctx.link("PUT", path),
        "uploadHeaders": [],
        "uploadMultipartUrls": None if known or not parts else _multipart(ctx, artifact, md5, parts),
        "artifact": ARTIFACT(artifact),
        "name": spec.get("name"),
    }


def _multipart(ctx: Context, artifact: Row, md5: str, parts: Any) -> Row:
    upload_id = f"{artifact['id']}-{md5_hex(md5)}"
    ctx.tx.execute(
        "INSERT INTO upload (id, md5, artifact_id, created_at) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        upload_id, md5, artifact["id"], ctx.now_ns,
    )  # fmt: skip
    numbers = [part.get("partNumber") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    if not numbers or not all(isinstance(n, int) and 0 < n <= 10_000 for n in numbers):
        raise BadRequest("uploadPartsInput must be a list of parts numbered from 1 to 10,000")
    links = [{"partNumber": n, "uploadUrl": ctx.link("PUT", f"/storage/part/{upload_id}/{n}")} for n in numbers]
    return {"uploadID": upload_id, "uploadUrlParts": links}


@MUTATION.field("commitArtifact")
def commit_artifact(_root: Row, args: Args, ctx: Context) -> Row:
    """Make a pending version real: manifest, number, ``latest`` and its aliases change in one transaction."""
    artifact = artifact_by_gid(ctx, (args.get("input") or {}).get("artifactID"))
    if artifact["state"] == "PENDING":
        _commit(ctx, artifact)
        artifact = artifact_by_gid(ctx, encode("Artifact", artifact["id"]))
    return {"artifact": ARTIFACT(artifact)}


def _commit(ctx: Context, artifact: Row) -> None:
    import orjson

    blob, manifest = build(ctx, artifact)
    sequence = ctx.tx.one("SELECT * FROM collection WHERE id = ?", artifact["sequence_id"])
    assert sequence is not None
    version = sequence["next_version"]
    now = ctx.now_ns
    ctx.tx.update("collection", sequence["id"], next_version=version + 1, updated_at=now)
    ctx.tx.update(
        "artifact", artifact["id"], state="COMMITTED", version_index=version, manifest_sha256=blob.sha256,
        size=manifest.size, file_count=len(manifest.contents), updated_at=now, committed_at=now,
        commit_hash=blob.sha256[:40],
    )  # fmt: skip
    ctx.tx.insert(
        "membership", collection_id=sequence["id"], artifact_id=artifact["id"], version_index=version, created_at=now
    )
    wanted = ["latest", *orjson.loads(artifact["pending_aliases_json"])]
    facts = {"version_index": version}
    ctx.emit(
        Event(
            kind="CREATE_ARTIFACT", project_id=sequence["project_id"], collection_id=sequence["id"],
            artifact_id=artifact["id"], run_id=artifact["run_id"], facts=facts,
        )
    )  # fmt: skip
    alias_moves.point(ctx, sequence["id"], artifact["id"], wanted)
