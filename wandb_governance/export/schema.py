"""Every column of every table, once: name, type, unit, meaning, and how it is read off a record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import orjson

from wandb_governance.backend.base import Cell, ColumnType, TableColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wandb_governance.pipeline import PricedSpan

Source = TypeVar("Source")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Generic[Source]):
    """A column of a table in W&B."""

    name: str
    type: ColumnType
    about: str
    """Meaning, with the unit."""
    read: Callable[[Source], Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table(Generic[Source]):
    """A table in W&B."""

    name: str
    about: str
    columns: tuple[Column[Source], ...]

    @property
    def header(self) -> tuple[TableColumn, ...]:
        """Names and types, as the backend wants them."""
        return tuple(TableColumn(name=column.name, type=column.type) for column in self.columns)

    def row(self, source: Source) -> list[Cell]:
        """The cells of one record, in column order."""
        return [column.read(source) for column in self.columns]


def _text(name: str, about: str, read: Callable[[Any], Any]) -> Column[Any]:
    return Column(name=name, type="string", about=about, read=read)


def _number(name: str, about: str, read: Callable[[Any], Any]) -> Column[Any]:
    return Column(name=name, type="number", about=about, read=read)


def _flag(name: str, about: str, read: Callable[[Any], Any]) -> Column[Any]:
    return Column(name=name, type="boolean", about=about, read=read)


def _iso(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, tz=UTC).isoformat(timespec="microseconds")


def _seconds(duration_ns: int | None) -> float | None:
    return None if duration_ns is None else duration_ns / 1e9


def _json(value: object) -> str | None:
    return orjson.dumps(value, default=str).decode() if value else None


def _content(part: str, attribute: str) -> Callable[[PricedSpan], Any]:
    def read(row: PricedSpan) -> Any:
        content = getattr(row.span, part)
        return None if content is None else getattr(content, attribute)

    return read


def _call(attribute: str) -> Callable[[PricedSpan], Any]:
    return lambda row: None if row.span.llm is None else getattr(row.span.llm, attribute)


def _usage(attribute: str) -> Callable[[PricedSpan], Any]:
    return lambda row: None if row.usage is None else getattr(row.usage, attribute)


def _cost(attribute: str) -> Callable[[PricedSpan], Any]:
    def read(row: PricedSpan) -> Any:
        value = None if row.cost is None else getattr(row.cost, attribute)
        return None if value is None else float(value)

    return read


_IDS = (
    _text("trace_id", "Id of the trace: one top-level call of the application.", lambda r: r.span.trace_id),
    _text(
        "span_id",
        "Id of the step, unique in the table; LangChain's run id where it comes from there.",
        lambda r: r.span.span_id,
    ),
    _text("parent_id", "Id of the enclosing step; null at the top.", lambda r: r.span.parent_id),
)
_TIMES = (
    _text("start", "Start, UTC, ISO 8601.", lambda r: _iso(r.span.start_ns)),
    _number("duration_s", "From start to end, seconds.", lambda r: _seconds(r.span.duration_ns)),
    _number(
        "time_to_first_token_s",
        "From start to the first content of a streamed answer, seconds; else null.",
        lambda r: _seconds(r.span.first_token_ns),
    ),
)
_STATUS = _text("status", "ok, error, cancelled, interrupted, abandoned or blocked.", lambda r: str(r.span.status))
_WHO = (
    _text("user", "Pseudonym of the end user.", lambda r: r.span.user),
    _text("session", "Pseudonym of the conversation.", lambda r: r.span.session),
    _text("tags", "JSON list.", lambda r: _json(r.span.tags)),
    _text("prompt_name", "Name of the prompt template.", lambda r: r.span.prompt_name),
    _text("prompt_version", "Resolved version of the prompt template.", lambda r: r.span.prompt_version),
)
_POLICY = (
    _text(
        "verdict",
        "Strictest action of the policies that ran: allow, flag, redact, escalate or block.",
        lambda r: r.span.verdict,
    ),
    _text("verdict_ids", "JSON list of rows in `verdicts`.", lambda r: _json(r.span.policies)),
)

TRACES: Table[PricedSpan] = Table(
    name="traces",
    about="One row per span.",
    columns=(
        *_IDS,
        _text("kind", "chain, llm, embedding, retriever, reranker, tool, agent or event.", lambda r: str(r.span.kind)),
        _text("name", "What the framework calls the step.", lambda r: r.span.name),
        _STATUS,
        *_TIMES,
        _text("input", "Redacted; JSON where it was not a plain string; cut to the limit.", _content("input", "text")),
        _text(
            "output", "Redacted; JSON where it was not a plain string; cut to the limit.", _content("output", "text")
        ),
        _number("input_length", "Code points before the cut.", _content("input", "length")),
        _number("output_length", "Code points before the cut.", _content("output", "length")),
        _text("input_sha256", "SHA-256 (hex) of the whole input where it was cut.", _content("input", "sha256")),
        _text("output_sha256", "SHA-256 (hex) of the whole output where it was cut.", _content("output", "sha256")),
        *_WHO,
        *_POLICY,
        _text("error_type", "Class of the exception.", lambda r: r.span.error_type),
        _text("error_message", "Redacted.", lambda r: r.span.error_message),
        _text("framework", "langchain, llama_index, openai or gateway.", lambda r: r.span.framework),
        _text("attributes", "JSON object: other facts.", lambda r: _json(dict(r.span.attributes))),
    ),
)

LLM_CALLS: Table[PricedSpan] = Table(
    name="llm_calls",
    about="One row per call of a model.",
    columns=(
        *_IDS,
        _text("kind", "llm or embedding.", lambda r: str(r.span.kind)),
        _STATUS,
        *_TIMES,
        _text("provider", "Such as openai or anthropic (gen_ai.provider.name).", _call("provider")),
        _text("request_model", "The model that was asked for (gen_ai.request.model).", _call("request_model")),
        _text("response_model", "The model that answered (gen_ai.response.model).", _call("response_model")),
        _number(
            "input_tokens",
            "All input tokens, cached ones included (gen_ai.usage.input_tokens).",
            _usage("input_tokens"),
        ),
        _number(
            "output_tokens",
            "All output tokens, reasoning included (gen_ai.usage.output_tokens).",
            _usage("output_tokens"),
        ),
        _number("total_tokens", "Input and output.", _usage("total_tokens")),
        _number("cache_read_tokens", "Part of the input read from the provider's cache.", _usage("cache_read_tokens")),
        _number(
            "cache_write_tokens", "Part of the input written to the provider's cache.", _usage("cache_write_tokens")
        ),
        _number("reasoning_tokens", "Part of the output spent on thinking.", _usage("reasoning_tokens")),
        _number("audio_input_tokens", "Part of the input that is audio.", _usage("audio_input_tokens")),
        _number("audio_output_tokens", "Part of the output that is audio.", _usage("audio_output_tokens")),
        _text(
            "usage_source",
            "provider, tokenizer or heuristic; null where nothing is known.",
            lambda r: None if r.usage is None else str(r.usage.source),
        ),
        _flag(
            "usage_estimated",
            "Whether the token counts are an estimate.",
            lambda r: None if r.usage is None else str(r.usage.source) != "provider",
        ),
        _flag(
            "usage_inconsistent",
            "The provider's numbers contradicted each other and were clamped.",
            _usage("inconsistent"),
        ),
        _number("cost_usd", "US dollars billed; null where the price is not known, never 0 for that.", _cost("usd")),
        _number("list_cost_usd", "US dollars it would have cost without a cache hit or block.", _cost("list_usd")),
        _text("cost_reason", "Why cost_usd is null or 0.", lambda r: None if r.cost is None else r.cost.reason),
        _text(
            "price_row",
            "JSON: the price row used, with source, version, unit prices and date.",
            lambda r: None if r.cost is None or r.cost.row is None else _json(r.cost.row.to_json()),
        ),
        _flag("cache_hit", "The framework answered from its own cache.", _call("cache_hit")),
        _flag("streaming", "Whether the answer was streamed.", _call("streaming")),
        _number("attempt", "1 for the first of several attempts.", _call("attempt")),
        _text("finish_reason", "Why the model stopped (gen_ai.response.finish_reasons).", _call("finish_reason")),
        _text("service_tier", "Such as flex or priority.", _call("service_tier")),
        *_POLICY,
        _text(
            "document_ids",
            "JSON list: documents retrieved in this trace before the call.",
            lambda r: _json(list(r.document_ids)),
        ),
        _text("index_version", "Resolved version of the index those documents came from.", lambda r: r.index_version),
        *_WHO,
        _text("error_type", "Class of the exception.", lambda r: r.span.error_type),
        _text("framework", "langchain, llama_index, openai or gateway.", lambda r: r.span.framework),
        _text(
            "versions",
            "JSON object: resolved versions of what the call used.",
            lambda r: _json(r.span.attributes.get("versions")),
        ),
        _text(
            "params",
            "JSON object: sampling parameters.",
            lambda r: None if r.span.llm is None else _json(r.span.llm.params),
        ),
    ),
)

RETRIEVALS: Table[PricedSpan] = Table(
    name="retrievals",
    about="One row per retrieval or reranking.",
    columns=(
        *_IDS,
        _text("kind", "retriever or reranker.", lambda r: str(r.span.kind)),
        _STATUS,
        *_TIMES[:2],
        _text("query", "Redacted.", _content("input", "text")),
        _text("document_ids", "JSON list, best first.", lambda r: _documents(r, "id")),
        _text(
            "scores", "JSON list in the same order; null where the store gives none.", lambda r: _documents(r, "score")
        ),
        _text("ranks", "JSON list in the same order, from 0.", lambda r: _documents(r, "rank")),
        _number("documents", "How many.", lambda r: 0 if r.span.retrieval is None else len(r.span.retrieval.documents)),
        _text(
            "index_version",
            "Resolved version of the index artifact.",
            lambda r: None if r.span.retrieval is None else r.span.retrieval.index_version,
        ),
        *_POLICY,
        _text("error_type", "Class of the exception.", lambda r: r.span.error_type),
    ),
)


def _documents(row: PricedSpan, attribute: str) -> str | None:
    found = row.span.retrieval
    return None if found is None else orjson.dumps([getattr(hit, attribute) for hit in found.documents]).decode()


def _field(name: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda record: record.get(name)


VERDICTS: Table[Mapping[str, Any]] = Table(
    name="verdicts",
    about="One row per policy decision.",
    columns=(
        _text("verdict_id", "Unique in the table.", _field("verdict_id")),
        _text("trace_id", "Trace it belongs to.", _field("trace_id")),
        _text("span_id", "Span it belongs to.", _field("span_id")),
        _text("time", "UTC, ISO 8601.", lambda r: _iso(r["time_ns"])),
        _text("policy", "Name in the chain.", _field("policy")),
        _text("policy_version", "Version of the rule and its data.", _field("policy_version")),
        _text("policy_digest", "SHA-256 (hex) of the resolved policy document.", _field("policy_digest")),
        _text("scope", "input, output, tool_args, tool_result or retrieval.", _field("scope")),
        _text("action", "allow, flag, redact, escalate or block.", _field("action")),
        _text("mode", "enforce or shadow.", _field("mode")),
        _flag("enforced", "Whether the action took effect on the call itself.", _field("enforced")),
        _text(
            "findings",
            "JSON list of {rule, entity, start, end, score, threshold, explanation}; never the value.",
            lambda r: orjson.dumps(r.get("findings") or []).decode(),
        ),
        _number("finding_count", "How many.", lambda r: len(r.get("findings") or [])),
        _number("latency_ms", "Milliseconds the rule took.", lambda r: r.get("latency_ns", 0) / 1e6),
        _text("failure", "Why the rule could not decide; else null.", _field("failure")),
    ),
)

TABLES: tuple[Table[Any], ...] = (TRACES, LLM_CALLS, VERDICTS, RETRIEVALS)
"""Every table, in the order in which people read them."""
