"""A provider on a socket: an OpenAI-compatible server whose answers and faults a test chooses."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web


@dataclass
class Provider:
    """Runs in a thread of its own. ``script`` says how the next requests are answered; then ``default`` holds."""

    default: dict[str, Any] = field(default_factory=dict)
    script: list[dict[str, Any]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    aborted: int = 0
    port: int = 0

    def __enter__(self) -> Self:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def _run(self) -> None:
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._runner.cleanup())
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/{tail:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        server: Any = site._server
        self.port = server.sockets[0].getsockname()[1]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append({"path": request.path, "body": body, "headers": dict(request.headers)})
        step = self.script.pop(0) if self.script else self.default
        if step.get("stall_s"):
            await asyncio.sleep(step["stall_s"])
        if step.get("reset"):
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if "raw" in step:
            return web.Response(body=step["raw"], status=step.get("status", 200), headers=step.get("headers"))
        if body.get("stream"):
            return await self._stream(request, step, body)
        return web.json_response(self._whole(request.path, step, body))

    def _whole(self, path: str, step: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
        if path.endswith("/embeddings"):
            data = [
                {"object": "embedding", "index": n, "embedding": [0.1, 0.2]} for n, _ in enumerate(_list(body["input"]))
            ]
            return {
                "object": "list",
                "data": data,
                "model": body["model"],
                "usage": {"prompt_tokens": 5, "total_tokens": 5},
            }
        text = step.get("text", "hello")
        if path.endswith("/responses"):
            return response_object(body["model"], text)
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if "tool_args" in step:
            function = {"name": "send", "arguments": step["tool_args"]}
            message = {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c1", "type": "function", "function": function}],
            }
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if "tool_args" in step else "stop"}
        choice["logprobs"] = step.get("logprobs")
        return {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [choice],
            "usage": usage,
        }

    async def _stream(self, request: web.Request, step: dict[str, Any], body: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        try:
            for piece in self._pieces(request.path, step, body):
                if isinstance(piece, float):
                    await asyncio.sleep(piece)
                elif piece is None:
                    assert request.transport is not None
                    request.transport.abort()
                    return response
                else:
                    await response.write(piece)
        except (ConnectionError, asyncio.CancelledError):
            self.aborted += 1
            raise
        return response

    def _pieces(self, path: str, step: dict[str, Any], body: dict[str, Any]) -> list[Any]:
        if "bytes" in step:
            return list(step["bytes"])
        if path.endswith("/responses"):
            return [
                f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in response_events(body["model"], step)
            ]
        chunks = list(chat_chunks(body, step))
        data: list[Any] = [b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n" for chunk in chunks]
        after = step.get("after")
        if after is not None:
            return [*data[: after["chunks"]], *after["then"]]
        pause = step.get("pause_s")
        if pause:
            data = [item for chunk in data for item in (chunk, float(pause))]
        return [*data, b"data: [DONE]\n\n"]


def chat_chunks(body: dict[str, Any], step: dict[str, Any]) -> list[dict[str, Any]]:
    """Chunks of a streamed chat completion."""
    envelope = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}

    def chunk(delta: dict[str, Any], reason: str | None = None, index: int = 0) -> dict[str, Any]:
        return {**envelope, "choices": [{"index": index, "delta": delta, "finish_reason": reason, "logprobs": None}]}

    out = []
    for index in range(body.get("n") or 1):
        out.append(chunk({"role": "assistant", "content": ""}, index=index))
    if "tool_deltas" in step:
        head = {"index": 0, "id": "c1", "type": "function", "function": {"name": "send", "arguments": ""}}
        out.append(chunk({"tool_calls": [head]}))
        out += [chunk({"tool_calls": [{"index": 0, "function": {"arguments": d}}]}) for d in step["tool_deltas"]]
        out.append(chunk({}, "tool_calls"))
    else:
        field_name = step.get("field", "content")
        for delta in step.get("deltas", ["hel", "lo"]):
            for index in range(body.get("n") or 1):
                out.append(chunk({field_name: delta}, index=index))
        for index in range(body.get("n") or 1):
            out.append(chunk({}, "stop", index=index))
    if (body.get("stream_options") or {}).get("include_usage"):
        out.append(
            {**envelope, "choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}}
        )
    return out


def response_object(model: str, text: str, status: str = "completed") -> dict[str, Any]:
    """An answer of /v1/responses."""
    part = {"type": "output_text", "text": text, "annotations": []}
    item = {"type": "message", "id": "m1", "role": "assistant", "status": status, "content": [part]}
    usage = {
        "input_tokens": 11,
        "output_tokens": 7,
        "total_tokens": 18,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    return {
        "id": "r1",
        "object": "response",
        "created_at": 1,
        "model": model,
        "status": status,
        "output": [item] if text else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage if status == "completed" else None,
    }


def response_events(model: str, step: dict[str, Any]) -> list[dict[str, Any]]:
    """Events of a streamed answer of /v1/responses."""
    deltas = step.get("deltas", ["hel", "lo"])
    text = "".join(deltas)
    where = {"item_id": "m1", "output_index": 0, "content_index": 0}
    done = response_object(model, text)
    item = done["output"][0]
    events: list[dict[str, Any]] = [{"type": "response.created", "response": response_object(model, "", "in_progress")}]
    events.append(
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**item, "content": [], "status": "in_progress"},
        }
    )
    events.append(
        {"type": "response.content_part.added", **where, "part": {"type": "output_text", "text": "", "annotations": []}}
    )
    events += [{"type": "response.output_text.delta", **where, "delta": d, "logprobs": []} for d in deltas]
    events.append({"type": "response.output_text.done", **where, "text": text, "logprobs": []})
    events.append({"type": "response.content_part.done", **where, "part": item["content"][0]})
    events.append({"type": "response.output_item.done", "output_index": 0, "item": item})
    events.append({"type": "response.completed", "response": done})
    return [{**event, "sequence_number": n} for n, event in enumerate(events)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
