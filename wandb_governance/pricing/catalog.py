"""The catalogue of public prices: the ``genai-prices`` package, read offline."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from typing import TYPE_CHECKING, Protocol

from wandb_governance.errors import PricingError
from wandb_governance.pricing.names import model_names
from wandb_governance.pricing.row import STANDARD_TIER, PriceRow, Rate, Step, Unit

if TYPE_CHECKING:
    from datetime import date

    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, ModelPrice, Provider

_PRICE_KEYS = {
    "input_mtok": Unit.INPUT,
    "output_mtok": Unit.OUTPUT,
    "cache_read_mtok": Unit.CACHE_READ,
    "cache_write_mtok": Unit.CACHE_WRITE,
    "cache_write_1h_mtok": Unit.CACHE_WRITE_1H,
    "output_reasoning_mtok": Unit.REASONING,
    "input_audio_mtok": Unit.AUDIO_INPUT,
    "output_audio_mtok": Unit.AUDIO_OUTPUT,
    "cache_audio_read_mtok": Unit.CACHE_READ_AUDIO,
    "input_image_mtok": Unit.IMAGE_INPUT,
    "output_image_mtok": Unit.IMAGE_OUTPUT,
    "cache_image_read_mtok": Unit.CACHE_READ_IMAGE,
}
_BARE_AZURE_35 = re.compile(r"^gpt-35-turbo(?:-(?:16k|instruct))?$")
_AZURE_35 = re.compile(r"^gpt-35-turbo(?=-)")


class Catalog(Protocol):
    """Where public prices come from. An implementation makes no network call."""

    def find(self, *, provider: str, model: str, tier: str, at_ns: int) -> PriceRow:
        """The price of a model on a day.

        Args:
            provider: Provider in the vocabulary of ``names.canonical_provider``.
            model: Model as requested or as the provider answered.
            tier: Service tier in the vocabulary of ``names.canonical_tier``.
            at_ns: When the call was made.

        Raises:
            PricingError: There is no such price; the message says what is not known.
        """
        ...

    def varies_within_day(self, *, provider: str, model: str) -> bool:
        """Whether a model's price depends on the time of day."""
        ...


class GenaiPrices:
    """The bundled data of ``genai-prices``: prices with their history. Reads no network."""

    def __init__(self) -> None:
        from genai_prices.data_snapshot import get_snapshot

        # One snapshot for the life of the book: the prices can't change between two rows of a run.
        self._snapshot: DataSnapshot = get_snapshot()
        updated = f", updated {self._snapshot.timestamp:%Y-%m-%d}" if self._snapshot.from_auto_update else ""
        self._version = version("genai-prices") + updated

    @property
    def version(self) -> str:
        """Version of the price data."""
        return self._version

    def find(self, *, provider: str, model: str, tier: str, at_ns: int) -> PriceRow:
        """The price of a model on a day; see ``Catalog.find``."""
        owner, info = self._resolve(provider, model)
        at = datetime.fromtimestamp(at_ns / 1e9, tz=UTC)
        context = _context(tier, owner.id)
        if context is not None and not _has_variant(owner, info, context, at):
            raise PricingError(f"no {tier!r} price for model {info.id!r} of {owner.id!r} on {at:%Y-%m-%d}")
        prices = info.get_prices(at, context)
        return PriceRow(
            source="genai-prices",
            source_version=self._version,
            provider=owner.id,
            model=info.id,
            rates=_rates(prices, owner, info),
            service_tier=tier,
            per_request=_per_request(prices),
            valid_from=_since(info, at),
        )

    def varies_within_day(self, *, provider: str, model: str) -> bool:
        """Whether a model's price depends on the time of day."""
        from genai_prices.types import ModelPrice, TimeOfDateConstraint

        try:
            _, info = self._resolve(provider, model)
        except PricingError:
            return False
        conditional = [] if isinstance(info.prices, ModelPrice) else info.prices
        return any(isinstance(entry.constraint, TimeOfDateConstraint) for entry in conditional)

    def _resolve(self, provider: str, model: str) -> tuple[Provider, ModelInfo]:
        owner = self._provider(provider)
        if owner is None:
            raise PricingError(f"unknown provider {provider!r}")
        for name in model_names(model, provider=owner.id):
            if _BARE_AZURE_35.match(name):
                raise PricingError(f"model {name!r} does not say its version, on which its price depends; add an alias")
            try:
                return self._snapshot.find_provider_model(_AZURE_35.sub("gpt-3.5-turbo", name), owner, None, None)
            except LookupError:
                continue
        raise PricingError(f"unknown model {model!r} of provider {owner.id!r}")

    def _provider(self, name: str) -> Provider | None:
        # Not the package's own search: it takes every name that contains "openai" for OpenAI.
        return next((candidate for candidate in self._snapshot.providers if candidate.id == name), None)


def _context(tier: str, provider: str) -> dict[str, str] | None:
    """The package's price context for a tier; None for the standard price.

    The package prices ``service_tier="batch"`` as standard without a word: batch is a ``processing`` there.
    """
    if tier == STANDARD_TIER:
        return None
    if tier == "batch":
        return {"processing": "batch"}
    if tier == "fast" and provider == "anthropic":
        return {"speed": "fast"}
    return {"service_tier": tier}


def _has_variant(owner: Provider, info: ModelInfo, context: dict[str, str], at: datetime) -> bool:
    if not any(info is model for model in owner.models):
        return False  # Borrowed from another provider: its discounts don't carry over.
    return any(
        all(context.get(key) == value for key, value in variant.when.items())
        and (variant.constraint is None or variant.constraint.active(at))
        for variant in info.price_variants or ()
    )


def _rates(prices: ModelPrice, owner: Provider, info: ModelInfo) -> dict[Unit, Rate]:
    given = {key: value for key, value in vars(prices).items() if value is not None}
    rates = {unit: _rate(given[key]) for key, unit in _PRICE_KEYS.items() if key in given}
    if not given and info.id.endswith(":free"):
        return {Unit.INPUT: Rate(per_mtok=Decimal(0)), Unit.OUTPUT: Rate(per_mtok=Decimal(0))}
    if not rates:
        how = f"is priced by {', '.join(sorted(given))}, not by token" if given else "has no price in the catalogue"
        raise PricingError(f"model {info.id!r} of {owner.id!r} {how}")
    if owner.id == "google" and Unit.INPUT in rates:
        # Google lists audio only where it costs something other than text.
        rates.setdefault(Unit.AUDIO_INPUT, rates[Unit.INPUT])
        rates.setdefault(Unit.CACHE_READ_AUDIO, rates.get(Unit.CACHE_READ, rates[Unit.INPUT]))
    return rates


def _rate(price: object) -> Rate:
    from genai_prices.types import TieredPrices

    if isinstance(price, TieredPrices):
        steps = tuple(Step(above_input_tokens=tier.start, per_mtok=tier.price) for tier in price.tiers)
        return Rate(per_mtok=price.base, steps=steps)
    assert isinstance(price, Decimal)
    return Rate(per_mtok=price)


def _per_request(prices: ModelPrice) -> Decimal:
    per_thousand = getattr(prices, "requests_kcount", None)
    return Decimal(0) if per_thousand is None else Decimal(per_thousand).scaleb(-3)


def _since(info: ModelInfo, at: datetime) -> date | None:
    from genai_prices.types import ModelPrice, StartDateConstraint

    if isinstance(info.prices, ModelPrice):
        return None
    starts = [e.constraint.start_date for e in info.prices if isinstance(e.constraint, StartDateConstraint)]
    return max((start for start in starts if start <= at.date()), default=None)
