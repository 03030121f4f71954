"""``Run``: what is read of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from wandb_governance.server.accounts.lookup import by_id
from wandb_governance.server.accounts.nodes import USER
from wandb_governance.server.context import iso
from wandb_governance.server.gid import encode
from wandb_governance.server.graphql.connection import page, page_bounds
from wandb_governance.server.graphql.filters import MISSING, ordered, read_filter, read_order
from wandb_governance.server.graphql.schema import NodeType
from wandb_governance.server.projects.nodes import PROJECT
from wandb_governance.server.runs import history
from wandb_governance.server.runs.lookup import decode_json, run_named

if TYPE_CHECKING:
    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Args, Node, Row

RUN = NodeType("Run")

RUN.columns(
    name="name", displayName="display_name", description="description", notes="notes", group="group_name",
    jobType="job_type", commit="git_commit", repo="git_repo", host="host", program="program", state="state",
    config="config_json", summaryMetrics="summary_json", historyLineCount="history_lines", exitcode="exit_code",
)  # fmt: skip
RUN.constants(readOnly=False, computeSeconds=0, defaultColorIndex=0)
RUN.field("id")(lambda run, _args, _ctx: encode("Run", run["id"]))
RUN.field("projectId")(lambda run, _args, _ctx: str(run["project_id"]))
RUN.field("createdAt")(lambda run, _args, _ctx: iso(run["created_at"]))
RUN.field("updatedAt")(lambda run, _args, _ctx: iso(run["updated_at"]))
RUN.field("heartbeatAt")(lambda run, _args, _ctx: iso(run["heartbeat_at"]))
RUN.field("tags")(lambda run, _args, _ctx: decode_json("tags", run["tags_json"]))
RUN.field("user")(lambda run, _args, ctx: USER(by_id(ctx, "user", run["user_id"])))
RUN.field("project")(lambda run, _args, ctx: PROJECT(by_id(ctx, "project", run["project_id"])))
RUN.field("historyKeys")(lambda run, _args, ctx: history.key_statistics(ctx, run))
RUN.field("shouldStop", "stopped")(lambda run, _args, _ctx: bool(run["stop_requested"]))
RUN.field("running")(lambda run, _args, _ctx: run["state"] == "running")
RUN.field("failed")(lambda run, _args, _ctx: run["state"] in {"failed", "crashed"})
# no parquet: the SDK then pages over history rows, which keeps nested values and filters by keys exactly
RUN.constants(parquetHistory={"parquetUrls": [], "liveData": []})


@RUN.field("sweepName")
def sweep_name(run: Row, _args: Args, ctx: Context) -> str | None:
    """Name of the sweep the run belongs to."""
    sweep = by_id(ctx, "sweep", run["sweep_id"])
    return str(sweep["name"]) if sweep else None


@RUN.field("sampledHistory")
def sampled_history(run: Row, args: Args, ctx: Context) -> list[list[Row]]:
    """For each spec the rows that have all its keys."""
    specs = args.get("specs") or ()
    # the sweep agent sends one spec where a list is declared; GraphQL reads that as a list of one
    return [history.sampled(ctx, run, spec) for spec in ([specs] if isinstance(specs, str | dict) else specs)]


@RUN.field("history")
def history_rows(run: Row, args: Args, ctx: Context) -> list[str]:
    """Rows as JSON text."""
    return history.full(
        ctx, run, samples=_whole(args.get("samples"), 500), low=_step(args.get("minStep")),
        high=_step(args.get("maxStep")),
    )  # fmt: skip


@RUN.field("events")
def events(run: Row, args: Args, ctx: Context) -> list[str]:
    """Rows of system metrics as JSON text, evenly thinned."""
    samples = max(1, min(_whole(args.get("samples"), 500), history.MAX_ROWS))
    rows = ctx.tx.all(
        "WITH numbered AS (SELECT line, content, count(*) OVER () AS total FROM stream_line WHERE run_id = ?1 AND "
        "stream = 'wandb-events.jsonl') SELECT content FROM numbered WHERE line % max(1, total / ?2) = 0 "
        "ORDER BY line LIMIT ?2",
        run["id"],
        samples,
    )
    return [row["content"] for row in rows]


def _whole(value: Any, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _step(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**62 else None


@RUN.field("systemMetrics")
def system_metrics(run: Row, _args: Args, ctx: Context) -> str:
    """The newest value of each system metric, JSON text."""
    rows = ctx.tx.all(
        "SELECT content FROM stream_line WHERE run_id = ? AND stream = 'wandb-events.jsonl' "
        "ORDER BY line DESC LIMIT 20",
        run["id"],
    )
    newest: Row = {}
    for row in reversed(rows):
        decoded = decode_json("an event", row["content"])
        if isinstance(decoded, dict):
            newest.update({key: value for key, value in decoded.items() if key.startswith("system.")})
    return orjson.dumps(newest).decode()


@RUN.field("historyTail")
def history_tail(run: Row, _args: Args, ctx: Context) -> str:
    """The last history line, as JSON text of a list."""
    text = ctx.tx.scalar("SELECT row_json FROM history WHERE run_id = ? ORDER BY line DESC LIMIT 1", run["id"])
    return orjson.dumps([] if text is None else [text]).decode()


@RUN.field("eventsTail")
def events_tail(run: Row, _args: Args, ctx: Context) -> str:
    """The last system metrics line, as JSON text of a list."""
    text = ctx.tx.scalar(
        "SELECT content FROM stream_line WHERE run_id = ? AND stream = 'wandb-events.jsonl' ORDER BY line DESC LIMIT 1",
        run["id"],
    )
    return orjson.dumps([] if text is None else [text]).decode()


def stream_lines(ctx: Context, run_id: int, stream: str) -> int:
    """Lines of a stream: one more than the highest line number."""
    return int(
        ctx.tx.scalar(
            "SELECT coalesce(max(line) + 1, 0) FROM stream_line WHERE run_id = ? AND stream = ?", run_id, stream
        )
    )


RUN.field("eventsLineCount")(lambda run, _args, ctx: stream_lines(ctx, run["id"], "wandb-events.jsonl"))
RUN.field("logLineCount")(lambda run, _args, ctx: stream_lines(ctx, run["id"], "output.log"))


@RUN.field("wandbConfig")
def wandb_config(run: Row, args: Args, _ctx: Context) -> str | None:
    """The SDK's own part of the config; null until the run has really started, which is what resume asks."""
    config = decode_json("config", run["config_json"])
    own = config.get("_wandb") if isinstance(config, dict) else None
    value = own.get("value") if isinstance(own, dict) else None
    if not run["started"] or not isinstance(value, dict):
        return None
    keys = args.get("keys")
    return orjson.dumps({key: value[key] for key in value if not keys or key in keys}).decode()


@PROJECT.field("run", "bucket")
def project_run(project: Row, args: Args, ctx: Context) -> Node | None:
    """One run of a project; ``bucket`` is its older name."""
    return RUN(run_named(ctx, project["id"], args.get("name")))


@PROJECT.field("runCount")
def run_count(project: Row, args: Args, ctx: Context) -> int:
    """How many runs pass a filter."""
    if args.get("filters") in (None, "", "{}"):
        return int(ctx.tx.scalar("SELECT count(*) FROM run WHERE project_id = ?", project["id"]))
    return len(select_runs(ctx, project["id"], args.get("filters"), None))


@PROJECT.field("runs")
def runs(project: Row, args: Args, ctx: Context) -> Row:
    """Runs by filter and order, in pages."""
    return run_page(ctx, select_runs(ctx, project["id"], args.get("filters"), args.get("order")), args)


def run_page(ctx: Context, chosen: list[int], args: Args) -> Row:
    """A connection over run ids; only the page's rows are read."""
    offset, size = page_bounds(args)
    rows = [ctx.tx.one("SELECT * FROM run WHERE id = ?", run_id) for run_id in chosen[offset : offset + size]]
    return page([RUN(row) for row in rows], offset, len(chosen))


def select_runs(ctx: Context, project_id: int, filters: Any, order: Any, *, sweep_id: int | None = None) -> list[int]:
    """Ids of the runs that pass, in order; newest first where nothing else is asked."""
    predicate = read_filter(filters, run_value)
    keys = read_order(order)
    where, parameter = ("sweep_id = ?", sweep_id) if sweep_id is not None else ("project_id = ?", project_id)
    if predicate is None and not keys:
        rows = ctx.tx.each(f"SELECT id FROM run WHERE {where} ORDER BY created_at DESC, id DESC", parameter)  # noqa: S608
        return [row["id"] for row in rows]
    rows = ctx.tx.each(
        "SELECT run.*, user.username, sweep.name AS sweep_name FROM run LEFT JOIN user ON user.id = run.user_id "  # noqa: S608
        f"LEFT JOIN sweep ON sweep.id = run.sweep_id WHERE run.{where} ORDER BY run.created_at DESC, run.id DESC",
        parameter,
    )
    passing = [row for row in rows if predicate is None or predicate(row)]
    return [row["id"] for row in (ordered(passing, keys, run_value) if keys else passing)]


_PLAIN = {
    "name": "name", "display_name": "display_name", "displayName": "display_name", "state": "state",
    "group": "group_name", "job_type": "job_type", "jobType": "job_type", "host": "host", "username": "username",
    "sweep": "sweep_name", "sweepName": "sweep_name", "description": "description", "notes": "notes",
    "commit": "git_commit",
}  # fmt: skip

_TIMES = {
    "created_at": "created_at", "createdAt": "created_at", "updated_at": "updated_at", "updatedAt": "updated_at",
    "heartbeat_at": "heartbeat_at", "heartbeatAt": "heartbeat_at",
}  # fmt: skip


def run_value(run: Row, key: str) -> Any:
    """What a filter or order key means for a run row joined with its user's and sweep's name."""
    if key in _PLAIN:
        return run[_PLAIN[key]]
    if key in _TIMES:
        return iso(run[_TIMES[key]])
    if key == "tags":
        return decode_json("tags", run["tags_json"])
    if key == "duration":
        return (run["heartbeat_at"] - run["created_at"]) / 1_000_000_000
    area, _, rest = key.partition(".")
    if area == "config":
        return _config_value(decode_json("config", run["config_json"]), rest)
    if area in {"summary_metrics", "summary", "summaryMetrics"}:
        return _nested(decode_json("summary", run["summary_json"]), rest)
    return MISSING


def _config_value(config: Row, path: str) -> Any:
    unwrapped = {k: v["value"] if isinstance(v, dict) and "value" in v else v for k, v in config.items()}
    found = _nested(unwrapped, path)
    return _nested(unwrapped, path.removesuffix(".value")) if found is MISSING else found


def _nested(value: Any, path: str) -> Any:
    if isinstance(value, dict) and path in value:
        return value[path]
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            return MISSING
        value = value[part]
    return value
