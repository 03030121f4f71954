"""What one step of a chain was: a frozen span, as it is written to the journal."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class SpanKind(StrEnum):
    """What a span did; names after the OpenInference and OpenTelemetry GenAI vocabularies."""

    CHAIN = "chain"
    LLM = "llm"
    EMBEDDING = "embedding"
    RETRIEVER = "retriever"
    RERANKER = "reranker"
    TOOL = "tool"
    AGENT = "agent"
    EVENT = "event"


class SpanStatus(StrEnum):
    """How a span ended."""

    OK = "ok"
    ERROR = "error"
    CANCELLED = "cancelled"
    """The caller stopped it: a task was cancelled, a stream was closed early."""
    INTERRUPTED = "interrupted"
    """A graph paused for a person."""
    ABANDONED = "abandoned"
    """It was started and nothing ever ended it."""
    BLOCKED = "blocked"
    """A policy stopped it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Text of an input or output, redacted and cut to the limit."""

    text: str
    """JSON where the value was not a plain string."""
    length: int
    """Code points of the whole text, before it was cut."""
    sha256: str | None = None
    """SHA-256 (hex) of the whole text where ``text`` was cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmCall:
    """The facts of one call of a model, as the framework gave them. Nothing here is computed."""

    provider: str | None = None
    """Such as ``openai``, ``anthropic``, ``google``."""
    request_model: str | None = None
    response_model: str | None = None
    usage: Mapping[str, Any] | None = None
    """Token counts in the provider's own shape; normalised when rows are made."""
    finish_reason: str | None = None
    service_tier: str | None = None
    cache_hit: bool = False
    """The framework answered from its own cache: nothing was billed."""
    streaming: bool = False
    attempt: int | None = None
    """1 for the first of several attempts under a retry or fallback."""
    choices: int = 1
    batch: bool = False
    input_chars: int = 0
    """Code points of the text that went in, for an estimate where the provider counts nothing."""
    output_chars: int = 0
    params: Mapping[str, Any] | None = None
    """Sampling parameters, such as temperature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievedDocument:
    """One hit of a retriever."""

    id: str
    rank: int
    """From 0."""
    score: float | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """What a retriever or reranker returned."""

    documents: tuple[RetrievedDocument, ...] = ()
    index_version: str | None = None
    """Resolved version of the index artifact, such as ``docs-index:v3``; never an alias alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One finished step. Text in it is redacted; nothing raw leaves the recorder."""

    span_id: str
    trace_id: str
    parent_id: str | None
    kind: SpanKind
    name: str
    status: SpanStatus
    start_ns: int
    """Nanoseconds since 1970-01-01 UTC."""
    duration_ns: int
    first_token_ns: int | None = None
    """Nanoseconds from start to the first content of a streamed answer."""
    input: Content | None = None
    output: Content | None = None
    error_type: str | None = None
    error_message: str | None = None
    framework: str | None = None
    tags: tuple[str, ...] = ()
    user: str | None = None
    """Pseudonym of the end user."""
    session: str | None = None
    """Pseudonym of the conversation."""
    prompt_name: str | None = None
    prompt_version: str | None = None
    llm: LlmCall | None = None
    retrieval: Retrieval | None = None
    verdict: str | None = None
    """Strictest action of the policies that ran; None where none ran."""
    policies: tuple[str, ...] = ()
    """Ids of the verdict rows."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Other facts worth keeping: scalars and short strings."""


def new_span(**values: Any) -> Span:
    """A span from all of its fields.

    The same as ``Span(...)`` in a third of the time, which counts since every step of a chain waits for it.
    """
    span = object.__new__(Span)
    for name, value in values.items():
        _ASSIGN[name](span, value)
    return span


def span_from_json(data: Mapping[str, Any]) -> Span:
    """The span that was written as ``data``; fields of a newer version are ignored.

    Raises:
        KeyError: A required field is missing.
        ValueError: A kind or status is not known.
    """
    values = {name: data[name] for name in _SPAN_FIELDS if name in data}
    values["kind"] = SpanKind(data["kind"])
    values["status"] = SpanStatus(data["status"])
    values["tags"] = tuple(data.get("tags") or ())
    values["policies"] = tuple(data.get("policies") or ())
    for name in ("input", "output"):
        if data.get(name) is not None:
            values[name] = Content(**data[name])
    if data.get("llm") is not None:
        values["llm"] = LlmCall(**{k: v for k, v in data["llm"].items() if k in _LLM_FIELDS})
    if data.get("retrieval") is not None:
        found = data["retrieval"]
        values["retrieval"] = Retrieval(
            documents=tuple(RetrievedDocument(**hit) for hit in found.get("documents") or ()),
            index_version=found.get("index_version"),
        )
    return Span(**values)


_SPAN_NAMES = tuple(item.name for item in fields(Span))
_ASSIGN = {name: getattr(Span, name).__set__ for name in _SPAN_NAMES}
_SPAN_FIELDS = frozenset(_SPAN_NAMES)
_LLM_FIELDS = frozenset(item.name for item in fields(LlmCall))
