"""Files of a committed version, read from its manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_governance.server.accounts.lookup import by_id
from wandb_governance.server.artifacts.lookup import artifact_by_gid
from wandb_governance.server.artifacts.manifests import blob_by_md5, checked_md5, manifest_of
from wandb_governance.server.artifacts.nodes import ARTIFACT, MEMBERSHIP
from wandb_governance.server.context import iso
from wandb_governance.server.gid import encode
from wandb_governance.server.graphql.connection import connection, page, page_bounds
from wandb_governance.server.graphql.schema import MUTATION
from wandb_governance.server.problem import BadRequest, NotFound, Unprocessable
from wandb_governance.server.runs.files import mimetype
from wandb_governance.server.store.blobs import md5_hex

if TYPE_CHECKING:
    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Args, Row


@ARTIFACT.field("currentManifest")
def current_manifest(artifact: Row, _args: Args, ctx: Context) -> Row | None:
    """The manifest of a committed version, as a link."""
    if artifact["manifest_sha256"] is None:
        return None
    path = f"/storage/manifest/{artifact['id']}/{artifact['manifest_sha256']}"
    link = ctx.link("GET", path)
    return {
        "__typename": "ArtifactManifest",
        "id": encode("ArtifactManifest", artifact["id"]),
        "file": {"id": encode("File", f"manifest-{artifact['id']}"), "directUrl": link, "url": link},
    }


def _file(ctx: Context, artifact: Row, name: str, entry: dict[str, Any]) -> Row:
    link = None
    path = None
    if entry.get("ref") is None:
        md5 = md5_hex(checked_md5(entry["digest"]))
        path = f"wandb_artifacts/{artifact['id']}/{md5}"
        link = ctx.link("GET", f"/storage/cas/{artifact['id']}/{md5}/{name}")
    return {
        "__typename": "File",
        "id": encode("ArtifactFile", f"{artifact['id']}/{name}"),
        "name": name,
        "displayName": name,
        "url": link,
        "directUrl": link or entry["ref"],
        "sizeBytes": entry.get("size") or 0,
        "storagePath": path,
        "mimetype": mimetype(name),
        "updatedAt": iso(artifact["updated_at"]),
        "digest": entry["digest"],
        "md5": entry["digest"],
        "artifact": ARTIFACT(artifact),
    }


@ARTIFACT.field("files")
def files(artifact: Row, args: Args, ctx: Context) -> Row:
    """Entries of the manifest, by name, in pages."""
    contents = manifest_of(ctx, artifact).contents
    wanted = args.get("names")
    names = sorted(contents) if not wanted else sorted(name for name in set(map(str, wanted)) if name in contents)
    offset, size = page_bounds(args)
    shown = [_file(ctx, artifact, name, contents[name]) for name in names[offset : offset + size]]
    return page(shown, offset, len(names))


@MEMBERSHIP.field("files")
def membership_files(member: Row, args: Args, ctx: Context) -> Row:
    """Files of the version a membership holds."""
    artifact = by_id(ctx, "artifact", member["artifact_id"])
    return files(artifact, args, ctx) if artifact else connection([])  # type: ignore[return-value]


@ARTIFACT.field("filesByManifestEntries")
def files_by_entries(artifact: Row, args: Args, ctx: Context) -> Row:
    """Links for named entries, in their order; the downloader of wandb-core asks in this form."""
    entries = args.get("entries")
    if not isinstance(entries, list) or len(entries) > 50_000:
        raise BadRequest("entries must be a list of at most 50,000")
    contents = manifest_of(ctx, artifact).contents
    nodes = []
    for entry in entries:
        name = str(entry.get("name")) if isinstance(entry, dict) else ""
        if name not in contents:
            raise NotFound(f"the artifact has no file {name[:200]!r}")
        nodes.append(_file(ctx, artifact, name, contents[name]))
    return connection(nodes)


@MUTATION.field("completeMultipartUploadArtifact")
def complete_multipart(_root: Row, args: Args, ctx: Context) -> Row:
    """Join the parts of a large file and check the whole against its MD5."""
    given = args.get("input") or {}
    artifact = artifact_by_gid(ctx, given.get("artifactID"))
    upload = ctx.tx.one(
        "SELECT * FROM upload WHERE id = ? AND artifact_id = ?", str(given.get("uploadID")), artifact["id"]
    )
    if upload is None:
        raise NotFound("no such multipart upload")
    if given.get("completeMultipartAction") == "Abort":
        ctx.tx.execute("DELETE FROM upload WHERE id = ?", upload["id"])
        return {"digest": None}
    if blob_by_md5(ctx, upload["md5"]) is None:
        _join(ctx, upload, given.get("completedParts"))
    ctx.tx.execute("DELETE FROM upload WHERE id = ?", upload["id"])
    return {"digest": upload["md5"]}


def _join(ctx: Context, upload: Row, parts: Any) -> None:
    numbers = sorted(part.get("partNumber") for part in parts) if isinstance(parts, list) and parts else []
    stored = {row["number"]: row for row in ctx.tx.all("SELECT * FROM upload_part WHERE upload_id = ?", upload["id"])}
    if not numbers or any(number not in stored for number in numbers):
        raise Unprocessable("a part of the file has not been uploaded")
    with ctx.services.blobs.writer() as writer:
        for number in numbers:
            with ctx.services.blobs.path(stored[number]["sha256"]).open("rb") as part:
                while chunk := part.read(1 << 20):
                    writer.write(chunk)
        if writer.md5 != upload["md5"]:
            raise Unprocessable("the joined file does not have the MD5 that was announced")
        blob = writer.keep()
    from wandb_governance.server.artifacts.manifests import record_blob

    record_blob(ctx, blob)
