"""A streamed answer stays in the trace of the query that promised it.

LlamaIndex leaves the query's span before the model is asked: that happens when the caller reads the stream. The reader
gets the same stream through a proxy that puts the span back for each step, and ends it with the stream.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

from llama_index_instrumentation.span import active_span_id

from wandb_governance.tracing.deferred import when_safe
from wandb_governance.tracing.guard import observed

if TYPE_CHECKING:
    from wandb_governance_llama_index.tracker import Step

OnEnd = Callable[["Step", str, BaseException | None], None]
"""Told each step that waited for the stream, the whole text, and what ended it early."""


class _Proxy:
    """The steps that wait for a stream, innermost first, and the text that went by."""

    def __init__(self, source: Any, step: Step, on_end: OnEnd) -> None:
        self._source = source
        self._steps = [step]
        self._text: list[str] = []
        self._on_end = on_end

    def add(self, step: Step) -> None:
        """An enclosing step returns the same stream."""
        self._steps.append(step)

    @observed
    def _took(self, item: object) -> None:
        for step in self._steps:
            step.open.first_token()
        if isinstance(item, str):
            self._text.append(item)

    @observed
    def _finish(self, error: BaseException | None) -> None:
        steps, self._steps = self._steps, []
        for step in steps:
            self._on_end(step, "".join(self._text), error)


class TokenStream(_Proxy, Iterator[str]):
    """A stream of text that carries its span."""

    def __next__(self) -> str:
        token = active_span_id.set(self._steps[0].id) if self._steps else None
        try:
            item: str = next(self._source)
        except StopIteration:
            self._finish(None)
            raise
        except BaseException as error:
            self._finish(error)
            raise
        finally:
            if token is not None:
                active_span_id.reset(token)
        self._took(item)
        return item

    def close(self) -> None:
        """Stop reading."""
        try:
            self._source.close()
        finally:
            self._finish(GeneratorExit())

    def __del__(self) -> None:
        when_safe(self.close)


class AsyncTokenStream(_Proxy, AsyncIterator[str]):
    """The same for an asynchronous stream."""

    async def __anext__(self) -> str:
        token = active_span_id.set(self._steps[0].id) if self._steps else None
        try:
            item: str = await anext(self._source)
        except StopAsyncIteration:
            self._finish(None)
            raise
        except BaseException as error:
            self._finish(error)
            raise
        finally:
            if token is not None:
                active_span_id.reset(token)
        self._took(item)
        return item

    async def aclose(self) -> None:
        """Stop reading."""
        try:
            await self._source.aclose()
        finally:
            self._finish(GeneratorExit())

    def __del__(self) -> None:
        when_safe(lambda: self._finish(GeneratorExit()))
