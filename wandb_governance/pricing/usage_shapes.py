"""Token usage as providers and frameworks report it, brought into one shape.

Each provider counts in its own way: OpenAI's input holds the cached tokens, Anthropic's and Bedrock's does not;
Gemini's output leaves the thoughts out; Cohere reports what it bills next to what it counted. The totals of a
``TokenUsage`` are always inclusive.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from wandb_governance.pricing.names import canonical_provider
from wandb_governance.tracing.usage import TokenUsage

if TYPE_CHECKING:
    from collections.abc import Iterable

_INPUT = (
    "prompt_tokens", "input_tokens", "inputTokens", "inputTokenCount", "input_token_count", "inputTextTokenCount",
    "promptTokenCount", "prompt_token_count", "prompt_eval_count",
)  # fmt: skip
_OUTPUT = (
    "completion_tokens", "output_tokens", "outputTokens", "outputTokenCount", "output_token_count", "eval_count",
    "candidatesTokenCount", "candidates_token_count", "responseTokenCount", "response_token_count",
    "generation_token_count",
)  # fmt: skip
_TOTAL = ("total_tokens", "totalTokens", "totalTokenCount", "total_token_count")
_THOUGHTS = ("thoughtsTokenCount", "thoughts_token_count")
_TOOL_INPUT = ("toolUsePromptTokenCount", "tool_use_prompt_token_count")
_CACHE_READ = (
    "cache_read_input_tokens", "cacheReadInputTokens", "cacheReadInputTokenCount", "cached_tokens",
    "prompt_cache_hit_tokens", "num_cached_tokens", "cachedContentTokenCount", "cached_content_token_count",
)  # fmt: skip
_CACHE_WRITE = (
    "cache_creation_input_tokens", "cacheWriteInputTokens", "cacheWriteInputTokenCount", "cache_write_tokens",
)  # fmt: skip
_ADDITIVE = (
    "cache_read_input_tokens", "cacheReadInputTokens", "cacheReadInputTokenCount", "cache_creation_input_tokens",
    "cacheWriteInputTokens", "cacheWriteInputTokenCount",
)  # fmt: skip
"""Cache counts that stand beside the input instead of inside it, where the input is not called ``prompt_tokens``."""
_INPUT_DETAILS = (
    "prompt_tokens_details", "input_tokens_details", "input_token_details", "prompt_token_details",
    "promptTokensDetails",
)  # fmt: skip
_OUTPUT_DETAILS = (
    "completion_tokens_details", "output_tokens_details", "output_token_details", "candidatesTokensDetails",
    "candidates_tokens_details", "responseTokensDetails", "response_tokens_details",
)  # fmt: skip
_NESTED = (
    "usage", "usage_metadata", "usageMetadata", "token_usage", "amazon-bedrock-invocationMetrics", "llm_output",
    "response_metadata", "generation_info", "meta", "token_count", "raw", "additional_kwargs", "response",
)  # fmt: skip
"""Where a whole response keeps its usage, the best place first."""
_TIERS = ("priority_", "flex_", "batch_", "scale_")
"""LangChain repeats a detail under its service tier."""


def normalize_usage(raw: Mapping[str, object] | None, *, provider: str | None = None) -> TokenUsage | None:
    """A provider's usage payload as token counts; pure.

    Takes the usage object of OpenAI (chat, responses, embeddings, realtime) and what is compatible with it, Azure,
    Anthropic, Bedrock (Converse and model-native), Gemini and Vertex, Cohere, Mistral, Ollama, LangChain's
    ``usage_metadata``, or a response that holds one of these (LlamaIndex ``raw`` and ``additional_kwargs``).

    Args:
        raw: The payload; counts may be numbers or, from streams, lists of running counts.
        provider: Under any of its names, where known; decides only where the payload leaves a doubt.

    Returns:
        Counts >= 0 with cached, reasoning and audio tokens inside the totals. Numbers that contradict each other are
        clamped and marked ``inconsistent``. None where no token count is in it, as in ``{"total_cost": 0}``.
    """
    usage = _locate(raw, depth=4)
    return None if usage is None else _Reading(usage, google=canonical_provider(provider) == "google").result()


def _locate(value: object, *, depth: int) -> Mapping[str, object] | None:
    """The usage object in a payload: the payload itself, or what it holds under a known name."""
    given = _mapping(value)
    if given is None:
        return None
    if any(_number(given.get(name)) is not None for name in (*_INPUT, *_OUTPUT)) or "billed_units" in given:
        return given
    if depth:
        for name in _NESTED:
            found = _locate(given.get(name), depth=depth - 1)
            if found is not None:
                return found
    return None


def _mapping(value: object) -> Mapping[str, object] | None:
    if isinstance(value, Mapping):
        return value
    if value is None or isinstance(value, str | bytes | int | float | Sequence):
        return None
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        dumped = dump()
        return dumped if isinstance(dumped, Mapping) else None
    return getattr(value, "__dict__", None)


def _number(value: object) -> int | float | None:
    """A count as reported, right or wrong; None where it is no number. Of a list of running counts, the greatest."""
    if isinstance(value, list | tuple):
        counts = [n for n in map(_number, value) if n is not None and not math.isnan(n)]
        return max(counts, default=None)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


class _Reading:
    """One usage object being read; ``doubt`` is set as soon as a number can't be true."""

    def __init__(self, usage: Mapping[str, object], *, google: bool) -> None:
        # Cohere: what is billed comes before what was counted.
        parts = [_mapping(usage.get(name)) or {} for name in ("tokens", "billed_units")]
        self._usage = {**usage, **parts[0], **parts[1]}
        self._google = google
        self._in_details = self._details(_INPUT_DETAILS)
        self._out_details = self._details(_OUTPUT_DETAILS)
        self.doubt = False

    def result(self) -> TokenUsage | None:
        counts = self._totals()
        if counts["input_tokens"] is None and counts["output_tokens"] is None:
            return None
        self._clamp(counts)
        return TokenUsage(**cast("dict[str, Any]", counts), inconsistent=self.doubt)

    def _totals(self) -> dict[str, int | None]:
        read, write, write_1h = self._cache()
        reported_in, total = self._first(_INPUT), self._first(_TOTAL)
        tool_input = self._first(_TOOL_INPUT)
        total_in = reported_in if tool_input is None else (reported_in or 0) + tool_input
        total_out, reasoning = self._output(total_in, total)
        cached = (read or 0) + (write or 0)
        if total_in is not None and self._is_additive(total_in, cached, total_out, total):
            total_in += cached
        if total is not None:
            total_in, total_out = self._complete(total_in, total_out, total)
        return {
            "input_tokens": total_in,
            "output_tokens": total_out,
            "cache_read_tokens": read,
            "cache_write_tokens": write,
            "cache_write_1h_tokens": write_1h,
            "reasoning_tokens": reasoning,
            "audio_input_tokens": self._detail(self._in_details, "audio"),
            "audio_output_tokens": self._detail(self._out_details, "audio"),
            "image_input_tokens": self._detail(self._in_details, "image"),
            "image_output_tokens": self._detail(self._out_details, "image"),
        }

    def _cache(self) -> tuple[int | None, int | None, int | None]:
        read = self._first(_CACHE_READ)
        if read is None:
            read = self._detail(self._in_details, "cached", "cache_read")
        lifetimes = _mapping(self._usage.get("cache_creation")) or self._in_details
        short, long = (self._count(lifetimes.get(f"ephemeral_{ttl}_input_tokens")) for ttl in ("5m", "1h"))
        if long is None:
            long = self._converse_1h()
        write = self._first(_CACHE_WRITE)
        if write is None:
            write = self._detail(self._in_details, "cache_creation", "cache_write")
        if short is not None or long is not None:
            # LangChain sets the sum to 0 where it gives the parts.
            write = max(write or 0, (short or 0) + (long or 0))
        return read, write, long

    def _converse_1h(self) -> int | None:
        entries = self._usage.get("cacheDetails")
        if not isinstance(entries, list):
            return None
        counts = [self._count(e.get("inputTokens")) for e in map(_mapping, entries) if e and e.get("ttl") == "1h"]
        return sum(count or 0 for count in counts) if counts else None

    def _output(self, total_in: int | None, total: int | None) -> tuple[int | None, int | None]:
        """Output with reasoning inside, and reasoning."""
        output, thoughts = self._first(_OUTPUT), self._first(_THOUGHTS)
        if output is None:
            output = self._titan_output()
        reasoning = thoughts if thoughts is not None else self._detail(self._out_details, "reasoning")
        if not reasoning:
            return output, reasoning
        visible = output or 0
        if total is not None and total_in is not None:
            # xAI leaves reasoning out of the completion like Gemini does; the total tells.
            outside = total == total_in + visible + reasoning
        else:
            outside = thoughts is not None
        return (visible + reasoning if outside or output is None else output), reasoning

    def _titan_output(self) -> int | None:
        results = self._usage.get("results")
        if not isinstance(results, list):
            return None
        counts = [self._count(entry.get("tokenCount")) for entry in map(_mapping, results) if entry]
        return sum(count or 0 for count in counts) if any(count is not None for count in counts) else None

    def _is_additive(self, total_in: int, cached: int, total_out: int | None, total: int | None) -> bool:
        """Whether the cached tokens stand beside the reported input."""
        if not cached:
            return False
        if total is not None and total == total_in + cached + (total_out or 0):
            return True
        beside = any(self._usage.get(name) is not None for name in _ADDITIVE)
        if "prompt_tokens" in self._usage:
            return beside and cached > total_in
        inside = total is not None and total == total_in + (total_out or 0) and cached <= total_in
        return beside and not inside

    def _complete(self, total_in: int | None, total_out: int | None, total: int) -> tuple[int | None, int | None]:
        """The side that was not reported, from the total."""
        if total_in is not None and total_out is None:
            return total_in, max(0, total - total_in)
        if total_out is not None and total_in is None:
            return max(0, total - total_out), total_out
        if total_in is not None and total_out is not None and total != total_in + total_out:
            if self._google and total > total_in + total_out:
                return total_in, total - total_in  # Its OpenAI-compatible endpoint shows thoughts only in the total.
            self.doubt = True
        return total_in, total_out

    def _clamp(self, counts: dict[str, int | None]) -> None:
        total_in, total_out = counts["input_tokens"] or 0, counts["output_tokens"] or 0
        self._limit(counts, "cache_read_tokens", total_in)
        self._limit(counts, "cache_write_tokens", total_in - (counts["cache_read_tokens"] or 0))
        self._limit(counts, "cache_write_1h_tokens", counts["cache_write_tokens"] or 0)
        self._limit(counts, "audio_input_tokens", total_in)
        self._limit(counts, "image_input_tokens", total_in - (counts["audio_input_tokens"] or 0))
        left = total_out
        for name in ("reasoning_tokens", "audio_output_tokens", "image_output_tokens"):
            self._limit(counts, name, left)
            left -= counts[name] or 0

    def _limit(self, counts: dict[str, int | None], name: str, most: int) -> None:
        count = counts[name]
        if count is not None and count > most:
            counts[name] = most
            self.doubt = True

    def _first(self, names: Iterable[str]) -> int | None:
        counts = (self._count(self._usage.get(name)) for name in names)
        return next((count for count in counts if count is not None), None)

    def _details(self, names: Iterable[str]) -> dict[str, object]:
        """Detail counts by name; a list by modality becomes one entry per modality."""
        for name in names:
            given = self._usage.get(name)
            if isinstance(given, list):
                entries = [entry for entry in map(_mapping, given) if entry]
                return {_modality(entry): entry.get("tokenCount", entry.get("token_count")) for entry in entries}
            details = _mapping(given)
            if details is not None:
                return dict(details)
        return {}

    def _detail(self, details: Mapping[str, object], *names: str) -> int | None:
        keys = [f"{tier}{name}{suffix}" for name in names for tier in ("", *_TIERS) for suffix in ("", "_tokens")]
        counts = [self._count(details.get(key)) for key in keys]
        return max((count for count in counts if count is not None), default=None)

    def _count(self, value: object) -> int | None:
        number = _number(value)
        if number is None:
            return None
        if not math.isfinite(number) or number < 0:
            self.doubt = True
            return 0 if number < 0 else None
        return int(number)


def _modality(entry: Mapping[str, object]) -> str:
    name = entry.get("modality")
    return str(getattr(name, "name", name)).rsplit(".", 1)[-1].lower()
