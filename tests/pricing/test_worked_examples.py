"""Invoices and hand calculations from public issue threads, to the last digit."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from wandb_governance.pricing.usage_shapes import normalize_usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wandb_governance.pricing.book import PriceBook


def _at(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 10**9


NOW = _at("2026-11-20")


def _cost(book: PriceBook, raw: Mapping[str, object], model: str, provider: str, at_ns: int = NOW) -> Decimal | None:
    usage = normalize_usage(raw, provider=provider)
    assert usage is not None
    return book.price(usage=usage, provider=provider, request_model=model, response_model=None, at_ns=at_ns).usd


def test_openai_cached_prompt_is_charged_at_half_price(book: PriceBook) -> None:
    """86 fresh, 1,920 cached and 300 output tokens of gpt-4o cost 86x2.5 + 1920x1.25 + 300x10 millionths."""
    raw = {"prompt_tokens": 2006, "completion_tokens": 300, "prompt_tokens_details": {"cached_tokens": 1920}}
    assert _cost(book, raw, "gpt-4o", "openai") == Decimal("0.005615")


def test_anthropic_cache_write_costs_what_the_console_says(book: PriceBook) -> None:
    """The call of litellm issue 9812: 3 fresh and 12,304 written tokens; Anthropic's console said 0.05439."""
    raw = {
        "input_tokens": 3,
        "cache_creation_input_tokens": 12304,
        "cache_read_input_tokens": 0,
        "output_tokens": 550,
    }
    assert _cost(book, raw, "claude-3-7-sonnet-20250219", "anthropic") == Decimal("0.054399")


def test_gemini_long_cached_prompt_uses_the_tier_above_200k(book: PriceBook) -> None:
    """The call of litellm issue 14849: 262,960 input tokens, 257,955 of them cached, 1,744 output tokens."""
    raw = {
        "promptTokenCount": 262960,
        "cachedContentTokenCount": 257955,
        "candidatesTokenCount": 1744,
        "totalTokenCount": 264704,
    }
    assert _cost(book, raw, "gemini-2.5-pro", "google") == Decimal("0.10316125")


def test_o3_costs_a_fifth_after_june_2025(book: PriceBook) -> None:
    """1,000 tokens in and out cost 0.05 before the price cut and 0.01 after it."""
    raw = {"prompt_tokens": 1000, "completion_tokens": 1000}
    assert _cost(book, raw, "o3", "openai", _at("2025-06-01")) == Decimal("0.05")
    assert _cost(book, raw, "o3", "openai", _at("2025-07-01")) == Decimal("0.01")


def test_reasoning_is_not_charged_on_top(book: PriceBook) -> None:
    """OpenAI's completion tokens hold the reasoning tokens already."""
    plain = {"prompt_tokens": 100, "completion_tokens": 1000}
    thinking = {**plain, "completion_tokens_details": {"reasoning_tokens": 900}}
    assert _cost(book, thinking, "gpt-5", "openai") == _cost(book, plain, "gpt-5", "openai") == Decimal("0.010125")
