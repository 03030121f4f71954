"""What is open: one entry per LangChain run between its start and its end."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from langchain_core.runnables.config import var_child_runnable_config

from wandb_governance.tracing.span import SpanKind
from wandb_governance_langchain import convert

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from uuid import UUID

    from wandb_governance.tracing.context import CallContext
    from wandb_governance.tracing.recorder import OpenSpan, Recorder

_FALLBACKS = "RunnableWithFallbacks"
_RETRY_TAG = "retry:attempt:"
_INTERNAL_TAGS = ("seq:step:", "map:key:", "graph:step:", "langsmith:", _RETRY_TAG)
"""Tags that LangChain and LangGraph put there for themselves."""
_ENDED_KEPT = 512
"""Ended steps that a late child can still find its trace by."""
_GRACE_NS = 300_000_000_000
"""How long children may go on after their root ended."""
_NOTHING: Mapping[str, Any] = {}


class Trace:
    """One top-level call and what is open in it."""

    __slots__ = ("ended_ns", "fallbacks", "open", "trace_id")

    def __init__(self, trace_id: str) -> None:
        self.trace_id = trace_id
        self.open: dict[int, Run] = {}
        self.ended_ns: int | None = None
        """When the root ended, on the monotonic clock."""
        self.fallbacks = False
        """Whether a fallback ran in it: then the parents that LangChain reports may be wrong."""


class Run:
    """One open LangChain run. Not a value: it belongs to the handler until its end."""

    __slots__ = (
        "attempt", "attempts", "base", "batch", "chunk_usage", "doomed", "input_chars", "invocation", "metadata",
        "name", "parent", "parent_run_id", "prompt", "run_id", "seen_chars", "span", "stream", "streamed_by", "trace",
        "unjudged",
    )  # fmt: skip

    def __init__(self, run_id: UUID, parent: Run | None, trace: Trace, span: OpenSpan, name: str) -> None:
        self.run_id = run_id
        self.parent = parent
        self.parent_run_id = None if parent is None else parent.run_id
        self.trace = trace
        self.span = span
        self.name = name
        self.base: CallContext = span.context
        self.metadata: Mapping[str, Any] = _NOTHING
        self.invocation: Mapping[str, Any] = _NOTHING
        self.attempt: int | None = None if parent is None else parent.attempt
        self.attempts: int | None = None
        """How many attempts have begun, where this is a fallback."""
        self.batch: tuple[int, int] | None = None
        """Number and size of the batch it was started with."""
        self.doomed = False
        """Another call of its batch failed, so that nothing may ever end it."""
        self.stream: list[str] | None = None
        """Streamed text so far."""
        self.input_chars = 0
        self.seen_chars = 0
        self.streamed_by: int | None = None
        """Thread of its last v3 stream event; such a stream reports nothing when it is dropped."""
        self.chunk_usage: dict[str, Any] | None = None
        self.prompt: tuple[str, str | None] | None = None
        """Name and version of the template that ran last under it."""
        self.unjudged = False
        """A governed model judges it itself."""


class OpenRuns:
    """Every open run of a handler. Safe from any thread: each step is one atomic operation of a dict."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._runs: dict[int, Run] = {}
        self._ended: dict[int, Run] = {}
        self._ended_before: dict[int, Run] = {}
        self._orphaned: dict[str, Trace] = {}

    def __len__(self) -> int:
        return len(self._runs)

    def get(self, run_id: UUID) -> Run | None:
        """The run, while it is open."""
        return self._runs.get(run_id.int)

    def begin(
        self,
        kind: SpanKind,
        name: str,
        run_id: UUID,
        facts: Mapping[str, Any],
    ) -> Run | None:
        """Open a run; None where it is open already, as with one handler in two places.

        Args:
            kind: What it does.
            name: What LangChain calls it.
            run_id: LangChain's id.
            facts: What LangChain says besides: ``parent_run_id``, ``tags``, ``metadata``.
        """
        if run_id.int in self._runs:
            return None
        parent, trace = self._place(run_id, facts.get("parent_run_id"))
        digits = run_id.hex
        span = self._recorder.start(
            kind,
            self._recorder.encoder.text(name),
            # As str() of the id gives it, in a third of the time.
            span_id=f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}",
            trace_id=trace.trace_id,
            parent_id=None if parent is None else parent.span.span_id,
        )
        span.framework = "langchain"
        run = Run(run_id, parent, trace, span, name)
        if parent is not None:
            self._inherit(run, parent)
        if facts.get("tags"):
            self._tag(run, facts["tags"])
        if facts.get("metadata"):
            self._describe(run, facts["metadata"])
        if parent is not None and facts.get("run_type") == "prompt" and span.prompt_name is not None:
            # The steps after a named template, such as the model, were made with it.
            parent.prompt = (span.prompt_name, span.prompt_version)
        if name == _FALLBACKS:
            run.attempts = 0
            trace.fallbacks = True
        self._runs[run_id.int] = trace.open[run_id.int] = run
        return run

    def end(self, run_id: UUID) -> Run | None:
        """Close a run for good; None where it is not open, as for a second end."""
        run = self._runs.pop(run_id.int, None)
        if run is None:
            return None
        trace = run.trace
        trace.open.pop(run_id.int, None)
        if run.parent is None and trace.open:
            trace.ended_ns = self._recorder.clock.monotonic_ns()
            self._orphaned[trace.trace_id] = trace
        if run.span.kind is not SpanKind.LLM:
            self._remember(run)
        return run

    def left(self, *, final: bool) -> Iterator[Run]:
        """Open runs that nothing will end: all of them where the W&B run ends, else what is known to be lost."""
        now = self._recorder.clock.monotonic_ns()
        for key, trace in list(self._orphaned.items()):
            if not trace.open:
                self._orphaned.pop(key, None)
            elif trace.ended_ns is not None and now - trace.ended_ns > _GRACE_NS:
                yield from list(trace.open.values())
        for run in list(self._runs.values()):
            if final or run.doomed:
                yield run

    def older_than(self, age_ns: int) -> Iterator[Run]:
        """Open runs that began more than ``age_ns`` ago."""
        limit = self._recorder.clock.monotonic_ns() - age_ns
        return (run for run in list(self._runs.values()) if run.span.start_monotonic_ns < limit)

    def dropped_streams(self) -> Iterator[Run]:
        """Open v3 streams of this thread, which does something else now; in async code they may go on."""
        if asyncio._get_running_loop() is not None:  # noqa: SLF001 - the public one raises
            return iter(())
        here = threading.get_ident()
        return (run for run in list(self._runs.values()) if run.streamed_by == here)

    def batch_mates(self, run: Run) -> Iterator[Run]:
        """Open runs that one call of ``generate`` began together with ``run``."""
        if run.batch is None:
            return iter(())
        return (mate for mate in list(self._runs.values()) if mate.batch == run.batch)

    def _place(self, run_id: UUID, parent_run_id: UUID | None) -> tuple[Run | None, Trace]:
        parent = None if parent_run_id is None else self._runs.get(parent_run_id.int)
        if parent is None or parent.trace.fallbacks:
            parent = self._ambient(run_id, parent_run_id) or parent
        if parent is None and parent_run_id is not None:
            parent = self._ended.get(parent_run_id.int) or self._ended_before.get(parent_run_id.int)
        if parent is not None:
            return parent, parent.trace
        # Under a parent that was never seen, as when the handler is on the model alone, siblings still share a trace.
        return None, Trace((parent_run_id or run_id).hex)

    def _ambient(self, run_id: UUID, parent_run_id: UUID | None) -> Run | None:
        """The fallback that is running here: it gives its attempts its own parent (langchain issue 36072)."""
        config = var_child_runnable_config.get()
        manager = None if config is None else config.get("callbacks")
        ambient_id = getattr(manager, "parent_run_id", None)
        if ambient_id is None or ambient_id == run_id:
            return None
        ambient = self._runs.get(ambient_id.int)
        if ambient is None or parent_run_id is None:
            return ambient
        return ambient if ambient.attempts is not None and ambient.parent_run_id == parent_run_id else None

    def _inherit(self, run: Run, parent: Run) -> None:
        span = run.span
        if run.base is parent.base:
            span.context = parent.span.context
        if parent.attempts is not None:
            parent.attempts += 1
            run.attempt = parent.attempts
        elif parent.name == run.name:
            # A retry bears the name of what it retries; later attempts carry a tag.
            run.attempt = 1
        if span.prompt_name is None:
            span.prompt_name, span.prompt_version = parent.prompt or (
                parent.span.prompt_name,
                parent.span.prompt_version,
            )

    def _tag(self, run: Run, tags: list[str]) -> None:
        for tag in tags:
            if not tag.startswith(_INTERNAL_TAGS):
                if tag not in run.span.tags:
                    run.span.tags = (*run.span.tags, tag)
            elif tag.startswith(_RETRY_TAG) and tag[len(_RETRY_TAG) :].isdigit():
                run.attempt = int(tag[len(_RETRY_TAG) :])

    def _describe(self, run: Run, metadata: Mapping[str, Any]) -> None:
        run.metadata = metadata
        span = run.span
        found = convert.facts(metadata, _NOTHING if run.parent is None else run.parent.metadata)
        if found:
            span.attributes.update(found)
        who = convert.identity(metadata)
        if who is None:
            return
        context = span.context
        if (who.user and context.user is None) or (who.session and context.session is None):
            span.context = replace(context, user=context.user or who.user, session=context.session or who.session)
        if who.prompt_name is not None and (run.parent is None or who.prompt_name != run.parent.span.prompt_name):
            span.prompt_name, span.prompt_version = who.prompt_name, who.prompt_version
        if who.tags:
            span.tags = tuple(dict.fromkeys((*span.tags, *who.tags)))

    def _remember(self, run: Run) -> None:
        run.parent, run.metadata = None, _NOTHING
        if len(self._ended) >= _ENDED_KEPT:
            self._ended_before, self._ended = self._ended, {}
        self._ended[run.run_id.int] = run
