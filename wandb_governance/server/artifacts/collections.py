"""Collections (sequences and portfolios) and artifact types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_governance.server.accounts.lookup import by_id
from wandb_governance.server.artifacts.lookup import collection_by_gid, collection_named, latest_artifact, membership_of
from wandb_governance.server.artifacts.nodes import (
    ALIAS,
    ARTIFACT,
    ARTIFACT_TYPE,
    MEMBERSHIP,
    PORTFOLIO,
    SEQUENCE,
    artifact_value,
    collection_node,
    tag_nodes,
)
from wandb_governance.server.context import iso
from wandb_governance.server.gid import encode
from wandb_governance.server.graphql.connection import connection, page, page_bounds
from wandb_governance.server.graphql.filters import MISSING, ordered, read_filter, read_order
from wandb_governance.server.graphql.schema import QUERY
from wandb_governance.server.problem import NotFound
from wandb_governance.server.projects.nodes import PROJECT

if TYPE_CHECKING:
    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Args, Node, Row

SEQUENCE.columns(name="name", description="description")
SEQUENCE.constants(digestAlgorithm="MANIFEST_MD5", state="READY")
SEQUENCE.field("id")(lambda collection, _args, _ctx: encode("ArtifactCollection", collection["id"]))
SEQUENCE.field("createdAt")(lambda collection, _args, _ctx: iso(collection["created_at"]))
SEQUENCE.field("updatedAt")(lambda collection, _args, _ctx: iso(collection["updated_at"]))
SEQUENCE.field("project")(lambda collection, _args, ctx: PROJECT(by_id(ctx, "project", collection["project_id"])))
SEQUENCE.field("defaultArtifactType")(
    lambda collection, _args, ctx: ARTIFACT_TYPE(by_id(ctx, "artifact_type", collection["type_id"]))
)
SEQUENCE.field("tags")(lambda collection, _args, ctx: connection(tag_nodes(ctx, "collection", collection["id"])))
SEQUENCE.field("latestArtifact")(lambda collection, _args, ctx: ARTIFACT(latest_artifact(ctx, collection["id"])))


@SEQUENCE.field("aliases")
def collection_aliases(collection: Row, args: Args, ctx: Context) -> Row:
    """Every alias of the collection."""
    rows = ctx.tx.all("SELECT * FROM alias WHERE collection_id = ? ORDER BY id", collection["id"])
    return connection([ALIAS(row) for row in rows], args, default=1000)


@SEQUENCE.field("artifactMembership")
def collection_membership(collection: Row, args: Args, ctx: Context) -> Node | None:
    """The version that an alias, ``vN`` or a digest names."""
    return MEMBERSHIP(membership_of(ctx, collection["id"], str(args.get("aliasName") or "latest")))


@SEQUENCE.field("artifactMemberships")
def collection_memberships(collection: Row, args: Args, ctx: Context) -> Row:
    """Memberships, newest first."""
    rows = ctx.tx.all("SELECT * FROM membership WHERE collection_id = ? ORDER BY version_index DESC", collection["id"])
    return connection([MEMBERSHIP(row) for row in rows], args)


@SEQUENCE.field("artifacts")
def collection_artifacts(collection: Row, args: Args, ctx: Context) -> Row:
    """Versions by filter and order; the edge carries the version in this collection."""
    rows = ctx.tx.all(
        "SELECT artifact.*, membership.version_index AS member_index, "
        "(SELECT json_group_array(alias) FROM alias WHERE membership_id = membership.id) AS alias_names, "
        "(SELECT json_group_array(name) FROM tag WHERE owner = 'artifact' AND owner_id = artifact.id) AS tag_names "
        "FROM membership JOIN artifact ON artifact.id = artifact_id WHERE collection_id = ? AND state <> 'DELETED' "
        "ORDER BY membership.version_index DESC",
        collection["id"],
    )
    chosen = choose_artifacts(rows, args)
    offset, size = page_bounds(args)
    shown = chosen[offset : offset + size]
    versions = {row["id"]: f"v{row['member_index']}" for row in shown}
    return page(
        [ARTIFACT(row) for row in shown], offset, len(chosen), extra=lambda node: {"version": versions[node.row["id"]]}
    )


def choose_artifacts(rows: list[Row], args: Args) -> list[Row]:
    """Rows that pass ``filters``, in ``order``; both may be absent."""
    import orjson

    for row in rows:
        row["alias_names"] = orjson.loads(row["alias_names"])
        row["tag_names"] = orjson.loads(row["tag_names"])
    predicate = read_filter(args.get("filters"), artifact_value)
    passing = [row for row in rows if predicate is None or predicate(row)]
    keys = read_order(args.get("order"))
    return ordered(passing, keys, artifact_value) if keys else passing


SEQUENCE.share(PORTFOLIO)


@QUERY.field("artifactCollection")
def artifact_collection(_root: Row, args: Args, ctx: Context) -> Node | None:
    """A collection by its id."""
    try:
        return collection_node(collection_by_gid(ctx, args.get("id")))
    except NotFound:
        return None


@PROJECT.field("artifactCollection")
def project_collection(project: Row, args: Args, ctx: Context) -> Node | None:
    """A collection by name."""
    return collection_node(collection_named(ctx, project["id"], args.get("name")))


@PROJECT.field("artifactCollections")
def project_collections(project: Row, args: Args, ctx: Context) -> Row:
    """Collections by filter and order."""
    return _collections(ctx, args, "collection.project_id = ?", project["id"])


@PROJECT.field("artifactType")
def project_type(project: Row, args: Args, ctx: Context) -> Node | None:
    """An artifact type by name."""
    return ARTIFACT_TYPE(
        ctx.tx.one(
            "SELECT * FROM artifact_type WHERE project_id = ? AND name = ?", project["id"], str(args.get("name"))
        )
    )


@ARTIFACT_TYPE.field("artifactCollections")
def type_collections(kind: Row, args: Args, ctx: Context) -> Row:
    """Collections of a type."""
    return _collections(ctx, args, "collection.type_id = ?", kind["id"])


@ARTIFACT_TYPE.field("artifactCollection")
def type_collection(kind: Row, args: Args, ctx: Context) -> Node | None:
    """One collection of a type."""
    row = collection_named(ctx, kind["project_id"], args.get("name"))
    return collection_node(row) if row and row["type_id"] == kind["id"] else None


def _collections(ctx: Context, args: Args, where: str, parameter: int) -> Row:
    rows = ctx.tx.all(f"SELECT * FROM collection WHERE {where} ORDER BY id", parameter)  # noqa: S608
    chosen = choose_collections(ctx, rows, args)
    return connection([collection_node(row) for row in chosen], args)


def choose_collections(ctx: Context, rows: list[Row], args: Args) -> list[Row]:
    """Rows that pass ``filters``, in ``order``; both may be absent."""

    def value(row: Row, key: str) -> Any:
        if key in {"createdAt", "created_at", "updatedAt", "updated_at"}:
            return iso(row["created_at" if key.startswith("created") else "updated_at"])
        if key in {"tag", "tags"}:
            found = ctx.tx.all("SELECT name FROM tag WHERE owner = 'collection' AND owner_id = ?", row["id"])
            return [tag["name"] for tag in found]
        if key in {"type", "artifact_type"}:
            kind = by_id(ctx, "artifact_type", row["type_id"])
            return kind["name"] if kind else None
        return row.get(key, MISSING)

    predicate = read_filter(args.get("filters"), value)
    passing = [row for row in rows if predicate is None or predicate(row)]
    keys = read_order(args.get("order"))
    return ordered(passing, keys, value) if keys else passing
