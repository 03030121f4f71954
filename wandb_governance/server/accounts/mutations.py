"""Teams, users, keys and invitations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_governance.server.accounts.keys import add_key, add_user, new_key
from wandb_governance.server.accounts.lookup import entity_named, require_entity
from wandb_governance.server.accounts.nodes import ENTITY, USER
from wandb_governance.server.context import iso
from wandb_governance.server.gid import decode, encode
from wandb_governance.server.graphql.schema import MUTATION
from wandb_governance.server.problem import BadRequest, Conflict, NotFound, Refused
from wandb_governance.server.projects.lookup import checked_name

if TYPE_CHECKING:
    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Args, Row


def _only_admin(ctx: Context) -> None:
    if not ctx.user["admin"]:
        raise Refused("only an admin of this server may do that")


def _free_name(ctx: Context, name: Any) -> str:
    wanted = checked_name("entity", name)
    if ctx.tx.one("SELECT 1 AS found FROM entity WHERE name = ?", wanted) is not None:
        raise Conflict(f"the entity {wanted!r} exists already")
    return wanted


@MUTATION.field("createTeam")
def create_team(_root: Row, args: Args, ctx: Context) -> Row:
    """A team of the organisation, with its first admin."""
    given = args.get("input") or {}
    _only_admin(ctx)
    name = _free_name(ctx, given.get("teamName"))
    organization_id = ctx.tx.scalar("SELECT id FROM organization ORDER BY id LIMIT 1")
    entity_id = ctx.tx.insert("entity", name=name, kind="team", organization_id=organization_id, created_at=ctx.now_ns)
    admin = ctx.user
    if given.get("teamAdminUserName"):
        found = ctx.tx.one("SELECT * FROM user WHERE username = ?", str(given["teamAdminUserName"]))
        if found is None:
            raise NotFound(f"user {str(given['teamAdminUserName'])[:80]!r} not found")
        admin = found
    ctx.tx.insert("team_member", entity_id=entity_id, user_id=admin["id"], role="admin")
    return {"entity": ENTITY(ctx.tx.one("SELECT * FROM entity WHERE id = ?", entity_id))}


@MUTATION.field("createInvite")
def create_invite(_root: Row, args: Args, ctx: Context) -> Row:
    """Invite to a team: a user of this server joins at once, anyone else stays invited."""
    given = args.get("input") or {}
    team = require_entity(ctx, given.get("entityName"))
    if team["kind"] != "team":
        raise BadRequest(f"{team['name']!r} is not a team")
    email = given.get("email")
    user = ctx.tx.one(
        "SELECT * FROM user WHERE username = ? OR (email IS NOT NULL AND email = ?)",
        str(given.get("username") or ""), None if email is None else str(email),
    )  # fmt: skip
    if user is None and not email:
        raise NotFound(f"user {str(given.get('username'))[:80]!r} not found")
    admin = bool(given.get("admin"))
    invite_id = 0
    if user is not None:
        ctx.tx.execute(
            "INSERT INTO team_member (entity_id, user_id, role) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            team["id"], user["id"], "admin" if admin else "member",
        )  # fmt: skip
    else:
        invite_id = ctx.tx.insert(
            "invite", entity_id=team["id"], email=str(email), admin=int(admin), created_at=ctx.now_ns
        )
    return {
        "invite": {
            "__typename": "Invite",
            "id": encode("Invite", invite_id),
            "name": user["name"] if user else None,
            "email": email,
            "createdAt": iso(ctx.now_ns),
            "toUser": USER(user),
        }
    }


@MUTATION.field("deleteInvite")
def delete_invite(_root: Row, args: Args, ctx: Context) -> Row:
    """Take an invitation back, or a member out of a team (the SDK uses this call for both)."""
    given = args.get("input") or {}
    team = require_entity(ctx, given.get("entityName"))
    member_id = decode(given.get("id"), "Invite", "User")
    gone = ctx.tx.execute("DELETE FROM invite WHERE id = ? AND entity_id = ?", member_id, team["id"])
    if not gone:
        gone = ctx.tx.execute("DELETE FROM team_member WHERE user_id = ? AND entity_id = ?", member_id, team["id"])
    return {"success": bool(gone)}


@MUTATION.field("createServiceAccount")
def create_service_account(_root: Row, args: Args, ctx: Context) -> Row:
    """A user of a team without a person behind it."""
    given = args.get("input") or {}
    _only_admin(ctx)
    team = require_entity(ctx, given.get("entityName"))
    number = ctx.tx.scalar("SELECT count(*) FROM user") + 1
    user = add_user(ctx.tx, f"{team['name']}-service-{number}", now_ns=ctx.now_ns, service=True)
    ctx.tx.update("user", user["id"], name=str(given.get("description") or user["name"]))
    if team["kind"] == "team":
        ctx.tx.insert("team_member", entity_id=team["id"], user_id=user["id"], role="member")
    return {"user": USER(ctx.tx.one("SELECT * FROM user WHERE id = ?", user["id"]))}


@MUTATION.field("createUser")
def create_user(_root: Row, args: Args, ctx: Context) -> Row:
    """A user of this server; the name is what stands before the @ of the address."""
    given = args.get("input") or {}
    _only_admin(ctx)
    email = given.get("email")
    if not isinstance(email, str) or "@" not in email:
        raise BadRequest("email must be an address")
    name = _free_name(ctx, email.partition("@")[0])
    user = add_user(ctx.tx, name, now_ns=ctx.now_ns, email=email, admin=bool(given.get("admin")))
    return {"user": USER(user)}


@MUTATION.field("generateApiKey")
def generate_api_key(_root: Row, args: Args, ctx: Context) -> Row:
    """A further key of the user; shown once, the store keeps its hash."""
    given = args.get("input") or {}
    key = new_key()
    description = given.get("description")
    key_id = add_key(ctx.tx, ctx.user["id"], key, description=description, now_ns=ctx.now_ns)
    shown = {"__typename": "ApiKey", "id": encode("ApiKey", key_id), "name": key, "description": description}
    return {"apiKey": shown}


@MUTATION.field("deleteApiKey")
def delete_api_key(_root: Row, args: Args, ctx: Context) -> Row:
    """Withdraw a key of the user."""
    key_id = decode((args.get("input") or {}).get("id"), "ApiKey")
    gone = ctx.tx.execute("DELETE FROM api_key WHERE id = ? AND user_id = ?", key_id, ctx.user["id"])
    return {"success": bool(gone)}


@MUTATION.field("updateUser")
def update_user(_root: Row, args: Args, ctx: Context) -> Row:
    """The user's default entity."""
    given = args.get("input") or {}
    if given.get("defaultEntity"):
        entity = entity_named(ctx, given["defaultEntity"])
        if entity is None:
            raise NotFound(f"entity {str(given['defaultEntity'])[:80]!r} not found")
        ctx.tx.update("user", ctx.user["id"], default_entity_id=entity["id"])
    return {"user": USER(ctx.tx.one("SELECT * FROM user WHERE id = ?", ctx.user["id"]))}
