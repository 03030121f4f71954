"""A price as it was found: what one unit costs, who says so, since when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType

from wandb_governance.errors import PricingError

STANDARD_TIER = "standard"
"""The service tier of a call that asks for nothing special."""


class Unit(StrEnum):
    """What a rate is charged for; each is a part of the token counts that no other unit covers."""

    INPUT = "input"
    OUTPUT = "output"
    CACHE_READ = "cache_read"
    CACHE_WRITE = "cache_write"
    CACHE_WRITE_1H = "cache_write_1h"
    REASONING = "reasoning"
    AUDIO_INPUT = "audio_input"
    AUDIO_OUTPUT = "audio_output"
    CACHE_READ_AUDIO = "cache_read_audio"
    IMAGE_INPUT = "image_input"
    IMAGE_OUTPUT = "image_output"
    CACHE_READ_IMAGE = "cache_read_image"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Another price for the whole call once its input is longer than a threshold."""

    above_input_tokens: int
    """The price holds where the call's input has more tokens than this."""
    per_mtok: Decimal
    """Price per million tokens, >= 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Price of one unit per million tokens, >= 0, in the row's currency."""

    per_mtok: Decimal
    steps: tuple[Step, ...] = ()
    """In ascending order of threshold."""

    def at(self, input_tokens: int) -> Decimal:
        """Price per million tokens for a call with that many input tokens in all."""
        price = self.per_mtok
        for step in self.steps:
            if input_tokens > step.above_input_tokens:
                price = step.per_mtok
        return price

    def to_json(self) -> object:
        """A string, or an object with ``base`` and ``above`` where the price has steps."""
        if not self.steps:
            return str(self.per_mtok)
        above = {str(step.above_input_tokens): str(step.per_mtok) for step in self.steps}
        return {"base": str(self.per_mtok), "above": above}

    @classmethod
    def from_json(cls, value: object) -> Rate:
        """The rate that ``to_json`` wrote."""
        if not isinstance(value, Mapping):
            return cls(per_mtok=Decimal(str(value)))
        steps = (Step(above_input_tokens=int(k), per_mtok=Decimal(str(v))) for k, v in value["above"].items())
        ordered = tuple(sorted(steps, key=lambda step: step.above_input_tokens))
        return cls(per_mtok=Decimal(str(value["base"])), steps=ordered)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRow:
    """The price of one model, with everything needed to audit a cost or to compute it again."""

    source: str
    """``user`` for a price table, ``genai-prices`` for the catalogue, ``local`` for a model on one's own machine."""
    source_version: str
    """Version of the catalogue, or file name, line and digest of the user's table."""
    provider: str | None
    """Provider in the catalogue's vocabulary; None where a user's row holds for every provider."""
    model: str
    """Model id or pattern, as the source writes it."""
    rates: Mapping[Unit, Rate] = field(default_factory=dict)
    """Price per unit; a unit without a price of its own is absent."""
    service_tier: str = STANDARD_TIER
    per_request: Decimal = Decimal(0)
    """Fee of one request, in the row's currency."""
    currency: str = "USD"
    usd_per_unit: Decimal = Decimal(1)
    """What one unit of ``currency`` is worth in USD."""
    valid_from: date | None = None
    """First day (UTC) of this price; None where the source does not say."""
    valid_to: date | None = None
    """Last day (UTC) of this price."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rates", MappingProxyType(dict(self.rates)))

    def __reduce__(self) -> tuple[object, ...]:
        return PriceRow.from_json, (self.to_json(),)

    def to_json(self) -> dict[str, object]:
        """The row as a JSON-ready object: prices are decimal strings, dates ISO 8601; absent values are left out."""
        row: dict[str, object] = {
            "source": self.source,
            "source_version": self.source_version,
            "provider": self.provider,
            "model": self.model,
            "service_tier": self.service_tier,
            "currency": self.currency,
            "per_mtok": {unit.value: rate.to_json() for unit, rate in self.rates.items()},
        }
        if self.per_request:
            row["per_request"] = str(self.per_request)
        if self.usd_per_unit != 1:
            row["usd_per_unit"] = str(self.usd_per_unit)
        if self.valid_from is not None:
            row["valid_from"] = self.valid_from.isoformat()
        if self.valid_to is not None:
            row["valid_to"] = self.valid_to.isoformat()
        return row

    @classmethod
    def from_json(cls, row: Mapping[str, object]) -> PriceRow:
        """The row that ``to_json`` wrote, so that a stored cost can be computed again.

        Raises:
            PricingError: ``row`` was not written by ``to_json``.
        """
        try:
            per_mtok = row["per_mtok"]
            assert isinstance(per_mtok, Mapping)
            return cls(
                source=str(row["source"]),
                source_version=str(row["source_version"]),
                provider=None if row["provider"] is None else str(row["provider"]),
                model=str(row["model"]),
                rates={Unit(unit): Rate.from_json(rate) for unit, rate in per_mtok.items()},
                service_tier=str(row["service_tier"]),
                per_request=Decimal(str(row.get("per_request", 0))),
                currency=str(row["currency"]),
                usd_per_unit=Decimal(str(row.get("usd_per_unit", 1))),
                valid_from=_day(row.get("valid_from")),
                valid_to=_day(row.get("valid_to")),
            )
        except (KeyError, ValueError, ArithmeticError, AssertionError, AttributeError, TypeError) as error:
            raise PricingError(f"not a price row: {error!r}") from error


def _day(value: object) -> date | None:
    return None if value is None else date.fromisoformat(str(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one call costs."""

    usd: Decimal | None
    """Exact, >= 0; None where the price or the usage is unknown. 0 for a cache hit and for a call that was not made."""
    list_usd: Decimal | None
    """What the same tokens cost at the standard tier, whether or not the call was made."""
    reason: str | None = None
    """Why ``usd`` is None, or why it is 0."""
    row: PriceRow | None = None
    """The price that was used."""
    estimated: bool = False
    """The token counts are an estimate, so the cost is one too."""
