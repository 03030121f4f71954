"""Spans and events of LlamaIndex's dispatcher to spans of the recorder."""

from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING, Any

from llama_index.core.base.response.schema import AsyncStreamingResponse, StreamingResponse
from llama_index.core.chat_engine.types import StreamingAgentChatResponse
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index.core.instrumentation.events.exception import ExceptionEvent
from llama_index.core.instrumentation.events.llm import (
    LLMChatEndEvent,
    LLMChatInProgressEvent,
    LLMChatStartEvent,
    LLMCompletionEndEvent,
    LLMCompletionInProgressEvent,
    LLMCompletionStartEvent,
    LLMPredictStartEvent,
)
from llama_index.core.instrumentation.events.retrieval import RetrievalEndEvent
from llama_index_instrumentation.event_handlers import BaseEventHandler
from llama_index_instrumentation.span.base import BaseSpan
from llama_index_instrumentation.span_handlers import BaseSpanHandler
from pydantic import PrivateAttr

from wandb_governance.tracing.deferred import when_safe
from wandb_governance.tracing.guard import observed
from wandb_governance.tracing.span import LlmCall, SpanKind, SpanStatus
from wandb_governance_llama_index import convert
from wandb_governance_llama_index.stream import AsyncTokenStream, TokenStream
from wandb_governance_llama_index.tracker import Step, Tracker, signature_of

if TYPE_CHECKING:
    import inspect

    from llama_index_instrumentation.base.event import BaseEvent

_QUIET_ARGUMENTS = frozenset({"self", "ctx", "memory", "callback_manager"})


class GovernanceSpanHandler(BaseSpanHandler[BaseSpan]):
    """Gets the entry, exit and failure of every decorated call."""

    _tracker: Tracker = PrivateAttr()

    def __init__(self, tracker: Tracker) -> None:
        super().__init__()
        self._tracker = tracker

    @classmethod
    def class_name(cls) -> str:
        """Name in LlamaIndex."""
        return "GovernanceSpanHandler"

    def span_enter(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,
        instance: Any = None,
        parent_id: str | None = None,
        tags: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A decorated call begins."""
        self._enter(id_, bound_args, instance, parent_id)

    @observed
    def _enter(self, id_: str, bound_args: inspect.BoundArguments, instance: Any, parent_id: str | None) -> None:
        if isinstance(instance, StreamingAgentChatResponse):
            return
        step = self._tracker.enter(id_, parent_id, instance, id_.rsplit("-", 5)[0])
        if step is None:
            return
        arguments = {key: value for key, value in bound_args.arguments.items() if key not in _QUIET_ARGUMENTS}
        asked = _worth_keeping(arguments)
        if asked is not None:
            step.open.input = self._tracker.governance.recorder.encoder.encode(asked)

    def span_exit(
        self, id_: str, bound_args: inspect.BoundArguments, instance: Any = None, result: Any = None, **kwargs: Any
    ) -> None:
        """A decorated call returns."""
        if isinstance(instance, StreamingAgentChatResponse):
            self._chat_written(instance)
        else:
            self._exit(id_, result)

    @observed
    def _exit(self, id_: str, result: Any) -> None:
        step = self._tracker.exit(id_)
        if step is None:
            return
        step.exited = True
        if self._waits(step, result):
            return
        if isinstance(result, list) and step.open.kind is SpanKind.RERANKER:
            step.open.retrieval = convert.retrieval(result)
        if step.open.output is None and result is not None and not isinstance(result, (Generator, AsyncGenerator)):
            step.open.output = self._tracker.governance.recorder.encoder.encode(result)
        self._tracker.end(step)

    def _waits(self, step: Step, result: Any) -> bool:
        """Whether the step goes on until its stream ends."""
        if isinstance(result, (Generator, AsyncGenerator)):
            if step.signature is None:
                return False
            weakref.finalize(result, self._unread, step.id)
            return True
        if isinstance(result, StreamingResponse):
            known = result.response_gen
            if isinstance(known, TokenStream):
                known.add(step)
            else:
                result.response_gen = TokenStream(known, step, self._stream_ended)  # type: ignore[assignment]
            return True
        if isinstance(result, AsyncStreamingResponse):
            unread = result.response_gen
            if isinstance(unread, AsyncTokenStream):
                unread.add(step)
            else:
                result.response_gen = AsyncTokenStream(unread, step, self._stream_ended)  # type: ignore[assignment]
            return True
        if isinstance(result, StreamingAgentChatResponse):
            self._tracker.wait_for(result, step)
            if result.is_done:
                self._chat_written(result)
            return True
        return False

    @observed
    def _chat_written(self, chat: StreamingAgentChatResponse) -> None:
        step = self._tracker.chat_written(chat)
        if step is not None:
            self._stream_ended(step, chat.unformatted_response or chat.response, chat.exception)

    def _stream_ended(self, step: Step, text: str, error: BaseException | None) -> None:
        step.open.output = self._tracker.governance.recorder.encoder.encode(text)
        self._tracker.end(step, error=error)

    def _unread(self, step_id: str) -> None:
        """The stream of a model call is gone; an event ends the call unless it was never read."""
        when_safe(lambda: self._abandon(step_id))

    @observed
    def _abandon(self, step_id: str) -> None:
        step = self._tracker.get(step_id)
        if step is not None and step.last is None:
            self._tracker.end(step, SpanStatus.ABANDONED)

    def span_drop(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,
        instance: Any = None,
        err: BaseException | None = None,
        **kwargs: Any,
    ) -> None:
        """A decorated call raises."""
        self._drop(id_, err)

    @observed
    def _drop(self, id_: str, err: BaseException | None) -> None:
        step = self._tracker.exit(id_)
        if step is not None:
            self._tracker.end(step, error=err or RuntimeError("dropped"))

    def new_span(self, *args: Any, **kwargs: Any) -> None:
        """Not used: the entry is handled whole."""

    def prepare_to_exit_span(self, *args: Any, **kwargs: Any) -> None:
        """Not used."""

    def prepare_to_drop_span(self, *args: Any, **kwargs: Any) -> None:
        """Not used."""


class GovernanceEventHandler(BaseEventHandler):
    """Gets the events of model calls, embeddings and retrievals."""

    _tracker: Tracker = PrivateAttr()

    def __init__(self, tracker: Tracker) -> None:
        super().__init__()
        self._tracker = tracker

    @classmethod
    def class_name(cls) -> str:
        """Name in LlamaIndex."""
        return "GovernanceEventHandler"

    def handle(self, event: BaseEvent, **kwargs: Any) -> Any:
        """An event arrives."""
        self._handle(event)

    @observed
    def _handle(self, event: BaseEvent) -> None:
        step = self._tracker.get(event.span_id)
        if step is None:
            return
        match event:
            case LLMChatStartEvent():
                asked: Any = event.messages
                chars = sum(len(convert.message_text(item)) for item in event.messages)
                self._call_started(step, event, asked, chars)
            case LLMCompletionStartEvent():
                self._call_started(step, event, event.prompt, len(event.prompt))
            case LLMChatInProgressEvent() | LLMCompletionInProgressEvent():
                step.last = event.response
                if convert.has_content(event.response):
                    (step.nested_in or step).open.first_token()
            case LLMChatEndEvent() | LLMCompletionEndEvent():
                self._call_ended(step, event.response, None)
            case ExceptionEvent() if step.signature is not None:
                self._call_ended(step, step.last, event.exception)
            case EmbeddingStartEvent():
                self._embedding_started(step, event.model_dict)
            case EmbeddingEndEvent():
                self._embedding_ended(step, event.chunks)
            case _:
                self._facts(step, event)

    def _facts(self, step: Step, event: BaseEvent) -> None:
        match event:
            case LLMPredictStartEvent():
                kind = (event.template.metadata or {}).get("prompt_type")
                step.open.prompt_name = step.open.prompt_name or (None if kind is None else str(kind))
            case RetrievalEndEvent():
                step.open.kind = SpanKind.RETRIEVER
                version = step.open.context.versions.get("index")
                step.open.retrieval = convert.retrieval(event.nodes, index_version=version)
            case _ if type(event).__name__ == "SpanCancelledEvent":
                self._tracker.end(step, SpanStatus.CANCELLED)

    def _call_started(
        self, step: Step, event: LLMChatStartEvent | LLMCompletionStartEvent, asked: Any, chars: int
    ) -> None:
        if not self._tracker.begin_call(step, signature_of(asked)):
            return
        step.open.input = self._tracker.governance.recorder.encoder.encode(asked)
        step.open.llm = convert.call_of(event.model_dict, event.additional_kwargs, input_chars=chars)

    def _call_ended(self, step: Step, response: Any, error: BaseException | None) -> None:
        counted = step.nested_in or step
        if counted is step or response is not None:
            # An inner answer counts too where the outer call never hands it on, as when a policy blocks it.
            counted.open.llm = convert.answered(counted.open.llm or LlmCall(), response, streaming=counted.exited)
        if counted is step and response is not None:
            step.open.output = self._tracker.governance.recorder.encoder.encode(response)
        if step.exited or error is not None:
            self._tracker.end(step, error=error)

    def _embedding_started(self, step: Step, model: dict[str, Any]) -> None:
        if any(outer.open.kind is SpanKind.EMBEDDING for outer in step.ancestors()):
            return
        step.open.kind = SpanKind.EMBEDDING
        step.open.llm = convert.call_of(model, {}, input_chars=0)

    def _embedding_ended(self, step: Step, chunks: list[str]) -> None:
        outer = next((item for item in (step, *step.ancestors()) if item.open.kind is SpanKind.EMBEDDING), None)
        if outer is None or outer.open.llm is None:
            return
        before = outer.open.llm
        chars = before.input_chars + sum(map(len, chunks))
        outer.open.llm = LlmCall(provider=before.provider, request_model=before.request_model, input_chars=chars)
        outer.open.attributes["chunks"] = int(outer.open.attributes.get("chunks", 0)) + len(chunks)
        # The vectors are the output: worth nothing to a reader and megabytes to a table.
        outer.open.output = self._tracker.governance.recorder.encoder.encode("")


def _worth_keeping(arguments: dict[str, Any]) -> object:
    """The question of a call without its machinery: one argument as itself, several by name."""
    flat = {**{key: value for key, value in arguments.items() if key != "kwargs"}, **(arguments.get("kwargs") or {})}
    kept = {key: value for key, value in flat.items() if _is_data(value)}
    if not kept:
        return None
    return next(iter(kept.values())) if len(kept) == 1 else kept


def _is_data(value: Any) -> bool:
    if isinstance(value, (str, int, float, bool)):
        return True
    if isinstance(value, (list, tuple)):
        return bool(value) and _is_data(value[0])
    if isinstance(value, dict):
        return all(_is_data(item) for item in value.values())
    return convert.plain(value) is not value
