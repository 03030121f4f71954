"""Tags of versions and of collections."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from wandb_governance.server.artifacts.lookup import collection_named
from wandb_governance.server.artifacts.nodes import tag_nodes
from wandb_governance.server.events import Event
from wandb_governance.server.graphql.schema import MUTATION
from wandb_governance.server.problem import BadRequest, NotFound
from wandb_governance.server.projects.lookup import require_project

if TYPE_CHECKING:
    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Args, Row

_NAME = re.compile(r"[-\w]+( +[-\w]+)*")


def tag_names(entries: Any) -> list[str]:
    """Names in a list of ``{"tagName": ...}``.

    Raises:
        BadRequest: It is something else, or a name is not words of letters, digits, ``_`` and ``-``.
    """
    if entries is None:
        return []
    if not isinstance(entries, list) or len(entries) > 100:
        raise BadRequest("tags must be a list of at most 100")
    names = [entry.get("tagName") if isinstance(entry, dict) else None for entry in entries]
    for name in names:
        if not isinstance(name, str) or len(name) > 128 or not _NAME.fullmatch(name):
            raise BadRequest(f"invalid tag {str(name)[:128]!r}: letters, digits, _, - and single spaces")
    return [str(name) for name in names]


def set_tags(
    ctx: Context, owner: str, owner_id: int, *, add: Any = None, remove: Any = None
) -> tuple[list[str], list[str]]:
    """Add and remove tags; the names that really changed."""
    added = [
        name
        for name in tag_names(add)
        if ctx.tx.execute(
            "INSERT INTO tag (owner, owner_id, name, created_at) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (owner, owner_id, name) DO NOTHING",
            owner, owner_id, name, ctx.now_ns,
        )
    ]  # fmt: skip
    removed = [
        name
        for name in tag_names(remove)
        if ctx.tx.execute("DELETE FROM tag WHERE owner = ? AND owner_id = ? AND name = ?", owner, owner_id, name)
    ]
    return added, removed


def _collection(ctx: Context, given: Args) -> Row:
    project = require_project(ctx, given.get("entityName"), given.get("projectName"))
    found = collection_named(ctx, project["id"], given.get("artifactCollectionName"))
    if found is None:
        raise NotFound(f"artifact collection {str(given.get('artifactCollectionName'))[:128]!r} not found")
    return found


def _tell(ctx: Context, collection: Row, kind: str, names: list[str]) -> None:
    for name in names:
        ctx.emit(
            Event(
                kind=kind, project_id=collection["project_id"], collection_id=collection["id"], facts={"tag": name}
            )
        )  # fmt: skip


@MUTATION.field("createArtifactCollectionTagAssignments")
def add_collection_tags(_root: Row, args: Args, ctx: Context) -> Row:
    """Tag a collection."""
    given = args.get("input") or {}
    collection = _collection(ctx, given)
    added, _ = set_tags(ctx, "collection", collection["id"], add=given.get("tags"))
    _tell(ctx, collection, "ADD_COLLECTION_TAG", added)
    return {"tags": tag_nodes(ctx, "collection", collection["id"])}


@MUTATION.field("deleteArtifactCollectionTagAssignments")
def delete_collection_tags(_root: Row, args: Args, ctx: Context) -> Row:
    """Take tags off a collection."""
    given = args.get("input") or {}
    collection = _collection(ctx, given)
    _, removed = set_tags(ctx, "collection", collection["id"], remove=given.get("tags"))
    _tell(ctx, collection, "REMOVE_COLLECTION_TAG", removed)
    return {"success": True}
