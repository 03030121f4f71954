"""Console lines: stored as the SDK sends them, told apart into time, level and text when read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson

from wandb_governance.server.context import iso
from wandb_governance.server.graphql.connection import page, page_bounds
from wandb_governance.server.runs.nodes import RUN, stream_lines

if TYPE_CHECKING:
    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Args, Row

_PLAIN = re.compile(r"(?:(ERROR) )?(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z?) (.*)", re.DOTALL)


@RUN.field("logLines")
def log_lines(run: Row, args: Args, ctx: Context) -> Row:
    """Console lines in pages from the start (``first``, ``after``) or from the end (``last``)."""
    total = stream_lines(ctx, run["id"], "output.log")
    last = args.get("last")
    if isinstance(last, int) and not isinstance(last, bool) and last >= 0:
        size = min(last, 10_000)
        offset = max(0, total - size)
    else:
        offset, size = page_bounds(args, default=1000)
    rows = ctx.tx.all(
        "SELECT * FROM stream_line WHERE run_id = ? AND stream = 'output.log' AND line >= ? ORDER BY line LIMIT ?",
        run["id"], offset, size,
    )  # fmt: skip
    return page([_line(row) for row in rows], offset, total)


def _line(row: Row) -> Row:
    text = row["content"]
    structured = _structured(text)
    if structured is not None:
        return structured | {"number": row["line"]}
    match = _PLAIN.fullmatch(text)
    level, when, line = match.groups() if match else (None, None, text)
    return {
        "__typename": "LogLine",
        "number": row["line"],
        "timestamp": when or iso(row["received_at"]),
        "level": "error" if level else "",
        "label": "",
        "line": line,
    }


def _structured(text: str) -> Row | None:
    if not text.startswith('{"'):
        return None
    try:
        decoded: Any = orjson.loads(text)
    except ValueError:
        return None
    if not isinstance(decoded, dict) or "content" not in decoded:
        return None
    return {
        "__typename": "LogLine",
        "timestamp": decoded.get("ts"),
        "level": decoded.get("level"),
        "label": decoded.get("label"),
        "line": decoded["content"],
    }
