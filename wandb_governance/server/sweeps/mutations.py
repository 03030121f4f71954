"""Creating, changing and feeding sweeps."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from wandb_governance.server.gid import decode, encode
from wandb_governance.server.graphql.schema import MUTATION
from wandb_governance.server.problem import BadRequest, NotFound, Unprocessable
from wandb_governance.server.projects.lookup import ensure_project
from wandb_governance.server.runs.lookup import decode_json, json_object
from wandb_governance.server.runs.mutations import insert_run
from wandb_governance.server.runs.nodes import select_runs
from wandb_governance.server.sweeps.nodes import SWEEP
from wandb_governance.server.sweeps.search import read_config, violations, warm_up

if TYPE_CHECKING:
    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Args, Row

STATES = frozenset({"PENDING", "RUNNING", "PAUSED", "FINISHED", "CANCELED"})

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def new_name() -> str:
    """A name for a run or a sweep: eight letters and digits, as the SDK makes them."""
    return "".join(secrets.choice(_LETTERS) for _ in range(8))


def sweep_by_gid(ctx: Context, gid: Any) -> Row:
    """The sweep of a global id.

    Raises:
        NotFound: There is none.
    """
    sweep = ctx.tx.one("SELECT * FROM sweep WHERE id = ?", decode(gid, "Sweep"))
    if sweep is None:
        raise NotFound(f"no sweep has the id {str(gid)[:80]!r}")
    return sweep


@MUTATION.field("upsertSweep")
def upsert_sweep(_root: Row, args: Args, ctx: Context) -> Row:
    """Create a sweep, or change its state, its config or what its controller asks for."""
    given = args.get("input") or {}
    changes = _changes(given)
    warnings: list[str] = []
    if given.get("config") is not None:
        config = read_config(given["config"])
        changes["config"] = given["config"]
        if not given.get("id"):
            warnings = _checked(config)
    if given.get("id"):
        sweep = sweep_by_gid(ctx, given["id"])
        ctx.tx.update("sweep", sweep["id"], updated_at=ctx.now_ns, **changes)
        if changes.get("state") == "CANCELED":
            ctx.tx.execute(
                "UPDATE run SET stop_requested = 1 WHERE sweep_id = ? AND state IN ('running', 'pending')", sweep["id"]
            )
    else:
        sweep = _insert(ctx, given, changes)
    row = ctx.tx.one("SELECT * FROM sweep WHERE id = ?", sweep["id"])
    return {"sweep": SWEEP(row), "configValidationWarnings": warnings}


def _changes(given: Args) -> Row:
    changes: Row = {}
    for name, column in (("description", "description"), ("displayName", "display_name")):
        if given.get(name) is not None:
            changes[column] = str(given[name])
    state = given.get("state")
    if state is not None:
        if state not in STATES:
            raise BadRequest(f"unknown sweep state {str(state)[:40]!r}")
        changes["state"] = state
    for name, column in (("controller", "controller_json"), ("scheduler", "scheduler_json")):
        if given.get(name) is not None and decode_json(name, given[name]) is not None:
            changes[column] = given[name]
    return changes


def _checked(config: Row) -> list[str]:
    if "scheduler" in config:
        return []
    warm_up()
    if config.get("method") not in {"grid", "random", "bayes", "custom", None}:
        raise Unprocessable(
            f"the sweep method {str(config.get('method'))[:40]!r} is none of grid, random, bayes, custom"
        )
    return violations(config)


def _insert(ctx: Context, given: Args, changes: Row) -> Row:
    if "config" not in changes:
        raise BadRequest("a new sweep needs a config")
    project = ensure_project(ctx, given.get("entityName"), given.get("projectName"))
    config = read_config(changes["config"])
    now = ctx.now_ns
    changes.setdefault("state", "PENDING")
    changes.setdefault("display_name", str(config["name"]) if config.get("name") else None)
    changes.setdefault("description", str(config["description"]) if config.get("description") else None)
    sweep_id = ctx.tx.insert(
        "sweep", project_id=project["id"], name=new_name(), user_id=ctx.user["id"],
        prior_runs_filters_json=given.get("priorRunsFilters"), created_at=now, updated_at=now, **changes,
    )  # fmt: skip
    if given.get("priorRunsFilters"):
        for run_id in select_runs(ctx, project["id"], given["priorRunsFilters"], None):
            ctx.tx.update("run", run_id, sweep_id=sweep_id)
    row = ctx.tx.one("SELECT * FROM sweep WHERE id = ?", sweep_id)
    assert row is not None
    return row


@MUTATION.field("enqueueSweepRun")
def enqueue_run(_root: Row, args: Args, ctx: Context) -> Row:
    """Put a run with a given config into the sweep's queue; the next agent that asks gets it."""
    given = args.get("input") or {}
    sweep = sweep_by_gid(ctx, given.get("id"))
    if sweep["state"] in {"FINISHED", "CANCELED"}:
        raise Unprocessable(f"the sweep is {sweep['state'].lower()}; no run can be added")
    config = json_object("config", given.get("config")) or {}
    run = insert_run(
        ctx, sweep["project_id"], new_name(), display_name=given.get("displayName"), sweep_id=sweep["id"], config=config
    )
    item_id = ctx.tx.insert("sweep_queue", sweep_id=sweep["id"], run_id=run["id"])
    return {"id": encode("Run", run["id"]), "name": run["name"], "runQueueItemId": encode("RunQueueItem", item_id)}


@MUTATION.field("createAgent")
def create_agent(_root: Row, args: Args, ctx: Context) -> Row:
    """Register an agent of a sweep."""
    given = args.get("input") or {}
    project = ensure_project(ctx, given.get("entityName"), given.get("projectName"))
    sweep = ctx.tx.one("SELECT * FROM sweep WHERE project_id = ? AND name = ?", project["id"], str(given.get("sweep")))
    if sweep is None:
        raise NotFound(f"sweep {str(given.get('sweep'))[:80]!r} not found")
    warm_up()
    now = ctx.now_ns
    agent_id = ctx.tx.insert(
        "sweep_agent", sweep_id=sweep["id"], name=new_name(), host=str(given.get("host") or ""), created_at=now,
        heartbeat_at=now,
    )  # fmt: skip
    return {"agent": {"__typename": "Agent", "id": encode("Agent", agent_id)}}
