"""``Sweep`` and its agents."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from wandb_governance.server.accounts.lookup import by_id
from wandb_governance.server.accounts.nodes import USER
from wandb_governance.server.context import iso
from wandb_governance.server.gid import encode
from wandb_governance.server.graphql.connection import connection
from wandb_governance.server.graphql.filters import MISSING, ordered, read_filter, read_order
from wandb_governance.server.graphql.schema import NodeType
from wandb_governance.server.projects.nodes import PROJECT
from wandb_governance.server.runs.lookup import decode_json
from wandb_governance.server.runs.nodes import RUN, run_page, select_runs
from wandb_governance.server.sweeps.search import grid_size, read_config

if TYPE_CHECKING:
    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Args, Node, Row

SWEEP = NodeType("Sweep")
AGENT = NodeType("Agent")

AGENT_ALIVE_NS = 60_000_000_000
"""An agent that has not asked for that long is listed as gone."""

SWEEP.columns(
    name="name", displayName="display_name", description="description", config="config", state="state",
    controller="controller_json", scheduler="scheduler_json", controllerRunName="controller_run_name",
)  # fmt: skip
SWEEP.constants(earlyStopJobRunning=False)
SWEEP.field("id")(lambda sweep, _args, _ctx: encode("Sweep", sweep["id"]))
SWEEP.field("createdAt")(lambda sweep, _args, _ctx: iso(sweep["created_at"]))
SWEEP.field("updatedAt")(lambda sweep, _args, _ctx: iso(sweep["updated_at"]))
SWEEP.field("heartbeatAt")(lambda sweep, _args, _ctx: iso(sweep["heartbeat_at"]))
SWEEP.field("method")(lambda sweep, _args, _ctx: str(read_config(sweep["config"]).get("method") or "custom"))
SWEEP.field("project")(lambda sweep, _args, ctx: PROJECT(by_id(ctx, "project", sweep["project_id"])))
SWEEP.field("user")(lambda sweep, _args, ctx: USER(by_id(ctx, "user", sweep["user_id"])))

AGENT.columns(name="name", host="host")
AGENT.field("id")(lambda agent, _args, _ctx: encode("Agent", agent["id"]))
AGENT.field("createdAt")(lambda agent, _args, _ctx: iso(agent["created_at"]))
AGENT.field("heartbeatAt")(lambda agent, _args, _ctx: iso(agent["heartbeat_at"]))


@AGENT.field("state")
def agent_state(agent: Row, _args: Args, ctx: Context) -> str:
    """RUNNING while it asks for work, FINISHED after."""
    return "RUNNING" if ctx.now_ns - agent["heartbeat_at"] < AGENT_ALIVE_NS else "FINISHED"


@AGENT.field("totalRuns")
def agent_total(agent: Row, _args: Args, ctx: Context) -> int:
    """Runs it was given."""
    return int(ctx.tx.scalar("SELECT count(*) FROM run WHERE agent_id = ?", agent["id"]))


@AGENT.field("runs")
def agent_runs(agent: Row, args: Args, ctx: Context) -> Row:
    """Runs it was given, in pages."""
    rows = ctx.tx.all("SELECT * FROM run WHERE agent_id = ? ORDER BY id", agent["id"])
    last = args.get("last")
    if isinstance(last, int) and args.get("first") is None:
        rows = rows[-last:] if last > 0 else []
    return connection([RUN(row) for row in rows], args)


@SWEEP.field("agents")
def agents(sweep: Row, args: Args, ctx: Context) -> Row:
    """Every agent that ever joined."""
    rows = ctx.tx.all("SELECT * FROM sweep_agent WHERE sweep_id = ? ORDER BY id", sweep["id"])
    return connection([AGENT(row) for row in rows], args, default=1000)


@SWEEP.field("agent")
def agent(sweep: Row, args: Args, ctx: Context) -> Node | None:
    """One agent by name or id."""
    wanted = str(args.get("agentName"))
    for row in ctx.tx.all("SELECT * FROM sweep_agent WHERE sweep_id = ? ORDER BY id", sweep["id"]):
        if wanted in {row["name"], encode("Agent", row["id"])}:
            return AGENT(row)
    return None


@SWEEP.field("runs")
def sweep_runs(sweep: Row, args: Args, ctx: Context) -> Row:
    """The sweep's runs; all of them where no page is asked for, oldest first."""
    if args.get("first") is None and args.get("filters") is None and args.get("order") is None:
        rows = ctx.tx.all("SELECT * FROM run WHERE sweep_id = ? ORDER BY id", sweep["id"])
        return connection([RUN(row) for row in rows])
    chosen = select_runs(ctx, sweep["project_id"], args.get("filters"), args.get("order"), sweep_id=sweep["id"])
    return run_page(ctx, chosen, args)


@SWEEP.field("runCount")
def run_count(sweep: Row, _args: Args, ctx: Context) -> int:
    """Runs so far."""
    return int(ctx.tx.scalar("SELECT count(*) FROM run WHERE sweep_id = ?", sweep["id"]))


@SWEEP.field("runCountExpected")
def run_count_expected(sweep: Row, _args: Args, _ctx: Context) -> int | None:
    """Runs until the sweep ends by itself: the grid's size or ``run_cap``; null where neither is set."""
    config = read_config(sweep["config"])
    cap = config.get("run_cap")
    bounds = [n for n in (cap, grid_size(config)) if isinstance(n, int) and not isinstance(n, bool)]
    return min(bounds) if bounds else None


@SWEEP.field("bestLoss")
def best_loss(sweep: Row, _args: Args, ctx: Context) -> float | None:
    """The best value of the sweep's metric in the summaries."""
    metric = read_config(sweep["config"]).get("metric")
    name = metric.get("name") if isinstance(metric, dict) else None
    if not isinstance(name, str):
        return None
    values = []
    for row in ctx.tx.each("SELECT summary_json FROM run WHERE sweep_id = ?", sweep["id"]):
        value = decode_json("summary", row["summary_json"]).get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            values.append(float(value))
    if not values:
        return None
    return max(values) if isinstance(metric, dict) and metric.get("goal") == "maximize" else min(values)


@PROJECT.field("sweep")
def project_sweep(project: Row, args: Args, ctx: Context) -> Node | None:
    """A sweep by name."""
    name = str(args.get("sweepName") or args.get("name"))
    return SWEEP(ctx.tx.one("SELECT * FROM sweep WHERE project_id = ? AND name = ?", project["id"], name))


@PROJECT.field("totalSweeps")
def total_sweeps(project: Row, _args: Args, ctx: Context) -> int:
    """Sweeps of the project."""
    return int(ctx.tx.scalar("SELECT count(*) FROM sweep WHERE project_id = ?", project["id"]))


@PROJECT.field("sweeps")
def project_sweeps(project: Row, args: Args, ctx: Context) -> Row:
    """Sweeps by filter and order, newest first."""
    rows = ctx.tx.all("SELECT * FROM sweep WHERE project_id = ? ORDER BY created_at DESC, id DESC", project["id"])
    predicate = read_filter(args.get("filters"), _value)
    passing = [row for row in rows if predicate is None or predicate(row)]
    keys = read_order(args.get("order"))
    chosen = ordered(passing, keys, _value) if keys else passing
    return connection([SWEEP(row) for row in chosen], args)


def _value(sweep: Row, key: str) -> Any:
    if key in {"createdAt", "created_at", "updatedAt", "updated_at"}:
        return iso(sweep["created_at" if key.startswith("created") else "updated_at"])
    if key == "displayName":
        return sweep["display_name"]
    if key == "method":
        return read_config(sweep["config"]).get("method")
    return sweep.get(key, MISSING)
