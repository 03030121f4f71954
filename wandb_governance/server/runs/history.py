"""Rows of ``run.log``: written by line, read by step, sampled without holding a whole run in memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import orjson

from wandb_governance.server.events import Event
from wandb_governance.server.problem import BadRequest
from wandb_governance.server.runs.lookup import decode_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Row

MAX_ROWS = 50_000
"""Rows in one answer; the SDK asks for pages of 1,000 to 10,000."""

_NO_LIMIT = 2**62


def write(ctx: Context, run: Row, offset: int, lines: Sequence[str]) -> Row:
    """Store rows from line ``offset`` on; the columns of the run that change.

    Raises:
        BadRequest: A line is not a JSON object.
    """
    if not lines:
        return {}
    rows = [_row(line) for line in lines]
    before = run["last_step"]
    steps = [_step(row, offset + i) for i, row in enumerate(rows)]
    run_id = run["id"]
    ctx.tx.many(
        "INSERT INTO history (run_id, line, step, row_json) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (run_id, line) DO UPDATE SET step = excluded.step, row_json = excluded.row_json",
        ((run_id, offset + i, step, line) for i, (step, line) in enumerate(zip(steps, lines, strict=True))),
    )
    changes: Row = {
        "history_lines": max(run["history_lines"], offset + len(lines)),
        "last_step": max(before, *steps),
    }
    if offset < run["history_lines"]:
        changes["keys_stale"] = 1
    elif not run["keys_stale"]:
        count_keys(ctx, run_id, rows)
    ctx.emit(Event(kind="RUN_HISTORY", project_id=run["project_id"], run_id=run_id, facts={"rows": rows}))
    return changes


def _row(line: str) -> Row:
    row = decode_json("a history line", line)
    if not isinstance(row, dict):
        raise BadRequest("a history line must be a JSON object")
    return row


def _step(row: Row, line: int) -> int:
    step = row.get("_step", line)
    if isinstance(step, float) and math.isfinite(step):
        step = int(step)
    if not isinstance(step, int) or isinstance(step, bool) or abs(step) >= 2**53:
        raise BadRequest("_step must be an integer")
    return step


def flatten(row: Row, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Keys and values with nested objects as ``a.b``; a W&B media object stays whole."""
    for key, value in row.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and "_type" not in value and len(prefix) < 500:
            yield from flatten(value, name + ".")
        else:
            yield name, value


def count_keys(ctx: Context, run_id: int, rows: Iterable[Row]) -> None:
    """Add rows to the run's key statistics, which ``historyKeys`` answers from."""
    counts: dict[tuple[str, str], list[Any]] = {}
    for row in rows:
        for key, value in flatten(row):
            if value is None:
                continue
            entry = counts.setdefault((key, _type_of(value)), [0, True, None])
            entry[0] += 1
            if isinstance(value, int | float) and not isinstance(value, bool):
                entry[1] = entry[1] and (entry[2] is None or value >= entry[2])
                entry[2] = value
    ctx.tx.many(
        "INSERT INTO history_key (run_id, key, type, count, monotonic, previous) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (run_id, key, type) DO UPDATE SET count = count + excluded.count, previous = excluded.previous, "
        "monotonic = monotonic AND excluded.monotonic AND "
        "(excluded.previous IS NULL OR previous IS NULL OR excluded.previous >= previous)",
        ((run_id, key, kind, n, int(up), _storable(last)) for (key, kind), (n, up, last) in counts.items()),
    )


def _storable(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _type_of(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("_type", "map"))
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return "string" if isinstance(value, str) else "list"


def key_statistics(ctx: Context, run: Row) -> Row:
    """``historyKeys``: for each key the types of its values and how often each came."""
    if run["keys_stale"]:
        rows = (_row(row["row_json"]) for row in _stored(ctx, run["id"]))
        statistics = _statistics_of(rows)
    else:
        statistics = ctx.tx.all("SELECT * FROM history_key WHERE run_id = ? ORDER BY key, type", run["id"])
    keys: Row = {}
    for entry in statistics:
        known = keys.setdefault(entry["key"], {"typeCounts": [], "monotonic": True, "previousValue": None})
        known["typeCounts"].append({"type": entry["type"], "count": entry["count"]})
        known["monotonic"] = known["monotonic"] and bool(entry["monotonic"])
        if entry["previous"] is not None:
            known["previousValue"] = entry["previous"]
    return {"sets": [], "keys": keys, "lastStep": run["last_step"]}


def _statistics_of(rows: Iterable[Row]) -> list[Row]:
    entries: dict[tuple[str, str], Row] = {}
    for row in rows:
        for key, value in flatten(row):
            if value is None:
                continue
            kind = _type_of(value)
            entry = entries.setdefault(
                (key, kind), {"key": key, "type": kind, "count": 0, "monotonic": True, "previous": None}
            )
            entry["count"] += 1
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
                entry["monotonic"] = entry["monotonic"] and (entry["previous"] is None or value >= entry["previous"])
                entry["previous"] = value
    return [entries[key] for key in sorted(entries)]


def _stored(ctx: Context, run_id: int, low: int = -_NO_LIMIT, high: int = _NO_LIMIT) -> Iterator[Row]:
    return ctx.tx.each(
        "SELECT row_json FROM history WHERE run_id = ? AND step >= ? AND step < ? ORDER BY step, line",
        run_id,
        low,
        high,
    )


def full(ctx: Context, run: Row, *, samples: int, low: int | None, high: int | None) -> list[str]:
    """Up to ``samples`` rows as JSON text, evenly spaced over steps ``low`` <= step < ``high``."""
    first = -_NO_LIMIT if low is None else low
    last = _NO_LIMIT if high is None else high
    total = ctx.tx.scalar(
        "SELECT count(*) FROM history WHERE run_id = ? AND step >= ? AND step < ?", run["id"], first, last
    )
    wanted = max(1, min(samples, MAX_ROWS))
    chosen = _even(total, wanted)
    return [row["row_json"] for i, row in enumerate(_stored(ctx, run["id"], first, last)) if i in chosen]


def _even(total: int, wanted: int) -> range | frozenset[int]:
    if total <= wanted:
        return range(total)
    if wanted == 1:
        return frozenset({total - 1})
    # both ends are kept: the last point of a curve is the one people look at
    return frozenset(round(i * (total - 1) / (wanted - 1)) for i in range(wanted))


def sampled(ctx: Context, run: Row, spec: Any) -> list[Row]:
    """Rows that have every key of ``spec``, cut to those keys, evenly thinned to ``spec["samples"]``.

    Args:
        ctx: The request.
        run: The run.
        spec: JSON text of ``{"keys": [...], "samples": n, "minStep": a, "maxStep": b}``; steps are inclusive.
    """
    given = decode_json("a history spec", spec) if isinstance(spec, str) else spec
    if not isinstance(given, dict):
        raise BadRequest("a history spec must be a JSON object")
    keys = [str(key) for key in given.get("keys") or ()]
    samples = max(1, min(_whole(given.get("samples"), 500), MAX_ROWS))
    low = _whole(given.get("minStep"), -_NO_LIMIT)
    high = _whole(given.get("maxStep"), _NO_LIMIT - 1)
    kept: list[Row] = []
    stride = 1
    seen = 0
    # memory stays at two pages whatever the run's length: when the buffer is full, every other row goes
    for text in _stored(ctx, run["id"], low, high + 1):
        row = _pick(text["row_json"], keys)
        if row is None:
            continue
        if seen % stride == 0:
            kept.append(row)
            if len(kept) > 2 * samples:
                kept = kept[::2]
                stride *= 2
        seen += 1
    return kept if len(kept) <= samples else [kept[i] for i in sorted(_even(len(kept), samples))]


def _whole(value: Any, default: int) -> int:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > 2**62:
        raise BadRequest("samples, minStep and maxStep must be numbers")
    return int(value)


def _pick(text: str, keys: Sequence[str]) -> Row | None:
    row = decode_json("a history line", text)
    if not keys:
        return {key: _plain(value) for key, value in row.items()}
    found = {}
    for key in keys:
        value = _lookup(row, key)
        if value is None:
            return None
        found[key] = _plain(value)
    return found


def _lookup(row: Row, key: str) -> Any:
    if key in row:
        return row[key]
    value: Any = row
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value


def _plain(value: Any) -> Any:
    """JSON has no NaN; the SDK reads these three words back as floats."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list) else value


def rewind(ctx: Context, run: Row, last_step: int) -> Row:
    """Drop rows after ``last_step``; the columns of the run that change, its summary built from what is left."""
    ctx.tx.execute("DELETE FROM history WHERE run_id = ? AND step > ?", run["id"], last_step)
    lines = ctx.tx.scalar("SELECT coalesce(max(line) + 1, 0) FROM history WHERE run_id = ?", run["id"])
    summary: Row = {}
    for row in _stored(ctx, run["id"]):
        summary.update(_row(row["row_json"]))
    final = ctx.tx.scalar("SELECT coalesce(max(step), -1) FROM history WHERE run_id = ?", run["id"])
    return {
        "history_lines": lines,
        "last_step": final,
        "keys_stale": 1,
        "summary_json": orjson.dumps(_plain(summary)).decode(),
    }
