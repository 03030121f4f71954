"""Running totals of a run: the numbers of its charts and its summary."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from wandb_governance.pipeline import CALL_KINDS, PricedSpan
from wandb_governance.tracing.span import SpanKind, SpanStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "governance"
"""Section of the charts and the summary."""


@dataclass(slots=True, kw_only=True)
class Totals:
    """What a run used so far. Mutable: one writer adds to it."""

    spans: int = 0
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    estimated_calls: int = 0
    """Calls whose token counts are estimates; their tokens are in the totals."""
    unpriced_calls: int = 0
    """Calls whose price is not known; their cost is not in ``cost_usd``."""
    cost_usd: Decimal = field(default_factory=Decimal)
    errors: int = 0
    blocked: int = 0
    """Calls that a policy stopped."""
    redacted: int = 0
    """Calls in which a policy redacted something."""
    verdicts: int = 0
    _redacted_spans: set[str] = field(default_factory=set)

    def add_span(self, row: PricedSpan) -> dict[str, float] | None:
        """Add a span.

        Returns:
            The point of the live charts where the span is a call, else None.
        """
        self.spans += 1
        if row.span.kind not in CALL_KINDS:
            return None
        self.calls += 1
        self.errors += row.span.status is SpanStatus.ERROR
        self.blocked += row.span.status is SpanStatus.BLOCKED
        if row.span.span_id in self._redacted_spans:
            self._redacted_spans.discard(row.span.span_id)
            self.redacted += 1
        point = {"latency_s": row.span.duration_ns / 1e9}
        if row.span.first_token_ns is not None:
            point["time_to_first_token_s"] = row.span.first_token_ns / 1e9
        if row.usage is not None:
            self._add_usage(row, point)
        if row.cost is not None and row.cost.usd is not None:
            self.cost_usd += row.cost.usd
            point["cost_usd"] = float(row.cost.usd)
        else:
            self.unpriced_calls += 1
        return {f"{PREFIX}/{name}": float(value) for name, value in {**point, **self._cumulative()}.items()}

    def _add_usage(self, row: PricedSpan, point: dict[str, float]) -> None:
        usage = row.usage
        assert usage is not None
        self.input_tokens += usage.input_tokens or 0
        self.output_tokens += usage.output_tokens or 0
        self.estimated_calls += usage.source != "provider"
        point["input_tokens"] = usage.input_tokens or 0
        if row.span.kind is SpanKind.LLM:
            point["output_tokens"] = usage.output_tokens or 0

    def _cumulative(self) -> dict[str, float]:
        return {
            "calls": self.calls,
            "total_cost_usd": float(self.cost_usd),
            "blocked": self.blocked,
            "redacted": self.redacted,
            "errors": self.errors,
        }

    def add_verdict(self, record: Mapping[str, Any]) -> None:
        """Add a verdict record; it comes before the span it belongs to."""
        self.verdicts += 1
        if record.get("action") == "redact" and record.get("mode") == "enforce":
            self._redacted_spans.add(str(record.get("span_id")))

    def to_json(self) -> dict[str, Any]:
        """The totals as plain data; money as a string, so that no digit is lost."""
        return {
            "spans": self.spans,
            "calls": self.calls,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "estimated_calls": self.estimated_calls,
            "unpriced_calls": self.unpriced_calls,
            "cost_usd": str(self.cost_usd),
            "errors": self.errors,
            "blocked": self.blocked,
            "redacted": self.redacted,
            "verdicts": self.verdicts,
        }

    def summary(self) -> dict[str, Any]:
        """Entries of the run's summary."""
        values = {**self.to_json(), "cost_usd": float(self.cost_usd)}
        return {f"{PREFIX}/{name}": value for name, value in values.items()}
