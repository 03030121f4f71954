"""``User``, ``Entity``, ``Organization`` and what hangs on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wandb_governance.server.accounts.lookup import by_id, default_entity, entity_named
from wandb_governance.server.context import iso
from wandb_governance.server.gid import encode
from wandb_governance.server.graphql.connection import connection
from wandb_governance.server.graphql.schema import QUERY, NodeType

if TYPE_CHECKING:
    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Args, Node, Row

USER = NodeType("User")
ENTITY = NodeType("Entity")
ORGANIZATION = NodeType("Organization")

USER.columns(username="username", name="name", email="email")
USER.constants(flags="{}", photoUrl=None, accountType="MEMBER")
USER.field("id")(lambda user, _args, _ctx: encode("User", user["id"]))
USER.field("admin")(lambda user, _args, _ctx: bool(user["admin"]))
USER.field("deletedAt")(lambda user, _args, _ctx: iso(user["deleted_at"]))
USER.field("createdAt")(lambda user, _args, _ctx: iso(user["created_at"]))

ENTITY.columns(name="name")
ENTITY.constants(
    available=False, photoUrl=None, readOnly=False, readOnlyAdmin=False, privateOnly=False,
    codeSavingEnabled=True, defaultAccess="PRIVATE", isPaid=True, limits=None, xxhashDigestsEnabled=False,
)  # fmt: skip
ENTITY.field("id")(lambda entity, _args, _ctx: encode("Entity", entity["id"]))
ENTITY.field("isTeam")(lambda entity, _args, _ctx: entity["kind"] == "team")
ENTITY.field("createdAt")(lambda entity, _args, _ctx: iso(entity["created_at"]))

_ENTITY_TYPES = {"user": "USER", "team": "TEAM", "org": "organization"}
ENTITY.field("entityType")(lambda entity, _args, _ctx: _ENTITY_TYPES[entity["kind"]])

ORGANIZATION.columns(name="name")
ORGANIZATION.constants(coreWeaveOrganizationId=None, advancedRegistryFeatures={"advancedSearch": False})
ORGANIZATION.field("id")(lambda org, _args, _ctx: encode("Organization", org["id"]))


@QUERY.field("viewer")
def viewer(_root: Row, _args: Args, ctx: Context) -> Node | None:
    """The user of the key."""
    return USER(ctx.user)


@QUERY.field("entity")
def entity(_root: Row, args: Args, ctx: Context) -> Node | None:
    """An entity by name."""
    return ENTITY(entity_named(ctx, args.get("name")))


@QUERY.field("organization")
def organization(_root: Row, args: Args, ctx: Context) -> Node | None:
    """An organisation by name."""
    return ORGANIZATION(ctx.tx.one("SELECT * FROM organization WHERE name = ?", str(args.get("name"))))


@QUERY.field("users")
def users(_root: Row, args: Args, ctx: Context) -> Row:
    """Users whose name or address is the query."""
    query = str(args.get("query") or "")
    rows = ctx.tx.all(
        "SELECT * FROM user WHERE deleted_at IS NULL AND (username = ?1 OR email = ?1) ORDER BY id", query
    )
    return connection([USER(row) for row in rows], args)


@USER.field("entity")
def user_entity(user: Row, _args: Args, ctx: Context) -> str:
    """Name of the default entity."""
    if user["id"] == ctx.user["id"]:
        return str(default_entity(ctx)["name"])
    row = by_id(ctx, "entity", user["default_entity_id"] or user["entity_id"])
    return str(row["name"]) if row else ""


@USER.field("teams")
def teams(user: Row, args: Args, ctx: Context) -> Row:
    """The user's own entity and its teams."""
    rows = ctx.tx.all(
        "SELECT * FROM entity WHERE id = ?1 OR id IN (SELECT entity_id FROM team_member WHERE user_id = ?2) "
        "ORDER BY id",
        user["entity_id"],
        user["id"],
    )
    return connection([ENTITY(row) for row in rows], args, default=1000)


@USER.field("apiKeys")
def api_keys(user: Row, args: Args, ctx: Context) -> Row:
    """The user's keys, by name only: the store keeps their hashes."""
    rows = ctx.tx.all("SELECT * FROM api_key WHERE user_id = ? ORDER BY id", user["id"])
    nodes = [
        {
            "__typename": "ApiKey",
            "id": encode("ApiKey", row["id"]),
            "name": row["name"],
            "description": row["description"],
            "createdAt": iso(row["created_at"]),
        }
        for row in rows
    ]
    return connection(nodes, args, default=1000)


@USER.field("organizations")
def user_organizations(user: Row, _args: Args, ctx: Context) -> list[Node | None]:
    """Organisations the user is a member of."""
    rows = ctx.tx.all(
        "SELECT organization.* FROM organization JOIN organization_member ON organization_id = organization.id "
        "WHERE user_id = ? ORDER BY organization.id",
        user["id"],
    )
    return [ORGANIZATION(row) for row in rows]


@ENTITY.field("organization")
def entity_organization(entity: Row, _args: Args, ctx: Context) -> Node | None:
    """The organisation of a team or of an organisation's own entity."""
    return ORGANIZATION(by_id(ctx, "organization", entity["organization_id"]))


@ENTITY.field("user")
def entity_user(entity: Row, _args: Args, ctx: Context) -> Node | None:
    """The user of a personal entity."""
    return USER(ctx.tx.one("SELECT * FROM user WHERE entity_id = ?", entity["id"]))


@ENTITY.field("members")
def members(entity: Row, _args: Args, ctx: Context) -> list[Row]:
    """Users of a team, or the one user of a personal entity; then who is invited."""
    rows = ctx.tx.all(
        "SELECT user.*, team_member.role FROM user JOIN team_member ON team_member.user_id = user.id "
        "WHERE team_member.entity_id = ?1 UNION ALL SELECT user.*, 'admin' FROM user WHERE entity_id = ?1",
        entity["id"],
    )
    listed = [
        {
            "__typename": "Member",
            "id": encode("User", row["id"]),
            "role": row["role"],
            "admin": row["role"] == "admin",
            "pending": False,
            "email": row["email"],
            "username": row["username"],
            "name": row["name"],
            "photoUrl": None,
            "accountType": "SERVICE" if row["service"] else "MEMBER",
            "apiKey": None,
        }
        for row in rows
    ]
    invited = ctx.tx.all("SELECT * FROM invite WHERE entity_id = ? ORDER BY id", entity["id"])
    return listed + [
        {
            "__typename": "Member",
            "id": encode("Invite", row["id"]),
            "role": "admin" if row["admin"] else "member",
            "admin": bool(row["admin"]),
            "pending": True,
            "email": row["email"],
            "username": None,
            "name": row["email"] or "",
            "photoUrl": None,
            "accountType": "MEMBER",
            "apiKey": None,
        }
        for row in invited
    ]


@ENTITY.field("storageBytes")
def storage_bytes(entity: Row, _args: Args, ctx: Context) -> int:
    """Bytes of run files and artifacts in the entity's projects."""
    return int(
        ctx.tx.scalar(
            "SELECT (SELECT coalesce(sum(run_file.size), 0) FROM run_file JOIN run ON run.id = run_id JOIN project p "
            "ON p.id = run.project_id WHERE p.entity_id = ?1) + (SELECT coalesce(sum(artifact.size), 0) FROM artifact "
            "JOIN collection c ON c.id = sequence_id JOIN project p ON p.id = c.project_id WHERE p.entity_id = ?1)",
            entity["id"],
        )
    )


@ORGANIZATION.field("orgEntity")
def org_entity(org: Row, _args: Args, ctx: Context) -> Node | None:
    """The entity that holds the organisation's registries."""
    return ENTITY(ctx.tx.one("SELECT * FROM entity WHERE organization_id = ? AND kind = 'org'", org["id"]))


@ORGANIZATION.field("featureFlags")
def feature_flags(_org: Row, _args: Args, _ctx: Context) -> list[Row]:
    """None is set: what the SDK asks for here are roll-outs of the hosted service."""
    return []
