"""Reading registries: the organisation's projects, their collections and the versions linked there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from wandb_governance.server.accounts.nodes import ENTITY
from wandb_governance.server.artifacts.collections import choose_collections
from wandb_governance.server.artifacts.nodes import ARTIFACT_TYPE, MEMBERSHIP, artifact_value, collection_node
from wandb_governance.server.context import iso
from wandb_governance.server.graphql.connection import connection
from wandb_governance.server.graphql.filters import MISSING, ordered, read_filter, read_order
from wandb_governance.server.projects.lookup import REGISTRY_PREFIX
from wandb_governance.server.projects.nodes import PROJECT

if TYPE_CHECKING:
    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Args, Row

PROJECT.field("allowAllArtifactTypesInRegistry")(lambda project, _args, _ctx: bool(project["allow_all_types"]))


@PROJECT.field("artifactTypes")
def artifact_types(project: Row, args: Args, ctx: Context) -> Row:
    """Artifact types; of a registry that takes some types only, those it was given."""
    declared = project["name"].startswith(REGISTRY_PREFIX) and not project["allow_all_types"]
    rows = ctx.tx.all(
        "SELECT * FROM artifact_type WHERE project_id = ? AND declared >= ? ORDER BY id", project["id"], int(declared)
    )
    return connection([ARTIFACT_TYPE(row) for row in rows], args, default=1000)


def project_value(project: Row, key: str) -> Any:
    """What a filter or order key means for a project."""
    if key in {"createdAt", "created_at", "updatedAt", "updated_at"}:
        return iso(project["created_at" if key.startswith("created") else "updated_at"])
    return project["id"] if key in {"id", "project_id"} else project.get(key, MISSING)


def _projects(ctx: Context, entity: Row, filters: Any, order: Any = None) -> list[Row]:
    rows = ctx.tx.all("SELECT * FROM project WHERE entity_id = ? ORDER BY id", entity["id"])
    predicate = read_filter(filters, project_value)
    passing = [row for row in rows if predicate is None or predicate(row)]
    keys = read_order(order)
    return ordered(passing, keys, project_value) if keys else passing


@ENTITY.field("projects")
def entity_projects(entity: Row, args: Args, ctx: Context) -> Row:
    """Projects of an entity; those of an organisation's entity are its registries."""
    rows = _projects(ctx, entity, args.get("filters"), args.get("order"))
    return connection([PROJECT(row) for row in rows], args)


def _collections(ctx: Context, entity: Row, args: Args, filters: Any, order: Any) -> list[Row]:
    kinds = {str(kind).lower() for kind in args.get("collectionTypes") or ("PORTFOLIO",)}
    rows: list[Row] = []
    for project in _projects(ctx, entity, args.get("projectFilters")):
        found = ctx.tx.all("SELECT * FROM collection WHERE project_id = ? ORDER BY id", project["id"])
        rows += [row for row in found if row["kind"] in kinds]
    return choose_collections(ctx, rows, {"filters": filters, "order": order})


@ENTITY.field("artifactCollections")
def entity_collections(entity: Row, args: Args, ctx: Context) -> Row:
    """Collections in the registries that pass ``projectFilters``."""
    rows = _collections(ctx, entity, args, args.get("filters"), args.get("order"))
    return connection([collection_node(row) for row in rows], args)


@ENTITY.field("artifactMemberships")
def entity_memberships(entity: Row, args: Args, ctx: Context) -> Row:
    """Linked versions by filters on registry, collection and version."""
    rows: list[Row] = []
    for collection in _collections(ctx, entity, args, args.get("collectionFilters"), None):
        rows += ctx.tx.all(
            "SELECT membership.*, artifact.metadata_json, artifact.updated_at, artifact.digest, artifact.size, "
            "(SELECT json_group_array(alias) FROM alias WHERE membership_id = membership.id) AS alias_names, "
            "(SELECT json_group_array(name) FROM tag WHERE owner = 'artifact' AND owner_id = artifact.id) AS tag_names "
            "FROM membership JOIN artifact ON artifact.id = artifact_id WHERE collection_id = ? "
            "AND artifact.state = 'COMMITTED' ORDER BY membership.version_index",
            collection["id"],
        )
    for row in rows:
        row["alias_names"] = orjson.loads(row["alias_names"])
        row["tag_names"] = orjson.loads(row["tag_names"])
    predicate = read_filter(args.get("filters"), artifact_value)
    passing = [row for row in rows if predicate is None or predicate(row)]
    keys = read_order(args.get("order"))
    chosen = ordered(passing, keys, artifact_value) if keys else passing
    return connection([MEMBERSHIP(row) for row in chosen], args)
