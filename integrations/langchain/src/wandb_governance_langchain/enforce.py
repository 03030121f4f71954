# ruff: noqa: SLF001 - a model that wraps a model calls what LangChain has every model implement
"""A chat model under policy: what reaches the model and what comes back is checked, in every mode.

``govern`` wraps any LangChain chat model. The wrapper is a chat model itself: chains, ``bind_tools``,
``with_structured_output``, streaming, batch and caching work as before. The caller's own messages are never changed.
"""

from __future__ import annotations

import uuid
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables.config import ensure_config
from pydantic import PrivateAttr

from wandb_governance.errors import ConfigError
from wandb_governance.policy.verdict import Scope
from wandb_governance.tracing.span import SpanKind
from wandb_governance_langchain import convert, rewrite
from wandb_governance_langchain.handler import GovernanceCallbackHandler
from wandb_governance_langchain.rebase import replace_model
from wandb_governance_langchain.stream import GovernedStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, BaseCallbackHandler, CallbackManagerForLLMRun
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.runnables import Runnable, RunnableConfig

    from wandb_governance.runtime import Governance, Judgement
    from wandb_governance.tracing.recorder import OpenSpan

_COPIED = ("cache", "callbacks", "tags", "metadata", "name", "verbose", "rate_limiter", "disable_streaming", "profile",
           "custom_get_token_ids", "output_version")  # fmt: skip
"""Fields of every chat model that LangChain reads from the outermost one."""

_running: ContextVar[uuid.UUID | None] = ContextVar("wandb_governance_langchain_running", default=None)
"""Run of a stream between the caller's call and the first look at the model, where LangChain passes no run on."""


class _Checked(list[BaseMessage]):
    """Messages that the policies have seen."""

    run_id: uuid.UUID | None = None


def govern(model: BaseChatModel, governance: Governance | GovernanceCallbackHandler) -> GovernedChatModel:
    """``model`` under the policies of ``governance``.

    Args:
        model: Any chat model.
        governance: A handler, or what several adapters share. Calls are recorded without naming a handler again.
    """
    if isinstance(model, GovernedChatModel):
        return model
    handler = (
        governance
        if isinstance(governance, GovernanceCallbackHandler)
        else GovernanceCallbackHandler(governance=governance)
    )
    return GovernedChatModel.around(model, handler)


class GovernedChatModel(BaseChatModel):
    """A chat model whose input and output obey the policies. Made by ``govern``."""

    inner: BaseChatModel
    _handler: GovernanceCallbackHandler = PrivateAttr()

    @classmethod
    def around(cls, model: BaseChatModel, handler: GovernanceCallbackHandler) -> GovernedChatModel:
        """The wrapper of ``model``; the handler hears of every call."""
        given = {name: getattr(model, name) for name in _COPIED if name in cls.model_fields and hasattr(model, name)}
        callbacks = given.get("callbacks")
        if callbacks is None or isinstance(callbacks, list):
            own: list[BaseCallbackHandler] = [item for item in callbacks or () if item is not handler]
            given["callbacks"] = [*own, handler]
        else:
            given["callbacks"] = callbacks.copy()
            given["callbacks"].add_handler(handler, inherit=False)
        made = cls(inner=model, **given)
        made._handler = handler
        return made

    @property
    def model_name(self) -> str | None:
        """Name of the model, where integrations and agents look for it."""
        found = getattr(self.inner, "model_name", None) or getattr(self.inner, "model", None)
        return found if isinstance(found, str) else None

    @property
    def _llm_type(self) -> str:
        return self.inner._llm_type

    @property
    def _identifying_params(self) -> dict[str, Any]:
        engine = self._handler.governance.engine
        return {**self.inner._identifying_params, "policy_digest": None if engine is None else engine.digest}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {**self.inner._get_ls_params(stop=stop, **kwargs), convert.GOVERNED: True}

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        return self.inner._get_invocation_params(stop=stop, **kwargs)

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        # An answer that one policy let through must not be served under another.
        return f"{self.inner._get_llm_string(stop=stop, **kwargs)}|{self._identifying_params['policy_digest']}"

    def _should_stream(self, *, async_api: bool, run_manager: Any = None, **kwargs: Any) -> bool:
        return self.inner._should_stream(async_api=async_api, run_manager=run_manager, **kwargs)

    def get_token_ids(self, text: str) -> list[int]:
        """Tokens of ``text``, by the model's own tokenizer."""
        return self.inner.get_token_ids(text)

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with tools; still governed."""
        return cast("Runnable[LanguageModelInput, AIMessage]", self._rebased(self.inner.bind_tools(tools, **kwargs)))

    def with_structured_output(self, schema: Any, **kwargs: Any) -> Runnable[LanguageModelInput, Any]:
        """The model with a schema for its answer; still governed."""
        return self._rebased(self.inner.with_structured_output(schema, **kwargs))

    def _rebased(self, runnable: Runnable[Any, Any]) -> Runnable[Any, Any]:
        made: Runnable[Any, Any]
        made, count = replace_model(runnable, self.inner, self)
        if not count:
            raise ConfigError(
                f"{type(self.inner).__name__} builds this in a way that policies can't follow; "
                "bind tools or schema first and use GovernanceMiddleware or a callback handler"
            )
        return made

    # -- calls --------------------------------------------------------------------------------------------------------

    def _generate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        # Before the cache: who may not ask gets no cached answer either, and the cache never sees what is redacted.
        checked = self._checked(messages, _run_id(run_manager))
        return super()._generate_with_cache(checked, stop=stop, run_manager=run_manager, **kwargs)

    async def _agenerate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        checked = self._checked(messages, _run_id(run_manager))
        return await super()._agenerate_with_cache(checked, stop=stop, run_manager=run_manager, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        run_id = _run_id(run_manager)
        checked = self._checked(messages, run_id)
        # Without the run: the model itself must not tell handlers of raw tokens.
        return self._answered(self.inner._generate(list(checked), stop=stop, **kwargs), run_id)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        run_id = _run_id(run_manager)
        checked = self._checked(messages, run_id)
        return self._answered(await self.inner._agenerate(list(checked), stop=stop, **kwargs), run_id)

    def stream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """Stream the answer; nothing leaves before the policies have seen it."""
        given, run_id = _with_run_id(config)
        chunks = super().stream(input, given, stop=stop, **kwargs)
        token = _running.set(run_id)
        try:
            first = next(chunks, None)
        finally:
            _running.reset(token)
        if first is not None:
            yield first
            yield from chunks

    async def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Stream the answer; nothing leaves before the policies have seen it."""
        given, run_id = _with_run_id(config)
        chunks = super().astream(input, given, stop=stop, **kwargs)
        token = _running.set(run_id)
        try:
            first = await anext(chunks, None)
        finally:
            _running.reset(token)
        if first is not None:
            yield first
            async for chunk in chunks:
                yield chunk

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        run_id = _run_id(run_manager) or _running.get() or getattr(messages, "run_id", None)
        checked = self._checked(messages, run_id)
        governed = GovernedStream(self._handler.governance, self._span(run_id))
        try:
            for chunk in self.inner._stream(list(checked), stop=stop, **kwargs):
                for released in governed.feed(chunk):
                    _announce(run_manager, released)
                    yield released
            for released in governed.finish():
                _announce(run_manager, released)
                yield released
        finally:
            governed.leave()

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        run_id = _run_id(run_manager) or _running.get() or getattr(messages, "run_id", None)
        checked = self._checked(messages, run_id)
        governed = GovernedStream(self._handler.governance, self._span(run_id))
        try:
            async for chunk in self.inner._astream(list(checked), stop=stop, **kwargs):
                for released in governed.feed(chunk):
                    await _announce_async(run_manager, released)
                    yield released
            for released in governed.finish():
                await _announce_async(run_manager, released)
                yield released
        finally:
            governed.leave()

    # -- judging ------------------------------------------------------------------------------------------------------

    def _span(self, run_id: uuid.UUID | None) -> OpenSpan:
        run = None if run_id is None else self._handler.run_of(run_id)
        return run.span if run is not None else self._handler.governance.recorder.start(SpanKind.LLM, self.get_name())

    def _checked(self, messages: list[BaseMessage], run_id: uuid.UUID | None) -> list[BaseMessage]:
        """Messages as the model may see them.

        Raises:
            PolicyViolation: A policy blocks.
        """
        if isinstance(messages, _Checked):
            return messages
        judgement = self._judged(rewrite.texts_of(messages), Scope.INPUT, run_id)
        redacted = judgement is not None and judgement.redacted
        made = _Checked(rewrite.with_texts(messages, judgement.texts) if redacted and judgement else messages)
        made.run_id = run_id
        return made

    def _answered(self, result: ChatResult, run_id: uuid.UUID | None) -> ChatResult:
        """An answer as the caller may see it.

        Raises:
            PolicyViolation: A policy blocks.
        """
        messages = [generation.message for generation in result.generations]
        judgement = self._judged(rewrite.texts_of(messages), Scope.OUTPUT, run_id)
        if judgement is None or not judgement.redacted:
            return result
        redacted = rewrite.with_texts(messages, judgement.texts)
        generations: list[ChatGeneration] = [
            rewrite.generation_of(generation, message)
            for generation, message in zip(result.generations, redacted, strict=True)
        ]
        return ChatResult(generations=generations, llm_output=result.llm_output)

    def _judged(self, texts: list[str], scope: Scope, run_id: uuid.UUID | None) -> Judgement | None:
        judgement = self._handler.governance.judge(self._span(run_id), texts, scope)
        if judgement is not None and judgement.violation is not None:
            raise judgement.violation
        return judgement


def _run_id(manager: Any) -> uuid.UUID | None:
    found = getattr(manager, "run_id", None)
    return found if isinstance(found, uuid.UUID) else None


def _with_run_id(config: RunnableConfig | None) -> tuple[RunnableConfig, uuid.UUID]:
    """The config with an id for the run it starts."""
    made = ensure_config(config)
    run_id = made.get("run_id") or _new_run_id()
    made["run_id"] = run_id
    return made, run_id


def _new_run_id() -> uuid.UUID:
    try:
        from langchain_core.utils.uuid import uuid7
    except ImportError:
        return uuid.uuid4()
    return uuid7()


def _announce(manager: CallbackManagerForLLMRun | None, chunk: ChatGenerationChunk) -> None:
    if manager is not None:
        manager.on_llm_new_token(chunk.text, chunk=chunk)


async def _announce_async(manager: AsyncCallbackManagerForLLMRun | None, chunk: ChatGenerationChunk) -> None:
    if manager is not None:
        await manager.on_llm_new_token(chunk.text, chunk=chunk)
