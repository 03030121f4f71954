"""Mutations on runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_governance.server.events import Event
from wandb_governance.server.graphql.schema import MUTATION
from wandb_governance.server.problem import BadRequest, NotFound, Unprocessable
from wandb_governance.server.projects.lookup import checked_name, ensure_project
from wandb_governance.server.runs import history
from wandb_governance.server.runs.filestream import dumps
from wandb_governance.server.runs.lookup import decode_json, json_object, require_run, run_by_gid, run_named
from wandb_governance.server.runs.nodes import RUN

if TYPE_CHECKING:
    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Args, Row

_COLUMNS = {
    "displayName": "display_name", "description": "description", "notes": "notes", "groupName": "group_name",
    "jobType": "job_type", "commit": "git_commit", "jobRepo": "git_repo", "host": "host", "jobProgram": "program",
}  # fmt: skip

_STATES = frozenset({"pending", "running", "finished", "failed", "crashed", "killed", "preempting", "preempted"})

_TRANSITIONS = {"pending": {"running", "failed", "crashed", "preempted"}, "failed": {"pending", "running"}}


@MUTATION.field("upsertBucket")
def upsert_bucket(_root: Row, args: Args, ctx: Context) -> Row:
    """Create a run or change one: by name the config is merged, by id it is replaced."""
    given = args.get("input") or {}
    changes: Row = {column: given[name] for name, column in _COLUMNS.items() if given.get(name) is not None}
    for column, value in changes.items():
        if not isinstance(value, str):
            raise BadRequest(f"{column} must be text")
    tags = given.get("tags")
    if tags is not None:
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise BadRequest("tags must be a list of text")
        changes["tags_json"] = dumps(list(dict.fromkeys(tags)))
    summary = json_object("summaryMetrics", given.get("summaryMetrics"))
    if summary is not None:
        changes["summary_json"] = given["summaryMetrics"]
    config = json_object("config", given.get("config"))
    state = given.get("state")
    if state is not None:
        if state not in _STATES:
            raise BadRequest(f"unknown run state {str(state)[:40]!r}")
        changes["state"] = state
    if given.get("id"):
        run = run_by_gid(ctx, given["id"])
        inserted = False
        if config is not None:
            changes["config_json"] = dumps(config)
    else:
        run, inserted = _run_by_name(ctx, given)
        if config is not None:
            changes["config_json"] = dumps(decode_json("config", run["config_json"]) | config)
        if not run["started"] and state is None:
            changes |= {"started": 1, "state": "running", "stop_requested": 0}
    ctx.tx.update("run", run["id"], updated_at=ctx.now_ns, heartbeat_at=ctx.now_ns, **changes)
    return {"bucket": RUN(ctx.tx.one("SELECT * FROM run WHERE id = ?", run["id"])), "inserted": inserted}


def _run_by_name(ctx: Context, given: Args) -> tuple[Row, bool]:
    name = checked_name("run", given.get("name"))
    project = ensure_project(ctx, given.get("entityName"), given.get("modelName"))
    run = run_named(ctx, project["id"], name)
    sweep_id = None
    if given.get("sweep"):
        sweep_id = ctx.tx.scalar(
            "SELECT id FROM sweep WHERE project_id = ? AND name = ?", project["id"], str(given["sweep"])
        )
        if sweep_id is None:
            raise NotFound(f"sweep {str(given['sweep'])[:80]!r} not found")
    if run is not None:
        if sweep_id is not None and run["sweep_id"] is None:
            ctx.tx.update("run", run["id"], sweep_id=sweep_id)
        return run, not run["started"]
    return insert_run(ctx, project["id"], name, display_name=given.get("displayName"), sweep_id=sweep_id), True


def insert_run(
    ctx: Context,
    project_id: int,
    name: str,
    *,
    display_name: str | None = None,
    sweep_id: int | None = None,
    agent_id: int | None = None,
    config: Row | None = None,
) -> Row:
    """A new run that waits for its process (state ``pending``)."""
    now = ctx.now_ns
    run_id = ctx.tx.insert(
        "run", project_id=project_id, name=name, display_name=display_name or name, state="pending",
        user_id=ctx.user["id"], sweep_id=sweep_id, agent_id=agent_id, config_json=dumps(config or {}),
        created_at=now, updated_at=now, heartbeat_at=now,
    )  # fmt: skip
    row = ctx.tx.one("SELECT * FROM run WHERE id = ?", run_id)
    assert row is not None
    return row


@MUTATION.field("rewindRun")
def rewind_run(_root: Row, args: Args, ctx: Context) -> Row:
    """Cut a run back to a step, so that it can go on from there."""
    given = args.get("input") or {}
    run = require_run(ctx, given.get("entityName"), given.get("projectName"), given.get("runName"))
    if given.get("metricName") != "_step":
        raise BadRequest("a run can be rewound by _step only")
    value = given.get("metricValue")
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise BadRequest("metricValue must be a step")
    if value > run["last_step"]:
        raise Unprocessable(f"run {run['name']!r} ends at step {run['last_step']}; it can't be rewound to {value:g}")
    changes = history.rewind(ctx, run, int(value))
    ctx.tx.update("run", run["id"], updated_at=ctx.now_ns, state="running", stop_requested=0, **changes)
    return {"rewoundRun": RUN(ctx.tx.one("SELECT * FROM run WHERE id = ?", run["id"]))}


@MUTATION.field("stopRun")
def stop_run(_root: Row, args: Args, ctx: Context) -> Row:
    """Ask a live run to stop; its process hears it in the reply to its next heartbeat."""
    run = run_by_gid(ctx, (args.get("input") or {}).get("id"))
    if run["state"] in {"running", "pending", "preempting"}:
        ctx.tx.update("run", run["id"], stop_requested=1, updated_at=ctx.now_ns)
    return {"success": True}


@MUTATION.field("updateRunState")
def update_run_state(_root: Row, args: Args, ctx: Context) -> Row:
    """Requeue a lost run or give it up; runs of a sweep are the sweep's."""
    given = args.get("input") or {}
    run = run_by_gid(ctx, given.get("id"))
    wanted = given.get("state")
    if run["sweep_id"] is not None:
        raise Unprocessable("the state of a sweep's run can't be set")
    if not isinstance(wanted, str) or run["state"] not in _TRANSITIONS.get(wanted, set()):
        raise Unprocessable(f"a run can't go from {run['state']!r} to {str(wanted)[:40]!r}")
    ctx.tx.update("run", run["id"], state=wanted, updated_at=ctx.now_ns)
    ctx.emit(
        Event(
            kind="RUN_STATE",
            project_id=run["project_id"],
            run_id=run["id"],
            facts={"state": wanted, "before": run["state"]},
        )
    )
    return {"success": True}


@MUTATION.field("deleteRun")
def delete_run(_root: Row, args: Args, ctx: Context) -> Row:
    """Remove a run and, when asked, the artifacts it made."""
    given = args.get("input") or {}
    run = run_by_gid(ctx, given.get("id"))
    if given.get("deleteArtifacts"):
        ctx.tx.execute("DELETE FROM artifact WHERE run_id = ?", run["id"])
    ctx.tx.execute("DELETE FROM run WHERE id = ?", run["id"])
    return {"clientMutationId": given.get("clientMutationId")}


@MUTATION.field("notifyScriptableRunAlert")
def alert(_root: Row, args: Args, ctx: Context) -> Row:
    """Keep an alert of ``run.alert``; equal titles within the wait are dropped, as on W&B."""
    given = args.get("input") or {}
    run = require_run(ctx, given.get("entityName"), given.get("projectName"), given.get("runName"))
    wait = given.get("waitDuration")
    wait_ns = int(wait) * 1_000_000 if isinstance(wait, int | float) and 0 <= wait < 2**40 else 60_000_000_000
    last = ctx.tx.scalar(
        "SELECT max(created_at) FROM alert WHERE run_id = ? AND title = ?", run["id"], str(given.get("title"))
    )
    if last is None or ctx.now_ns - last >= wait_ns:
        ctx.tx.insert(
            "alert", run_id=run["id"], title=str(given.get("title")), text=str(given.get("text")),
            severity=str(given.get("severity") or "INFO"), created_at=ctx.now_ns,
        )  # fmt: skip
    return {"success": True}


def as_gid_list(value: Any) -> list[Any]:
    """A list argument.

    Raises:
        BadRequest: It is something else.
    """
    if not isinstance(value, list):
        raise BadRequest("a list of ids is needed")
    return value
