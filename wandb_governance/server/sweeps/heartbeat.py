"""An agent's heartbeat: stop what must stop, and hand out one point at a time.

Choosing a point may take a second, so it happens between two transactions under the sweep's own lock: no other agent of
the sweep chooses meanwhile, and no other writer waits. A hand-out whose answer got lost is repeated, not replaced.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, cast

import orjson

from wandb_governance.server.gid import decode, encode
from wandb_governance.server.graphql.schema import MUTATION, OWN_TRANSACTION
from wandb_governance.server.problem import NotFound
from wandb_governance.server.runs.history import sampled
from wandb_governance.server.runs.lookup import decode_json, json_object
from wandb_governance.server.runs.mutations import insert_run
from wandb_governance.server.sweeps.mutations import new_name
from wandb_governance.server.sweeps.search import Suggestion, Trial, read_config, suggest, to_stop

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Args, Row

Command = dict[str, Any]

_LIVE = ("pending", "running", "preempting")

OWN_TRANSACTION.add("agentHeartbeat")


@MUTATION.field("agentHeartbeat")
def agent_heartbeat(_root: Row, args: Args, ctx: Context) -> Row:
    """Commands for an agent.

    Raises:
        NotFound: The agent or its sweep was deleted; the agent ends when its run does.
    """
    given = args.get("input") or {}
    agent_id = decode(given.get("id"), "Agent")
    live = {name for name, alive in (json_object("runState", given.get("runState")) or {}).items() if alive}
    database = ctx.services.database
    with database.read() as tx:
        sweep_id = tx.scalar("SELECT sweep_id FROM sweep_agent WHERE id = ?", agent_id)
    if sweep_id is None:
        raise NotFound("the sweep of this agent does not exist any more")
    with ctx.services.locks[f"sweep-{sweep_id}"]:
        commands = _Heartbeat(ctx, sweep_id, agent_id, live).answer()
    return {
        "agent": {"__typename": "Agent", "id": encode("Agent", agent_id)},
        "commands": orjson.dumps(commands).decode(),
    }


class _Heartbeat:
    def __init__(self, ctx: Context, sweep_id: int, agent_id: int, live: set[str]) -> None:
        self._ctx = ctx
        self._sweep_id = sweep_id
        self._agent_id = agent_id
        self._live = live

    def answer(self) -> list[Command]:
        with self._ctx.services.database.write() as tx:
            ctx = dataclasses.replace(self._ctx, tx=tx, memo={})
            sweep = self._note(ctx)
            config = read_config(sweep["config"])
            commands = self._stops(ctx, sweep, config)
            if self._live:
                return commands
            ready = self._ready(ctx, sweep, config)
            if ready is not None:
                return commands + ready
            trials = self._trials(ctx, config)
        suggestion = suggest(config, trials)
        with self._ctx.services.database.write() as tx:
            ctx = dataclasses.replace(self._ctx, tx=tx, memo={})
            if suggestion is None:
                return [*commands, *self._exhausted(ctx)]
            return [*commands, self._hand_out(ctx, config, self._new_run(ctx, sweep, suggestion))]

    def _note(self, ctx: Context) -> Row:
        now = ctx.now_ns
        sweep = ctx.tx.one("SELECT * FROM sweep WHERE id = ?", self._sweep_id)
        if sweep is None:
            raise NotFound("the sweep of this agent does not exist any more")
        changes: Row = {"heartbeat_at": now}
        if sweep["state"] == "PENDING":
            changes["state"] = sweep["state"] = "RUNNING"
        ctx.tx.update("sweep", self._sweep_id, **changes)
        ctx.tx.update("sweep_agent", self._agent_id, heartbeat_at=now)
        if self._live:
            ctx.tx.update("sweep_agent", self._agent_id, unconfirmed_run_id=None)
        return sweep

    def _stops(self, ctx: Context, sweep: Row, config: Mapping[str, Any]) -> list[Command]:
        if config.get("early_terminate") and sweep["state"] == "RUNNING" and "scheduler" not in config:
            for name in to_stop(config, self._trials(ctx, config)):
                ctx.tx.execute(
                    "UPDATE run SET stop_requested = 1, early_stopped = 1 WHERE sweep_id = ? AND name = ?",
                    self._sweep_id, name,
                )  # fmt: skip
        for name in _controller(sweep).get("earlystop") or ():
            ctx.tx.execute(
                "UPDATE run SET stop_requested = 1, early_stopped = 1 WHERE sweep_id = ? AND name = ? "
                "AND state = 'running'",
                self._sweep_id, str(name),
            )  # fmt: skip
        doomed = ctx.tx.all("SELECT name FROM run WHERE sweep_id = ? AND stop_requested = 1", self._sweep_id)
        return [{"type": "stop", "run_id": row["name"]} for row in doomed if row["name"] in self._live]

    def _ready(self, ctx: Context, sweep: Row, config: Mapping[str, Any]) -> list[Command] | None:
        """Commands that need no search; None when a new point has to be chosen."""
        if sweep["state"] == "PAUSED":
            return []
        if sweep["state"] in {"FINISHED", "CANCELED"}:
            return [{"type": "exit"}]
        waiting = self._waiting(ctx)
        if waiting is not None:
            kind = "resume" if waiting["started"] else "run"
            return [self._hand_out(ctx, config, waiting, kind=kind)]
        cap = config.get("run_cap")
        total = ctx.tx.scalar("SELECT count(*) FROM run WHERE sweep_id = ?", self._sweep_id)
        if isinstance(cap, int) and total >= cap:
            return self._exhausted(ctx)
        if "scheduler" in config:
            return []
        local = config.get("controller")
        if isinstance(local, dict) and local.get("type") == "local":
            return self._scheduled(ctx, sweep, config)
        return None

    def _waiting(self, ctx: Context) -> Row | None:
        lost = ctx.tx.one(
            "SELECT run.* FROM sweep_agent a JOIN run ON run.id = a.unconfirmed_run_id WHERE a.id = ? "
            "AND run.started = 0 AND run.state = 'pending'",
            self._agent_id,
        )
        if lost is not None:
            return lost
        queued = ctx.tx.one(
            "SELECT run.*, sweep_queue.id AS item_id FROM sweep_queue JOIN run ON run.id = run_id "
            "WHERE sweep_queue.sweep_id = ? AND handed_out_at IS NULL AND stop_requested = 0 "
            "ORDER BY sweep_queue.id LIMIT 1",
            self._sweep_id,
        )
        if queued is not None:
            ctx.tx.update("sweep_queue", queued["item_id"], handed_out_at=ctx.now_ns)
            return queued
        return ctx.tx.one(
            "SELECT * FROM run WHERE sweep_id = ? AND state = 'preempted' ORDER BY id LIMIT 1", self._sweep_id
        )

    def _scheduled(self, ctx: Context, sweep: Row, config: Mapping[str, Any]) -> list[Command]:
        scheduler = _object(sweep["scheduler_json"])
        scheduled = [entry for entry in scheduler.get("scheduled") or () if isinstance(entry, dict)]
        taken = {entry.get("id") for entry in scheduled}
        for entry in _controller(sweep).get("schedule") or ():
            if not isinstance(entry, dict) or entry.get("id") in taken:
                continue
            data = entry.get("data")
            point = data.get("args") if isinstance(data, dict) else None
            if point is None:
                return self._exhausted(ctx)
            run = self._new_run(ctx, sweep, Suggestion(config=dict(point)))
            scheduled.append({"id": entry.get("id"), "runid": run["name"]})
            scheduler["scheduled"] = scheduled[-100:]
            ctx.tx.update("sweep", sweep["id"], scheduler_json=orjson.dumps(scheduler).decode())
            return [self._hand_out(ctx, config, run)]
        return []

    def _exhausted(self, ctx: Context) -> list[Command]:
        live = ctx.tx.scalar(
            "SELECT count(*) FROM run WHERE sweep_id = ? AND state IN (?, ?, ?)", self._sweep_id, *_LIVE
        )
        if not live:
            ctx.tx.update("sweep", self._sweep_id, state="FINISHED", updated_at=ctx.now_ns)
        return [{"type": "exit"}]

    def _new_run(self, ctx: Context, sweep: Row, suggestion: Suggestion) -> Row:
        number = ctx.tx.scalar("SELECT count(*) FROM run WHERE sweep_id = ?", self._sweep_id) + 1
        run = insert_run(
            ctx, sweep["project_id"], new_name(), display_name=f"{sweep['name']}-{number}", sweep_id=self._sweep_id,
            agent_id=self._agent_id, config=suggestion.config,
        )  # fmt: skip
        if suggestion.search_info:
            ctx.tx.update("run", run["id"], search_info_json=orjson.dumps(suggestion.search_info).decode())
        return run

    def _hand_out(self, ctx: Context, config: Mapping[str, Any], run: Row, *, kind: str = "run") -> Command:
        ctx.tx.update("run", run["id"], agent_id=self._agent_id, heartbeat_at=ctx.now_ns)
        ctx.tx.update("sweep_agent", self._agent_id, unconfirmed_run_id=run["id"])
        if kind == "resume":
            ctx.tx.update("run", run["id"], state="pending", started=0, stop_requested=0)
        point = {
            name: entry
            for name, entry in decode_json("config", run["config_json"]).items()
            if not name.startswith("_wandb")
        }
        return {"type": kind, "run_id": run["name"], "program": config.get("program"), "args": point}

    def _trials(self, ctx: Context, config: Mapping[str, Any]) -> list[Trial]:
        metric = config.get("metric")
        name = metric.get("name") if isinstance(metric, dict) else None
        needs_history = config.get("method") == "bayes" or bool(config.get("early_terminate"))
        trials = []
        for run in ctx.tx.all("SELECT * FROM run WHERE sweep_id = ? ORDER BY id", self._sweep_id):
            rows = sampled(ctx, run, {"keys": [name], "samples": 1000}) if needs_history and name else []
            trials.append(
                Trial(
                    name=run["name"],
                    state=run["state"],
                    config=cast("Row", decode_json("config", run["config_json"])),
                    summary=cast("Row", decode_json("summary", run["summary_json"])),
                    history=rows,
                    stopped=bool(run["early_stopped"]),
                )
            )
        return trials


def _controller(sweep: Row) -> Row:
    return _object(sweep["controller_json"])


def _object(text: str | None) -> Row:
    value = decode_json("controller", text) if text else {}
    return value if isinstance(value, dict) else {}
