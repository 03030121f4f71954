"""One client's connection: its headers, its body, what is sent back, and whether it is still there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from wandb_governance.gateway.sse import event
from wandb_governance.gateway.wire import WireError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wandb_governance.gateway.calls import Call
    from wandb_governance.gateway.records import CallRecord
    from wandb_governance.gateway.upstream import Answer

    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]

_JSON = (b"content-type", b"application/json")


class ClientGoneError(Exception):
    """The client closed its connection."""


class Reply:
    """What is sent to one client: a whole answer, or a stream."""

    def __init__(self, send: Send, record: CallRecord) -> None:
        self._send = send
        self._record = record
        self._started = False
        self._ended = False
        self.recorded = False

    async def start(self, status: int, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        """Send the status and the headers."""
        self._started = True
        request = (b"x-request-id", self._record.request_id.encode())
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, request]})

    async def json(self, body: bytes, headers: tuple[tuple[bytes, bytes], ...] = (), *, status: int = 200) -> None:
        """Send a whole answer."""
        self._record.status = status
        await self.start(status, (_JSON, (b"content-length", b"%d" % len(body)), *headers))
        await self.end(body)

    async def error(self, error: WireError) -> None:
        """Send an error: as the answer, or as the end of a stream that has begun."""
        if self._ended:
            return
        if self._started:
            await self.send_error(error, named=False)
            await self.end(b"")
            return
        await self.json(error.body, error.headers, status=error.status)

    async def send_bytes(self, data: bytes) -> None:
        """Send a piece of a stream."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def send_event(self, chunk: dict[str, Any], *, named: bool) -> None:
        """Send one event of a stream."""
        await self.send_bytes(event(chunk, name=chunk.get("type") if named else None))

    async def send_error(self, error: WireError, *, named: bool) -> None:
        """Send an error as an event of a stream."""
        if named:
            await self.send_bytes(event({"type": "error", **error.error}, name="error"))
        else:
            await self.send_bytes(event({"error": error.error}))

    async def end(self, data: bytes) -> None:
        """Send the last piece."""
        self._ended = True
        await self._send({"type": "http.response.body", "body": data, "more_body": False})


def headers_of(scope: dict[str, Any]) -> dict[bytes, bytes]:
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


async def read_body(receive: Receive, call: Call, limit: int, timeout_s: float) -> bytes:
    """The request's body.

    Raises:
        WireError: It is longer than ``limit`` bytes, encoded, or did not come within ``timeout_s``.
        ClientGoneError: The client left.
    """
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
                    raise ClientGoneError
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


async def unless_gone(work: Any, receive: Receive) -> Answer:
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
            raise ClientGoneError from None
        raise
    finally:
        gone.remove_done_callback(stop)
        gone.cancel()
    return answer
