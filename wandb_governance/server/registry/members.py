"""Registries themselves: renaming, deleting, and who is a member."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_governance.server.accounts.nodes import ENTITY
from wandb_governance.server.gid import decode, encode
from wandb_governance.server.graphql.schema import MUTATION
from wandb_governance.server.problem import BadRequest, Conflict, NotFound
from wandb_governance.server.projects.lookup import checked_name, require_project
from wandb_governance.server.projects.nodes import PROJECT

if TYPE_CHECKING:
    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Args, Row

ROLES = ("admin", "member", "viewer", "restricted_viewer")
"""Roles of a registry, the strongest first."""


def _project(ctx: Context, gid: Any) -> Row:
    row = ctx.tx.one("SELECT * FROM project WHERE id = ?", decode(gid, "Project", "ProjectInternalId"))
    if row is None:
        raise NotFound(f"no project has the id {str(gid)[:80]!r}")
    return row


@MUTATION.field("renameProject")
def rename_project(_root: Row, args: Args, ctx: Context) -> Row:
    """Give a project another name."""
    given = args.get("input") or {}
    project = require_project(ctx, given.get("entityName"), given.get("oldProjectName"))
    name = checked_name("project", given.get("newProjectName"))
    taken = ctx.tx.one("SELECT 1 AS found FROM project WHERE entity_id = ? AND name = ?", project["entity_id"], name)
    if taken is not None and name != project["name"]:
        raise Conflict(f"a project {name!r} exists already")
    ctx.tx.update("project", project["id"], name=name, updated_at=ctx.now_ns)
    return {"inserted": False, "project": PROJECT(ctx.tx.one("SELECT * FROM project WHERE id = ?", project["id"]))}


@MUTATION.field("deleteModel")
def delete_model(_root: Row, args: Args, ctx: Context) -> Row:
    """Delete a project or registry with everything in it."""
    project = _project(ctx, (args.get("input") or {}).get("id"))
    ctx.tx.execute(
        "DELETE FROM tag WHERE owner = 'collection' AND owner_id IN (SELECT id FROM collection WHERE project_id = ?)",
        project["id"],
    )
    ctx.tx.execute("DELETE FROM collection WHERE project_id = ?", project["id"])
    ctx.tx.execute("DELETE FROM project WHERE id = ?", project["id"])
    return {"success": True}


@PROJECT.field("members")
def members(project: Row, _args: Args, ctx: Context) -> list[Row]:
    """Users with a role in the project: who made it, and who was added."""
    rows = ctx.tx.all(
        "SELECT user.*, role FROM user JOIN (SELECT member_id, role FROM project_member WHERE project_id = ?1 AND "
        "kind = 'user' UNION SELECT ?2, 'admin' WHERE NOT EXISTS (SELECT 1 FROM project_member WHERE project_id = ?1 "
        "AND kind = 'user' AND member_id = ?2)) ON member_id = user.id ORDER BY user.id",
        project["id"],
        project["user_id"],
    )
    return [
        {
            "__typename": "ProjectMember",
            "id": encode("User", row["id"]),
            "name": row["name"],
            "username": row["username"],
            "email": row["email"],
            "role": {"__typename": "Role", "name": row["role"]},
        }
        for row in rows
    ]


@PROJECT.field("teamMembers")
def team_members(project: Row, _args: Args, ctx: Context) -> list[Row]:
    """Teams with a role in the project."""
    rows = ctx.tx.all(
        "SELECT entity.*, role FROM project_member JOIN entity ON entity.id = member_id WHERE project_id = ? "
        "AND project_member.kind = 'team' ORDER BY entity.id",
        project["id"],
    )
    return [
        {"__typename": "ProjectTeamMember", "team": ENTITY(row), "role": {"__typename": "Role", "name": row["role"]}}
        for row in rows
    ]


def _members_of(ctx: Context, given: Args) -> list[tuple[str, int]]:
    found = []
    for key, kind, table, type_name in (("userIds", "user", "user", "User"), ("teamIds", "team", "entity", "Entity")):
        ids = given.get(key) or []
        if not isinstance(ids, list):
            raise BadRequest(f"{key} must be a list of ids")
        for gid in ids:
            row_id = decode(gid, type_name)
            if ctx.tx.one(f"SELECT 1 AS found FROM {table} WHERE id = ?", row_id) is None:  # noqa: S608
                raise NotFound(f"no {kind} has the id {str(gid)[:80]!r}")
            found.append((kind, row_id))
    return found


@MUTATION.field("createProjectMembers")
def create_members(_root: Row, args: Args, ctx: Context) -> Row:
    """Add users and teams with the role ``member``; one who is a member already keeps the role."""
    given = args.get("input") or {}
    project = _project(ctx, given.get("projectId"))
    for kind, member_id in _members_of(ctx, given):
        ctx.tx.execute(
            "INSERT INTO project_member (project_id, kind, member_id, role) VALUES (?, ?, ?, 'member') "
            "ON CONFLICT DO NOTHING",
            project["id"], kind, member_id,
        )  # fmt: skip
    return {"success": True}


@MUTATION.field("deleteProjectMembers")
def delete_members(_root: Row, args: Args, ctx: Context) -> Row:
    """Take users and teams out."""
    given = args.get("input") or {}
    project = _project(ctx, given.get("projectId"))
    for kind, member_id in _members_of(ctx, given):
        ctx.tx.execute(
            "DELETE FROM project_member WHERE project_id = ? AND kind = ? AND member_id = ?",
            project["id"], kind, member_id,
        )  # fmt: skip
    return {"success": True}


def _set_role(ctx: Context, given: Args, kind: str, gid: Any, role: Any) -> Row:
    if role not in ROLES:
        raise BadRequest(f"unknown role {str(role)[:40]!r}; use one of {', '.join(ROLES)}")
    project = _project(ctx, given.get("projectId"))
    ((_, member_id),) = _members_of(ctx, {"userIds" if kind == "user" else "teamIds": [gid]})
    ctx.tx.execute(
        "INSERT INTO project_member (project_id, kind, member_id, role) VALUES (?, ?, ?, ?) ON CONFLICT "
        "(project_id, kind, member_id) DO UPDATE SET role = excluded.role",
        project["id"], kind, member_id, role,
    )  # fmt: skip
    return {"success": True}


@MUTATION.field("updateProjectMember")
def update_member(_root: Row, args: Args, ctx: Context) -> Row:
    """Change a user's role."""
    given = args.get("input") or {}
    return _set_role(ctx, given, "user", given.get("userId"), given.get("userProjectRole"))


@MUTATION.field("updateProjectTeamMember")
def update_team_member(_root: Row, args: Args, ctx: Context) -> Row:
    """Change a team's role."""
    given = args.get("input") or {}
    return _set_role(ctx, given, "team", given.get("teamId"), given.get("teamProjectRole"))
