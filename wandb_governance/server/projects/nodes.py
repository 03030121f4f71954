"""``Project``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wandb_governance.server.accounts.lookup import by_id, entity_named
from wandb_governance.server.accounts.nodes import ENTITY, USER
from wandb_governance.server.context import iso
from wandb_governance.server.gid import decode, encode
from wandb_governance.server.graphql.connection import connection
from wandb_governance.server.graphql.schema import MUTATION, QUERY, NodeType
from wandb_governance.server.problem import NotFound
from wandb_governance.server.projects.lookup import REGISTRY_PREFIX, ensure_project, project_named

if TYPE_CHECKING:
    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Args, Node, Row

PROJECT = NodeType("Project")

PROJECT.columns(name="name", description="description", access="access", views="views_json")
PROJECT.constants(readOnly=False, linkedCollectionsCount=0, isPublished=False)
PROJECT.field("id")(lambda project, _args, _ctx: encode("Project", project["id"]))
PROJECT.field("internalId")(lambda project, _args, _ctx: encode("ProjectInternalId", project["id"]))
PROJECT.field("createdAt")(lambda project, _args, _ctx: iso(project["created_at"]))
PROJECT.field("updatedAt")(lambda project, _args, _ctx: iso(project["updated_at"]))
PROJECT.field("isBenchmark")(lambda project, _args, _ctx: bool(project["is_benchmark"]))
PROJECT.field("entity")(lambda project, _args, ctx: ENTITY(by_id(ctx, "entity", project["entity_id"])))
PROJECT.field("user")(lambda project, _args, ctx: USER(by_id(ctx, "user", project["user_id"])))


@PROJECT.field("entityName")
def entity_name(project: Row, _args: Args, ctx: Context) -> str:
    """Name of the entity."""
    entity = by_id(ctx, "entity", project["entity_id"])
    return str(entity["name"]) if entity else ""


@QUERY.field("project", "model")
def project(_root: Row, args: Args, ctx: Context) -> Node | None:
    """A project by name; ``model`` is its older name."""
    return PROJECT(project_named(ctx, args.get("entityName") or args.get("entity"), args.get("name")))


@ENTITY.field("project")
def entity_project(entity: Row, args: Args, ctx: Context) -> Node | None:
    """One project of an entity."""
    return PROJECT(
        ctx.tx.one("SELECT * FROM project WHERE entity_id = ? AND name = ?", entity["id"], str(args.get("name")))
    )


@QUERY.field("models")
def models(_root: Row, args: Args, ctx: Context) -> Row:
    """The projects of an entity."""
    entity = entity_named(ctx, args.get("entityName"))
    if entity is None:
        return connection([], args)
    rows = ctx.tx.all("SELECT * FROM project WHERE entity_id = ? ORDER BY created_at DESC, id DESC", entity["id"])
    return connection([PROJECT(row) for row in rows], args)


@USER.field("projects")
def user_projects(user: Row, args: Args, ctx: Context) -> Row:
    """Every project that the user can see: its own, its teams' and the organisation's registries."""
    rows = ctx.tx.all(
        "SELECT * FROM project WHERE entity_id = ?1 OR entity_id IN "
        "(SELECT entity_id FROM team_member WHERE user_id = ?2) OR entity_id IN "
        "(SELECT entity.id FROM entity JOIN organization_member o USING (organization_id) "
        "WHERE o.user_id = ?2) ORDER BY id",
        user["entity_id"],
        user["id"],
    )
    return connection([PROJECT(row) for row in rows], args)


@MUTATION.field("upsertModel")
def upsert_model(_root: Row, args: Args, ctx: Context) -> Row:
    """Create a project, or change one; a registry is created here too."""
    given = args.get("input") or {}
    if given.get("id"):
        found = ctx.tx.one("SELECT * FROM project WHERE id = ?", decode(given["id"], "Project", "ProjectInternalId"))
    else:
        found = project_named(ctx, given.get("entityName"), given.get("name"))
    inserted = found is None
    if found is None:
        found = _made(ctx, given)
    columns = {
        "description": given.get("description"),
        "access": given.get("access"),
        "views_json": given.get("views"),
        "is_benchmark": _flag(given.get("isBenchmark")),
        "allow_all_types": _flag(given.get("allowAllArtifactTypesInRegistry")),
    }
    ctx.tx.update("project", found["id"], updated_at=ctx.now_ns, **{k: v for k, v in columns.items() if v is not None})
    for kind in given.get("artifactTypes") or ():
        ctx.tx.execute(
            "INSERT INTO artifact_type (project_id, name, description, declared, created_at) VALUES (?, ?, ?, 1, ?) "
            "ON CONFLICT (project_id, name) DO UPDATE SET declared = 1",
            found["id"], str(kind.get("name")), kind.get("description"), ctx.now_ns,
        )  # fmt: skip
    node = PROJECT(ctx.tx.one("SELECT * FROM project WHERE id = ?", found["id"]))
    return {"project": node, "model": node, "inserted": inserted}


def _flag(value: object) -> int | None:
    return None if value is None else int(bool(value))


def _made(ctx: Context, given: Args) -> Row:
    name = str(given.get("name") or "")
    if not name.startswith(REGISTRY_PREFIX):
        return ensure_project(ctx, given.get("entityName"), name)
    entity = entity_named(ctx, given.get("entityName"))
    if entity is None or entity["kind"] != "org":
        raise NotFound(f"{str(given.get('entityName'))!r} is not an organisation's entity; a registry needs one")
    now = ctx.now_ns
    project_id = ctx.tx.insert(
        "project", entity_id=entity["id"], name=name, user_id=ctx.user["id"], created_at=now, updated_at=now
    )
    made = ctx.tx.one("SELECT * FROM project WHERE id = ?", project_id)
    assert made is not None
    return made
