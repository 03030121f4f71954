"""The book remembers what it resolved, without ever mixing days, tiers or threads up."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from wandb_governance.pricing.book import PriceBook
from wandb_governance.pricing.catalog import GenaiPrices
from wandb_governance.tracing.usage import TokenUsage

if TYPE_CHECKING:
    from wandb_governance.pricing.row import PriceRow

USAGE = TokenUsage(input_tokens=1000, output_tokens=500)


def _at(moment: str) -> int:
    return int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()) * 10**9


class CountingCatalog:
    """The real catalogue, counting how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self._inner = GenaiPrices()

    def find(self, *, provider: str, model: str, tier: str, at_ns: int) -> PriceRow:
        self.asked += 1
        return self._inner.find(provider=provider, model=model, tier=tier, at_ns=at_ns)

    def varies_within_day(self, *, provider: str, model: str) -> bool:
        return self._inner.varies_within_day(provider=provider, model=model)


def _price(book: PriceBook, model: str, moment: str, provider: str = "openai") -> Decimal | None:
    return book.price(usage=USAGE, provider=provider, request_model=model, response_model=None, at_ns=_at(moment)).usd


def test_a_model_is_looked_up_once_a_day() -> None:
    """A thousand calls of one day ask the catalogue once; the next day asks again."""
    catalog = CountingCatalog()
    book = PriceBook(catalog=catalog)
    for _ in range(1000):
        assert _price(book, "gpt-4o", "2026-11-20T10:00") == Decimal("0.0075")
    assert catalog.asked == 1
    _price(book, "gpt-4o", "2026-11-21T10:00")
    assert catalog.asked == 2


def test_an_unknown_model_is_looked_up_once_a_day_too() -> None:
    """A typing error in a model name does not slow the export."""
    catalog = CountingCatalog()
    book = PriceBook(catalog=catalog)
    for _ in range(100):
        assert _price(book, "nonesuch", "2026-11-20T10:00") is None
    assert catalog.asked == 1


def test_prices_by_the_hour_are_not_remembered_for_the_day() -> None:
    """DeepSeek's off-peak price must not stick after the first call at night."""
    book = PriceBook()
    found = [_price(book, "deepseek-chat", f"2026-11-20T{hour}:00", "deepseek") for hour in ("01", "20", "01")]
    assert found == [Decimal("0.00082"), Decimal("0.00041"), Decimal("0.00082")]


def test_memory_stays_bounded_over_many_model_names() -> None:
    """A gateway that puts ids into model names can't fill the memory."""
    book = PriceBook()
    for index in range(5000):
        _price(book, f"nonesuch-{index}", "2026-11-20T10:00")
    assert len(book._resolved) <= 4096


def test_threads_get_the_same_price() -> None:
    """Several workers may share one book, also for its first price."""
    book = PriceBook()
    found: list[Decimal | None] = []
    work = [threading.Thread(target=lambda: found.append(_price(book, "gpt-4o", "2026-11-20T10:00"))) for _ in range(8)]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert found == [Decimal("0.0075")] * 8


def test_the_row_tells_version_and_date_of_its_price() -> None:
    """The price of o3 since its cut says since when it holds and which data said so."""
    row = PriceBook().find(provider="openai", request_model="o3", at_ns=_at("2026-11-20T10:00"))
    stored = row.to_json()
    assert stored["source"] == "genai-prices"
    assert stored["source_version"]
    assert stored["valid_from"] == "2025-06-10"
    assert stored["per_mtok"] == {"input": "2", "output": "8", "cache_read": "0.5"}
