"""Entities and users by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_governance.server.problem import NotFound

if TYPE_CHECKING:
    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Row


def entity_named(ctx: Context, name: Any) -> Row | None:
    """The entity, or None. Null and an empty name mean the user's default entity (offline sync sends the latter)."""
    if not name:
        return default_entity(ctx)
    return ctx.tx.one("SELECT * FROM entity WHERE name = ?", str(name))


def require_entity(ctx: Context, name: Any) -> Row:
    """The entity.

    Raises:
        NotFound: There is none of that name.
    """
    entity = entity_named(ctx, name)
    if entity is None:
        raise NotFound(f"entity {str(name)[:80]!r} not found")
    return entity


def default_entity(ctx: Context) -> Row:
    """Where things of this user go when no entity is named."""
    entity = ctx.tx.one("SELECT * FROM entity WHERE id = ?", ctx.user["default_entity_id"] or ctx.user["entity_id"])
    assert entity is not None
    return entity


def by_id(ctx: Context, table: str, row_id: int | None) -> Row | None:
    """A row by id, read once for each request. ``table`` comes from this package's code."""
    if row_id is None:
        return None
    memo = ctx.memo
    if (table, row_id) not in memo:
        memo[table, row_id] = ctx.tx.one(f"SELECT * FROM {table} WHERE id = ?", row_id)  # noqa: S608
    found: Row | None = memo[table, row_id]
    return found
