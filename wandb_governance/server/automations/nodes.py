"""``Trigger`` and its integrations: read, created, changed, deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from wandb_governance.server.accounts.lookup import by_id, require_entity
from wandb_governance.server.accounts.nodes import ENTITY, ORGANIZATION
from wandb_governance.server.artifacts.nodes import collection_node
from wandb_governance.server.context import iso
from wandb_governance.server.gid import decode, encode
from wandb_governance.server.graphql.connection import connection
from wandb_governance.server.graphql.filters import MISSING, read_filter
from wandb_governance.server.graphql.schema import MUTATION, NodeType
from wandb_governance.server.problem import BadRequest, Conflict, NotFound
from wandb_governance.server.projects.nodes import PROJECT
from wandb_governance.server.runs.lookup import decode_json

if TYPE_CHECKING:
    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Args, Node, Row

TRIGGER = NodeType("Trigger")
WEBHOOK = NodeType("GenericWebhookIntegration")
SLACK = NodeType("SlackIntegration")

SCOPES = {"PROJECT": "project", "ARTIFACT_COLLECTION": "collection", "ENTITY": "entity"}
"""Scope types and the table each lives in."""

RUN_EVENTS = frozenset({"RUN_METRIC", "RUN_METRIC_CHANGE", "RUN_METRIC_ZSCORE", "RUN_STATE"})
EVENTS = RUN_EVENTS | {
    "CREATE_ARTIFACT", "LINK_MODEL", "UNLINK_ARTIFACT", "ADD_ARTIFACT_ALIAS", "ADD_ARTIFACT_TAG", "REMOVE_ARTIFACT_TAG",
    "ADD_COLLECTION_TAG", "REMOVE_COLLECTION_TAG",
}  # fmt: skip
ACTIONS = {
    "NO_OP": ("NoOpTriggeredAction", "noOpActionInput"),
    "NOTIFICATION": ("NotificationTriggeredAction", "notificationActionInput"),
    "GENERIC_WEBHOOK": ("GenericWebhookTriggeredAction", "genericWebhookActionInput"),
}
"""Action types with the name the API answers and the key of their input."""

TRIGGER.columns(name="name", description="description")
TRIGGER.constants(lastExecutedAt=None)
TRIGGER.field("id")(lambda trigger, _args, _ctx: encode("Trigger", trigger["id"]))
TRIGGER.field("enabled")(lambda trigger, _args, _ctx: bool(trigger["enabled"]))
TRIGGER.field("createdAt")(lambda trigger, _args, _ctx: iso(trigger["created_at"]))
TRIGGER.field("updatedAt")(lambda trigger, _args, _ctx: iso(trigger["updated_at"]))

for _type in (WEBHOOK, SLACK):
    _type.columns(name="name")
    _type.constants(teamName=None, channelName=None)
    _type.field("id")(lambda row, _args, _ctx: encode("Integration", row["id"]))
WEBHOOK.columns(urlEndpoint="url")


@TRIGGER.field("scope")
def scope(trigger: Row, _args: Args, ctx: Context) -> Node | None:
    """The project, collection or entity the trigger watches."""
    row = by_id(ctx, SCOPES[trigger["scope_type"]], trigger["scope_id"])
    if trigger["scope_type"] == "ARTIFACT_COLLECTION":
        return collection_node(row)
    return PROJECT(row) if trigger["scope_type"] == "PROJECT" else ENTITY(row)


@TRIGGER.field("triggeringCondition")
def condition(trigger: Row, _args: Args, _ctx: Context) -> Row:
    """Event and filter; the SDK reads the filter of an artifact event one level deeper than that of a run event."""
    text = trigger["filter_json"]
    if trigger["event_type"] not in RUN_EVENTS:
        text = orjson.dumps({"filter": text}).decode()
    return {"__typename": "FilterEventTriggeringCondition", "eventType": trigger["event_type"], "filter": text}


@TRIGGER.field("triggeredAction")
def action(trigger: Row, _args: Args, ctx: Context) -> Row:
    """What the trigger does."""
    typename, key = ACTIONS[trigger["action_type"]]
    given = decode_json("action", trigger["action_json"]).get(key) or {}
    answer: Row = {"__typename": typename}
    if trigger["action_type"] == "NO_OP":
        return {**answer, "noOp": True}
    answer["integration"] = integration_node(by_id(ctx, "integration", trigger["integration_id"]))
    if trigger["action_type"] == "GENERIC_WEBHOOK":
        return {**answer, "requestPayload": given.get("requestPayload")}
    return {**answer, **{name: given.get(name) for name in ("title", "message", "severity")}}


def integration_node(row: Row | None) -> Node | None:
    """The node of an integration, of the type its kind says."""
    if row is None:
        return None
    return WEBHOOK(row) if row["kind"] == "webhook" else SLACK(row)


def _triggers(ctx: Context, where: str, parameter: Any) -> list[Row]:
    return ctx.tx.all(
        "SELECT trigger_.* FROM trigger_ LEFT JOIN project ON project.id = trigger_.project_id "  # noqa: S608
        f"LEFT JOIN entity ON entity.id = trigger_.entity_id WHERE {where} ORDER BY trigger_.id",
        parameter,
    )


def _page(rows: list[Row], args: Args) -> Row:
    def value(row: Row, key: str) -> Any:
        return row.get(key, MISSING)

    predicate = read_filter(args.get("filters"), value)
    return connection([TRIGGER(row) for row in rows if predicate is None or predicate(row)], args)


@PROJECT.field("triggers")
def project_triggers(project: Row, _args: Args, ctx: Context) -> list[Node | None]:
    """Triggers of a project and of its collections."""
    return [TRIGGER(row) for row in _triggers(ctx, "trigger_.project_id = ?", project["id"])]


@ENTITY.field("triggers")
def entity_triggers(entity: Row, args: Args, ctx: Context) -> Row:
    """Triggers of an entity and of everything in it."""
    return _page(_triggers(ctx, "trigger_.entity_id = ?", entity["id"]), args)


@ORGANIZATION.field("triggers")
def organization_triggers(organization: Row, args: Args, ctx: Context) -> Row:
    """Triggers in every entity of the organisation."""
    return _page(_triggers(ctx, "entity.organization_id = ?", organization["id"]), args)


@ENTITY.field("integrations")
def integrations(entity: Row, args: Args, ctx: Context) -> Row:
    """Integrations of an entity."""
    rows = ctx.tx.all("SELECT * FROM integration WHERE entity_id = ? ORDER BY id", entity["id"])
    return connection([integration_node(row) for row in rows], args)


@MUTATION.field("createGenericWebhookIntegration")
def create_webhook(_root: Row, args: Args, ctx: Context) -> Row:
    """A webhook that triggers of an entity may call."""
    given = args.get("input") or {}
    entity = require_entity(ctx, given.get("entityName"))
    url = given.get("urlEndpoint")
    if not isinstance(url, str) or not url.startswith(("http://", "https://")) or len(url) > 2000:
        raise BadRequest("urlEndpoint must be an http or https address")
    name = str(given.get("name") or "")
    if not name or ctx.tx.one(
        "SELECT 1 AS found FROM integration WHERE entity_id = ? AND name = ?", entity["id"], name
    ):
        raise Conflict(f"the entity has an integration {name!r} already, or the name is empty")
    row_id = ctx.tx.insert(
        "integration", entity_id=entity["id"], kind="webhook", name=name, url=url, created_at=ctx.now_ns
    )
    return {"integration": integration_node(ctx.tx.one("SELECT * FROM integration WHERE id = ?", row_id))}


def _scope_of(ctx: Context, given: Args) -> Row:
    scope_type = given.get("scopeType")
    if scope_type not in SCOPES:
        raise BadRequest(f"unknown scope type {str(scope_type)[:40]!r}")
    kinds = ("Project", "ProjectInternalId", "ArtifactCollection", "Entity")
    row_id = decode(given.get("scopeID"), *kinds)
    row = ctx.tx.one(f"SELECT * FROM {SCOPES[scope_type]} WHERE id = ?", row_id)  # noqa: S608
    if row is None:
        raise NotFound(f"no {SCOPES[scope_type]} has the id {str(given.get('scopeID'))[:80]!r}")
    if scope_type == "ENTITY":
        return {"scope_type": scope_type, "scope_id": row_id, "project_id": None, "entity_id": row_id}
    project = row if scope_type == "PROJECT" else ctx.tx.one("SELECT * FROM project WHERE id = ?", row["project_id"])
    assert project is not None
    return {
        "scope_type": scope_type, "scope_id": row_id, "project_id": project["id"], "entity_id": project["entity_id"],
    }  # fmt: skip


def _columns(ctx: Context, given: Args) -> Row:
    columns: Row = _scope_of(ctx, given)
    event, kind = given.get("triggeringEventType"), given.get("triggeredActionType")
    if event not in EVENTS:
        raise BadRequest(f"unknown event {str(event)[:40]!r}")
    if event in RUN_EVENTS and columns["scope_type"] == "ARTIFACT_COLLECTION":
        raise BadRequest(f"the event {event} needs a project or an entity as its scope, not a collection")
    if kind not in ACTIONS:
        raise BadRequest(f"this server has no action {str(kind)[:40]!r}; use one of {', '.join(ACTIONS)}")
    filter_text = given.get("eventFilter") or "{}"
    decode_json("eventFilter", filter_text)
    config = given.get("triggeredActionConfig")
    if not isinstance(config, dict):
        raise BadRequest("triggeredActionConfig must be an object")
    action_input = config.get(ACTIONS[kind][1])
    integration_id = None
    if kind != "NO_OP":
        gid = action_input.get("integrationID") if isinstance(action_input, dict) else None
        integration_id = decode(gid, "Integration")
        if ctx.tx.one("SELECT 1 AS found FROM integration WHERE id = ?", integration_id) is None:
            raise NotFound("the integration does not exist")
    name = str(given.get("name") or "")
    if not name or len(name) > 255:
        raise BadRequest("an automation needs a name of at most 255 characters")
    return columns | {
        "name": name, "description": None if given.get("description") is None else str(given["description"]),
        "enabled": int(bool(given.get("enabled", True))), "event_type": event, "filter_json": filter_text,
        "action_type": kind, "action_json": orjson.dumps(config, option=orjson.OPT_NON_STR_KEYS).decode(),
        "integration_id": integration_id, "updated_at": ctx.now_ns,
    }  # fmt: skip


@MUTATION.field("createFilterTrigger")
def create_trigger(_root: Row, args: Args, ctx: Context) -> Row:
    """A new automation; a name that its scope has already is a conflict."""
    columns = _columns(ctx, args.get("input") or {})
    taken = ctx.tx.one(
        "SELECT 1 AS found FROM trigger_ WHERE scope_type = ? AND scope_id = ? AND name = ?",
        columns["scope_type"], columns["scope_id"], columns["name"],
    )  # fmt: skip
    if taken is not None:
        raise Conflict(f"an automation {columns['name']!r} exists in that scope already")
    row_id = ctx.tx.insert("trigger_", user_id=ctx.user["id"], created_at=ctx.now_ns, **columns)
    return {"trigger": TRIGGER(ctx.tx.one("SELECT * FROM trigger_ WHERE id = ?", row_id))}


def _trigger(ctx: Context, gid: Any) -> Row:
    row = ctx.tx.one("SELECT * FROM trigger_ WHERE id = ?", decode(gid, "Trigger"))
    if row is None:
        raise NotFound(f"no automation has the id {str(gid)[:80]!r}")
    return row


@MUTATION.field("updateFilterTrigger")
def update_trigger(_root: Row, args: Args, ctx: Context) -> Row:
    """Change an automation as a whole."""
    given = args.get("input") or {}
    row = _trigger(ctx, given.get("id"))
    ctx.tx.update("trigger_", row["id"], **_columns(ctx, given))
    return {"trigger": TRIGGER(ctx.tx.one("SELECT * FROM trigger_ WHERE id = ?", row["id"]))}


@MUTATION.field("deleteTrigger")
def delete_trigger(_root: Row, args: Args, ctx: Context) -> Row:
    """Remove an automation."""
    row = _trigger(ctx, (args.get("input") or {}).get("triggerID"))
    ctx.tx.execute("DELETE FROM trigger_ WHERE id = ?", row["id"])
    return {"success": True}
