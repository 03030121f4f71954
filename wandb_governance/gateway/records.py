"""What is written down of a call: an audit record at once, spans and verdicts for W&B from a thread."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass, field
from decimal import Decimal  # noqa: TC003
from typing import TYPE_CHECKING, Any

from wandb_governance.errors import PolicyViolation
from wandb_governance.tracing.context import call_context
from wandb_governance.tracing.guard import fault
from wandb_governance.tracing.span import LlmCall, SpanKind, SpanStatus
from wandb_governance.tracing.usage import TokenUsage

if TYPE_CHECKING:
    from collections.abc import Callable

    from wandb_governance.policy.audit import AuditLog
    from wandb_governance.policy.targets import VirtualKey
    from wandb_governance.policy.verdict import Decision, Scope
    from wandb_governance.pricing.book import PriceBook
    from wandb_governance.runtime import Governance

_QUEUE_SIZE = 20_000
_CLEAN_TEXTS = 1_000


@dataclass(slots=True, kw_only=True)
class CallRecord:
    """One request, filled in while it is served."""

    request_id: str
    endpoint: str
    started_ns: int
    """Nanoseconds since 1970-01-01 UTC."""
    started_monotonic_ns: int = field(default_factory=time.perf_counter_ns)
    key: VirtualKey | None = None
    user: str | None = None
    model: str | None = None
    response_model: str | None = None
    provider: str | None = None
    upstream: str | None = None
    attempts: int = 0
    stream: bool = False
    status: int = 0
    error: str | None = None
    outcome: str = "ok"
    """``ok``, ``blocked``, ``refused``, ``error``, ``cancelled``."""
    decisions: list[tuple[Scope, Decision]] = field(default_factory=list)
    blocked_by: str | None = None
    reasons: tuple[str, ...] = ()
    released_chars: int = 0
    """Characters of a streamed answer that the client has."""
    first_token_ns: int | None = None
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    cost_usd: Decimal | None = None
    input_texts: list[str] = field(default_factory=list)
    """As they went on: redacted."""
    output_text: str = ""
    policy_digest: str = ""
    ended_ns: int = 0

    @property
    def maker(self) -> str | None:
        """Provider for prices; of a compatible server only the model's name says whose model it is."""
        return None if self.provider == "openai-compatible" else self.provider


class CallJournal:
    """Writes records. The audit log takes a record before the call's last byte goes out; W&B follows behind.

    Args:
        audit: The audit log.
        governance: Where spans and verdicts go, if anywhere.
        prices: What calls cost.
    """

    def __init__(self, audit: AuditLog, governance: Governance | None, prices: PriceBook) -> None:
        self._audit = audit
        self._governance = governance
        self._prices = prices
        self._queue: queue.Queue[CallRecord | None] = queue.Queue(_QUEUE_SIZE)
        self._thread: threading.Thread | None = None
        self._clean: dict[str, str] = {}
        self.dropped = 0
        """Spans that W&B did not get because too many were waiting; their audit records are there."""

    def start(self) -> None:
        """Start the thread."""
        if self._governance is not None:
            self._thread = threading.Thread(target=self._run, name="gateway-records", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Write what waits."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(60)

    def cost_of(self, record: CallRecord, usage: dict[str, Any] | None) -> Decimal | None:
        """What a call with these token counts costs; None where that is not known."""
        tokens = _tokens(usage)
        if tokens is None:
            return None
        return self._prices.price(
            usage=tokens,
            provider=record.maker,
            request_model=record.model,
            response_model=record.response_model,
            at_ns=record.started_ns,
            blocked=record.outcome == "blocked" and record.upstream is None,
        ).usd

    def write(self, record: CallRecord, *, on_event: Callable[[str], None] | None = None) -> None:
        """Write one call down.

        Raises:
            AuditError: The audit log can't be written: the call must not look as if it had been recorded.
        """
        record.ended_ns = time.perf_counter_ns()
        event = self._audit.append("call", _facts(record), _payload(record))
        if on_event is not None:
            on_event(event)
        if self._thread is not None:
            try:
                self._queue.put_nowait(record)
            except queue.Full:
                self.dropped += 1

    def _run(self) -> None:
        while True:
            record = self._queue.get()
            if record is None:
                return
            try:
                self._to_wandb(record)
            except Exception as error:  # noqa: BLE001 - telemetry never stops the gateway
                fault("gateway.records", error)

    def _writable(self, text: str) -> str:
        """``text`` as it may be written; the history of a conversation is cleaned once."""
        assert self._governance is not None
        found = self._clean.get(text)
        if found is None:
            found = self._governance.recorder.encoder.text(text)
            if len(self._clean) >= _CLEAN_TEXTS:
                self._clean.clear()
            self._clean[text] = found
        return found

    def _to_wandb(self, record: CallRecord) -> None:
        assert self._governance is not None
        recorder = self._governance.recorder
        key = record.key
        facts: dict[str, Any] = {"user": record.user}
        if key is not None:
            facts |= {"team": key.team, "roles": key.roles, "tags": (f"key:{key.id}",)}
        with call_context(**{name: value for name, value in facts.items() if value}):
            kind = SpanKind.EMBEDDING if record.endpoint == "embeddings" else SpanKind.LLM
            span = recorder.start(kind, f"gateway.{record.endpoint}")
        span.framework = "gateway"
        span.start_ns = record.started_ns
        span.start_monotonic_ns = record.started_monotonic_ns
        span.first_token_ns = record.first_token_ns
        span.input = recorder.encoder.bounded("\n".join(map(self._writable, record.input_texts)))
        span.output = recorder.encoder.bounded(self._writable(record.output_text)) if record.output_text else None
        span.llm = LlmCall(
            provider=record.maker,
            request_model=record.model,
            response_model=record.response_model,
            usage=record.usage,
            finish_reason=record.finish_reason,
            streaming=record.stream,
            attempt=record.attempts or None,
            input_chars=sum(map(len, record.input_texts)),
            output_chars=len(record.output_text),
        )
        span.attributes = {"request_id": record.request_id, "http_status": record.status, "upstream": record.upstream}
        by_scope: dict[Scope, list[Decision]] = {}
        for scope, decision in record.decisions:
            by_scope.setdefault(scope, []).append(decision)
        for scope, decisions in by_scope.items():
            self._governance.record(span, decisions, scope)
        if record.blocked_by is not None:
            scope_name = str(record.decisions[-1][0]) if record.decisions else "input"
            span.fail(PolicyViolation(policy=record.blocked_by, scope=scope_name, reasons=record.reasons))
        elif record.outcome == "cancelled":
            span.end(SpanStatus.CANCELLED)
        elif record.outcome == "ok":
            span.end()
        else:
            span.fail(ConnectionError(record.error or record.outcome))


def _tokens(usage: dict[str, Any] | None) -> TokenUsage | None:
    """Token counts of an answer in OpenAI's shape; None where it holds none."""
    if not usage:
        return None
    read = _count(usage, "prompt_tokens", "input_tokens")
    written = _count(usage, "completion_tokens", "output_tokens")
    asked = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    told = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    if read is None and written is None:
        return None
    return TokenUsage(
        input_tokens=read,
        output_tokens=written or 0,
        cache_read_tokens=_count(asked, "cached_tokens"),
        audio_input_tokens=_count(asked, "audio_tokens"),
        reasoning_tokens=_count(told, "reasoning_tokens"),
        audio_output_tokens=_count(told, "audio_tokens"),
    )


def _count(counts: Any, *names: str) -> int | None:
    for name in names:
        value = counts.get(name) if isinstance(counts, dict) else None
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None


def _facts(record: CallRecord) -> dict[str, Any]:
    actions: dict[str, str] = {}
    found: dict[str, int] = {}
    versions: dict[str, str] = {}
    latency: dict[str, int] = {}
    failures: dict[str, str] = {}
    for _, decision in record.decisions:
        for verdict in decision.verdicts:
            name = verdict.policy
            known = actions.get(name)
            if known is None or verdict.action.severity > type(verdict.action)(known).severity:
                actions[name] = verdict.action.value
            versions[name] = verdict.policy_version
            latency[name] = latency.get(name, 0) + verdict.latency_ns
            if verdict.failure is not None:
                failures[name] = verdict.failure
            for finding in verdict.findings:
                found[finding.entity] = found.get(finding.entity, 0) + 1
    facts: dict[str, Any] = {
        "request": record.request_id,
        "endpoint": record.endpoint,
        "outcome": record.outcome,
        "status": record.status,
        "key": record.key.id if record.key else None,
        "team": record.key.team if record.key else None,
        "project": record.key.project if record.key else None,
        "model": record.model,
        "model_served": record.response_model,
        "upstream": record.upstream,
        "attempts": record.attempts,
        "stream": record.stream,
        "actions": actions,
        "found": found,
        "versions": versions,
        "latency_ns": latency,
        "policy_digest": record.policy_digest,
        "duration_ns": record.ended_ns - record.started_monotonic_ns,
        "usage": record.usage,
        "cost_usd": None if record.cost_usd is None else str(record.cost_usd),
        "released_chars": record.released_chars,
        "blocked_by": record.blocked_by,
    }
    if failures:
        facts["failures"] = failures
    return facts


def _payload(record: CallRecord) -> dict[str, Any]:
    spans = [
        [scope, verdict.policy, f.rule, f.entity, f.start, f.end, round(f.score, 4), f.threshold]
        for scope, decision in record.decisions
        for verdict in decision.verdicts
        for f in verdict.findings
    ]
    return {
        "reasons": record.reasons,
        "findings": spans,
        "input": record.input_texts,
        "output": record.output_text,
        "error": record.error,
    }
