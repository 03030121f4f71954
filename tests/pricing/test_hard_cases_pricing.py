"""The cases of usage and cost that tracers get wrong, by their number in the list of hard cases."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from wandb_governance.pricing.book import PriceBook
from wandb_governance.pricing.sources import parse_price_table
from wandb_governance.pricing.tokenizer import count_tokens
from wandb_governance.pricing.usage_shapes import normalize_usage
from wandb_governance.tracing.usage import TokenUsage, UsageSource

if TYPE_CHECKING:
    from wandb_governance.pricing.row import Cost

NOW = int(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()) * 10**9


def _price(book: PriceBook, usage: TokenUsage | None, **call: object) -> Cost:
    facts: dict[str, object] = {"provider": "openai", "request_model": "gpt-4o", "response_model": None, "at_ns": NOW}
    return book.price(usage=usage or TokenUsage(), **{**facts, **call})  # type: ignore[arg-type]


def test_14_usage_that_is_copied_onto_every_choice_is_the_usage_of_one_call() -> None:
    """LangChain puts the same usage on each of n answers; each says the call's total, so one of them is the truth."""
    messages = pytest.importorskip("langchain_core.messages")
    usage = {"input_tokens": 1000, "output_tokens": 10, "total_tokens": 1010}
    answers = [messages.AIMessage(text, usage_metadata=usage) for text in ("a", "b")]
    counts = {normalize_usage(dict(answer.usage_metadata or {})) for answer in answers}
    assert counts == {TokenUsage(input_tokens=1000, output_tokens=10)}


def test_15_a_cache_hit_costs_nothing_and_keeps_usage_and_list_price(book: PriceBook) -> None:
    """The answer came from our side: nothing was bought, but the saving is known."""
    cost = _price(book, TokenUsage(input_tokens=1000, output_tokens=500), cache_hit=True)
    assert (cost.usd, cost.list_usd) == (Decimal(0), Decimal("0.0075"))
    assert cost.reason == "answered from the LLM cache"
    assert cost.row is not None


def test_15_a_cache_hit_without_token_counts_does_not_crash(book: PriceBook) -> None:
    """LangChain's usage of a cached message can be exactly {"total_cost": 0}."""
    assert normalize_usage({"total_cost": 0}) is None
    cost = _price(book, normalize_usage({"total_cost": 0}), cache_hit=True)
    assert (cost.usd, cost.list_usd) == (Decimal(0), None)


def test_15_total_cost_beside_token_counts_does_not_disturb_them() -> None:
    """A cache hit that does carry usage."""
    raw = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7, "total_cost": 0}
    assert normalize_usage(raw) == TokenUsage(input_tokens=3, output_tokens=4)


def test_16_an_estimated_usage_gives_an_estimated_cost(book: PriceBook) -> None:
    """A stream without usage is counted here, and the cost says that it is no invoice."""
    tokens_in, source = count_tokens("Tokenizers cut text into tokens.", model="gpt-4o")
    assert (tokens_in, source) in {(7, UsageSource.TOKENIZER), (8, UsageSource.HEURISTIC)}
    usage = TokenUsage(input_tokens=tokens_in, output_tokens=0, source=source)
    cost = _price(book, usage)
    assert (cost.usd, cost.estimated) == (tokens_in * Decimal("0.0000025"), True)
    with pytest.raises(ValueError, match="can't add"):
        usage + TokenUsage(input_tokens=1, output_tokens=1)


def test_16_the_first_event_of_a_broken_anthropic_stream_is_priced(book: PriceBook) -> None:
    """message_start carries input and the first output token: that much was billed for certain."""
    raw = {"message": {}, "usage": {"input_tokens": 25, "cache_read_input_tokens": 0, "output_tokens": 1}}
    cost = _price(book, normalize_usage(raw), provider="anthropic", request_model="claude-haiku-4-5")
    assert cost.usd == Decimal("0.00003")


def test_17_parts_never_exceed_their_whole_and_the_row_says_so(book: PriceBook) -> None:
    """More cached tokens than input is a contradiction: clamped, marked, and still priced."""
    raw = {"prompt_tokens": 100, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 900}}
    usage = normalize_usage(raw)
    assert usage == TokenUsage(input_tokens=100, output_tokens=0, cache_read_tokens=100, inconsistent=True)
    assert _price(book, usage).usd == Decimal("0.000125")


def test_17_langchain_and_the_provider_tell_the_same_cost(book: PriceBook) -> None:
    """An Anthropic call with cache reads and writes, as Anthropic reports it and as LangChain does."""
    raw = {
        "input_tokens": 10,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 500,
        "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 300},
        "output_tokens": 50,
    }
    lifetimes = {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 300}
    details = {"cache_read": 1000, "cache_creation": 0, **lifetimes}
    told = {"input_tokens": 1510, "output_tokens": 50, "total_tokens": 1560, "input_token_details": details}
    call = {"provider": "anthropic", "request_model": "claude-haiku-4-5"}
    costs = [_price(book, normalize_usage(usage), **call).usd for usage in (raw, told)]
    # 10x1 + 1000x0.10 + 200x1.25 + 300x2 + 50x5 millionths
    assert costs == [Decimal("0.00121")] * 2


def test_18_batch_is_never_priced_as_standard(book: PriceBook) -> None:
    """The catalogue takes service_tier="batch" for standard without a word; we don't."""
    usage = TokenUsage(input_tokens=1000, output_tokens=500)
    batch = _price(book, usage, service_tier="batch")
    assert (batch.usd, batch.list_usd) == (Decimal("0.00375"), Decimal("0.0075"))
    unknown = _price(book, usage, provider="azure", service_tier="batch")
    assert (unknown.usd, unknown.list_usd) == (None, Decimal("0.0075"))
    assert "batch" in (unknown.reason or "")


def test_18_an_unknown_model_costs_null_not_zero(book: PriceBook) -> None:
    """And says why."""
    cost = _price(book, TokenUsage(input_tokens=1, output_tokens=1), request_model="nonesuch")
    assert (cost.usd, cost.list_usd, cost.row) == (None, None, None)
    assert cost.reason == "unknown model 'nonesuch' of provider 'openai'"


def test_18_a_price_of_zero_is_a_price() -> None:
    """A user who pays nothing per token gets 0, with the row that says so."""
    book = PriceBook(parse_price_table("version: 1\nprices:\n  - model: own\n    per_mtok: {input: 0, output: 0}\n"))
    cost = _price(book, TokenUsage(input_tokens=9, output_tokens=9), request_model="own", provider="self")
    assert (cost.usd, cost.reason) == (Decimal(0), None)
    assert cost.row is not None


def test_18_the_model_that_answered_decides(book: PriceBook) -> None:
    """An alias such as a deployment, or a router, is not what is billed."""
    usage = TokenUsage(input_tokens=1000, output_tokens=500)
    cost = _price(book, usage, request_model="router", response_model="gpt-4o-mini-2024-07-18")
    assert cost.usd == Decimal("0.00045")
    assert cost.row is not None
    assert cost.row.model == "gpt-4o-mini"


def test_21_a_blocked_call_costs_nothing(book: PriceBook) -> None:
    """Nothing was sent, so nothing was bought."""
    cost = _price(book, TokenUsage(input_tokens=1000, output_tokens=0), blocked=True)
    assert (cost.usd, cost.list_usd) == (Decimal(0), Decimal("0.0025"))
    assert cost.reason == "blocked by a policy"


def test_26_pricing_imports_nothing_heavy_and_opens_no_socket() -> None:
    """Reading the modules loads neither the catalogue nor a framework; pricing a call uses no network."""
    code = """
import sys
def refuse(event, args):
    if event.startswith("socket.") and event != "socket.gethostname":
        raise RuntimeError("network: " + event)
sys.addaudithook(refuse)
import wandb_governance.pricing.book, wandb_governance.pricing.tokenizer, wandb_governance.pricing.usage_shapes
heavy = {"genai_prices", "tiktoken", "yaml", "re2", "wandb", "pydantic", "httpx", "httpx2"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
from wandb_governance.pricing.book import PriceBook
from wandb_governance.tracing.usage import TokenUsage
usage = TokenUsage(input_tokens=1000, output_tokens=500)
call = {"provider": "openai", "request_model": "gpt-4o", "response_model": None, "at_ns": int(sys.argv[1])}
print(PriceBook().price(usage=usage, **call).usd)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(NOW)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "0.0075"), done.stderr
