"""What a span meant: token counts in one shape, and cost. Runs on the export thread, from the journal, never on a call.

Verdict and redaction come before the journal, on the caller's thread, since what they hide must not be written; token
counts and prices come after it, since a call must not wait for them. The journal keeps the provider's own numbers, so a
row can be made again with another price table.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wandb_governance.pricing.usage_shapes import normalize_usage
from wandb_governance.tracing.span import Content, LlmCall, Span, SpanKind, SpanStatus
from wandb_governance.tracing.usage import TokenUsage, UsageSource

if TYPE_CHECKING:
    from wandb_governance.pricing.book import PriceBook
    from wandb_governance.pricing.row import Cost

CALL_KINDS = frozenset({SpanKind.LLM, SpanKind.EMBEDDING})
"""Kinds that get a row in ``llm_calls``."""
RETRIEVAL_KINDS = frozenset({SpanKind.RETRIEVER, SpanKind.RERANKER})
"""Kinds that get a row in ``retrievals``."""

_TRACES_REMEMBERED = 4_096

CountTokens = Callable[[str, str | None], tuple[int, UsageSource]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedSpan:
    """A span with what follows from it."""

    span: Span
    usage: TokenUsage | None = None
    cost: Cost | None = None
    document_ids: tuple[str, ...] = ()
    """Documents that were retrieved in the same trace before this call."""
    index_version: str | None = None


class Enricher:
    """Adds usage, cost and retrieved documents to spans, in journal order. For one thread.

    Args:
        book: Prices.
        count: Counts the tokens of a text for a model; offline.
    """

    def __init__(self, book: PriceBook, *, count: CountTokens | None = None) -> None:
        self._book = book
        self._count = count or _count_offline
        self._retrieved: OrderedDict[str, tuple[tuple[str, ...], str | None]] = OrderedDict()

    def __call__(self, span: Span) -> PricedSpan:
        """The span with usage and cost where it is a call, and with its trace's documents."""
        if span.kind in RETRIEVAL_KINDS:
            self._remember(span)
        if span.kind not in CALL_KINDS:
            return PricedSpan(span=span)
        documents, index_version = self._retrieved.get(span.trace_id, ((), None))
        call = span.llm or LlmCall()
        usage = self._usage(span, call)
        return PricedSpan(
            span=span,
            usage=usage,
            cost=self._cost(span, call, usage),
            document_ids=documents,
            index_version=index_version,
        )

    def _remember(self, span: Span) -> None:
        if span.retrieval is None:
            return
        known, version = self._retrieved.pop(span.trace_id, ((), None))
        found = tuple(hit.id for hit in span.retrieval.documents)
        # A reranker returns a choice of what came before; a retriever adds to it.
        merged = found if span.kind is SpanKind.RERANKER else tuple(dict.fromkeys((*known, *found)))
        self._retrieved[span.trace_id] = (merged, span.retrieval.index_version or version)
        if len(self._retrieved) > _TRACES_REMEMBERED:
            self._retrieved.popitem(last=False)

    def _usage(self, span: Span, call: LlmCall) -> TokenUsage | None:
        reported = normalize_usage(call.usage, provider=call.provider)
        if reported is not None:
            if reported.output_tokens is None and span.kind is SpanKind.EMBEDDING:
                return reported
            if reported.total_tokens is not None:
                return reported
        if span.status is SpanStatus.BLOCKED and not call.output_chars:
            return TokenUsage(input_tokens=0, output_tokens=0)
        if span.status is SpanStatus.ERROR and not call.output_chars:
            return reported
        return self._estimate(span, call)

    def _estimate(self, span: Span, call: LlmCall) -> TokenUsage:
        model = call.response_model or call.request_model
        sent, how_sent = self._tokens(span.input, call.input_chars, model)
        made, how_made = (0, how_sent)
        if span.kind is not SpanKind.EMBEDDING:
            made, how_made = self._tokens(span.output, call.output_chars, model)
        exact = how_sent is UsageSource.TOKENIZER and how_made is UsageSource.TOKENIZER
        return TokenUsage(
            input_tokens=sent,
            output_tokens=made,
            source=UsageSource.TOKENIZER if exact else UsageSource.HEURISTIC,
        )

    def _tokens(self, content: Content | None, chars: int, model: str | None) -> tuple[int, UsageSource]:
        if content is None or not content.text:
            return -(-chars // 4), UsageSource.TOKENIZER if not chars else UsageSource.HEURISTIC
        count, source = self._count(content.text, model)
        whole = chars or content.length
        if whole <= len(content.text):
            return count, source
        return round(count * whole / len(content.text)), UsageSource.HEURISTIC

    def _cost(self, span: Span, call: LlmCall, usage: TokenUsage | None) -> Cost | None:
        return self._book.price(
            usage=usage or TokenUsage(),
            provider=call.provider,
            request_model=call.request_model,
            response_model=call.response_model,
            at_ns=span.start_ns,
            service_tier=call.service_tier,
            batch=call.batch,
            cache_hit=call.cache_hit,
            blocked=span.status is SpanStatus.BLOCKED and not call.output_chars,
        )


def _count_offline(text: str, model: str | None) -> tuple[int, UsageSource]:
    from wandb_governance.pricing.tokenizer import count_tokens

    return count_tokens(text, model=model)
