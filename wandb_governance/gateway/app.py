"""The gateway as a plain ASGI application."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import orjson

from wandb_governance.clock import IdGenerator, RandomIds, SystemClock
from wandb_governance.errors import AuditError, PolicyViolation
from wandb_governance.gateway.calls import Call
from wandb_governance.gateway.chunks import chunks_of
from wandb_governance.gateway.connection import ClientGoneError, Reply, headers_of, read_body, unless_gone
from wandb_governance.gateway.endpoints import ENDPOINTS
from wandb_governance.gateway.records import CallRecord
from wandb_governance.gateway.spending import estimate_usd
from wandb_governance.gateway.sse import DONE, event
from wandb_governance.gateway.upstream import UpstreamClient
from wandb_governance.gateway.wire import WireError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

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
        reply = Reply(send, record)
        written = deployment.audit.log_all_access
        try:
            headers = headers_of(scope)
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
        except ClientGoneError:
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

    async def _call(self, call: Call, receive: Receive, reply: Reply) -> None:
        limits = call.deployment.document.gateway.limits
        raw = await read_body(receive, call, limits.max_body_bytes, limits.body_timeout_s)
        call.read(raw)
        try:
            if call.deployment.store is not None:
                call.estimate = estimate_usd(call.body, len(raw), call.record, self._journal)
            await call.check_request()
            assert self._client is not None
            answer = await unless_gone(call.send(self._client), receive)
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

    async def _stream(self, call: Call, answer: Answer, receive: Receive, reply: Reply) -> None:
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

    async def _pump(self, call: Call, answer: Answer, stream: StreamFilter, reply: Reply, *, named: bool) -> None:
        started = call.record.started_monotonic_ns
        async for chunk in chunks_of(answer):
            out = [event(made, name=made.get("type") if named else None) for made in stream.feed(chunk)]
            if out:
                if call.record.first_token_ns is None:
                    call.record.first_token_ns = self._clock.monotonic_ns() - started
                await reply.send_bytes(b"".join(out))
        for made in stream.finish():
            await reply.send_event(made, named=named)

    def _write(self, record: CallRecord) -> None:
        self._journal.write(record)

    async def _models(self, deployment: Deployment, target: tuple[str, str], reply: Reply) -> None:
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


def _metadata(call: Call) -> tuple[tuple[bytes, bytes], ...]:
    if not call.deployment.include_metadata:
        return ()
    told = ",".join(f"{entity}={count}" for entity, count in sorted(call.redacted.items()))
    return ((b"x-governance-redacted", told.encode()),)
