"""Each provider's usage payload comes out as the same kind of counts."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wandb_governance.pricing.usage_shapes import normalize_usage
from wandb_governance.tracing.usage import COUNT_FIELDS, TokenUsage, UsageSource

SHORT = {
    "in": "input_tokens",
    "out": "output_tokens",
    "read": "cache_read_tokens",
    "write": "cache_write_tokens",
    "w1h": "cache_write_1h_tokens",
    "think": "reasoning_tokens",
    "ain": "audio_input_tokens",
    "aout": "audio_output_tokens",
    "iin": "image_input_tokens",
    "iout": "image_output_tokens",
}

SHAPES: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "openai chat": (
        {
            "prompt_tokens": 2006,
            "completion_tokens": 300,
            "total_tokens": 2306,
            "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 64, "audio_tokens": 0, "accepted_prediction_tokens": 0},
        },
        {"in": 2006, "out": 300, "read": 1920, "think": 64, "ain": 0, "aout": 0},
    ),
    "openai cache write": (
        {
            "prompt_tokens": 900,
            "completion_tokens": 1,
            "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 800, "image_tokens": 50},
        },
        {"in": 900, "out": 1, "read": 0, "write": 800, "iin": 50},
    ),
    "openai responses": (
        {
            "input_tokens": 75,
            "input_tokens_details": {"cached_tokens": 50},
            "output_tokens": 1186,
            "output_tokens_details": {"reasoning_tokens": 1024},
            "total_tokens": 1261,
        },
        {"in": 75, "out": 1186, "read": 50, "think": 1024},
    ),
    "openai embeddings": ({"prompt_tokens": 8, "total_tokens": 8}, {"in": 8, "out": 0}),
    "openai realtime": (
        {
            "total_tokens": 253,
            "input_tokens": 132,
            "output_tokens": 121,
            "input_token_details": {
                "text_tokens": 119,
                "audio_tokens": 13,
                "image_tokens": 0,
                "cached_tokens": 64,
                "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 0, "image_tokens": 0},
            },
            "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
        },
        {"in": 132, "out": 121, "read": 64, "ain": 13, "aout": 91, "iin": 0},
    ),
    "openai image": (
        {
            "total_tokens": 100,
            "input_tokens": 50,
            "output_tokens": 50,
            "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
        },
        {"in": 50, "out": 50, "iin": 40},
    ),
    "azure": (
        {"completion_tokens": 7, "prompt_tokens": 9, "total_tokens": 16, "prompt_tokens_details": None},
        {"in": 9, "out": 7},
    ),
    "anthropic": (
        {
            "input_tokens": 3,
            "cache_creation_input_tokens": 12304,
            "cache_read_input_tokens": 20,
            "cache_creation": {"ephemeral_5m_input_tokens": 304, "ephemeral_1h_input_tokens": 12000},
            "output_tokens": 550,
            "service_tier": "standard",
        },
        {"in": 12327, "out": 550, "read": 20, "write": 12304, "w1h": 12000},
    ),
    "anthropic without cache": ({"input_tokens": 10, "output_tokens": 5}, {"in": 10, "out": 5}),
    "anthropic with null cache": (
        {"input_tokens": 10, "cache_read_input_tokens": None, "output_tokens": 5},
        {"in": 10, "out": 5},
    ),
    "bedrock converse": (
        {
            "inputTokens": 10,
            "outputTokens": 5,
            "totalTokens": 1315,
            "cacheReadInputTokens": 1000,
            "cacheWriteInputTokens": 300,
            "cacheDetails": [{"ttl": "1h", "inputTokens": 200}, {"ttl": "5m", "inputTokens": 100}],
        },
        {"in": 1310, "out": 5, "read": 1000, "write": 300, "w1h": 200},
    ),
    "bedrock invocation metrics": (
        {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 25, "outputTokenCount": 71, "invocationLatency": 9}},
        {"in": 25, "out": 71},
    ),
    "bedrock stream of running counts": ({"input_tokens": [25], "output_tokens": [1, 15]}, {"in": 25, "out": 15}),
    "bedrock titan": (
        {"inputTextTokenCount": 5, "results": [{"tokenCount": 20, "outputText": "x"}, {"tokenCount": 2}]},
        {"in": 5, "out": 22},
    ),
    "bedrock titan embedding": ({"embedding": [0.5], "inputTextTokenCount": 5}, {"in": 5}),
    "bedrock llama": (
        {"generation": "x", "prompt_token_count": 25, "generation_token_count": 6, "stop_reason": "stop"},
        {"in": 25, "out": 6},
    ),
    "gemini with thoughts": (
        {
            "promptTokenCount": 100,
            "candidatesTokenCount": 10,
            "thoughtsTokenCount": 30,
            "totalTokenCount": 140,
            "cachedContentTokenCount": 50,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 60},
                {"modality": "AUDIO", "tokenCount": 30},
                {"modality": "IMAGE", "tokenCount": 10},
            ],
            "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 10}],
        },
        {"in": 100, "out": 40, "read": 50, "think": 30, "ain": 30, "iin": 10},
    ),
    "gemini with thoughts inside the candidates": (
        {"promptTokenCount": 100, "candidatesTokenCount": 40, "thoughtsTokenCount": 30, "totalTokenCount": 140},
        {"in": 100, "out": 40, "think": 30},
    ),
    "gemini that only thought": (
        {"promptTokenCount": 100, "thoughtsTokenCount": 30, "totalTokenCount": 130},
        {"in": 100, "out": 30, "think": 30},
    ),
    "gemini tool prompt": (
        {
            "prompt_token_count": 100,
            "candidates_token_count": 10,
            "tool_use_prompt_token_count": 40,
            "total_token_count": 150,
        },
        {"in": 140, "out": 10},
    ),
    "cohere": (
        {
            "billed_units": {"input_tokens": 5.0, "output_tokens": 7.0},
            "tokens": {"input_tokens": 71, "output_tokens": 9},
        },
        {"in": 5, "out": 7},
    ),
    "cohere v1": (
        {"text": "x", "meta": {"billed_units": {"input_tokens": 5, "output_tokens": 7}}},
        {"in": 5, "out": 7},
    ),
    "cohere embedding": ({"billed_units": {"input_tokens": 5}}, {"in": 5}),
    "mistral": (
        {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13, "num_cached_tokens": 8},
        {"in": 9, "out": 4, "read": 8},
    ),
    "deepseek": (
        {"prompt_tokens": 9, "completion_tokens": 4, "prompt_cache_hit_tokens": 6, "prompt_cache_miss_tokens": 3},
        {"in": 9, "out": 4, "read": 6},
    ),
    "xai leaves reasoning out of the completion": (
        {
            "prompt_tokens": 32,
            "completion_tokens": 9,
            "total_tokens": 135,
            "completion_tokens_details": {"reasoning_tokens": 94},
        },
        {"in": 32, "out": 103, "think": 94},
    ),
    "ollama": (
        {"model": "llama3.2", "response": "hi", "done": True, "prompt_eval_count": 26, "eval_count": 298},
        {"in": 26, "out": 298},
    ),
    "ollama with its prompt cached": ({"eval_count": 298}, {"out": 298}),
    "langchain": (
        {
            "input_tokens": 350,
            "output_tokens": 240,
            "total_tokens": 590,
            "input_token_details": {"audio": 10, "cache_creation": 200, "cache_read": 100},
            "output_token_details": {"audio": 10, "reasoning": 200},
        },
        {"in": 350, "out": 240, "read": 100, "write": 200, "ain": 10, "aout": 10, "think": 200},
    ),
    "langchain anthropic lifetimes": (
        {
            "input_tokens": 350,
            "output_tokens": 1,
            "total_tokens": 351,
            "input_token_details": {
                "cache_creation": 0,
                "ephemeral_5m_input_tokens": 100,
                "ephemeral_1h_input_tokens": 200,
            },
        },
        {"in": 350, "out": 1, "write": 300, "w1h": 200},
    ),
    "langchain flex": (
        {
            "input_tokens": 100,
            "output_tokens": 50,
            "total_tokens": 150,
            "input_token_details": {"flex_cache_read": 40, "flex": 60},
            "output_token_details": {"flex_reasoning": 20, "flex": 30},
        },
        {"in": 100, "out": 50, "read": 40, "think": 20},
    ),
    "langchain that leaves the cache out, as its total shows": (
        {
            "input_tokens": 10,
            "output_tokens": 5,
            "total_tokens": 115,
            "input_token_details": {"cache_read": 100},
        },
        {"in": 110, "out": 5, "read": 100},
    ),
    "litellm repeats anthropic's fields beside an inclusive prompt": (
        {
            "prompt_tokens": 1000,
            "completion_tokens": 5,
            "total_tokens": 1005,
            "cache_read_input_tokens": 900,
            "cache_creation_input_tokens": 0,
        },
        {"in": 1000, "out": 5, "read": 900, "write": 0},
    ),
    "llama index raw": (
        {"id": "x", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}},
        {"in": 1, "out": 2},
    ),
    "llama index additional_kwargs": (
        {"additional_kwargs": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}},
        {"in": 1, "out": 2},
    ),
    "llama index raw gemini": (
        {"raw": {"usage_metadata": {"prompt_token_count": 4, "candidates_token_count": 2, "total_token_count": 6}}},
        {"in": 4, "out": 2},
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_payload_is_read_with_inclusive_totals(name: str) -> None:
    """The counts are those that the provider means; nothing else is filled in."""
    raw, expected = SHAPES[name]
    wanted = TokenUsage(**{SHORT[key]: count for key, count in expected.items()})  # type: ignore[arg-type]
    assert normalize_usage(raw) == wanted


def test_gemini_behind_openai_compatibility_shows_thoughts_only_in_the_total() -> None:
    """With the provider known, the difference to the total is output."""
    raw = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 40}
    usage = normalize_usage(raw, provider="google_genai")
    assert usage == TokenUsage(input_tokens=10, output_tokens=30)
    assert normalize_usage(raw) == TokenUsage(input_tokens=10, output_tokens=5, inconsistent=True)


def test_an_sdk_object_inside_a_payload_is_read() -> None:
    """LlamaIndex hands on the SDK's own object."""
    types = pytest.importorskip("openai.types.completion_usage")
    usage = types.CompletionUsage(
        prompt_tokens=10,
        completion_tokens=5,
        total_tokens=15,
        prompt_tokens_details=types.PromptTokensDetails(cached_tokens=4),
        completion_tokens_details=types.CompletionTokensDetails(reasoning_tokens=2),
    )
    assert normalize_usage({"raw": {"usage": usage}}) == TokenUsage(
        input_tokens=10, output_tokens=5, cache_read_tokens=4, reasoning_tokens=2
    )


@pytest.mark.parametrize(
    "raw",
    [
        None,
        {},
        {"total_cost": 0},
        {"total_tokens": 12},
        {"usage": None},
        {"billed_units": {"search_units": 1}},
        {"usage": []},
    ],
)
def test_a_payload_without_token_counts_gives_nothing(raw: dict[str, object] | None) -> None:
    """No count is not a count of zero."""
    assert normalize_usage(raw) is None


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 40}},
            TokenUsage(input_tokens=10, output_tokens=5, cache_read_tokens=10, inconsistent=True),
        ),
        ({"prompt_tokens": -5, "completion_tokens": 5}, TokenUsage(input_tokens=0, output_tokens=5, inconsistent=True)),
        ({"prompt_tokens": float("nan"), "completion_tokens": 5}, TokenUsage(output_tokens=5, inconsistent=True)),
        (
            {"prompt_tokens": 5, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 9}},
            TokenUsage(input_tokens=5, output_tokens=5, reasoning_tokens=5, inconsistent=True),
        ),
        ({"prompt_tokens": True, "completion_tokens": 5}, TokenUsage(output_tokens=5)),
        ({"prompt_tokens": "12", "completion_tokens": 5}, TokenUsage(output_tokens=5)),
    ],
)
def test_numbers_that_cannot_be_true_are_clamped_and_marked(raw: dict[str, object], expected: TokenUsage) -> None:
    """Nothing is negative, and no part is larger than its whole."""
    assert normalize_usage(raw) == expected


_counts = st.one_of(st.integers(-10, 10**7), st.none(), st.booleans(), st.floats(), st.text(max_size=3))
_keys = sorted(
    {key for raw, _ in SHAPES.values() for key in raw} | {"cached_tokens", "reasoning_tokens", "audio", "modality"}
)
_payloads = st.recursive(
    st.dictionaries(st.sampled_from(_keys), _counts, max_size=8),
    lambda inner: st.dictionaries(
        st.sampled_from(_keys), st.one_of(_counts, inner, st.lists(inner, max_size=2)), max_size=8
    ),
    max_leaves=6,
)


@given(_payloads, st.sampled_from([None, "openai", "google", "anthropic"]))
def test_any_payload_gives_counts_that_make_sense(raw: dict[str, object], provider: str | None) -> None:
    """Whatever a provider sends, it never crashes, and parts fit into their whole."""
    usage = normalize_usage(raw, provider=provider)
    if usage is None:
        return
    counts = {name: getattr(usage, name) for name in COUNT_FIELDS}
    assert all(count is None or (type(count) is int and count >= 0) for count in counts.values())
    plain = {name: count or 0 for name, count in counts.items()}
    assert plain["cache_read_tokens"] + plain["cache_write_tokens"] <= plain["input_tokens"]
    assert plain["cache_write_1h_tokens"] <= plain["cache_write_tokens"]
    assert plain["audio_input_tokens"] + plain["image_input_tokens"] <= plain["input_tokens"]
    special = plain["reasoning_tokens"] + plain["audio_output_tokens"] + plain["image_output_tokens"]
    assert special <= plain["output_tokens"]
    assert usage.source is UsageSource.PROVIDER


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_inclusive_and_additive_reports_of_one_call_agree(fresh: int, read: int, write: int, out: int) -> None:
    """The same call told by Anthropic, Bedrock and OpenAI has the same counts."""
    anthropic = {
        "input_tokens": fresh,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": write,
        "output_tokens": out,
    }
    bedrock = {
        "inputTokens": fresh,
        "cacheReadInputTokens": read,
        "cacheWriteInputTokens": write,
        "outputTokens": out,
        "totalTokens": fresh + read + write + out,
    }
    openai = {
        "prompt_tokens": fresh + read + write,
        "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": write},
        "completion_tokens": out,
        "total_tokens": fresh + read + write + out,
    }
    assert normalize_usage(anthropic) == normalize_usage(bedrock) == normalize_usage(openai)


def test_every_count_of_the_model_is_covered_by_a_shape() -> None:
    """A new count in ``TokenUsage`` needs a payload here."""
    covered = {SHORT[key] for _, expected in SHAPES.values() for key in expected}
    assert covered >= {f.name for f in fields(TokenUsage) if f.name.endswith("_tokens")} - {"image_output_tokens"}
