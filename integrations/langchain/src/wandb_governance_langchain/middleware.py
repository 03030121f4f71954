"""Policies for agents: LangChain's agent middleware, for model calls and tool calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables.config import var_child_runnable_config
from langgraph.types import Command

from wandb_governance.errors import PolicyViolation
from wandb_governance.policy.verdict import Scope
from wandb_governance.tracing.span import SpanKind
from wandb_governance_langchain import rewrite
from wandb_governance_langchain.enforce import GovernedChatModel, govern
from wandb_governance_langchain.handler import GovernanceCallbackHandler
from wandb_governance_langchain.judge import judged_elsewhere

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from langchain_core.language_models.chat_models import BaseChatModel
    from langgraph.prebuilt.tool_node import ToolCallRequest

    from wandb_governance.runtime import Governance
    from wandb_governance.tracing.recorder import OpenSpan

ToolResult = ToolMessage | Command[Any]


class GovernanceMiddleware(AgentMiddleware[Any, Any]):
    """Puts the policies between an agent and its model and tools.

    The model sees redacted messages while the agent's state keeps the originals; streamed answers are checked before
    they leave, with ``stream_mode="messages"`` too.

    Args:
        governance: A handler, or what several adapters share.
        on_block: ``raise`` ends the agent with ``PolicyViolation``; ``reply`` answers with the reason instead, as the
            model's or the tool's answer.
    """

    def __init__(
        self, governance: Governance | GovernanceCallbackHandler, *, on_block: Literal["raise", "reply"] = "raise"
    ) -> None:
        super().__init__()
        self._handler = (
            governance
            if isinstance(governance, GovernanceCallbackHandler)
            else GovernanceCallbackHandler(governance=governance)
        )
        self._on_block = on_block
        self._governed: dict[int, tuple[BaseChatModel, GovernedChatModel]] = {}

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any] | AIMessage:
        """A model call under policy."""
        try:
            return handler(request.override(model=self._model(request.model)))
        except PolicyViolation as violation:
            return self._refusal(violation)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any] | AIMessage:
        """A model call under policy."""
        try:
            return await handler(request.override(model=self._model(request.model)))
        except PolicyViolation as violation:
            return self._refusal(violation)

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolResult]) -> ToolResult:
        """A tool call under policy."""
        try:
            allowed = self._allowed(request)
            token = judged_elsewhere.set(True)
            try:
                result = handler(allowed)
            finally:
                judged_elsewhere.reset(token)
            return self._result(request, result)
        except PolicyViolation as violation:
            return self._tool_refusal(request, violation)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolResult]]
    ) -> ToolResult:
        """A tool call under policy."""
        try:
            allowed = self._allowed(request)
            token = judged_elsewhere.set(True)
            try:
                result = await handler(allowed)
            finally:
                judged_elsewhere.reset(token)
            return self._result(request, result)
        except PolicyViolation as violation:
            return self._tool_refusal(request, violation)

    def _model(self, model: BaseChatModel) -> GovernedChatModel:
        known = self._governed.get(id(model))
        if known is None or known[0] is not model:
            known = self._governed[id(model)] = (model, govern(model, self._handler))
        return known[1]

    def _refusal(self, violation: PolicyViolation) -> AIMessage:
        if self._on_block == "raise":
            raise violation
        return AIMessage(str(violation))

    def _tool_refusal(self, request: ToolCallRequest, violation: PolicyViolation) -> ToolMessage:
        if self._on_block == "raise":
            raise violation
        call = request.tool_call
        return ToolMessage(str(violation), tool_call_id=call["id"] or "", name=call["name"], status="error")

    def _allowed(self, request: ToolCallRequest) -> ToolCallRequest:
        """The call with arguments as the tool may see them."""
        call = request.tool_call
        texts = self._judged(rewrite.texts_of([call["args"]]), Scope.TOOL_ARGS, call["name"])
        if texts is None:
            return request
        (arguments,) = rewrite.with_texts([call["args"]], texts)
        return request.override(tool_call={**call, "args": arguments})

    def _result(self, request: ToolCallRequest, result: ToolResult) -> ToolResult:
        """The result as the model may see it."""
        if isinstance(result, Command):
            return self._command(request, result)
        texts = self._judged(rewrite.texts_of([result]), Scope.TOOL_RESULT, request.tool_call["name"])
        return result if texts is None else rewrite.with_texts([result], texts)[0]

    def _command(self, request: ToolCallRequest, command: Command[Any]) -> Command[Any]:
        update = command.update
        if not isinstance(update, dict) or not isinstance(messages := update.get("messages"), list):
            return command
        texts = self._judged(rewrite.texts_of(messages), Scope.TOOL_RESULT, request.tool_call["name"])
        if texts is None:
            return command
        from dataclasses import replace

        return replace(command, update={**update, "messages": rewrite.with_texts(messages, texts)})

    def _judged(self, texts: list[str], scope: Scope, tool: str) -> tuple[str, ...] | None:
        """Texts to go on with; None where nothing changes.

        Raises:
            PolicyViolation: A policy blocks.
        """
        judgement = self._handler.governance.judge(self._span(tool), texts, scope, tool=tool)
        if judgement is None:
            return None
        if judgement.violation is not None:
            raise judgement.violation
        return judgement.texts if judgement.redacted else None

    def _span(self, tool: str) -> OpenSpan:
        """The span of the step that runs here."""
        config = var_child_runnable_config.get()
        run_id = getattr(None if config is None else config.get("callbacks"), "parent_run_id", None)
        run = None if run_id is None else self._handler.run_of(run_id)
        return run.span if run is not None else self._handler.governance.recorder.start(SpanKind.TOOL, tool)
