"""Linking versions into portfolios."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wandb_governance.server.artifacts.aliases import checked_alias, point
from wandb_governance.server.artifacts.create import ensure_type, insert_collection
from wandb_governance.server.artifacts.lookup import artifact_by_gid, collection_by_gid, collection_named
from wandb_governance.server.artifacts.nodes import MEMBERSHIP
from wandb_governance.server.events import Event
from wandb_governance.server.graphql.schema import MUTATION
from wandb_governance.server.problem import BadRequest, NotFound, Unprocessable
from wandb_governance.server.projects.lookup import checked_name, ensure_project

if TYPE_CHECKING:
    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Args, Row


@MUTATION.field("linkArtifact")
def link_artifact(_root: Row, args: Args, ctx: Context) -> Row:
    """Make a committed version a member of a portfolio, and point aliases there at it.

    The portfolio is made on the first link. Linking again changes the aliases only.
    """
    given = args.get("input") or {}
    artifact = artifact_by_gid(ctx, given.get("artifactID") or given.get("clientID"))
    if artifact["state"] != "COMMITTED":
        raise Unprocessable("the artifact version is not committed yet; wait for it before linking")
    portfolio = _portfolio(ctx, given, artifact)
    member = ctx.tx.one(
        "SELECT * FROM membership WHERE collection_id = ? AND artifact_id = ?", portfolio["id"], artifact["id"]
    )
    if member is None:
        member = _insert(ctx, portfolio, artifact)
    entries = given.get("aliases") or ()
    names = [checked_alias(entry.get("alias")) for entry in entries if isinstance(entry, dict)]
    newest = ctx.tx.scalar("SELECT max(version_index) FROM membership WHERE collection_id = ?", portfolio["id"])
    latest = ["latest"] if member["version_index"] == newest else []
    point(ctx, portfolio["id"], artifact["id"], [*latest, *names])
    return {"versionIndex": member["version_index"], "artifactMembership": MEMBERSHIP(member)}


def _portfolio(ctx: Context, given: Args, artifact: Row) -> Row:
    if given.get("artifactPortfolioID"):
        found: Row | None = collection_by_gid(ctx, given["artifactPortfolioID"])
    else:
        project = ensure_project(ctx, given.get("entityName"), given.get("projectName"))
        name = checked_name("artifact collection", given.get("artifactPortfolioName"))
        found = collection_named(ctx, project["id"], name)
        if found is None:
            kind = ctx.tx.scalar("SELECT name FROM artifact_type WHERE id = ?", artifact["type_id"])
            _check_type_allowed(ctx, project, kind)
            found = insert_collection(ctx, project["id"], ensure_type(ctx, project["id"], kind), "portfolio", name)
    if found is None or found["kind"] != "portfolio":
        raise Unprocessable("an artifact can be linked to a portfolio only, not to a sequence")
    mine, theirs = (
        ctx.tx.scalar("SELECT name FROM artifact_type WHERE id = ?", type_id)
        for type_id in (artifact["type_id"], found["type_id"])
    )
    if mine != theirs:
        raise BadRequest(f"the collection {found['name']!r} holds artifacts of type {theirs!r}, not {mine!r}")
    return found


def _check_type_allowed(ctx: Context, project: Row, kind: str) -> None:
    if project["allow_all_types"]:
        return
    declared = ctx.tx.one(
        "SELECT 1 AS found FROM artifact_type WHERE project_id = ? AND name = ? AND declared = 1", project["id"], kind
    )
    if declared is None:
        raise BadRequest(f"the registry {project['name']!r} does not take artifacts of type {kind!r}")


def _insert(ctx: Context, portfolio: Row, artifact: Row) -> Row:
    version = portfolio["next_version"]
    now = ctx.now_ns
    ctx.tx.update("collection", portfolio["id"], next_version=version + 1, updated_at=now)
    row_id = ctx.tx.insert(
        "membership", collection_id=portfolio["id"], artifact_id=artifact["id"], version_index=version, created_at=now
    )
    row = ctx.tx.one("SELECT * FROM membership WHERE id = ?", row_id)
    assert row is not None
    ctx.emit(
        Event(
            kind="LINK_MODEL", project_id=portfolio["project_id"], collection_id=portfolio["id"],
            artifact_id=artifact["id"], facts={"version_index": version},
        )
    )  # fmt: skip
    return row


@MUTATION.field("unlinkArtifact")
def unlink_artifact(_root: Row, args: Args, ctx: Context) -> Row:
    """Take a version out of a portfolio, with the aliases it had there."""
    given = args.get("input") or {}
    artifact = artifact_by_gid(ctx, given.get("artifactID"))
    portfolio = collection_by_gid(ctx, given.get("artifactPortfolioID"))
    if portfolio["kind"] != "portfolio":
        raise Unprocessable("a version can be unlinked from a portfolio only; delete it to take it out of its sequence")
    removed = ctx.tx.execute(
        "DELETE FROM membership WHERE collection_id = ? AND artifact_id = ?", portfolio["id"], artifact["id"]
    )
    if not removed:
        raise NotFound("the version is not linked there")
    ctx.emit(
        Event(
            kind="UNLINK_ARTIFACT", project_id=portfolio["project_id"], collection_id=portfolio["id"],
            artifact_id=artifact["id"],
        )
    )  # fmt: skip
    return {"success": True}
