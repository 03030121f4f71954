"""``View``: a report (type ``runs``) or a workspace (type ``project-view``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_governance.server.accounts.lookup import by_id
from wandb_governance.server.accounts.nodes import USER
from wandb_governance.server.context import iso
from wandb_governance.server.gid import decode, encode
from wandb_governance.server.graphql.connection import connection
from wandb_governance.server.graphql.schema import MUTATION, QUERY, NodeType
from wandb_governance.server.problem import BadRequest, NotFound
from wandb_governance.server.projects.lookup import ensure_project
from wandb_governance.server.projects.nodes import PROJECT
from wandb_governance.server.runs.lookup import decode_json

if TYPE_CHECKING:
    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Args, Node, Row

VIEW = NodeType("View")
VIEW.columns(name="name", displayName="display_name", description="description", type="type", spec="spec")
VIEW.field("id")(lambda view, _args, _ctx: encode("View", view["id"]))
VIEW.field("createdAt")(lambda view, _args, _ctx: iso(view["created_at"]))
VIEW.field("updatedAt")(lambda view, _args, _ctx: iso(view["updated_at"]))
VIEW.field("project")(lambda view, _args, ctx: PROJECT(by_id(ctx, "project", view["project_id"])))
VIEW.field("user")(lambda view, _args, ctx: USER(by_id(ctx, "user", view["user_id"])))

_COLUMNS = {"name": "name", "displayName": "display_name", "description": "description", "type": "type", "spec": "spec"}


def _view(ctx: Context, gid: Any) -> Row:
    # a report's URL carries its id without the padding
    text = str(gid)
    row = ctx.tx.one("SELECT * FROM view WHERE id = ?", decode(text + "=" * (-len(text) % 4), "View"))
    if row is None:
        raise NotFound(f"no view has the id {text[:80]!r}")
    return row


@MUTATION.field("upsertView")
def upsert_view(_root: Row, args: Args, ctx: Context) -> Row:
    """Store a view; without an id it is a new one."""
    given = args.get("input") or {}
    changes = {column: str(given[name]) for name, column in _COLUMNS.items() if given.get(name) is not None}
    if "spec" in changes:
        decode_json("spec", changes["spec"])
    now = ctx.now_ns
    if given.get("id"):
        view_id = _view(ctx, given["id"])["id"]
        ctx.tx.update("view", view_id, updated_at=now, **changes)
    else:
        if not changes.get("name"):
            raise BadRequest("a new view needs a name")
        project = ensure_project(ctx, given.get("entityName"), given.get("projectName"))
        view_id = ctx.tx.insert(
            "view", project_id=project["id"], user_id=ctx.user["id"], created_at=now, updated_at=now,
            **{"type": "runs", "spec": "{}", **changes},
        )  # fmt: skip
    row = ctx.tx.one("SELECT * FROM view WHERE id = ?", view_id)
    return {"view": VIEW(row), "inserted": not given.get("id")}


@MUTATION.field("deleteView")
def delete_view(_root: Row, args: Args, ctx: Context) -> Row:
    """Remove a view."""
    row = _view(ctx, (args.get("input") or {}).get("id"))
    ctx.tx.execute("DELETE FROM view WHERE id = ?", row["id"])
    return {"__typename": "DeleteViewPayload", "success": True, "pendingDrafts": []}


@MUTATION.field("createCustomChart")
def create_custom_chart(_root: Row, args: Args, ctx: Context) -> Row:
    """Store a Vega chart specification under its entity."""
    given = args.get("input") or {}
    decode_json("spec", given.get("spec"))
    project = ensure_project(ctx, given.get("entity"), "custom-charts")
    chart_id = ctx.tx.insert(
        "view", project_id=project["id"], user_id=ctx.user["id"], name=str(given.get("name")),
        display_name=str(given.get("displayName") or given.get("name")), type="custom-chart", spec=given["spec"],
        created_at=ctx.now_ns, updated_at=ctx.now_ns,
    )  # fmt: skip
    return {"chart": {"__typename": "CustomChart", "id": encode("View", chart_id)}}


@QUERY.field("view")
def view(_root: Row, args: Args, ctx: Context) -> Node | None:
    """A view by id."""
    try:
        return VIEW(_view(ctx, args.get("id")))
    except NotFound:
        return None


@PROJECT.field("allViews")
def all_views(project: Row, args: Args, ctx: Context) -> Row:
    """Views of a project by type, name and user, newest first."""
    rows = ctx.tx.all(
        "SELECT view.* FROM view LEFT JOIN user ON user.id = view.user_id WHERE project_id = ?1 AND type = ?2 AND "
        "(?3 IS NULL OR view.name = ?3) AND (?4 IS NULL OR username = ?4) ORDER BY view.updated_at DESC, view.id DESC",
        project["id"],
        str(args.get("viewType") or "runs"),
        _text(args.get("viewName")),
        _text(args.get("userName")),
    )
    return connection([VIEW(row) for row in rows], args)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
