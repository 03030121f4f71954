"""Starts spans and ends each exactly once.

The recorder keeps what is open, and hands a finished ``Span`` to its sink on the thread that ended it. It knows no
policy, no journal and no W&B.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wandb_governance.clock import Clock, IdGenerator, RandomIds, SystemClock
from wandb_governance.errors import PolicyViolation
from wandb_governance.tracing.context import CallContext, current_context
from wandb_governance.tracing.span import Content, LlmCall, Retrieval, Span, SpanKind, SpanStatus, new_span

if TYPE_CHECKING:
    from wandb_governance.tracing.content import ContentEncoder

Sink = Callable[[Span], None]

_CANCELLATIONS = ("CancelledError", "GeneratorExit", "KeyboardInterrupt")


class OpenSpan:
    """A span that has started. Fill its fields as they become known; end it once, later ends are ignored.

    Not a value: it belongs to the adapter until ``end`` or ``fail``.
    """

    __slots__ = (
        "_recorder",
        "_token",
        "attributes",
        "context",
        "first_token_ns",
        "framework",
        "input",
        "kind",
        "llm",
        "name",
        "output",
        "parent_id",
        "policies",
        "prompt_name",
        "prompt_version",
        "retrieval",
        "span_id",
        "start_monotonic_ns",
        "start_ns",
        "tags",
        "trace_id",
        "verdict",
    )

    def __init__(
        self,
        recorder: Recorder,
        *,
        kind: SpanKind,
        name: str,
        span_id: str,
        trace_id: str,
        parent_id: str | None,
    ) -> None:
        self._recorder = recorder
        self._token = [None]
        self.kind = kind
        self.name = name
        self.span_id = span_id
        self.trace_id = trace_id
        self.parent_id = parent_id
        self.start_ns = recorder.clock.now_ns()
        self.start_monotonic_ns = recorder.clock.monotonic_ns()
        self.context: CallContext = current_context()
        self.first_token_ns: int | None = None
        self.input: Content | None = None
        self.output: Content | None = None
        self.framework: str | None = None
        self.tags: tuple[str, ...] = self.context.tags
        self.prompt_name = self.context.prompt_name
        self.prompt_version = self.context.prompt_version
        self.llm: LlmCall | None = None
        self.retrieval: Retrieval | None = None
        self.verdict: str | None = None
        self.policies: tuple[str, ...] = ()
        self.attributes: dict[str, Any] = {}

    @property
    def ended(self) -> bool:
        """Whether ``end`` or ``fail`` was called."""
        return not self._token

    def first_token(self) -> None:
        """The first content of a streamed answer is here; only the first call counts."""
        if self.first_token_ns is None:
            self.first_token_ns = self._recorder.clock.monotonic_ns() - self.start_monotonic_ns

    def end(self, status: SpanStatus = SpanStatus.OK, *, error: BaseException | None = None) -> Span | None:
        """End it and hand it to the sink.

        Returns:
            The finished span; None where it had ended before.
        """
        # list.pop is atomic, so that of two threads only one ends the span.
        try:
            self._token.pop()
        except IndexError:
            return None
        return self._recorder.finish(self, status, error)

    def fail(self, error: BaseException, *, status: SpanStatus | None = None) -> Span | None:
        """End it with an exception; the status follows from its type unless it is given."""
        return self.end(status or status_of(error), error=error)


def status_of(error: BaseException) -> SpanStatus:
    """How a span ends that ``error`` ended: blocked, cancelled, or failed."""
    if isinstance(error, PolicyViolation):
        return SpanStatus.BLOCKED
    names = {cls.__name__ for cls in type(error).__mro__}
    if names & set(_CANCELLATIONS):
        return SpanStatus.CANCELLED
    if "GraphBubbleUp" in names:
        return SpanStatus.INTERRUPTED
    return SpanStatus.ERROR


class Recorder:
    """Makes spans.

    Args:
        sink: Gets each finished span, on the thread that ended it; must be quick.
        encoder: Bounds and redacts every text.
        clock: Time.
        ids: Ids of traces and spans.
        pseudonym_key: Key of the HMAC that hides users and sessions.
    """

    def __init__(
        self,
        sink: Sink,
        encoder: ContentEncoder,
        *,
        clock: Clock | None = None,
        ids: IdGenerator | None = None,
        pseudonym_key: bytes,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.ids: IdGenerator = ids or RandomIds()
        self.encoder = encoder
        self._sink = sink
        self._pseudonym_key = pseudonym_key

    def start(
        self,
        kind: SpanKind,
        name: str,
        *,
        parent: OpenSpan | None = None,
        span_id: str | None = None,
        trace_id: str | None = None,
        parent_id: str | None = None,
    ) -> OpenSpan:
        """Start a span.

        Args:
            kind: What it does.
            name: What it is called.
            parent: The enclosing span, where it is at hand.
            span_id: The framework's own id of the step, where it has one.
            trace_id: Trace of a parent that is not at hand.
            parent_id: Id of a parent that is not at hand.
        """
        if parent is not None:
            trace_id = parent.trace_id
            parent_id = parent.span_id
        return OpenSpan(
            self,
            kind=kind,
            name=name,
            span_id=span_id or self.ids.span_id(),
            trace_id=trace_id or self.ids.trace_id(),
            parent_id=parent_id,
        )

    def pseudonym(self, value: str | None) -> str | None:
        """A stable stand-in of 16 hexadecimal digits for a user or session; None stays None."""
        if value is None:
            return None
        return hmac.new(self._pseudonym_key, value.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:16]

    def finish(self, span: OpenSpan, status: SpanStatus, error: BaseException | None) -> Span:
        """Freeze ``span`` and hand it on; called once per span, by ``OpenSpan.end``."""
        context = span.context
        attributes: Mapping[str, Any] = span.attributes
        if context.versions:
            attributes = {**attributes, "versions": dict(context.versions)}
        if context.team is not None:
            attributes = {**attributes, "team": context.team}
        if attributes:
            attributes = self.encoder.plain(attributes)  # type: ignore[assignment]
        finished = new_span(
            span_id=span.span_id,
            trace_id=span.trace_id,
            parent_id=span.parent_id,
            kind=span.kind,
            name=self.encoder.text(span.name),
            status=status,
            start_ns=span.start_ns,
            duration_ns=self.clock.monotonic_ns() - span.start_monotonic_ns,
            first_token_ns=span.first_token_ns,
            input=span.input,
            output=span.output,
            error_type=None if error is None else type(error).__name__,
            error_message=None if error is None else self._message(error),
            framework=span.framework,
            tags=tuple(map(self.encoder.text, span.tags)) if span.tags else (),
            user=self.pseudonym(context.user),
            session=self.pseudonym(context.session),
            prompt_name=None if span.prompt_name is None else self.encoder.text(span.prompt_name),
            prompt_version=span.prompt_version,
            llm=self._call(span.llm),
            retrieval=self._retrieval(span.retrieval),
            verdict=span.verdict,
            policies=span.policies,
            attributes=attributes,
        )
        self._sink(finished)
        return finished

    def _call(self, call: LlmCall | None) -> LlmCall | None:
        if call is None or not call.params:
            return call
        return replace(call, params=self.encoder.plain(call.params))  # type: ignore[arg-type]

    def _retrieval(self, found: Retrieval | None) -> Retrieval | None:
        if found is None:
            return None
        text = self.encoder.text
        hits = tuple(
            replace(hit, id=text(hit.id), source=None if hit.source is None else text(hit.source))
            for hit in found.documents
        )
        return replace(found, documents=hits)

    def _message(self, error: BaseException) -> str:
        try:
            return self.encoder.text(str(error))
        except Exception:  # noqa: BLE001 - an application's __str__ may raise anything
            return "<unprintable>"
