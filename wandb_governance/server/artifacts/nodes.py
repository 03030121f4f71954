"""``Artifact``, its memberships and aliases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_governance.server.accounts.lookup import by_id
from wandb_governance.server.accounts.nodes import USER
from wandb_governance.server.artifacts.lookup import artifact_by_gid, latest_artifact, membership_named
from wandb_governance.server.context import iso
from wandb_governance.server.gid import encode
from wandb_governance.server.graphql.connection import connection
from wandb_governance.server.graphql.schema import QUERY, NodeType
from wandb_governance.server.problem import NotFound
from wandb_governance.server.projects.nodes import PROJECT
from wandb_governance.server.runs.nodes import RUN

if TYPE_CHECKING:
    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Args, Node, Row

ARTIFACT = NodeType("Artifact")
ARTIFACT_TYPE = NodeType("ArtifactType")
SEQUENCE = NodeType("ArtifactSequence", interfaces=("ArtifactCollection",))
PORTFOLIO = NodeType("ArtifactPortfolio", interfaces=("ArtifactCollection",))
MEMBERSHIP = NodeType("ArtifactCollectionMembership")
ALIAS = NodeType("ArtifactAlias")
TAG = NodeType("Tag")

NO_TTL = -2
"""What the SDK reads as "no time to live"."""

ARTIFACT.columns(
    versionIndex="version_index", description="description", metadata="metadata_json", historyStep="history_step",
    state="state", size="size", digest="digest", digestAlgorithm="digest_algorithm", commitHash="commit_hash",
    fileCount="file_count",
)  # fmt: skip
ARTIFACT.field("id")(lambda artifact, _args, _ctx: encode("Artifact", artifact["id"]))
ARTIFACT.field("createdAt")(lambda artifact, _args, _ctx: iso(artifact["created_at"]))
ARTIFACT.field("updatedAt")(lambda artifact, _args, _ctx: iso(artifact["updated_at"]))
ARTIFACT.field("ttlIsInherited")(lambda artifact, _args, _ctx: artifact["ttl_seconds"] is None)
ARTIFACT.field("artifactType")(
    lambda artifact, _args, ctx: ARTIFACT_TYPE(by_id(ctx, "artifact_type", artifact["type_id"]))
)
ARTIFACT.field("artifactSequence")(
    lambda artifact, _args, ctx: collection_node(by_id(ctx, "collection", artifact["sequence_id"]))
)
ARTIFACT.field("tags")(lambda artifact, _args, ctx: tag_nodes(ctx, "artifact", artifact["id"]))

ARTIFACT_TYPE.columns(name="name", description="description")
ARTIFACT_TYPE.field("id")(lambda kind, _args, _ctx: encode("ArtifactType", kind["id"]))
ARTIFACT_TYPE.field("createdAt")(lambda kind, _args, _ctx: iso(kind["created_at"]))

MEMBERSHIP.columns(versionIndex="version_index")
MEMBERSHIP.field("id")(lambda member, _args, _ctx: encode("ArtifactCollectionMembership", member["id"]))
MEMBERSHIP.field("createdAt")(lambda member, _args, _ctx: iso(member["created_at"]))
MEMBERSHIP.field("artifact")(lambda member, _args, ctx: ARTIFACT(by_id(ctx, "artifact", member["artifact_id"])))
MEMBERSHIP.field("artifactCollection")(
    lambda member, _args, ctx: collection_node(by_id(ctx, "collection", member["collection_id"]))
)

ALIAS.columns(alias="alias")
ALIAS.field("id")(lambda alias, _args, _ctx: encode("ArtifactAlias", alias["id"]))
ALIAS.field("artifactCollection")(
    lambda alias, _args, ctx: collection_node(by_id(ctx, "collection", alias["collection_id"]))
)

TAG.columns(name="name")
TAG.constants(tagCategoryName=None, attributes=None)
TAG.field("id")(lambda tag, _args, _ctx: encode("Tag", tag["id"]))


def collection_node(row: Row | None) -> Node | None:
    """The node of a collection, of the type its kind says."""
    if row is None:
        return None
    return SEQUENCE(row) if row["kind"] == "sequence" else PORTFOLIO(row)


def tag_nodes(ctx: Context, owner: str, owner_id: int) -> list[Node | None]:
    """Tags of an artifact or a collection, by name."""
    rows = ctx.tx.all("SELECT * FROM tag WHERE owner = ? AND owner_id = ? ORDER BY name", owner, owner_id)
    return [TAG(row) for row in rows]


@ARTIFACT.field("ttlDurationSeconds")
def ttl(artifact: Row, _args: Args, _ctx: Context) -> int:
    """Seconds to live, -2 for no end."""
    seconds = artifact["ttl_seconds"]
    return NO_TTL if seconds is None else int(seconds)


@ARTIFACT.field("aliases")
def aliases(artifact: Row, _args: Args, ctx: Context) -> list[Node | None]:
    """Aliases in every collection the version is a member of."""
    rows = ctx.tx.all(
        "SELECT alias.* FROM alias JOIN membership ON membership.id = membership_id WHERE artifact_id = ? "
        "ORDER BY alias.id",
        artifact["id"],
    )
    return [ALIAS(row) for row in rows]


@ARTIFACT.field("artifactMemberships")
def memberships(artifact: Row, args: Args, ctx: Context) -> Row:
    """Every collection the version is a member of: its sequence, and what it is linked to."""
    rows = ctx.tx.all("SELECT * FROM membership WHERE artifact_id = ? ORDER BY id", artifact["id"])
    return connection([MEMBERSHIP(row) for row in rows], args, default=1000)


@ARTIFACT.field("usedBy")
def used_by(artifact: Row, args: Args, ctx: Context) -> Row:
    """Runs that used the version."""
    rows = ctx.tx.all(
        "SELECT run.* FROM artifact_use JOIN run ON run.id = run_id WHERE artifact_id = ? "
        "ORDER BY artifact_use.created_at",
        artifact["id"],
    )
    return connection([RUN(row) for row in rows], args, default=1000)


@ARTIFACT.field("createdBy")
def created_by(artifact: Row, _args: Args, ctx: Context) -> Node | None:
    """The run that made the version, or the user where no run did."""
    run = by_id(ctx, "run", artifact["run_id"])
    return RUN(run) if run else USER(by_id(ctx, "user", artifact["user_id"]))


@MEMBERSHIP.field("aliases")
def membership_aliases(member: Row, _args: Args, ctx: Context) -> list[Node | None]:
    """Aliases that point here in this collection."""
    rows = ctx.tx.all("SELECT * FROM alias WHERE membership_id = ? ORDER BY id", member["id"])
    return [ALIAS(row) for row in rows]


@QUERY.field("artifact")
def artifact_by_id(_root: Row, args: Args, ctx: Context) -> Node | None:
    """An artifact by its id."""
    try:
        return ARTIFACT(artifact_by_gid(ctx, args.get("id")))
    except NotFound:
        return None


@QUERY.field("clientIDMapping")
def client_id_mapping(_root: Row, args: Args, ctx: Context) -> Row | None:
    """The id of the artifact that the SDK made under its own id."""
    row_id = ctx.tx.scalar(
        "SELECT id FROM artifact WHERE client_id = ? AND state <> 'DELETED' ORDER BY id DESC LIMIT 1",
        str(args.get("clientID")),
    )
    if row_id is None:
        row_id = ctx.tx.scalar("SELECT id FROM collection WHERE client_id = ? LIMIT 1", str(args.get("clientID")))
        latest = latest_artifact(ctx, row_id) if row_id is not None else None
        row_id = latest["id"] if latest else None
    return None if row_id is None else {"serverID": encode("Artifact", row_id)}


@PROJECT.field("artifact")
def project_artifact(project: Row, args: Args, ctx: Context) -> Node | None:
    """A version by ``collection:alias``."""
    member = membership_named(ctx, project["id"], args.get("name"))
    return ARTIFACT(by_id(ctx, "artifact", member["artifact_id"])) if member else None


@PROJECT.field("artifactCollectionMembership")
def project_membership(project: Row, args: Args, ctx: Context) -> Node | None:
    """A version and its place in a collection, by ``collection:alias``."""
    return MEMBERSHIP(membership_named(ctx, project["id"], args.get("name")))


def run_artifacts(ctx: Context, sql: str, run_id: int, args: Args) -> Row:
    """A connection over artifacts of a run."""
    return connection([ARTIFACT(row) for row in ctx.tx.all(sql, run_id)], args)


RUN.field("outputArtifacts")(
    lambda run, args, ctx: run_artifacts(
        ctx, "SELECT * FROM artifact WHERE run_id = ? AND state = 'COMMITTED' ORDER BY id", run["id"], args
    )
)
RUN.field("inputArtifacts")(
    lambda run, args, ctx: run_artifacts(
        ctx,
        "SELECT artifact.* FROM artifact_use u JOIN artifact ON artifact.id = artifact_id WHERE u.run_id = ? "
        "AND state = 'COMMITTED' ORDER BY u.created_at, artifact.id",
        run["id"],
        args,
    )
)


def artifact_value(row: Row, key: str) -> Any:
    """What a filter or order key means for an artifact row with ``alias_names`` and ``tag_names``."""
    from wandb_governance.server.graphql.filters import MISSING
    from wandb_governance.server.runs.lookup import decode_json

    if key in {"alias", "aliases"}:
        return row["alias_names"]
    if key in {"tag", "tags"}:
        return row["tag_names"]
    if key in {"createdAt", "created_at", "updatedAt", "updated_at"}:
        return iso(row["created_at" if key.startswith("created") else "updated_at"])
    if key in {"versionIndex", "version_index", "version"}:
        return row["version_index"]
    area, _, rest = key.partition(".")
    if area == "metadata":
        value: Any = decode_json("metadata", row["metadata_json"] or "{}")
        for part in rest.split(".") if rest else ():
            if not isinstance(value, dict) or part not in value:
                return MISSING
            value = value[part]
        return value
    return row.get(key, MISSING)
