"""Spans start and end exactly once."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from wandb_governance.errors import PolicyViolation
from wandb_governance.testing.doubles import CountingIds, SteppedClock
from wandb_governance.tracing.content import ContentEncoder
from wandb_governance.tracing.context import call_context
from wandb_governance.tracing.recorder import Recorder
from wandb_governance.tracing.span import Span, SpanKind, SpanStatus, span_from_json

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def spans() -> list[Span]:
    return []


@pytest.fixture
def recorder(spans: list[Span]) -> Recorder:
    encoder = ContentEncoder(limit_chars=100, redact=lambda text: text.replace("SECRET", "[X]"))
    return Recorder(spans.append, encoder, clock=SteppedClock(), ids=CountingIds(), pseudonym_key=b"key")


def test_a_span_ends_once_even_from_many_threads(recorder: Recorder, spans: list[Span]) -> None:
    """Of a hundred ends one counts."""
    span = recorder.start(SpanKind.LLM, "model")
    threads = [threading.Thread(target=span.end) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(spans) == 1
    assert span.ended
    assert span.fail(ValueError("late")) is None


def test_children_share_the_trace(recorder: Recorder, spans: list[Span]) -> None:
    """A child has its parent's trace and names its parent, also when it ends after it."""
    root = recorder.start(SpanKind.CHAIN, "root")
    child = recorder.start(SpanKind.TOOL, "child", parent=root)
    root.end()
    child.end()
    assert [s.trace_id for s in spans] == [root.trace_id] * 2
    assert spans[1].parent_id == root.span_id
    assert spans[0].parent_id is None


class GraphBubbleUp(Exception):
    """As langgraph raises to pause a graph."""


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (lambda: ValueError("SECRET"), SpanStatus.ERROR),
        (lambda: asyncio.CancelledError(), SpanStatus.CANCELLED),
        (lambda: GeneratorExit(), SpanStatus.CANCELLED),
        (lambda: GraphBubbleUp(), SpanStatus.INTERRUPTED),
        (lambda: PolicyViolation(policy="p", scope="input"), SpanStatus.BLOCKED),
    ],
)
def test_the_status_follows_from_the_exception(
    recorder: Recorder, spans: list[Span], error: Callable[[], BaseException], status: SpanStatus
) -> None:
    """Cancelled, interrupted and blocked are told apart from failed; the message is redacted."""
    recorder.start(SpanKind.LLM, "model").fail(error())
    assert spans[0].status is status
    assert "SECRET" not in (spans[0].error_message or "")


def test_an_exception_that_cannot_be_printed_is_recorded(recorder: Recorder, spans: list[Span]) -> None:
    """An application's exception may fail to print itself."""

    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    recorder.start(SpanKind.LLM, "model").fail(Unprintable())
    assert spans[0].error_message == "<unprintable>"


def test_users_and_sessions_are_written_as_pseudonyms(recorder: Recorder, spans: list[Span]) -> None:
    """The same user has the same stand-in, and the id itself is nowhere in the span."""
    for _ in range(2):
        with call_context(user="jane@example.com", session="s-1", tags=("a SECRET",), versions={"index": "docs:v3"}):
            recorder.start(SpanKind.LLM, "model").end()
    first, second = spans
    assert first.user == second.user != first.session
    assert "jane" not in repr(spans)
    assert first.tags == ("a [X]",)
    assert first.attributes["versions"] == {"index": "docs:v3"}


def test_context_adds_and_ends(recorder: Recorder, spans: list[Span]) -> None:
    """Inner facts win, tags add up, and nothing stays after the block."""
    with call_context(team="one", tags=("a",)), call_context(team="two", tags=("b",)):
        recorder.start(SpanKind.LLM, "model").end()
    recorder.start(SpanKind.LLM, "model").end()
    assert spans[0].tags == ("a", "b")
    assert spans[0].attributes["team"] == "two"
    assert spans[1].tags == ()


def test_time_to_first_token_is_the_first(recorder: Recorder, spans: list[Span]) -> None:
    """Later tokens don't move it; a span that streams nothing has none."""
    span = recorder.start(SpanKind.LLM, "model")
    span.first_token()
    first = span.first_token_ns
    span.first_token()
    span.end()
    recorder.start(SpanKind.LLM, "model").end()
    assert spans[0].first_token_ns == first > 0
    assert spans[1].first_token_ns is None


def test_a_span_survives_the_journal(recorder: Recorder, spans: list[Span]) -> None:
    """What is read back equals what was written, and a field of a newer version does no harm."""
    import orjson

    span = recorder.start(SpanKind.CHAIN, "root")
    span.input = recorder.encoder.encode({"q": 1})
    span.end()
    data = orjson.loads(orjson.dumps(spans[0]))
    assert span_from_json({**data, "of_tomorrow": 1}) == spans[0]
