"""The gateway as a plain ASGI application."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import orjson

from wandb_governance.clock import IdGenerator, RandomIds, SystemClock
from wandb_governance.errors import AuditError, PolicyViolation
from wandb_governance.gateway.calls import ENDPOINTS, Call
from wandb_governance.gateway.records import CallRecord
from wandb_governance.gateway.sse import DONE, SseReader, event
from wandb_governance.gateway.upstream import UpstreamClient
from wandb_governance.gateway.wire import WireError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from wandb_governance.clock import Clock
    from wandb_governance.gateway.deployment import Deployment
    from wandb_governance.gateway.records import CallJournal
    from wandb_governance.gateway.streaming import StreamFilter
    from wandb_governance.gateway.upstream import Answer
    from wandb_governance.policy.targets import VirtualKey

    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]

_log = logging.getLogger(__name__)
_JSON = (b"content-type", b"application/json")
_SSE = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))


class GatewayApp:
    """One worker.

    Args:
        deployment: Returns the document in force; each request keeps the one it started with.
        journal: Where calls are written down.
        clock: Time.
        ids: Ids of requests.
        background: Coroutines that run while the worker does, such as the one that reloads the document.
        on_close: Called when the last call is over.
    """

    def __init__(
        self,
        deployment: Callable[[], Deployment],
        journal: CallJournal,
        *,
        clock: Clock | None = None,
        ids: IdGenerator | None = None,
        background: tuple[Callable[[], Awaitable[None]], ...] = (),
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self._deployment = deployment
        self._journal = journal
        self._clock = clock or SystemClock()
        self._ids = ids or RandomIds()
        self._background = background
        self._on_close = on_close
        self._client: UpstreamClient | None = None
        self._active = 0
        self.draining = False

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection's request, or the worker's life."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        tasks: list[asyncio.Future[None]] = []
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._client = self._make_client()
                self._journal.start()
                tasks = [asyncio.ensure_future(work()) for work in self._background]
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                self.draining = True
                for task in tasks:
                    task.cancel()
                if self._client is not None:
                    await self._client.close()
                await asyncio.get_running_loop().run_in_executor(None, self._journal.close)
                if self._on_close is not None:
                    await asyncio.get_running_loop().run_in_executor(None, self._on_close)
                await send({"type": "lifespan.shutdown.complete"})
                return

    def _make_client(self) -> UpstreamClient:
        return UpstreamClient(
            clock=self._clock,
            breaker=lambda: self._deployment().document.gateway.breaker,
            allow_private=lambda: self._deployment().document.gateway.allow_private_upstreams,
        )

    async def _http(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        path, method = (
            scope.get("raw_path", scope["path"].encode()).split(b"?", 1)[0].decode("latin-1"),
            scope["method"],
        )
        if path == "/health":
            await self._health(method, send)
            return
        deployment = self._deployment()
        record = CallRecord(
            request_id=self._ids.trace_id(),
            endpoint="",
            started_ns=self._clock.now_ns(),
            policy_digest=deployment.engine.digest,
        )
        self._active += 1
        try:
            await self._serve(deployment, record, (path, method), (scope, receive, send))
        finally:
            self._active -= 1

    async def _serve(
        self,
        deployment: Deployment,
        record: CallRecord,
        target: tuple[str, str],
        connection: tuple[dict[str, Any], Receive, Send],
    ) -> None:
        scope, receive, send = connection
        reply = _Reply(send, record)
        written = deployment.audit.log_all_access
        try:
            headers = _headers(scope)
            record.key = self._admit(deployment, headers)
            path, method = target
            if path == "/v1/models" or path.startswith("/v1/models/"):
                record.endpoint = "models"
                await self._models(deployment, target, reply)
                return
            endpoint = ENDPOINTS.get(path)
            if endpoint is None:
                raise WireError(404, f"unknown path {path[:200]!r}", code="not_found")
            if method != "POST":
                raise WireError(405, "use POST", headers=((b"allow", b"POST"),))
            record.endpoint, written = endpoint.name, True
            await self._call(Call(deployment, endpoint, record, headers), receive, reply)
        except WireError as error:
            if record.outcome == "ok":
                record.outcome = "refused" if error.status < 500 else "error"
            record.status, record.error = error.status, str(error)
            await reply.error(error)
        except asyncio.CancelledError:
            record.outcome = "cancelled"
            raise
        except _ClientGoneError:
            record.outcome = "cancelled"
        except AuditError as error:
            _log.error("audit: %s", error)
            await reply.error(WireError(500, "the call could not be recorded", kind="server_error"))
            written = False
        except Exception:  # noqa: BLE001 - whatever happens, the client gets an answer and the call a record
            _log.exception("request %s failed", record.request_id)
            record.outcome, record.status, record.error = "error", 500, "internal error"
            await reply.error(WireError(500, "internal error", kind="server_error"))
        finally:
            if written and not reply.recorded:
                self._write(record)

    def _admit(self, deployment: Deployment, headers: dict[bytes, bytes]) -> VirtualKey | None:
        limits = deployment.document.gateway.limits
        if self.draining or self._active > limits.max_concurrency:
            raise WireError(
                503, "the gateway is full; try again", kind="server_error", headers=((b"retry-after", b"1"),)
            )
        if not deployment.keys:
            return None
        given = headers.get(b"authorization", b"")
        secret = given[7:].strip() if given[:7].lower() == b"bearer " else headers.get(b"api-key", b"")
        key = deployment.key_of(secret) if secret else None
        if key is None:
            raise WireError(401, "the key is missing or wrong", kind="authentication_error", code="invalid_api_key")
        return key

    async def _call(self, call: Call, receive: Receive, reply: _Reply) -> None:
        limits = call.deployment.document.gateway.limits
        raw = await _read_body(receive, call, limits.max_body_bytes, limits.body_timeout_s)
        call.read(raw)
        try:
            if call.deployment.store is not None:
                call.estimate = call.estimate_usd(self._journal)
            await call.check_request()
            assert self._client is not None
            answer = await _unless_gone(call.send(self._client), receive)
            try:
                if call.record.stream and answer.response.status < 400:
                    await self._stream(call, answer, receive, reply)
                else:
                    body = await call.whole_answer(answer)
                    call.settle(self._journal)
                    self._write(call.record)
                    reply.recorded = True
                    await reply.json(body, _metadata(call))
            finally:
                answer.response.close()
        finally:
            if not reply.recorded:
                call.settle(self._journal)

    async def _stream(self, call: Call, answer: Answer, receive: Receive, reply: _Reply) -> None:
        await call.deferred_verdict()
        stream = call.stream_filter()
        call.record.status = 200
        gone = asyncio.ensure_future(receive())
        gone.add_done_callback(lambda _: answer.response.close())
        await reply.start(200, (*_SSE, *_metadata(call)))
        named = call.endpoint.name == "responses"
        try:
            await self._pump(call, answer, stream, reply, named=named)
        except PolicyViolation as violation:
            call.take_stream(stream)
            error = call.stopped(violation.policy, violation.scope, violation.reasons)
            for chunk in stream.blocked(violation):
                await reply.send_event(chunk, named=named)
            call.record.finish_reason = stream.finish_reason
            await reply.send_error(error, named=named)
        except WireError as error:
            call.take_stream(stream)
            call.record.outcome, call.record.error = ("cancelled" if gone.done() else "error"), str(error)
            if not gone.done():
                await reply.send_error(error, named=named)
        except asyncio.CancelledError:
            call.take_stream(stream)
            raise
        else:
            call.take_stream(stream)
        finally:
            was_gone = gone.done()
            gone.cancel()
        if was_gone and call.record.outcome == "ok" and not stream.finish_reason:
            call.record.outcome = "cancelled"
        call.settle(self._journal)
        self._write(call.record)
        reply.recorded = True
        await reply.end(DONE if call.record.outcome == "ok" and not named else b"")

    async def _pump(self, call: Call, answer: Answer, stream: StreamFilter, reply: _Reply, *, named: bool) -> None:
        started = call.record.started_monotonic_ns
        async for chunk in _chunks(answer):
            out = [event(made, name=made.get("type") if named else None) for made in stream.feed(chunk)]
            if out:
                if call.record.first_token_ns is None:
                    call.record.first_token_ns = self._clock.monotonic_ns() - started
                await reply.send_bytes(b"".join(out))
        for made in stream.finish():
            await reply.send_event(made, named=named)

    def _write(self, record: CallRecord) -> None:
        self._journal.write(record)

    async def _models(self, deployment: Deployment, target: tuple[str, str], reply: _Reply) -> None:
        path, method = target
        if method != "GET":
            raise WireError(405, "use GET", headers=((b"allow", b"GET"),))
        listed = [
            {"id": model, "object": "model", "created": 0, "owned_by": owner} for model, owner in deployment.models()
        ]
        wanted = path.removeprefix("/v1/models").strip("/")
        if not wanted:
            await reply.json(orjson.dumps({"object": "list", "data": listed}))
            return
        for model in listed:
            if model["id"] == wanted:
                await reply.json(orjson.dumps(model))
                return
        raise WireError(404, f"unknown model {wanted[:200]!r}", code="model_not_found")

    async def _health(self, method: str, send: Send) -> None:
        deployment = self._deployment()
        status = 503 if self.draining else 200 if method in {"GET", "HEAD"} else 405
        body = {
            "status": "draining" if self.draining else "ok",
            "policy": deployment.engine.name,
            "version": deployment.engine.version,
            "policy_digest": deployment.engine.digest,
        }
        raw = b"" if method == "HEAD" else orjson.dumps(body)
        await send(
            {"type": "http.response.start", "status": status, "headers": [_JSON, (b"content-length", b"%d" % len(raw))]}
        )
        await send({"type": "http.response.body", "body": raw})


class _ClientGoneError(Exception):
    """The client closed its connection."""


class _Reply:
    """What is sent to one client: a whole answer, or a stream."""

    def __init__(self, send: Send, record: CallRecord) -> None:
        self._send = send
        self._record = record
        self._started = False
        self._ended = False
        self.recorded = False

    async def start(self, status: int, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        self._started = True
        request = (b"x-request-id", self._record.request_id.encode())
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, request]})

    async def json(self, body: bytes, headers: tuple[tuple[bytes, bytes], ...] = (), *, status: int = 200) -> None:
        self._record.status = status
        await self.start(status, (_JSON, (b"content-length", b"%d" % len(body)), *headers))
        await self.end(body)

    async def error(self, error: WireError) -> None:
        if self._ended:
            return
        if self._started:
            await self.send_error(error, named=False)
            await self.end(b"")
            return
        await self.json(error.body, error.headers, status=error.status)

    async def send_bytes(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def send_event(self, chunk: dict[str, Any], *, named: bool) -> None:
        await self.send_bytes(event(chunk, name=chunk.get("type") if named else None))

    async def send_error(self, error: WireError, *, named: bool) -> None:
        if named:
            await self.send_bytes(event({"type": "error", **error.error}, name="error"))
        else:
            await self.send_bytes(event({"error": error.error}))

    async def end(self, data: bytes) -> None:
        self._ended = True
        await self._send({"type": "http.response.body", "body": data, "more_body": False})


def _headers(scope: dict[str, Any]) -> dict[bytes, bytes]:
    """Headers by name.

    Raises:
        WireError: A header that decides something is given twice.
    """
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in found and name in _ONCE:
            raise WireError(400, f"the header {name.decode('latin-1')} is given twice")
        found[name] = value
    if b"transfer-encoding" in found and b"content-length" in found:
        raise WireError(400, "content-length and transfer-encoding exclude each other")
    return found


_ONCE = frozenset({b"authorization", b"api-key", b"content-length", b"transfer-encoding", b"host", b"content-type"})


async def _read_body(receive: Receive, call: Call, limit: int, timeout_s: float) -> bytes:
    declared = call.headers.get(b"content-length", b"0")
    if not declared.isdigit() or int(declared) > limit:
        raise WireError(413, f"the body is longer than {limit} bytes", code="body_too_large")
    if call.headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise WireError(415, "an encoded body is not read: send plain JSON")
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _ClientGoneError
                part = message.get("body", b"")
                size += len(part)
                if size > limit:
                    raise WireError(413, f"the body is longer than {limit} bytes", code="body_too_large")
                parts.append(part)
                if not message.get("more_body", False):
                    return b"".join(parts) if len(parts) > 1 else part
    except TimeoutError as error:
        raise WireError(
            408, f"the body did not come within {timeout_s:g} s", headers=((b"connection", b"close"),)
        ) from error


async def _unless_gone(work: Any, receive: Receive) -> Answer:
    """The result of ``work``, unless the client leaves before: then nobody wants it."""
    me = asyncio.current_task()
    assert me is not None
    gone = asyncio.ensure_future(receive())

    def stop(done: asyncio.Future[Any]) -> None:
        if not done.cancelled():
            me.cancel()

    gone.add_done_callback(stop)
    try:
        answer: Answer = await work
    except asyncio.CancelledError:
        if gone.done() and not gone.cancelled() and me.uncancel() == 0:
            raise _ClientGoneError from None
        raise
    finally:
        gone.remove_done_callback(stop)
        gone.cancel()
    return answer


async def _chunks(answer: Answer) -> AsyncIterator[dict[str, Any]]:
    """Chunks of a streamed answer, up to its end.

    Raises:
        WireError: The upstream broke off, stopped, or sent what is no chunk.
    """
    reader = SseReader()
    ended = False
    try:
        async for piece in answer.response.content.iter_any():
            for data in reader.feed(piece):
                if data == b"[DONE]":
                    return
                chunk = _chunk(data)
                ended = ended or _is_last(chunk)
                yield chunk
    except TimeoutError as error:
        raise WireError(504, "the upstream stopped in the middle of its answer", kind="server_error") from error
    except ValueError as error:
        raise WireError(502, f"the upstream's stream can't be read: {error}", kind="server_error") from error
    except OSError as error:
        raise WireError(502, "the upstream broke off its answer", kind="server_error") from error
    except _client_error() as error:
        raise WireError(502, "the upstream broke off its answer", kind="server_error") from error
    for data in reader.finish():
        if data != b"[DONE]":
            chunk = _chunk(data)
            ended = ended or _is_last(chunk)
            yield chunk
    if not ended:
        raise WireError(502, "the upstream ended its stream without finishing its answer", kind="server_error")


def _client_error() -> type[Exception]:
    import aiohttp

    return aiohttp.ClientError


def _chunk(data: bytes) -> dict[str, Any]:
    try:
        chunk = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise WireError(502, "the upstream sent a chunk that is not JSON", kind="server_error") from error
    if not isinstance(chunk, dict):
        raise WireError(502, "the upstream sent a chunk that is no object", kind="server_error")
    if isinstance(chunk.get("error"), dict) and "choices" not in chunk and "type" not in chunk:
        message = str(chunk["error"].get("message", "the upstream failed"))
        raise WireError(502, message, kind=str(chunk["error"].get("type") or "upstream_error"))
    return chunk


def _is_last(chunk: dict[str, Any]) -> bool:
    kind = chunk.get("type")
    if kind is not None:
        return kind in {"response.completed", "response.incomplete", "response.failed", "error"}
    choices = chunk.get("choices")
    return isinstance(choices, list) and any(isinstance(c, dict) and c.get("finish_reason") for c in choices)


def _metadata(call: Call) -> tuple[tuple[bytes, bytes], ...]:
    if not call.deployment.include_metadata:
        return ()
    told = ",".join(f"{entity}={count}" for entity, count in sorted(call.redacted.items()))
    return ((b"x-governance-redacted", told.encode()),)
