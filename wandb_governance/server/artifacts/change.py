"""Changing, using and deleting artifacts and collections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_governance.server.artifacts.aliases import checked_alias, point
from wandb_governance.server.artifacts.create import ensure_type, ttl_column
from wandb_governance.server.artifacts.lookup import artifact_by_gid, collection_by_gid, collection_named
from wandb_governance.server.artifacts.nodes import ARTIFACT, collection_node
from wandb_governance.server.artifacts.tags import set_tags
from wandb_governance.server.events import Event
from wandb_governance.server.gid import encode
from wandb_governance.server.graphql.schema import MUTATION
from wandb_governance.server.problem import BadRequest, Conflict, NotFound, Unprocessable
from wandb_governance.server.projects.lookup import checked_name
from wandb_governance.server.runs.lookup import json_object, require_run

if TYPE_CHECKING:
    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Args, Row


@MUTATION.field("updateArtifact")
def update_artifact(_root: Row, args: Args, ctx: Context) -> Row:
    """Description, metadata, tags, time to live, and aliases where they are given."""
    given = args.get("input") or {}
    artifact = artifact_by_gid(ctx, given.get("artifactID"))
    changes: Row = {"updated_at": ctx.now_ns}
    if given.get("description") is not None:
        changes["description"] = str(given["description"])
    if json_object("metadata", given.get("metadata")) is not None:
        changes["metadata_json"] = given["metadata"]
    if "ttlDurationSeconds" in given and given["ttlDurationSeconds"] is not None:
        changes["ttl_seconds"] = ttl_column(given["ttlDurationSeconds"])
    ctx.tx.update("artifact", artifact["id"], **changes)
    added, removed = set_tags(
        ctx, "artifact", artifact["id"], add=given.get("tagsToAdd"), remove=given.get("tagsToDelete")
    )
    _tell_tags(ctx, artifact, "ADD_ARTIFACT_TAG", added)
    _tell_tags(ctx, artifact, "REMOVE_ARTIFACT_TAG", removed)
    if given.get("aliases") is not None:
        _replace_aliases(ctx, artifact, given["aliases"])
    return {"artifact": ARTIFACT(artifact_by_gid(ctx, encode("Artifact", artifact["id"])))}


def _tell_tags(ctx: Context, artifact: Row, kind: str, names: list[str]) -> None:
    members = ctx.tx.all(
        "SELECT collection.id, project_id FROM membership JOIN collection ON collection.id = collection_id "
        "WHERE artifact_id = ?",
        artifact["id"],
    )
    for name in names:
        for member in members:
            ctx.emit(
                Event(
                    kind=kind, project_id=member["project_id"], collection_id=member["id"],
                    artifact_id=artifact["id"], facts={"tag": name},
                )
            )  # fmt: skip


def _replace_aliases(ctx: Context, artifact: Row, entries: Any) -> None:
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise BadRequest("aliases must be a list of objects")
    project_id = ctx.tx.scalar("SELECT project_id FROM collection WHERE id = ?", artifact["sequence_id"])
    wanted: dict[int, list[str]] = {}
    for entry in entries:
        collection = collection_named(ctx, project_id, entry.get("artifactCollectionName"))
        if collection is None:
            raise NotFound(f"artifact collection {str(entry.get('artifactCollectionName'))[:128]!r} not found")
        wanted.setdefault(collection["id"], []).append(checked_alias(entry.get("alias")))
    for collection_id, names in wanted.items():
        ctx.tx.execute(
            "DELETE FROM alias WHERE collection_id = ?1 AND membership_id IN "
            "(SELECT id FROM membership WHERE artifact_id = ?2 AND collection_id = ?1)",
            collection_id, artifact["id"],
        )  # fmt: skip
        point(ctx, collection_id, artifact["id"], names)


@MUTATION.field("deleteArtifact")
def delete_artifact(_root: Row, args: Args, ctx: Context) -> Row:
    """Delete a version; refused while aliases point at it, unless they may go too."""
    given = args.get("input") or {}
    artifact = artifact_by_gid(ctx, given.get("artifactID"))
    if not given.get("deleteAliases"):
        names = ctx.tx.all(
            "SELECT alias FROM alias JOIN membership ON membership.id = membership_id WHERE artifact_id = ?",
            artifact["id"],
        )
        if names:
            listed = ", ".join(repr(row["alias"]) for row in names)
            raise Unprocessable(f"the artifact has the aliases {listed}; delete them first or pass delete_aliases=True")
    remove_artifact(ctx, artifact)
    return {"artifact": ARTIFACT(artifact)}


def remove_artifact(ctx: Context, artifact: Row) -> None:
    """Mark a version as deleted and take it out of every collection; ``latest`` goes to the newest one left."""
    ctx.tx.update("artifact", artifact["id"], state="DELETED", updated_at=ctx.now_ns)
    had_latest = ctx.tx.all(
        "SELECT membership.collection_id FROM alias JOIN membership ON membership.id = membership_id "
        "WHERE artifact_id = ? AND alias = 'latest'",
        artifact["id"],
    )
    ctx.tx.execute("DELETE FROM membership WHERE artifact_id = ?", artifact["id"])
    for row in had_latest:
        newest = ctx.tx.scalar(
            "SELECT artifact_id FROM membership WHERE collection_id = ? ORDER BY version_index DESC LIMIT 1",
            row["collection_id"],
        )
        if newest is not None:
            point(ctx, row["collection_id"], newest, ["latest"])


@MUTATION.field("useArtifact")
def use_artifact(_root: Row, args: Args, ctx: Context) -> Row:
    """Record that a run uses a version."""
    given = args.get("input") or {}
    artifact = artifact_by_gid(ctx, given.get("artifactID"))
    run = require_run(ctx, given.get("entityName"), given.get("projectName"), given.get("runName"))
    ctx.tx.execute(
        "INSERT INTO artifact_use (artifact_id, run_id, used_as, created_at) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (artifact_id, run_id) DO UPDATE SET used_as = coalesce(excluded.used_as, used_as)",
        artifact["id"], run["id"], given.get("usedAs"), ctx.now_ns,
    )  # fmt: skip
    return {"artifact": ARTIFACT(artifact)}


def _changed(ctx: Context, collection: Row, given: Args) -> Row:
    changes: Row = {"updated_at": ctx.now_ns}
    if given.get("description") is not None:
        changes["description"] = str(given["description"])
    if given.get("name") is not None and given["name"] != collection["name"]:
        name = checked_name("artifact collection", given["name"])
        if collection_named(ctx, collection["project_id"], name) is not None:
            raise Conflict(f"the project has a collection {name!r} already")
        changes["name"] = name
    ctx.tx.update("collection", collection["id"], **changes)
    return {
        "artifactCollection": collection_node(ctx.tx.one("SELECT * FROM collection WHERE id = ?", collection["id"]))
    }


@MUTATION.field("updateArtifactSequence")
def update_sequence(_root: Row, args: Args, ctx: Context) -> Row:
    """Name and description of a sequence."""
    given = args.get("input") or {}
    return _changed(ctx, collection_by_gid(ctx, given.get("artifactSequenceID")), given)


@MUTATION.field("updateArtifactPortfolio")
def update_portfolio(_root: Row, args: Args, ctx: Context) -> Row:
    """Name and description of a portfolio."""
    given = args.get("input") or {}
    return _changed(ctx, collection_by_gid(ctx, given.get("artifactPortfolioID")), given)


@MUTATION.field("moveArtifactSequence")
def move_sequence(_root: Row, args: Args, ctx: Context) -> Row:
    """Give a sequence and its versions another type."""
    given = args.get("input") or {}
    collection = collection_by_gid(ctx, given.get("artifactSequenceID"))
    type_id = ensure_type(ctx, collection["project_id"], given.get("destinationArtifactTypeName"))
    ctx.tx.update("collection", collection["id"], type_id=type_id, updated_at=ctx.now_ns)
    ctx.tx.execute("UPDATE artifact SET type_id = ? WHERE sequence_id = ?", type_id, collection["id"])
    return {
        "artifactCollection": collection_node(ctx.tx.one("SELECT * FROM collection WHERE id = ?", collection["id"]))
    }


def _deleted(ctx: Context, collection: Row, kind: str) -> Row:
    if collection["kind"] != kind:
        raise Unprocessable(f"{collection['name']!r} is not a {kind}")
    ctx.tx.execute("DELETE FROM tag WHERE owner = 'collection' AND owner_id = ?", collection["id"])
    ctx.tx.execute("DELETE FROM collection WHERE id = ?", collection["id"])
    typename = "ArtifactSequence" if kind == "sequence" else "ArtifactPortfolio"
    return {"artifactCollection": {"__typename": typename, "state": "DELETED"}}


@MUTATION.field("deleteArtifactSequence")
def delete_sequence(_root: Row, args: Args, ctx: Context) -> Row:
    """Delete a sequence with its versions."""
    return _deleted(ctx, collection_by_gid(ctx, (args.get("input") or {}).get("artifactSequenceID")), "sequence")


@MUTATION.field("deleteArtifactPortfolio")
def delete_portfolio(_root: Row, args: Args, ctx: Context) -> Row:
    """Delete a portfolio; the linked versions stay in their sequences."""
    return _deleted(ctx, collection_by_gid(ctx, (args.get("input") or {}).get("artifactPortfolioID")), "portfolio")
