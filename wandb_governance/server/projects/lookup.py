"""Projects by name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from wandb_governance.server.accounts.lookup import entity_named, require_entity
from wandb_governance.server.problem import BadRequest, NotFound

if TYPE_CHECKING:
    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Row

REGISTRY_PREFIX = "wandb-registry-"
"""How the name of a registry's project begins."""

_FORBIDDEN = re.compile(r"[/\\#?%:\x00-\x1f]")


def project_named(ctx: Context, entity: Any, name: Any) -> Row | None:
    """The project, or None."""
    owner = entity_named(ctx, entity)
    if owner is None or not name:
        return None
    return ctx.tx.one("SELECT * FROM project WHERE entity_id = ? AND name = ?", owner["id"], str(name))


def require_project(ctx: Context, entity: Any, name: Any) -> Row:
    """The project.

    Raises:
        NotFound: There is none of that name.
    """
    project = project_named(ctx, entity, name)
    if project is None:
        raise NotFound(f"project {str(name)[:128]!r} not found in entity {str(entity or 'default')[:80]!r}")
    return project


def ensure_project(ctx: Context, entity: Any, name: Any) -> Row:
    """The project, made when missing. A null or empty name means ``uncategorized``, as the SDK calls it."""
    owner = require_entity(ctx, entity)
    wanted = checked_name("project", name or "uncategorized")
    found = ctx.tx.one("SELECT * FROM project WHERE entity_id = ? AND name = ?", owner["id"], wanted)
    if found is not None:
        return found
    if wanted.startswith(REGISTRY_PREFIX):
        raise NotFound(f"registry {wanted.removeprefix(REGISTRY_PREFIX)!r} not found; create it first")
    now = ctx.now_ns
    project_id = ctx.tx.insert(
        "project", entity_id=owner["id"], name=wanted, user_id=ctx.user["id"], created_at=now, updated_at=now
    )
    made = ctx.tx.one("SELECT * FROM project WHERE id = ?", project_id)
    assert made is not None
    return made


def checked_name(what: str, name: Any) -> str:
    """``name`` if it can name a project, a run or a collection.

    Raises:
        BadRequest: It is not text, is empty or over 128 characters, or holds a character that a path or URL needs.
    """
    if (
        not isinstance(name, str)
        or not name.strip()
        or len(name) > 128
        or _FORBIDDEN.search(name)
        or name in {".", ".."}
    ):
        raise BadRequest(
            f"invalid {what} name {str(name)[:128]!r}: 1 to 128 characters, none of / \\ # ? % : or control characters"
        )
    return name
