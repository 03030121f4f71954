"""What happens to a run between LangChain's callbacks: it begins, is judged, ends, or is swept."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import orjson

from wandb_governance.tracing.span import SpanKind, SpanStatus
from wandb_governance_langchain import calls, convert
from wandb_governance_langchain.judge import Judge
from wandb_governance_langchain.runs import OpenRuns, Run
from wandb_governance_langchain.texts import Texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from uuid import UUID

    from langchain_core.outputs import Generation, LLMResult

    from wandb_governance.policy.verdict import Scope
    from wandb_governance.runtime import Governance

_NS_PER_S = 1_000_000_000


class Recording:
    """The runs of one handler.

    Args:
        governance: Recorder and policies.
        strict: Refuse what a callback can't enforce.

    Raises:
        ConfigError: ``strict``, and a policy asks for what a callback can't do.
    """

    def __init__(self, governance: Governance, *, strict: bool) -> None:
        self.governance = governance
        self.limit_chars = governance.settings.content_limit_chars
        self.texts = Texts(governance.recorder.encoder, limit_chars=self.limit_chars)
        self.redact = governance.recorder.encoder.text
        self.runs = OpenRuns(governance.recorder)
        self.judge = Judge(governance, strict=strict)
        governance.on_sweep(self.sweep)
        self.texts.content("")  # Loads what redacts, so that the first call need not wait for it.

    def begin_call(
        self, serialized: Mapping[str, Any] | None, run_id: UUID, facts: Mapping[str, Any], input_chars: int
    ) -> Run | None:
        """A model call begins; None where it has begun already."""
        name = facts.get("name") or class_name(serialized) or "model"
        run = self.runs.begin(SpanKind.LLM, name, run_id, facts)
        if run is None:
            return None
        run.invocation = facts.get("invocation_params") or {}
        run.unjudged = bool(run.metadata.get(convert.GOVERNED))
        if (facts.get("batch_size") or 1) > 1:
            run.batch = _batch_of(facts)
        run.input_chars = input_chars
        if self.judge.active:
            run.span.llm = calls.started(run)
        return run

    def stop_if_blocked(
        self,
        run: Run,
        texts: Sequence[str],
        scope: Scope,
        *,
        tool: str | None = None,
        stoppable: bool = True,
        ended: bool = False,
    ) -> None:
        """Ask the policies; where they block, end the run and raise.

        Raises:
            PolicyViolation: A policy blocks and the call can still be stopped.
        """
        violation = self.judge(run.span, texts, scope, tool=tool, stoppable=stoppable)
        if violation is None:
            return
        if ended or self.runs.end(run.run_id) is not None:
            # LangChain reports no end of a run whose start was refused.
            run.span.fail(violation)
            self._after(run)
        raise violation

    def fail(self, run_id: UUID, error: BaseException) -> None:
        """A run ended with an exception; calls under a cancelled root end with it."""
        known = self.runs.get(run_id)
        parent = None if known is None else known.parent
        run = self.runs.end(run_id)
        if run is None:
            return
        names = {cls.__name__ for cls in type(error).__mro__}
        if error.args and "GraphBubbleUp" in names:
            run.span.attributes["interrupts"] = interrupts_of(error.args[0])
            if parent is not None and "GraphInterrupt" in names:
                # The graph itself ends as if nothing had happened.
                parent.span.attributes["interrupts"] = run.span.attributes["interrupts"]
        run.span.fail(error)
        self._after(run)
        # The tasks under a cancelled one are cancelled with it, and LangChain reports nothing for models among them.
        if run.trace.ended_ns is not None and type(error).__name__ == "CancelledError":
            self._close(list(run.trace.open.values()), SpanStatus.CANCELLED)

    def end(self, run: Run, status: SpanStatus) -> None:
        """Write a run down."""
        run.span.end(status)
        self._after(run)

    @staticmethod
    def _after(run: Run) -> None:
        """Let go of what was written: the run itself is remembered for late children."""
        span = run.span
        span.input = span.output = span.retrieval = None
        span.attributes = {}

    def cut_off(self, run: Run, generations: Sequence[Generation] = (), response: LLMResult | None = None) -> None:
        """Fill in what is known of a call that did not end by itself."""
        span = run.span
        span.llm = calls.ended(run, generations, response, failed=True)
        if generations:
            span.output = self.texts.content(convert.output_of(generations))
        elif run.stream:
            span.output = self.texts.content("".join(run.stream))

    def sweep(self, *, final: bool) -> None:
        """End what LangChain will not end; called now and then, and with ``final`` when the W&B run ends."""
        age_ns = int(self.governance.settings.abandon_after_s * _NS_PER_S)
        self.abandon(itertools.chain(self.runs.left(final=final), self.runs.older_than(age_ns)))

    def abandon(self, runs: Iterable[Run]) -> None:
        """End runs of which nobody will hear again."""
        self._close(runs, SpanStatus.ABANDONED)

    def _close(self, runs: Iterable[Run], status: SpanStatus) -> None:
        # Children before their root, as in a trace that ended well.
        for run in sorted(runs, key=lambda item: -item.span.start_monotonic_ns):
            if self.runs.end(run.run_id) is None:
                continue
            if run.span.kind is SpanKind.LLM:
                self.cut_off(run)
            self.end(run, status)


def class_name(serialized: Mapping[str, Any] | None) -> str | None:
    """Name of what runs, from LangChain's description of it; nothing else of that is ever read."""
    if not serialized:
        return None
    name = serialized.get("name")
    if name:
        return str(name)
    path = serialized.get("id")
    return str(path[-1]) if path else None


def is_pending(inputs: object) -> bool:
    """Whether this stands for the input of a streamed chain, which comes with its end."""
    return type(inputs) is dict and len(inputs) == 1 and type(inputs.get("input")) is str and not inputs["input"]


def chain_kind(name: str, metadata: Mapping[str, Any] | None) -> SpanKind:
    """Agent for an agent's own run, else chain."""
    if name == "AgentExecutor":
        return SpanKind.AGENT
    if metadata and metadata.get("ls_integration") == "langchain_create_agent" and "langgraph_node" not in metadata:
        return SpanKind.AGENT
    return SpanKind.CHAIN


def interrupts_of(given: object) -> object:
    """Payloads of interrupts, without LangGraph's classes."""
    if isinstance(given, list | tuple):
        return [{"id": getattr(item, "id", None), "value": getattr(item, "value", item)} for item in given]
    return given


def written(value: object, data: Callable[[object], object]) -> str:
    """``value`` as policies see it: a string as it is, else JSON."""
    return str(value) if isinstance(value, str) else orjson.dumps(data(value)).decode()


def _batch_of(kwargs: Mapping[str, Any]) -> tuple[int, int]:
    """The same number for all calls of one batch: LangChain gives each of them the same parameters object."""
    return id(kwargs.get("invocation_params")), kwargs["batch_size"]
