"""The last line: calls of a model that reach the HTTP client without having passed ``client.post``.

Works with httpx and httpx2 alike, and imports neither: requests and responses are made of the class of those at hand.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Self

from wandb_governance.policy.verdict import Scope
from wandb_governance.tracing.deferred import when_safe
from wandb_governance.tracing.guard import observed
from wandb_governance.tracing.span import SpanStatus
from wandb_governance_openai import convert
from wandb_governance_openai.call import GovernedCall, OpenAIPolicyViolation

if TYPE_CHECKING:
    from wandb_governance_openai.convert import Endpoint

OpenCall = Callable[["Endpoint", Mapping[str, Any]], GovernedCall]

inside: ContextVar[bool] = ContextVar("wandb_governance_openai_inside", default=False)
"""Set while the SDK sends a request that governance has seen."""

_BODY_HEADERS = frozenset({"content-length", "content-encoding", "transfer-encoding"})


def guard(client: Any, open_call: OpenCall) -> None:
    """Stand in front of every transport of an openai client's HTTP client."""
    http = client._client  # noqa: SLF001 - where the SDK keeps it in every version
    host = client.base_url.host
    if hasattr(http, "_transport"):
        http._transport = _guarded(http._transport, host, open_call)  # noqa: SLF001
    for pattern, transport in getattr(http, "_mounts", {}).items():
        http._mounts[pattern] = _guarded(transport, host, open_call)  # noqa: SLF001


def _guarded(transport: Any, host: str, open_call: OpenCall) -> Any:
    if transport is None:
        return None
    guarded = transport if isinstance(transport, GuardedTransport) else GuardedTransport(transport)
    guarded.calls[host] = open_call
    return guarded


class GuardedTransport:
    """A transport, sync or async, that governs what was not governed above it.

    Args:
        inner: The transport that sends.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.calls: dict[str, OpenCall] = {}
        """Host -> starts the record of a call. Several clients may share one HTTP client; other hosts are let by."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._inner.__exit__(*error)

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._inner.__aexit__(*error)

    def handle_request(self, request: Any) -> Any:
        """Send a request; one that calls a model passes the policies first."""
        endpoint = self._endpoint(request)
        if endpoint is None:
            return self._inner.handle_request(request)
        request.read()
        call, request, streamed = self._admitted(endpoint, request)
        if call is None:
            return self._inner.handle_request(request)
        try:
            response = self._inner.handle_request(request)
            if not streamed:
                response.read()
        except BaseException as error:
            call.end(error=error)
            raise
        if not streamed:
            return _whole(call, response)
        tee(call, response)
        return response

    async def handle_async_request(self, request: Any) -> Any:
        """The same for an async transport."""
        endpoint = self._endpoint(request)
        if endpoint is None:
            return await self._inner.handle_async_request(request)
        await request.aread()
        call, request, streamed = self._admitted(endpoint, request)
        if call is None:
            return await self._inner.handle_async_request(request)
        try:
            response = await self._inner.handle_async_request(request)
            if not streamed:
                await response.aread()
        except BaseException as error:
            call.end(error=error)
            raise
        if not streamed:
            return _whole(call, response)
        tee(call, response)
        return response

    def _endpoint(self, request: Any) -> Endpoint | None:
        if inside.get() or request.method != "POST" or request.url.host not in self.calls:
            return None
        return convert.endpoint_of(request.url.path)

    def _admitted(self, endpoint: Endpoint, request: Any) -> tuple[GovernedCall | None, Any, bool]:
        """The call, the request to send, and whether its answer is a stream; no call where the body is not JSON."""
        try:
            body = json.loads(request.content)
        except ValueError:
            body = None
        if not isinstance(body, Mapping):
            return None, request, False
        call = self.calls[request.url.host](endpoint, body)
        admitted = call.admit(body)
        streamed = bool(body.get("stream"))
        if streamed and call.acts_on_answers:
            error = OpenAIPolicyViolation(
                policy="engine",
                scope=Scope.OUTPUT,
                reasons=("a policy acts on output, and a raw stream can't be judged; call the client's own methods",),
            )
            call.end(error=error)
            raise error
        if admitted is not body:
            content = json.dumps(admitted).encode()
            request = type(request)(
                request.method, request.url, headers=_headers(request), content=content, extensions=request.extensions
            )
        return call, request, streamed


def _headers(message: Any) -> list[tuple[str, str]]:
    return [(name, value) for name, value in message.headers.multi_items() if name.lower() not in _BODY_HEADERS]


def _whole(call: GovernedCall, response: Any) -> Any:
    """A response that was read, with the body that may go out."""
    content = response.content
    if response.status_code >= 400:
        call.note(finish_reason=f"http {response.status_code}")
        call.end(SpanStatus.ERROR)
    else:
        content = judged_json(call, content) or content
    return type(response)(
        response.status_code, headers=_headers(response), content=content, extensions=response.extensions
    )


def judged_json(call: GovernedCall, content: bytes) -> bytes | None:
    """Judge and end a call by the body of its answer.

    Returns:
        The body to hand out in its place, where a policy redacts.
    """
    try:
        answer = json.loads(content)
    except ValueError:
        answer = None
    if not isinstance(answer, Mapping):
        call.end()
        return None
    changes = call.judged(answer)
    if changes:
        answer = convert.rewritten(answer, changes)
    call.complete(answer)
    return json.dumps(answer).encode() if changes else None


def tee(call: GovernedCall, response: Any) -> Seen:
    """Read a streamed response along with the application; its close ends the call."""
    library = sys.modules[type(response).__module__.partition(".")[0]]
    seen = Seen(call)
    inner = response.stream

    class Teed(library.SyncByteStream, library.AsyncByteStream):  # type: ignore[name-defined,misc]
        def __iter__(self) -> Any:
            for piece in inner:
                seen.take(piece)
                yield piece

        async def __aiter__(self) -> Any:
            async for piece in inner:
                seen.take(piece)
                yield piece

        def close(self) -> None:
            when_safe(seen.end)
            inner.close()

        async def aclose(self) -> None:
            when_safe(seen.end)
            await inner.aclose()

    response.stream = Teed()
    return seen


class Seen:
    """What went by in a stream of server-sent events."""

    def __init__(self, call: GovernedCall) -> None:
        self._call = call
        self._rest = b""
        self._text: list[str] = []
        self._done = False
        self.active = True
        """False once somebody else reads the stream piece by piece."""

    @observed
    def take(self, piece: bytes) -> None:
        """Read along; a broken event is no fault of the application's."""
        if not self.active:
            return
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                self._event(line[5:].strip())

    def _event(self, data: bytes) -> None:
        if data == b"[DONE]":
            self._done = True
            return
        event = json.loads(data)
        body = event.get("response") or event
        usage = convert.usage_of(body)
        self._done = self._done or event.get("type") == "response.completed"
        self._call.note(response_model=body.get("model"), usage=usage, finish_reason=convert.finish_reason_of(body))
        texts = [convert.get(convert.get(choice, "delta"), "content") for choice in event.get("choices") or ()]
        if event.get("type") == "response.output_text.delta":
            texts.append(event.get("delta"))
        for text in texts:
            if text:
                self._call.span.first_token()
                self._text.append(text)

    @observed
    def end(self) -> None:
        """The stream was closed, at its end or before."""
        if not self.active:
            return
        self.active = False
        self._call.note(output_chars=sum(map(len, self._text)))
        self._call.note_output("".join(self._text))
        self._call.end(SpanStatus.OK if self._done else SpanStatus.CANCELLED)
