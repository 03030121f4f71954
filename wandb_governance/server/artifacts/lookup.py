"""Artifacts, collections and memberships by id and by name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from wandb_governance.server.gid import decode
from wandb_governance.server.problem import NotFound

if TYPE_CHECKING:
    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Row

VERSION = re.compile(r"v(\d{1,15})")

_COLLECTION_KINDS = ("ArtifactCollection", "ArtifactSequence", "ArtifactPortfolio")


def artifact_by_gid(ctx: Context, gid: Any) -> Row:
    """The artifact of a global id, or of a client id.

    Raises:
        NotFound: There is none, or it was deleted.
    """
    try:
        row_id: int | None = decode(gid, "Artifact")
    except NotFound:
        row_id = ctx.tx.scalar("SELECT id FROM artifact WHERE client_id = ? ORDER BY id DESC LIMIT 1", str(gid))
    row = ctx.tx.one("SELECT * FROM artifact WHERE id = ? AND state <> 'DELETED'", row_id)
    if row is None:
        raise NotFound(f"no artifact has the id {str(gid)[:80]!r}")
    return row


def collection_by_gid(ctx: Context, gid: Any) -> Row:
    """The collection of a global id.

    Raises:
        NotFound: There is none.
    """
    row = ctx.tx.one("SELECT * FROM collection WHERE id = ?", decode(gid, *_COLLECTION_KINDS))
    if row is None:
        raise NotFound(f"no artifact collection has the id {str(gid)[:80]!r}")
    return row


def collection_named(ctx: Context, project_id: int, name: Any) -> Row | None:
    """The collection of a project by its name or by the client id that the SDK gave it."""
    row = ctx.tx.one("SELECT * FROM collection WHERE project_id = ? AND name = ?", project_id, str(name))
    if row is None:
        row = ctx.tx.one("SELECT * FROM collection WHERE client_id = ? AND project_id = ?", str(name), project_id)
    return row


def membership_of(ctx: Context, collection_id: int, reference: str) -> Row | None:
    """The membership that an alias, ``vN`` or a digest names in a collection."""
    found = ctx.tx.one(
        "SELECT membership.* FROM alias JOIN membership ON membership.id = membership_id "
        "WHERE alias.collection_id = ? AND alias.alias = ?",
        collection_id, reference,
    )  # fmt: skip
    version = VERSION.fullmatch(reference)
    if found is None and version:
        found = ctx.tx.one(
            "SELECT * FROM membership WHERE collection_id = ? AND version_index = ?", collection_id, int(version[1])
        )
    if found is None:
        found = ctx.tx.one(
            "SELECT membership.* FROM membership JOIN artifact ON artifact.id = artifact_id WHERE collection_id = ? "
            "AND digest = ? ORDER BY membership.version_index DESC LIMIT 1",
            collection_id, reference,
        )  # fmt: skip
    return found


def membership_named(ctx: Context, project_id: int, name: Any) -> Row | None:
    """The membership that ``collection:alias`` names; without a colon, ``latest``."""
    collection_name, _, reference = str(name).partition(":")
    collection = collection_named(ctx, project_id, collection_name)
    if collection is None:
        return None
    return membership_of(ctx, collection["id"], reference or "latest")


def latest_artifact(ctx: Context, collection_id: int) -> Row | None:
    """The newest committed version of a sequence."""
    return ctx.tx.one(
        "SELECT artifact.* FROM membership JOIN artifact ON artifact.id = artifact_id WHERE collection_id = ? "
        "AND state = 'COMMITTED' ORDER BY membership.version_index DESC LIMIT 1",
        collection_id,
    )
