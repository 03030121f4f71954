"""The file stream: history, system metrics, summary and console lines of a live run.

Content ``i`` of a file replaces line ``offset + i``, so a request that the SDK sends twice changes nothing the second
time. One request is one transaction: it is acknowledged as a whole or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from wandb_governance.server.events import Event
from wandb_governance.server.problem import BadRequest
from wandb_governance.server.runs import history
from wandb_governance.server.runs.lookup import decode_json, require_run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wandb_governance.server.context import Context
    from wandb_governance.server.graphql.schema import Row

HISTORY = "wandb-history.jsonl"
EVENTS = "wandb-events.jsonl"
SUMMARY = "wandb-summary.json"
CONSOLE = "output.log"

MAX_LINE = 2**53
"""Line numbers stay below; JSON numbers above lose digits in other languages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Lines of one file in one request."""

    offset: int
    """0-based number of the first line."""

    content: list[str]
    """Lines without line feed."""


def read_chunks(body: Mapping[str, Any]) -> dict[str, Chunk]:
    """The chunks of a request body by file name.

    Raises:
        BadRequest: The body has another shape.
    """
    files = body.get("files") or {}
    if not isinstance(files, dict):
        raise BadRequest('"files" must be an object')
    chunks = {}
    for name, given in files.items():
        if not isinstance(given, dict):
            raise BadRequest(f"file {name[:80]!r} must be an object with offset and content")
        offset, content = given.get("offset", 0), given.get("content", [])
        if not isinstance(offset, int) or isinstance(offset, bool) or not 0 <= offset < MAX_LINE:
            raise BadRequest(f"offset of {name[:80]!r} must be an integer from 0")
        if not isinstance(content, list) or not all(isinstance(line, str) for line in content):
            raise BadRequest(f"content of {name[:80]!r} must be a list of lines")
        chunks[name] = Chunk(offset=offset, content=content)
    return chunks


def receive(ctx: Context, entity: str, project: str, name: str, body: Mapping[str, Any]) -> Row:
    """Take one request of the file stream; the reply that the SDK reads.

    Raises:
        NotFound: The run does not exist.
        BadRequest: The body has another shape; nothing is changed.
    """
    chunks = read_chunks(body)
    run = require_run(ctx, entity, project, name)
    changes: Row = {"heartbeat_at": ctx.now_ns}
    for file, chunk in chunks.items():
        if file == HISTORY:
            changes |= history.write(ctx, run, chunk.offset, chunk.content)
        elif file == SUMMARY:
            changes |= _summary(chunk)
        elif file in (EVENTS, CONSOLE):
            _lines(ctx, run["id"], file, chunk)
    changes |= _state(body, run)
    if SUMMARY in chunks or HISTORY in chunks:
        changes["updated_at"] = ctx.now_ns
    ctx.tx.update("run", run["id"], **changes)
    if changes.get("state", run["state"]) != run["state"]:
        ctx.emit(
            Event(
                kind="RUN_STATE",
                project_id=run["project_id"],
                run_id=run["id"],
                facts={"state": changes["state"], "before": run["state"]},
            )
        )
    reply: Row = {"exitcode": None, "limits": {}}
    if run["stop_requested"] and not body.get("complete"):
        reply["stopped"] = True
    return reply


def _summary(chunk: Chunk) -> Row:
    if not chunk.content:
        return {}
    if not isinstance(decode_json("the summary", chunk.content[-1]), dict):
        raise BadRequest("the summary must be a JSON object")
    return {"summary_json": chunk.content[-1]}


def _lines(ctx: Context, run_id: int, stream: str, chunk: Chunk) -> None:
    ctx.tx.many(
        "INSERT INTO stream_line (run_id, stream, line, content, received_at) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (run_id, stream, line) DO UPDATE SET content = excluded.content",
        ((run_id, stream, chunk.offset + i, line, ctx.now_ns) for i, line in enumerate(chunk.content)),
    )


def _state(body: Mapping[str, Any], run: Row) -> Row:
    if body.get("complete"):
        code = body.get("exitcode")
        code = code if isinstance(code, int) and not isinstance(code, bool) and abs(code) < MAX_LINE else 0
        return {"state": _final_state(run, code), "exit_code": code, "started": 1}
    if body.get("preempting"):
        return {"state": "preempting", "started": 1}
    if run["state"] in {"pending", "crashed", "finished", "failed", "killed", "preempted"}:
        return {"state": "running", "exit_code": None, "started": 1}
    return {"started": 1}


def _final_state(run: Row, code: int) -> str:
    if code == 0:
        return "finished"
    if run["state"] == "preempting":
        return "preempted"
    return "killed" if run["stop_requested"] else "failed"


def dumps(value: Any) -> str:
    """JSON text."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
