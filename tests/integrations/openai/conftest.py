"""An OpenAI-compatible server on loopback, real clients against it, and a run in memory."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from hypothesis import settings as hypothesis_settings
from openai import OpenAI
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from wandb_governance.settings import Settings
from wandb_governance.testing.doubles import MemoryRun
from wandb_governance_openai import govern, governance_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from starlette.requests import Request

# A busy machine is no fault of the code under test.
hypothesis_settings.register_profile("steady", deadline=None)
hypothesis_settings.load_profile("steady")


USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 10,
    "total_tokens": 1010,
    "prompt_tokens_details": {"cached_tokens": 200, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}
POLICY = """
pack: {name: tests, version: "1"}
policies:
  chain: [secrets, pii-detector]
  policy:
    secrets: {action: block, phases: [input, output, tool]}
    pii-detector: {action: redact, phases: [input, output, tool], entities: [EMAIL_ADDRESS]}
"""


@dataclass
class Script:
    """What the server does next, and what it has seen."""

    answer: str = "Paris is the capital of France."
    tool_arguments: str | None = None
    """Answer with a call of the tool ``send_mail``."""
    failures: list[int] = field(default_factory=list)
    """HTTP statuses to answer with first."""
    piece_chars: int = 4
    pause_s: float = 0.0
    """Before the first content of a stream."""
    break_after: int | None = None
    """Pieces after which a stream reports an error."""
    odd_event: bool = False
    """Put an event into a stream of ``responses`` whose text is no text."""
    pieces_sent: int = 0
    requests: list[dict[str, Any]] = field(default_factory=list)
    """Bodies as they arrived, with the path."""


def _pieces(script: Script, text: str) -> list[str]:
    return [text[at : at + script.piece_chars] for at in range(0, len(text), script.piece_chars)]


def _chat_message(script: Script) -> dict[str, Any]:
    if script.tool_arguments is None:
        return {"role": "assistant", "content": script.answer, "refusal": None}
    function = {"name": "send_mail", "arguments": script.tool_arguments}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": function}],
    }


def _logprobs(body: dict[str, Any], text: str) -> dict[str, Any] | None:
    if not body.get("logprobs"):
        return None
    token = {"token": text, "logprob": -0.1, "bytes": None, "top_logprobs": []}
    return {"content": [token], "refusal": None}


def _chat(script: Script, body: dict[str, Any]) -> dict[str, Any]:
    choice = {"finish_reason": "stop", "logprobs": _logprobs(body, script.answer), "message": _chat_message(script)}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": f"{body['model']}-2024-08-06",
        "service_tier": body.get("service_tier", "default"),
        "choices": [{"index": index, **choice} for index in range(body.get("n", 1))],
        "usage": USAGE,
    }


async def _chat_events(script: Script, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": f"{body['model']}-2024-08-06"}

    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        logprobs = _logprobs(body, delta["content"]) if delta.get("content") else None
        return {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": reason, "logprobs": logprobs}]}

    yield chunk({"role": "assistant", "content": ""})
    await asyncio.sleep(script.pause_s)
    if script.tool_arguments is not None:
        function = {"name": "send_mail", "arguments": ""}
        yield chunk({"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": function}]})
        for piece in _pieces(script, script.tool_arguments):
            yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
        yield chunk({}, "tool_calls")
    else:
        for number, piece in enumerate(_pieces(script, script.answer)):
            if number == script.break_after:
                yield {"error": {"message": "the model went away", "type": "server_error"}}
                return
            script.pieces_sent += 1
            yield chunk({"content": piece})
        yield chunk({}, "stop")
    if (body.get("stream_options") or {}).get("include_usage"):
        yield {**base, "choices": [], "usage": USAGE}


def _response(script: Script, body: dict[str, Any], *, done: bool = True) -> dict[str, Any]:
    text = {"type": "output_text", "text": script.answer, "annotations": []}
    item: dict[str, Any] = {
        "id": "m1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [text],
    }
    if script.tool_arguments is not None:
        item = {"id": "f1", "type": "function_call", "call_id": "c1", "name": "send_mail", "status": "completed",
                "arguments": script.tool_arguments}  # fmt: skip
    usage = {
        "input_tokens": 1000,
        "input_tokens_details": {"cached_tokens": 200},
        "output_tokens": 10,
        "output_tokens_details": {"reasoning_tokens": 4},
        "total_tokens": 1010,
    }
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": f"{body['model']}-2024-08-06",
        "status": "completed" if done else "in_progress",
        "output": [item] if done else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage if done else None,
    }


async def _response_events(script: Script, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    numbers = iter(range(1000))

    def event(kind: str, **more: Any) -> dict[str, Any]:
        return {"type": kind, "sequence_number": next(numbers), **more}

    whole = _response(script, body)
    item = whole["output"][0]
    at = {"item_id": item["id"], "output_index": 0}
    yield event("response.created", response=_response(script, body, done=False))
    if script.odd_event:
        yield event("response.output_text.delta", content_index=0, delta=5, **at)
    await asyncio.sleep(script.pause_s)
    if item["type"] == "function_call":
        yield event("response.output_item.added", output_index=0, item={**item, "arguments": ""})
        for piece in _pieces(script, item["arguments"]):
            yield event("response.function_call_arguments.delta", delta=piece, **at)
        done = {"arguments": item["arguments"], "name": item["name"]}
        yield event("response.function_call_arguments.done", **done, **at)
    else:
        part = item["content"][0]
        yield event("response.output_item.added", output_index=0, item={**item, "content": []})
        yield event("response.content_part.added", content_index=0, part={**part, "text": ""}, **at)
        for piece in _pieces(script, part["text"]):
            script.pieces_sent += 1
            yield event("response.output_text.delta", content_index=0, delta=piece, logprobs=[], **at)
        yield event("response.output_text.done", content_index=0, text=part["text"], logprobs=[], **at)
        yield event("response.content_part.done", content_index=0, part=part, **at)
    yield event("response.output_item.done", output_index=0, item=item)
    yield event("response.completed", response=whole)


async def _sse(events: AsyncIterator[dict[str, Any]], *, named: bool) -> AsyncIterator[str]:
    async for event in events:
        name = f"event: {event['type']}\n" if named else ""
        yield f"{name}data: {json.dumps(event)}\n\n"
        await asyncio.sleep(0)
    if not named:
        yield "data: [DONE]\n\n"


def _app(scripts: list[Script]) -> Starlette:
    async def called(request: Request) -> Response:
        script = scripts[0]
        body = await request.json()
        script.requests.append({"path": request.url.path, **body})
        if script.failures:
            status = script.failures.pop(0)
            return JSONResponse(
                {"error": {"message": "not now", "type": "x", "code": "y"}}, status, {"retry-after-ms": "1"}
            )
        path = request.url.path
        if path.endswith("/embeddings"):
            texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
            data = [{"object": "embedding", "index": i, "embedding": "AACAPwAAAEA="} for i in range(len(texts))]
            usage = {"prompt_tokens": 8, "total_tokens": 8}
            return JSONResponse({"object": "list", "data": data, "model": body["model"], "usage": usage})
        if path.endswith("/responses"):
            if not body.get("stream"):
                return JSONResponse(_response(script, body))
            return StreamingResponse(_sse(_response_events(script, body), named=True), media_type="text/event-stream")
        if path.endswith("/chat/completions"):
            if not body.get("stream"):
                return JSONResponse(_chat(script, body))
            return StreamingResponse(_sse(_chat_events(script, body), named=False), media_type="text/event-stream")
        choice = {"index": 0, "text": script.answer, "finish_reason": "stop", "logprobs": None}
        answer = {
            "id": "cmpl-1",
            "object": "text_completion",
            "created": 1,
            "model": body["model"],
            "choices": [choice],
        }
        return JSONResponse({**answer, "usage": USAGE})

    return Starlette(routes=[Route("/{path:path}", called, methods=["POST"])])


@dataclass(frozen=True)
class RunningServer:
    """The server's address, and its script."""

    url: str
    scripts: list[Script]

    @property
    def script(self) -> Script:
        """What it does next."""
        return self.scripts[0]


@pytest.fixture(scope="session")
def running_server() -> Iterator[RunningServer]:
    """One server for all tests."""
    scripts = [Script()]
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(_app(scripts), log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield RunningServer(url=f"http://127.0.0.1:{listener.getsockname()[1]}/v1", scripts=scripts)
    server.should_exit = True
    thread.join(timeout=5)


@pytest.fixture
def server(running_server: RunningServer) -> RunningServer:
    """The server with a fresh script."""
    running_server.scripts[0] = Script()
    return running_server


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A telemetry home of the test's own."""
    return Settings(home=tmp_path / "governance", export_interval_s=0.05, fsync="never")


@dataclass
class Recorded:
    """What a client's calls left behind."""

    run: MemoryRun
    client: Any

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Rows of a table, everything delivered."""
        assert governance_of(self.client).flush(20)
        return list(self.run.tables.get(table, ()))

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Rows of ``llm_calls``."""
        return self.rows("llm_calls")

    @property
    def call(self) -> dict[str, Any]:
        """The one row of ``llm_calls``."""
        (row,) = self.calls
        return row

    @property
    def trace(self) -> dict[str, Any]:
        """The one row of ``traces``."""
        (row,) = self.rows("traces")
        return row


@pytest.fixture
def recorded(server: RunningServer, settings: Settings) -> Iterator[Callable[..., Recorded]]:
    """Make a governed client: ``recorded()`` or ``recorded(AsyncOpenAI, policy=...)``."""
    made: list[Recorded] = []

    def make(kind: type[Any] = OpenAI, *, policy: Any = None, prices: Any = None, **more: Any) -> Recorded:
        options = {"api_key": "test", "base_url": server.url, "max_retries": 2, **more}
        client = kind(**options)
        run = MemoryRun(f"run{len(made)}-{id(made)}")
        found = Recorded(run, govern(client, run=run, policy=policy, prices=prices, settings=settings))
        made.append(found)
        return found

    yield make
    for found in made:
        found.run.finish()
        if isinstance(found.client, OpenAI):
            found.client.close()


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """Blocks credentials, redacts e-mail addresses, on every scope."""
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    return file
