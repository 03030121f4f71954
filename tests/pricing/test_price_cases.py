"""A table of calls with what they cost, worked out by hand from the providers' price lists."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from wandb_governance.pricing.book import PriceBook
from wandb_governance.pricing.sources import parse_price_table
from wandb_governance.tracing.usage import TokenUsage

TABLE = """
version: 1
currencies: {EUR: 1.08}
aliases:
  support-bot-prod: gpt-4o-2024-08-06
  chat-35: gpt-35-turbo-0125
providers:
  llm.internal:8080: openai
prices:
  - model: gpt-4.1
    per_mtok: {input: 1.6, output: 6.4}
    valid_from: 2026-01-01
  - model: gpt-4.1
    per_mtok: {input: 1.5, output: 6}
    valid_from: 2026-06-01
    valid_to: 2026-06-30
  - model: acme-7b
    per_mtok: {input: 0, output: 0}
  - glob: "acme-*"
    per_mtok: {input: 0.2, output: 0.4}
  - regex: "acme-(large|huge)"
    per_mtok: {input: 90, output: 90}
  - glob: "acme-large*"
    provider: azure
    per_mtok: {input: 1, output: 2, cache_read: {base: 0.5, above: {100000: 0.8}}}
  - model: eu-model
    currency: EUR
    per_mtok: {input: 10, output: 20}
    per_request: 0.5
"""


def _at(moment: str) -> int:
    return int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()) * 10**9


NOW = _at("2026-11-20T12:00")


@dataclass(frozen=True, kw_only=True)
class Case:
    name: str
    model: str
    usd: str | None
    """Worked out by hand; None where no price may be given."""
    provider: str | None = None
    answered: str | None = None
    tokens: tuple[int | None, int | None] = (1000, 500)
    more: dict[str, int] = field(default_factory=dict)
    moment: int = NOW
    tier: str | None = None
    batch: bool = False
    reason: str | None = None
    """What the reason must say where there is no price."""


CASES = [
    # OpenAI: 4o 2.50 / cached 1.25 / 10; 4o-mini 0.15 / 0.60; 4.1 2 / 8; 5 1.25 / 0.125 / 10.
    Case(name="plain", model="gpt-4o", provider="openai", usd="0.0075"),
    Case(name="cached", model="gpt-4o", provider="openai", more={"cache_read_tokens": 800}, usd="0.0065"),
    Case(name="all cached", model="gpt-4o", provider="openai", more={"cache_read_tokens": 1000}, usd="0.00625"),
    Case(name="dated name", model="gpt-4o-mini-2024-07-18", provider="openai", usd="0.00045"),
    Case(name="compact date", model="gpt-4o-20240806", provider="openai", usd="0.0075"),
    Case(name="older dated model", model="gpt-4o-2024-05-13", provider="openai", usd="0.0125"),
    Case(name="answered by a dated model", model="gpt-4o", answered="gpt-4o-2024-05-13", provider="openai",
         usd="0.0125"),
    Case(name="reasoning is inside the output", model="gpt-5", provider="openai", more={"reasoning_tokens": 400},
         usd="0.00625"),
    Case(name="batch flag", model="gpt-4o", provider="openai", batch=True, usd="0.00375"),
    Case(name="batch as a tier", model="gpt-4o", provider="openai", tier="batch", usd="0.00375"),
    Case(name="flex", model="gpt-5", provider="openai", tier="flex", usd="0.003125"),
    Case(name="flex cached", model="gpt-5", provider="openai", tier="flex", more={"cache_read_tokens": 1000},
         usd="0.0025625"),
    Case(name="priority", model="gpt-4o", provider="openai", tier="priority", usd="0.01275"),
    Case(name="tier named default", model="gpt-4o", provider="openai", tier="default", usd="0.0075"),
    Case(name="tier named auto", model="gpt-4o", provider="openai", tier="auto", usd="0.0075"),
    Case(name="no flex price", model="gpt-4o", provider="openai", tier="flex", usd=None, reason="no 'flex' price"),
    Case(name="scale units", model="gpt-4o", provider="openai", tier="scale", usd=None, reason="no 'scale' price"),
    Case(name="below a threshold", model="gpt-5.5", provider="openai", tokens=(272_000, 1000), usd="1.39"),
    Case(name="above a threshold", model="gpt-5.5", provider="openai", tokens=(272_001, 1000), usd="2.76501"),
    Case(name="before a cut", model="o3", provider="openai", moment=_at("2025-06-09T23:59:59"), usd="0.03"),
    Case(name="after a cut", model="o3", provider="openai", moment=_at("2025-06-10T00:00"), usd="0.006"),
    Case(name="cache write", model="gpt-5.6-luna", provider="openai", more={"cache_write_tokens": 1000}, usd="0.00085"),
    Case(name="fine-tuned", model="ft:gpt-4o-2024-08-06:acme::abc", provider="openai", usd="0.01125"),
    Case(name="fine-tuned, no provider", model="ft:gpt-4o-mini-2024-07-18:acme:x:1", usd="0.0009"),
    Case(name="embedding, no provider", model="text-embedding-3-small", tokens=(1_000_000, None), usd="0.02"),
    Case(name="prefix names the provider", model="openai/gpt-4o", usd="0.0075"),
    Case(name="realtime audio", model="gpt-realtime", provider="openai",
         more={"audio_input_tokens": 600, "audio_output_tokens": 500}, usd="0.0528"),
    Case(name="audio without a price", model="gpt-4o-audio-preview", provider="openai",
         more={"audio_input_tokens": 1}, usd=None, reason="no price for audio_input tokens"),
    Case(name="image input", model="gpt-image-1", provider="openai", more={"image_input_tokens": 400}, usd="0.027"),
    Case(name="priced by the hour", model="whisper-1", provider="openai", usd=None, reason="not by token"),
    Case(name="unknown model", model="gpt-4o-nonesuch", provider="openai", usd=None, reason="unknown model"),
    Case(name="unknown provider", model="gpt-4o", provider="my-proxy", usd=None, reason="unknown provider 'my-proxy'"),
    Case(name="openai in a proxy's name", model="gpt-4o", provider="openai-proxy", usd=None, reason="unknown provider"),
    Case(name="unknown everything", model="nonesuch", usd=None, reason="unknown provider of model"),
    # Azure: a deployment says nothing; the answer's model does.
    Case(name="deployment", model="my-deployment", provider="azure", usd=None, reason="unknown model"),
    Case(name="deployment answered", model="my-deployment", answered="gpt-4o-2024-08-06", provider="azure_openai",
         usd="0.0075"),
    Case(name="azure.ai.openai", model="gpt-4o-mini", provider="azure.ai.openai", usd="0.00045"),
    Case(name="azure batch is not OpenAI's", model="gpt-4o", provider="azure", batch=True,
         usd=None, reason="no 'batch' price"),
    Case(name="gpt-35-turbo alone", model="gpt-35-turbo", provider="azure",
         usd=None, reason="does not say its version"),
    Case(name="gpt-35-turbo-0125", model="gpt-35-turbo-0125", provider="azure", usd="0.00125"),
    Case(name="gpt-35-turbo-0613", model="gpt-35-turbo-0613", provider="azure", usd="0.0025"),
    Case(name="azure by URL", model="gpt-4o", provider="https://acme.openai.azure.com/openai", usd="0.0075"),
    # Anthropic: Sonnet 4.5 3 / 15, cache 0.30 read, 3.75 and 6 write, doubled input above 200k; Haiku 4.5 1 / 5.
    Case(name="5m and 1h writes", model="claude-sonnet-4-5-20250929", provider="anthropic", tokens=(10_000, 100),
         more={"cache_write_tokens": 9000, "cache_write_1h_tokens": 4000}, usd="0.04725"),
    Case(name="cache read", model="claude-haiku-4-5", provider="anthropic", more={"cache_read_tokens": 900},
         usd="0.00269"),
    Case(name="long context", model="claude-sonnet-4-5", provider="anthropic", tokens=(200_001, 1000), usd="1.222506"),
    Case(name="anthropic batch", model="claude-sonnet-4-5", provider="anthropic", tier="batch", usd="0.00525"),
    Case(name="anthropic priority", model="claude-opus-4-7", provider="anthropic", tier="priority",
         usd=None, reason="no 'priority' price"),
    Case(name="vertex name", model="claude-sonnet-4@20250514", provider="google_vertexai", usd="0.0105"),
    # Bedrock.
    Case(name="bedrock id", model="anthropic.claude-3-haiku-20240307-v1:0", provider="amazon_bedrock", usd="0.000875"),
    Case(name="maker named as provider", model="anthropic.claude-3-haiku-20240307-v1:0", provider="anthropic",
         usd="0.000875"),
    Case(name="region and no provider", model="us.anthropic.claude-sonnet-4-20250514-v1:0", usd="0.0105"),
    Case(name="inference profile", provider="aws.bedrock", usd="0.0105",
         model="arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-20250514-v1:0"),
    Case(name="foundation model", provider="bedrock", usd="0.0024",
         model="arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0"),
    Case(name="application profile", provider="bedrock", usd=None, reason="unknown model",
         model="arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/ab12"),
    Case(name="one-hour write without a price", provider="bedrock", usd=None, reason="no price for cache_write_1h",
         model="us.anthropic.claude-sonnet-4-20250514-v1:0",
         more={"cache_write_tokens": 10, "cache_write_1h_tokens": 10}),
    # Gemini: 2.5 Pro 1.25 / 10, cached 0.125, doubled input and 15 out above 200k; Flash 0.30 / 2.50, audio 1.
    Case(name="models/ path", model="models/gemini-2.5-pro", provider="google_genai", usd="0.00625"),
    Case(name="publisher path", model="publishers/google/models/gemini-2.5-flash", provider="vertex_ai", usd="0.00155"),
    Case(name="build number", model="gemini-2.5-flash-001", provider="google", usd="0.00155"),
    Case(name="audio input", model="gemini-2.5-flash", provider="google", more={"audio_input_tokens": 600},
         usd="0.00197"),
    Case(name="audio at the text price", model="gemini-2.5-pro", provider="google", more={"audio_input_tokens": 600},
         usd="0.00625"),
    Case(name="cached above 200k", model="gemini-2.5-pro", provider="google", tokens=(300_000, 1000),
         more={"cache_read_tokens": 200_000}, usd="0.315"),
    # Others.
    Case(name="cohere", model="command-r-plus", provider="cohere", usd="0.0075"),
    Case(name="mistral", model="mistral-large-latest", provider="mistralai", usd="0.005"),
    Case(name="fee per request", model="sonar-pro", provider="perplexity", usd="0.0245"),
    Case(name="reasoning with its own price", model="sonar-deep-research", provider="perplexity",
         more={"reasoning_tokens": 200}, usd="0.005"),
    Case(name="peak hours", model="deepseek-chat", provider="deepseek", moment=_at("2026-11-20T01:00"), usd="0.00082"),
    Case(name="off-peak hours", model="deepseek-chat", provider="deepseek", moment=_at("2026-11-20T20:00"),
         usd="0.00041"),
    Case(name="free route", model="meta-llama/llama-3.3-70b-instruct:free", provider="openrouter", usd="0"),
    Case(name="local", model="llama3.2:3b", provider="ollama", usd="0"),
    Case(name="cloud of a local server", model="gpt-oss:120b-cloud", provider="ollama",
         usd=None, reason="unknown provider"),
    # The user's table.
    Case(name="own price", model="gpt-4.1", provider="openai", usd="0.0048"),
    Case(name="own price of June", model="gpt-4.1", provider="openai", moment=_at("2026-06-30T23:59"), usd="0.0045"),
    Case(name="own price from July", model="gpt-4.1", provider="openai", moment=_at("2026-07-01T00:00"), usd="0.0048"),
    Case(name="before own prices", model="gpt-4.1", provider="openai", moment=_at("2025-12-31T23:59"), usd="0.006"),
    Case(name="own price, other tier", model="gpt-4.1", provider="openai", batch=True,
         usd=None, reason="no 'batch' price"),
    Case(name="own zero price", model="acme-7b", provider="anything", usd="0"),
    Case(name="glob", model="acme-70b", provider=None, usd="0.0004"),
    Case(name="glob before regex", model="ACME-Large", provider="elsewhere", usd="0.0004"),
    Case(name="glob with provider first", model="acme-large", provider="azure", usd="0.002"),
    Case(name="own step", model="acme-large-2", provider="azure", tokens=(200_000, 0),
         more={"cache_read_tokens": 200_000}, usd="0.16"),
    Case(name="currency and fee", model="eu-model", provider="x", usd="0.5616"),
    Case(name="alias", model="support-bot-prod", provider="azure", usd="0.0075"),
    Case(name="alias to a version", model="chat-35", answered="gpt-35-turbo", provider="azure", usd="0.00125"),
    Case(name="gateway", model="gpt-4o", provider="http://llm.internal:8080/v1", usd="0.0075"),
    # Usage.
    Case(name="no tokens used", model="gpt-4o", provider="openai", tokens=(0, 0), usd="0"),
    Case(name="no usage", model="gpt-4o", provider="openai", tokens=(None, None), usd=None, reason="no token usage"),
    Case(name="output unknown", model="gpt-4o", provider="openai", tokens=(10, None),
         usd=None, reason="output tokens is unknown"),
    Case(name="no model", model="", provider="openai", usd=None, reason="no model name"),
]  # fmt: skip


@pytest.fixture(scope="module")
def book() -> PriceBook:
    """The table above over the public catalogue."""
    return PriceBook(parse_price_table(TABLE))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_call_costs_what_the_price_list_says(book: PriceBook, case: Case) -> None:
    """The cost is exact to the last digit, or absent with a reason."""
    usage = TokenUsage(input_tokens=case.tokens[0], output_tokens=case.tokens[1], **case.more)  # type: ignore[arg-type]
    cost = book.price(
        usage=usage,
        provider=case.provider,
        request_model=case.model,
        response_model=case.answered,
        at_ns=case.moment,
        service_tier=case.tier,
        batch=case.batch,
    )
    if case.usd is None:
        assert cost.usd is None
        assert case.reason is not None
        assert case.reason in (cost.reason or "")
    else:
        assert cost.usd == Decimal(case.usd)
        assert cost.row is not None


def test_case_names_are_unique() -> None:
    """No case hides another in the report."""
    assert len({case.name for case in CASES}) == len(CASES) >= 40
