"""The LangChain callback handler: every run becomes a span, every model call a row with usage, cost and verdict.

It is one plain ``BaseCallbackHandler`` for sync and async code. It runs inline, on the thread of the call, which keeps
order and context; it never puts anything into a context variable. A fault of its own is counted and never reaches the
application; a policy that blocks does.
"""

from __future__ import annotations

import itertools
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

import orjson
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.outputs import Generation, LLMResult

from wandb_governance.policy.verdict import Scope
from wandb_governance.runtime import Governance
from wandb_governance.tracing.guard import fault, observed
from wandb_governance.tracing.span import SpanKind, SpanStatus
from wandb_governance_langchain import calls, convert
from wandb_governance_langchain.graphs import hear_graph_events
from wandb_governance_langchain.judge import judged_elsewhere
from wandb_governance_langchain.recording import Recording, chain_kind, class_name, interrupts_of, is_pending, written

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from uuid import UUID

    from wandb_governance.policy.engine import PolicyEngine
    from wandb_governance.settings import Settings
    from wandb_governance_langchain.runs import Run

_handlers: weakref.WeakValueDictionary[int, GovernanceCallbackHandler] = weakref.WeakValueDictionary()
_handler_numbers = itertools.count()


class GovernanceCallbackHandler(BaseCallbackHandler):
    """Records LangChain and LangGraph runs, and stops calls that a policy blocks.

    A callback can stop a call, its answer, a tool or a retrieved text, but it can't change them, and it can't take back
    streamed text. A policy that needs one of these is written down as not enforced, with one warning, or refused where
    ``strict`` is set; ``govern`` and ``GovernanceMiddleware`` enforce everything.

    Args:
        run: What ``wandb.init()`` returned; without it the active run.
        policy: A policy file or engine.
        prices: A YAML price table over the public prices.
        settings: Read from the environment where not given.
        strict: Raise where a policy asks for what a callback can't do.
        governance: Shared with another adapter, instead of the arguments above.

    Raises:
        ConfigError: A file is wrong, or with ``strict`` a policy asks for what a callback can't do.
    """

    run_inline = True
    raise_error = True
    _hears_graphs = False

    def __init__(
        self,
        run: Any = None,
        policy: str | Path | PolicyEngine | None = None,
        *,
        prices: str | Path | None = None,
        settings: Settings | None = None,
        strict: bool = False,
        governance: Governance | None = None,
    ) -> None:
        super().__init__()
        self.governance = governance or Governance(run=run, policy=policy, prices=prices, settings=settings)
        self._recording = Recording(self.governance, strict=strict)
        self._runs = self._recording.runs
        self._judge = self._recording.judge
        self._content = self._recording.texts.content
        engine = self.governance.engine
        self._rebuild = (None if engine is None else engine.document, prices, self.governance.settings, strict)
        self._number = next(_handler_numbers)
        _handlers[self._number] = self

    def flush(self, timeout_s: float | None = None) -> bool:
        """Bring everything recorded so far to W&B, and end runs that LangChain lost.

        Returns:
            Whether W&B's SDK took it within the time; what is left stays in the journal.
        """
        self._recording.abandon(self._runs.dropped_streams())
        self._recording.sweep(final=False)
        return self.governance.flush(timeout_s)

    @property
    def open_runs(self) -> int:
        """How many runs have started and not ended."""
        return len(self._runs)

    def run_of(self, run_id: UUID) -> Run | None:
        """The open run with LangChain's ``run_id``; for the governed model, which judges on its span."""
        return self._runs.get(run_id)

    def __copy__(self) -> GovernanceCallbackHandler:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> GovernanceCallbackHandler:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self._number, id(self), self._rebuild)

    @observed
    def on_chain_start(self, serialized: dict[str, Any] | None, inputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """A chain, prompt, parser, graph or agent begins."""
        if not self._hears_graphs and "langgraph.callbacks" in sys.modules:
            hear_graph_events(self)
        name = kwargs.get("name") or class_name(serialized) or "chain"
        run = self._runs.begin(chain_kind(name, kwargs.get("metadata")), name, run_id, kwargs)
        if run is not None and not is_pending(inputs):
            run.span.input = self._content(inputs)

    @observed
    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """A chain ended."""
        run = self._runs.end(run_id)
        if run is None:
            return
        span = run.span
        span.output = self._content(outputs)
        status = SpanStatus.OK
        if type(outputs) is dict and "__interrupt__" in outputs:
            status = SpanStatus.INTERRUPTED
            span.attributes["interrupts"] = interrupts_of(outputs["__interrupt__"])
        elif "interrupts" in span.attributes:
            status = SpanStatus.INTERRUPTED
        if span.input is None and "inputs" in kwargs:
            span.input = self._content(kwargs["inputs"])
        self._recording.end(run, status)

    @observed
    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """A chain failed, was cancelled or paused."""
        run = self._runs.get(run_id)
        if run is not None and run.span.input is None and "inputs" in kwargs:
            run.span.input = self._content(kwargs["inputs"])
        self._recording.fail(run_id, error)

    @observed
    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        **kwargs: Any,
    ) -> None:
        """A call of a chat model begins."""
        conversation = messages[0] if messages else []
        texts = [convert.text_of(item) for item in conversation]
        run = self._recording.begin_call(serialized, run_id, kwargs, sum(map(len, texts)))
        if run is not None:
            run.span.input = self._recording.texts.conversation(conversation)
            if self._judge.active and not run.unjudged:
                self._recording.stop_if_blocked(run, texts, Scope.INPUT)

    @observed
    def on_llm_start(self, serialized: dict[str, Any], prompts: list[str], *, run_id: UUID, **kwargs: Any) -> None:
        """A call of a text model begins."""
        run = self._recording.begin_call(serialized, run_id, kwargs, sum(map(len, prompts)))
        if run is not None:
            run.span.input = self._content(prompts[0] if len(prompts) == 1 else prompts)
            if self._judge.active and not run.unjudged:
                self._recording.stop_if_blocked(run, prompts, Scope.INPUT)

    @observed
    def on_llm_new_token(self, token: Any, *, run_id: UUID, chunk: Any = None, **kwargs: Any) -> None:
        """A chunk of a streamed answer is here."""
        run = self._runs.get(run_id)
        if run is None:
            return
        if run.stream is None and self._judge.active and not run.unjudged:
            self._judge.streaming_begins(run.span)
        text = token if isinstance(token, str) else "".join(map(convert.block_text, token or ()))
        calls.take_chunk(run, text, chunk, limit_chars=self._recording.limit_chars)

    @observed
    def on_stream_event(self, event: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """An event of a v3 stream; tokens come through ``on_llm_new_token`` as well."""
        run = self._runs.get(run_id)
        if run is not None:
            run.streamed_by = threading.get_ident()

    @observed
    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """A model answered."""
        run = self._runs.end(run_id)
        if run is None:
            return
        generations: Sequence[Generation] = response.generations[0] if response.generations else ()
        span = run.span
        try:
            span.llm = calls.ended(run, generations, response)
        except Exception as error:  # noqa: BLE001 - a provider's odd answer must not cost the row
            fault("langchain.calls", error)
        span.output = self._content(convert.output_of(generations)) if generations else None
        if run.trace.ended_ns is not None:
            span.attributes["completed_after_close"] = True
        if self._judge.active and not run.unjudged:
            texts = [getattr(generation, "text", "") for generation in generations]
            self._recording.stop_if_blocked(run, texts, Scope.OUTPUT, stoppable=run.stream is None, ended=True)
        self._recording.end(run, SpanStatus.OK)

    @observed
    def on_llm_error(self, error: BaseException, *, run_id: UUID, response: Any = None, **kwargs: Any) -> None:
        """A model call failed, was cancelled or blocked."""
        run = self._runs.get(run_id)
        if run is None:
            return
        for mate in self._runs.batch_mates(run):
            mate.doomed = True
        partial = response.generations[0] if isinstance(response, LLMResult) and response.generations else ()
        self._recording.cut_off(run, partial, response if partial else None)
        self._recording.fail(run_id, error)

    @observed
    def on_tool_start(
        self,
        serialized: dict[str, Any] | None,
        input_str: str,
        *,
        run_id: UUID,
        inputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A tool begins."""
        name = kwargs.get("name") or class_name(serialized) or "tool"
        run = self._runs.begin(SpanKind.TOOL, name, run_id, kwargs)
        if run is None:
            return
        given = input_str if inputs is None else inputs
        run.span.input = self._content(given)
        if kwargs.get("tool_call_id"):
            run.span.attributes["tool_call_id"] = kwargs["tool_call_id"]
        run.unjudged = judged_elsewhere.get()
        if self._judge.active and not run.unjudged:
            text = given if isinstance(given, str) else orjson.dumps(self._judge.data(given)).decode()
            self._recording.stop_if_blocked(run, [text], Scope.TOOL_ARGS, tool=name)

    @observed
    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """A tool returned."""
        run = self._runs.end(run_id)
        if run is None:
            return
        run.span.output = self._content(output)
        failed = getattr(output, "status", None) == "error"
        if isinstance(output, ToolMessage):
            run.span.attributes["tool_call_id"] = output.tool_call_id
        if self._judge.active and not run.unjudged:
            text = convert.text_of(output) if isinstance(output, BaseMessage) else written(output, self._judge.data)
            self._recording.stop_if_blocked(run, [text], Scope.TOOL_RESULT, tool=run.name, ended=True)
        self._recording.end(run, SpanStatus.ERROR if failed else SpanStatus.OK)

    @observed
    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """A tool failed or paused."""
        self._recording.fail(run_id, error)

    @observed
    def on_retriever_start(self, serialized: dict[str, Any] | None, query: str, *, run_id: UUID, **kwargs: Any) -> None:
        """A search begins."""
        name = kwargs.get("name") or class_name(serialized) or "retriever"
        # A retriever around another one returns a choice of what that one found.
        kind = SpanKind.RERANKER if "Compression" in name or "Rerank" in name else SpanKind.RETRIEVER
        run = self._runs.begin(kind, name, run_id, kwargs)
        if run is not None:
            run.span.input = self._content(query)

    @observed
    def on_retriever_end(self, documents: Sequence[Any], *, run_id: UUID, **kwargs: Any) -> None:
        """A search returned."""
        run = self._runs.end(run_id)
        if run is None:
            return
        run.span.output = self._content(list(documents))
        run.span.retrieval = convert.retrieval(
            documents, run.span.context.versions.get("index"), self._recording.redact
        )
        if self._judge.active:
            texts = [str(getattr(document, "page_content", document)) for document in documents]
            self._recording.stop_if_blocked(run, texts, Scope.RETRIEVAL, ended=True)
        self._recording.end(run, SpanStatus.OK)

    @observed
    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """A search failed."""
        self._recording.fail(run_id, error)

    @observed
    def on_custom_event(self, name: str, data: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """The application dispatched an event."""
        run = self._runs.get(run_id)
        span = self.governance.recorder.start(SpanKind.EVENT, name, parent=None if run is None else run.span)
        span.framework = "langchain"
        if run is not None:
            span.context = run.span.context
        span.input = self._content(data)
        span.end()

    @observed
    def on_retry(self, retry_state: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """A model integration tries again inside one call."""
        run = self._runs.get(run_id)
        if run is not None:
            run.span.attributes["retries"] = getattr(retry_state, "attempt_number", None)

    @observed
    def on_interrupt(self, event: Any) -> None:
        """A graph paused."""
        run = None if event.run_id is None else self._runs.get(event.run_id)
        if run is not None:
            run.span.attributes["interrupts"] = interrupts_of(event.interrupts)
            run.span.attributes["checkpoint_id"] = event.checkpoint_id

    @observed
    def on_resume(self, event: Any) -> None:
        """A graph goes on from where it paused."""
        run = None if event.run_id is None else self._runs.get(event.run_id)
        if run is not None:
            run.span.attributes["resumed_checkpoint_id"] = event.checkpoint_id


def _restored(number: int, identity: int, rebuild: tuple[Any, ...]) -> GovernanceCallbackHandler:
    """The handler itself in its own process; in another one like it, on the run that is active there."""
    known = _handlers.get(number)
    if known is not None and id(known) == identity:
        return known
    document, prices, settings, strict = rebuild
    if document is None:
        return GovernanceCallbackHandler(prices=prices, settings=settings, strict=strict)
    from wandb_governance.policy.engine import PolicyEngine

    policy = PolicyEngine.from_document(document)
    return GovernanceCallbackHandler(policy=policy, prices=prices, settings=settings, strict=strict)
