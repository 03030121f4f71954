"""Aliases: one row for each name of a collection, so moving one is a single atomic update."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_governance.server.artifacts.lookup import VERSION, artifact_by_gid, collection_named
from wandb_governance.server.events import Event
from wandb_governance.server.graphql.schema import MUTATION
from wandb_governance.server.problem import BadRequest, NotFound
from wandb_governance.server.projects.lookup import require_project

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Args, Row


def checked_alias(name: Any) -> str:
    """``name`` if it can be an alias.

    Raises:
        BadRequest: It is not text of 1 to 128 characters, holds ``/`` or ``:``, or looks like a version.
    """
    if not isinstance(name, str) or not name.strip() or len(name) > 128 or "/" in name or ":" in name:
        raise BadRequest(f"invalid alias {str(name)[:128]!r}: 1 to 128 characters, no / and no :")
    if VERSION.fullmatch(name):
        raise BadRequest(f"the alias {name!r} is the name of a version; choose another")
    return name


def point(ctx: Context, collection_id: int, artifact_id: int, names: Sequence[str]) -> None:
    """Let every alias of ``names`` point at a member of the collection, wherever it pointed before.

    Raises:
        NotFound: The artifact is not in the collection.
    """
    member = ctx.tx.one(
        "SELECT * FROM membership WHERE collection_id = ? AND artifact_id = ?", collection_id, artifact_id
    )
    if member is None:
        raise NotFound("the artifact version is not in that collection; link it first")
    project_id = ctx.tx.scalar("SELECT project_id FROM collection WHERE id = ?", collection_id)
    for name in dict.fromkeys(names):
        moved = ctx.tx.execute(
            "INSERT INTO alias (collection_id, membership_id, alias, created_at) VALUES (?, ?, ?, ?) ON CONFLICT "
            "(collection_id, alias) DO UPDATE SET membership_id = excluded.membership_id, "
            "created_at = excluded.created_at WHERE membership_id <> excluded.membership_id",
            collection_id, member["id"], name, ctx.now_ns,
        )  # fmt: skip
        if moved:
            ctx.emit(
                Event(
                    kind="ADD_ARTIFACT_ALIAS", project_id=project_id, collection_id=collection_id,
                    artifact_id=artifact_id, facts={"alias": name, "version_index": member["version_index"]},
                )
            )  # fmt: skip


def _named(ctx: Context, given: Args) -> list[tuple[Row, str]]:
    entries = given.get("aliases")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise BadRequest("aliases must be a list of objects")
    found = []
    for entry in entries:
        project = require_project(ctx, entry.get("entityName"), entry.get("projectName"))
        collection = collection_named(ctx, project["id"], entry.get("artifactCollectionName"))
        if collection is None:
            raise NotFound(f"artifact collection {str(entry.get('artifactCollectionName'))[:128]!r} not found")
        found.append((collection, str(entry.get("alias"))))
    return found


@MUTATION.field("addAliases")
def add_aliases(_root: Row, args: Args, ctx: Context) -> Row:
    """Point aliases of named collections at a version."""
    given = args.get("input") or {}
    artifact = artifact_by_gid(ctx, given.get("artifactID"))
    for collection, name in _named(ctx, given):
        point(ctx, collection["id"], artifact["id"], [checked_alias(name)])
    return {"success": True}


@MUTATION.field("deleteAliases")
def delete_aliases(_root: Row, args: Args, ctx: Context) -> Row:
    """Take aliases away, where they point at this version."""
    given = args.get("input") or {}
    artifact = artifact_by_gid(ctx, given.get("artifactID"))
    for collection, name in _named(ctx, given):
        ctx.tx.execute(
            "DELETE FROM alias WHERE collection_id = ? AND alias = ? AND membership_id IN "
            "(SELECT id FROM membership WHERE artifact_id = ?)",
            collection["id"], name, artifact["id"],
        )  # fmt: skip
    return {"success": True}
