"""Runs by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from wandb_governance.server.gid import decode
from wandb_governance.server.problem import BadRequest, NotFound
from wandb_governance.server.projects.lookup import project_named

if TYPE_CHECKING:
    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Row


def run_named(ctx: Context, project_id: int, name: Any) -> Row | None:
    """The run of a project, or None."""
    return ctx.tx.one("SELECT * FROM run WHERE project_id = ? AND name = ?", project_id, str(name))


def require_run(ctx: Context, entity: Any, project: Any, name: Any) -> Row:
    """The run.

    Raises:
        NotFound: The project or the run does not exist.
    """
    found = project_named(ctx, entity, project)
    run = run_named(ctx, found["id"], name) if found else None
    if run is None:
        raise NotFound(f"run {str(name)[:128]!r} not found in project {str(project)[:128]!r}")
    return run


def run_by_gid(ctx: Context, gid: Any) -> Row:
    """The run of a global id.

    Raises:
        NotFound: There is none.
    """
    run = ctx.tx.one("SELECT * FROM run WHERE id = ?", decode(gid, "Run"))
    if run is None:
        raise NotFound(f"no run has the id {str(gid)[:80]!r}")
    return run


def json_object(what: str, text: Any) -> Row | None:
    """A JSONString argument that must hold an object; None stays None.

    Raises:
        BadRequest: It holds something else.
    """
    if text is None:
        return None
    value = text if isinstance(text, dict) else decode_json(what, text)
    if not isinstance(value, dict):
        raise BadRequest(f"{what} must be a JSON object")
    return value


def decode_json(what: str, text: Any) -> Any:
    """Decoded JSON text. NaN and Infinity are read, because the SDK writes them.

    Raises:
        BadRequest: It is not JSON.
    """
    if not isinstance(text, str | bytes):
        raise BadRequest(f"{what} must be JSON text")
    try:
        return orjson.loads(text)
    except ValueError:
        return _decode_lenient(what, text)


def _decode_lenient(what: str, text: str | bytes) -> Any:
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise BadRequest(f"{what} is not valid JSON") from None
