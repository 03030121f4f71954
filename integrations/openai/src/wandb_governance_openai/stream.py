"""Streams under governance: every way to leave one ends its call, once."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any

from wandb_governance.errors import PolicyViolation
from wandb_governance.policy.verdict import Scope
from wandb_governance.tracing.deferred import when_safe
from wandb_governance.tracing.guard import fault, observed
from wandb_governance.tracing.span import SpanStatus
from wandb_governance_openai.call import GovernedCall, OpenAIPolicyViolation, as_openai_error
from wandb_governance_openai.chunks import ChatReader, Reader, ResponsesReader
from wandb_governance_openai.texts import StreamedTexts


class StreamedCall:
    """What the sync and the async stream have in common: reading pieces, and the one end.

    Args:
        call: The call.
        hide_usage: Drop the chunk that only carries usage, which was asked for behind the application's back.
    """

    def __init__(self, call: GovernedCall, *, hide_usage: bool) -> None:
        # Log probabilities spell out what is held back.
        keep_logprobs = not call.acts_on(Scope.OUTPUT)
        self._call = call
        self._texts = StreamedTexts(call.governance, call.span)
        self._reader: Reader = (
            ResponsesReader(self._texts, keep_logprobs=keep_logprobs)
            if call.endpoint.operation == "responses"
            else ChatReader(self._texts, hide_usage=hide_usage, keep_logprobs=keep_logprobs)
        )
        self._open = [None]
        self._reading = False

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """While the SDK reads on; it closes a response that is at its end, which is no leaving."""
        self._reading = True
        try:
            yield
        finally:
            self._reading = False

    def leave(self) -> None:
        """The application closed the stream before its end."""
        if not self._reading and self._open:
            when_safe(lambda: self.end(SpanStatus.CANCELLED))

    def take(self, piece: Any) -> list[Any]:
        """The pieces to hand on for one that came.

        Raises:
            OpenAIPolicyViolation: A policy blocks; the call has ended as blocked.
        """
        if self._reader.has_content(piece):
            self._call.span.first_token()
        return self._governed(self._reader.take(piece), unread=[piece])

    def finish(self) -> list[Any]:
        """What is still held back at the end of the stream; ends the call."""
        rest = self._governed(self._reader.rest(), unread=[])
        self.end(SpanStatus.ERROR if self._reader.facts.get("finish_reason") == "failed" else SpanStatus.OK)
        return rest

    def _governed(self, pieces: Iterator[Any], *, unread: list[Any]) -> list[Any]:
        """The pieces; ``unread`` in place of pieces that are not understood, unless a policy would have to see them."""
        try:
            return list(pieces)
        except PolicyViolation as violation:
            error = as_openai_error(violation)
        except Exception as odd:  # noqa: BLE001 - a compatible server may send anything; the application reads on
            fault("openai.stream", odd)
            if not self._call.acts_on_answers:
                return unread
            reasons = (f"a piece of the stream could not be read ({type(odd).__name__}), so it can't be judged",)
            error = OpenAIPolicyViolation(policy="engine", scope=Scope.OUTPUT, reasons=reasons)
        error.verdict_id = self.end(error=error)
        raise error from None

    @observed
    def _note(self) -> str | None:
        self._call.note(**self._reader.facts, output_chars=self._texts.received_chars)
        self._call.note_output(self._reader.output())
        return self._texts.record()

    def end(self, status: SpanStatus | None = None, *, error: BaseException | None = None) -> str | None:
        """Record the answer so far and end the call; returns the id of a verdict that blocks."""
        # list.pop is atomic: the export thread may end it while the application closes it.
        try:
            self._open.pop()
        except IndexError:
            return None
        verdict_id = self._note()
        self._call.end(status, error=error)
        return verdict_id


class GovernedIterator(Iterator[Any]):
    """Takes the place of the iterator inside the SDK's ``Stream``, which stays the object the application holds."""

    def __init__(self, source: Iterator[Any], streamed: StreamedCall) -> None:
        self._source = source
        self._streamed = streamed
        self._ready: deque[Any] = deque()
        self._done = False

    def __next__(self) -> Any:
        while not self._ready:
            if self._done:
                raise StopIteration
            self._pull()
        return self._ready.popleft()

    def _pull(self) -> None:
        try:
            with self._streamed.reading():
                piece = next(self._source)
        except StopIteration:
            self._done = True
            self._ready.extend(self._streamed.finish())
            return
        except BaseException as error:
            self._streamed.end(error=error)
            raise
        try:
            self._ready.extend(self._streamed.take(piece))
        except OpenAIPolicyViolation:
            self._done = True
            close_source(self._source)
            raise

    def __del__(self) -> None:
        self._streamed.leave()


class AsyncGovernedIterator(AsyncIterator[Any]):
    """The same inside an ``AsyncStream``."""

    def __init__(self, source: AsyncIterator[Any], streamed: StreamedCall) -> None:
        self._source = source
        self._streamed = streamed
        self._ready: deque[Any] = deque()
        self._done = False

    async def __anext__(self) -> Any:
        while not self._ready:
            if self._done:
                raise StopAsyncIteration
            await self._pull()
        return self._ready.popleft()

    async def _pull(self) -> None:
        try:
            with self._streamed.reading():
                piece = await anext(self._source)
        except StopAsyncIteration:
            self._done = True
            self._ready.extend(self._streamed.finish())
            return
        except BaseException as error:
            self._streamed.end(error=error)
            raise
        try:
            self._ready.extend(self._streamed.take(piece))
        except OpenAIPolicyViolation:
            self._done = True
            with contextlib.suppress(Exception):
                await self._source.aclose()  # type: ignore[attr-defined]
            raise

    def __del__(self) -> None:
        self._streamed.leave()


def close_source(source: Any) -> None:
    """Let go of the connection; what goes wrong there is not the application's."""
    with contextlib.suppress(Exception):
        source.close()
