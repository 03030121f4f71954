"""Policies that take effect in LlamaIndex: on the model, on retrieved text, on tools.

Handlers of the dispatcher can't block: LlamaIndex swallows what they raise. So the model itself is wrapped; a query
engine, chat engine or agent that is given the wrapped model can't go round it.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    TextBlock,
)
from llama_index.core.callbacks import CallbackManager
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import LLM
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode
from llama_index.core.tools import FunctionTool, ToolSelection
from llama_index_instrumentation.span import active_span_id
from pydantic import PrivateAttr

from wandb_governance.policy.stream import StreamRedactor
from wandb_governance.policy.verdict import Scope
from wandb_governance.tracing.span import SpanKind

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Sequence

    from llama_index.core.tools.types import BaseTool

    from wandb_governance.policy.engine import PolicyEngine
    from wandb_governance.policy.verdict import Decision
    from wandb_governance.tracing.recorder import OpenSpan
    from wandb_governance_llama_index.instrumentation import Instrumentation


class Enforcer:
    """Asks the policies on behalf of wrapped objects and writes the verdicts into the span of the running call."""

    def __init__(self, instrumentation: Instrumentation) -> None:
        self.governance = instrumentation.governance
        self._tracker = instrumentation.tracker

    @property
    def engine(self) -> PolicyEngine | None:
        """The policies."""
        return self.governance.engine

    def span(self) -> OpenSpan:
        """The span of the running call; a new one where nothing listens."""
        known = self._tracker.span_of(active_span_id.get())
        return known or self.governance.recorder.start(SpanKind.LLM, "governed call")

    def check(self, texts: Sequence[str], scope: Scope, *, tool: str | None = None) -> tuple[str, ...]:
        """The texts to go on with.

        Raises:
            PolicyViolation: A policy blocks.
        """
        judgement = self.governance.judge(self.span(), texts, scope, tool=tool)
        if judgement is None:
            return tuple(texts)
        if judgement.violation is not None:
            raise judgement.violation
        return judgement.texts

    def stream(self, span: OpenSpan) -> StreamRedactor | None:
        """A redactor of the streamed answer of ``span``; None where there is no policy."""
        if self.engine is None:
            return None
        return StreamRedactor(self.engine, self.governance.rule_context(span, Scope.OUTPUT))

    def record(self, span: OpenSpan, decision: Decision) -> None:
        """Write down what was decided on a stream."""
        self.governance.record(span, (decision,), Scope.OUTPUT)


def _redacted_message(message: ChatMessage, texts: Iterator[str]) -> ChatMessage:
    """A copy with its text blocks replaced; the caller's message stays as it is."""
    blocks = [
        block.model_copy(update={"text": next(texts)}) if isinstance(block, TextBlock) else block
        for block in message.blocks
    ]
    return message.model_copy(update={"blocks": blocks})


def _texts_of(messages: Sequence[ChatMessage]) -> list[str]:
    return [block.text for message in messages for block in message.blocks if isinstance(block, TextBlock)]


class GovernedLLM(LLM):
    """A model under policy. What it is asked and what it answers goes through the chain; it can't be gone round."""

    _inner: LLM = PrivateAttr()
    _enforcer: Enforcer = PrivateAttr()

    def __init__(self, *, inner: LLM, enforcer: Enforcer, **kwargs: Any) -> None:
        super().__init__(
            callback_manager=inner.callback_manager or CallbackManager(),
            system_prompt=inner.system_prompt,
            messages_to_prompt=inner.messages_to_prompt,
            completion_to_prompt=inner.completion_to_prompt,
            output_parser=inner.output_parser,
            pydantic_program_mode=inner.pydantic_program_mode,
        )
        self._inner = inner
        self._enforcer = enforcer

    @classmethod
    def class_name(cls) -> str:
        """Name in LlamaIndex."""
        return "GovernedLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """The wrapped model's."""
        return self._inner.metadata

    def to_payload(self) -> dict[str, Any]:
        """The wrapped model's."""
        return self._inner.to_payload()

    def _checked(self, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
        texts = iter(self._enforcer.check(_texts_of(messages), Scope.INPUT))
        return [_redacted_message(message, texts) for message in messages]

    def _answer(self, response: ChatResponse) -> ChatResponse:
        texts = iter(self._enforcer.check(_texts_of([response.message]), Scope.OUTPUT))
        return response.model_copy(update={"message": _redacted_message(response.message, texts)})

    def _completion(self, response: CompletionResponse) -> CompletionResponse:
        (text,) = self._enforcer.check([response.text], Scope.OUTPUT)
        return response.model_copy(update={"text": text})

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Ask under policy."""
        return self._answer(self._inner.chat(self._checked(messages), **kwargs))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Ask under policy."""
        return self._answer(await self._inner.achat(self._checked(messages), **kwargs))

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Complete under policy."""
        (checked,) = self._enforcer.check([prompt], Scope.INPUT)
        return self._completion(self._inner.complete(checked, formatted=formatted, **kwargs))

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Complete under policy."""
        (checked,) = self._enforcer.check([prompt], Scope.INPUT)
        return self._completion(await self._inner.acomplete(checked, formatted=formatted, **kwargs))

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Ask under policy; pieces go out as soon as no policy can still change them."""
        span = self._enforcer.span()
        return self._stream(span, self._inner.stream_chat(self._checked(messages), **kwargs), _chat_piece)

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """Ask under policy; pieces go out as soon as no policy can still change them."""
        span = self._enforcer.span()
        source = await self._inner.astream_chat(self._checked(messages), **kwargs)
        return self._astream(span, source, _chat_piece)

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """Complete under policy; pieces go out as soon as no policy can still change them."""
        span = self._enforcer.span()
        (checked,) = self._enforcer.check([prompt], Scope.INPUT)
        source = self._inner.stream_complete(checked, formatted=formatted, **kwargs)
        return self._stream(span, source, _completion_piece)

    @llm_completion_callback()
    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        """Complete under policy; pieces go out as soon as no policy can still change them."""
        span = self._enforcer.span()
        (checked,) = self._enforcer.check([prompt], Scope.INPUT)
        source = await self._inner.astream_complete(checked, formatted=formatted, **kwargs)
        return self._astream(span, source, _completion_piece)

    def _stream(self, span: OpenSpan, source: Iterator[Any], piece: Callable[..., Any]) -> Generator[Any, None, None]:
        redactor = self._enforcer.stream(span)
        if redactor is None:
            yield from source
            return
        last, text = None, ""
        try:
            for last in source:
                delta = redactor.feed(last.delta or "")
                text += delta
                yield piece(last, delta, text)
            rest = redactor.finish()
            if rest and last is not None:
                yield piece(last, rest, text + rest)
        finally:
            self._enforcer.record(span, redactor.decision)

    async def _astream(
        self, span: OpenSpan, source: AsyncIterator[Any], piece: Callable[..., Any]
    ) -> AsyncGenerator[Any, None]:
        redactor = self._enforcer.stream(span)
        last, text = None, ""
        if redactor is None:
            async for last in source:
                yield last
            return
        try:
            async for last in source:
                delta = redactor.feed(last.delta or "")
                text += delta
                yield piece(last, delta, text)
            rest = redactor.finish()
            if rest and last is not None:
                yield piece(last, rest, text + rest)
        finally:
            self._enforcer.record(span, redactor.decision)


def _chat_piece(last: ChatResponse, delta: str, text: str) -> ChatResponse:
    others = [block for block in last.message.blocks if not isinstance(block, TextBlock)]
    message = last.message.model_copy(update={"blocks": [TextBlock(text=text), *others]})
    return last.model_copy(update={"message": message, "delta": delta})


def _completion_piece(last: CompletionResponse, delta: str, text: str) -> CompletionResponse:
    return last.model_copy(update={"text": text, "delta": delta})


class GovernedFunctionCallingLLM(GovernedLLM, FunctionCallingLLM):
    """The same for a model that calls tools."""

    def __init__(self, *, inner: LLM, enforcer: Enforcer, **kwargs: Any) -> None:
        super().__init__(inner=inner, enforcer=enforcer, **kwargs)

    @property
    def _calling(self) -> FunctionCallingLLM:
        assert isinstance(self._inner, FunctionCallingLLM)
        return self._inner

    def _prepare_chat_with_tools(self, tools: Sequence[BaseTool], *args: Any, **kwargs: Any) -> dict[str, Any]:
        return self._calling._prepare_chat_with_tools(tools, *args, **kwargs)  # noqa: SLF001 - the base class's port

    def get_tool_calls_from_response(self, response: ChatResponse, *args: Any, **kwargs: Any) -> list[ToolSelection]:
        """The wrapped model's reading of its own answer."""
        return self._calling.get_tool_calls_from_response(response, *args, **kwargs)


class GovernedNodes(BaseNodePostprocessor):
    """Retrieved text under policy: redacted copies go on; a node that a policy blocks is left out."""

    _enforcer: Enforcer = PrivateAttr()

    def __init__(self, enforcer: Enforcer) -> None:
        super().__init__()
        self._enforcer = enforcer

    @classmethod
    def class_name(cls) -> str:
        """Name in LlamaIndex."""
        return "GovernedNodes"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        span = self._enforcer.span()
        judgement = self._enforcer.governance.judge(
            span, [node.node.get_content(MetadataMode.NONE) for node in nodes], Scope.RETRIEVAL
        )
        if judgement is None:
            return nodes
        if judgement.violation is not None and not judgement.decisions:
            raise judgement.violation
        kept = []
        for node, decision in zip(nodes, judgement.decisions, strict=True):
            if decision.blocking is not None:
                continue
            if decision.changed_by and isinstance(node.node, TextNode):
                copy = node.node.model_copy(update={"text": decision.text})
                kept.append(NodeWithScore(node=copy, score=node.score))
            else:
                kept.append(node)
        return kept


def governed_tool(tool: FunctionTool, enforcer: Enforcer) -> FunctionTool:
    """A tool whose arguments and result go through the policies.

    Raises:
        PolicyViolation: From the tool, when a policy blocks its arguments or its result.
    """
    name = tool.metadata.name

    def before(kwargs: dict[str, Any]) -> dict[str, Any]:
        texts = {key: value for key, value in kwargs.items() if isinstance(value, str)}
        checked = enforcer.check(list(texts.values()), Scope.TOOL_ARGS, tool=name)
        return {**kwargs, **dict(zip(texts, checked, strict=True))}

    def after(output: Any) -> Any:
        if not isinstance(output, str):
            enforcer.check([str(output)], Scope.TOOL_RESULT, tool=name)
            return output
        (checked,) = enforcer.check([output], Scope.TOOL_RESULT, tool=name)
        return checked

    def named(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        bound = inspect.signature(tool.real_fn).bind(*args, **kwargs)
        return before({**bound.arguments, **bound.arguments.pop("kwargs", {})})

    def call(*args: Any, **kwargs: Any) -> Any:
        return after(tool.fn(**named(args, kwargs)))

    async def acall(*args: Any, **kwargs: Any) -> Any:
        return after(await tool.async_fn(**named(args, kwargs)))

    return FunctionTool(fn=call, metadata=tool.metadata, async_fn=acall)


def govern_llm(llm: LLM, enforcer: Enforcer) -> GovernedLLM:
    """``llm`` under policy, with its tool calling where it has it."""
    if isinstance(llm, FunctionCallingLLM):
        return GovernedFunctionCallingLLM(inner=llm, enforcer=enforcer)
    return GovernedLLM(inner=llm, enforcer=enforcer)
