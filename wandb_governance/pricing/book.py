"""The price book: which price holds for a call, and what the call costs."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from wandb_governance.errors import PricingError
from wandb_governance.pricing.charge import charge
from wandb_governance.pricing.names import canonical_provider, canonical_tier, is_local
from wandb_governance.pricing.row import STANDARD_TIER, Cost, PriceRow, Rate, Unit
from wandb_governance.tracing.usage import UsageSource

if TYPE_CHECKING:
    from pathlib import Path

    from wandb_governance.pricing.catalog import Catalog
    from wandb_governance.pricing.table import PriceTable
    from wandb_governance.tracing.usage import TokenUsage

__all__ = ["Cost", "PriceBook", "PriceRow"]

_DAY_NS = 86_400 * 10**9
_CACHE_ENTRIES = 4096
"""Resolved prices that are kept; far more than the models that one process calls in a day."""

_Key = tuple[str | None, str | None, str | None, str, int]


class PriceBook:
    """Prices of models: a user's table first, then a catalogue of public prices.

    Immutable after construction and safe from any thread. It never calls the network. The catalogue is read at the
    first price that needs it (about 0.3 s), which is why a book belongs to the export thread.

    Args:
        table: The user's own prices, which come first.
        catalog: Public prices; ``genai-prices`` where not given.
    """

    def __init__(self, table: PriceTable | None = None, *, catalog: Catalog | None = None) -> None:
        self._table = table
        self._catalog = catalog
        self._resolved: dict[_Key, PriceRow | str] = {}

    @classmethod
    def load(cls, path: str | Path | None = None) -> PriceBook:
        """A book over a user's price table.

        Raises:
            PriceTableError: The file can't be read or a line of it is wrong.
        """
        from wandb_governance.pricing.sources import load_price_table

        return cls(load_price_table(path) if path is not None else None)

    def price(
        self,
        *,
        usage: TokenUsage,
        provider: str | None,
        request_model: str | None,
        response_model: str | None,
        at_ns: int,
        service_tier: str | None = None,
        batch: bool = False,
        cache_hit: bool = False,
        blocked: bool = False,
    ) -> Cost:
        """What a call costs.

        Args:
            usage: Token counts, totals inclusive.
            provider: Who serves the model, under any of its usual names, or the URL of its API; None where not known.
            request_model: The model or deployment that was asked for.
            response_model: The model that the provider says answered; preferred for the catalogue.
            at_ns: When the call was made; prices change over time.
            service_tier: As the provider answered: ``default``, ``flex``, ``priority``, ``batch``.
            batch: The call went through a batch API.
            cache_hit: The answer came from an LLM cache on our side: nothing was bought.
            blocked: A policy stopped the call: nothing was bought.

        Returns:
            The cost; ``usd`` is None with a reason where the price or the usage is not known, never 0.
        """
        tier = canonical_tier(service_tier, batch=batch)
        call = (provider, request_model, response_model)
        usd, row, reason = self._charge(usage, call, tier, at_ns)
        list_usd = usd if tier == STANDARD_TIER else self._charge(usage, call, STANDARD_TIER, at_ns)[0]
        if cache_hit or blocked:
            usd, reason = Decimal(0), "blocked by a policy" if blocked else "answered from the LLM cache"
        estimated = usage.source is not UsageSource.PROVIDER
        return Cost(usd=usd, list_usd=list_usd, reason=reason, row=row, estimated=estimated)

    def find(
        self,
        *,
        provider: str | None,
        request_model: str | None,
        response_model: str | None = None,
        at_ns: int,
        service_tier: str | None = None,
    ) -> PriceRow:
        """The price that holds for a model at a time.

        Raises:
            PricingError: There is none; the message says what is not known.
        """
        found = self._row((provider, request_model, response_model), canonical_tier(service_tier), at_ns)
        if isinstance(found, str):
            raise PricingError(found)
        return found

    def _charge(
        self, usage: TokenUsage, call: tuple[str | None, str | None, str | None], tier: str, at_ns: int
    ) -> tuple[Decimal | None, PriceRow | None, str | None]:
        row = self._row(call, tier, at_ns)
        if isinstance(row, str):
            return None, None, row
        try:
            usd = charge(row, usage)
        except PricingError as error:
            return None, row, str(error)
        return usd, row, "runs on one's own machine" if row.source == "local" else None

    def _row(self, call: tuple[str | None, str | None, str | None], tier: str, at_ns: int) -> PriceRow | str:
        """The row, or why there is none."""
        key = (*call, tier, at_ns // _DAY_NS)
        known = self._resolved.get(key)
        if known is not None:
            return known
        found: PriceRow | str
        try:
            found, cacheable = self._resolve(*call, tier, at_ns)
        except PricingError as error:
            found, cacheable = str(error), True
        if cacheable:
            if len(self._resolved) >= _CACHE_ENTRIES:
                self._resolved.clear()
            self._resolved[key] = found
        return found

    def _resolve(
        self, provider: str | None, request: str | None, response: str | None, tier: str, at_ns: int
    ) -> tuple[PriceRow, bool]:
        named = [name for name in (response, request) if name]
        if self._table is not None:
            provider = self._table.provider(provider)
            named = self._table.aliased(named)
            owner = canonical_provider(provider, model=named[0] if named else None)
            row = self._table.find(provider=owner, models=named, tier=tier, day=at_ns // _DAY_NS)
            if row is not None:
                return row, True
        if not named:
            raise PricingError("no model name")
        if is_local(provider, named[0]):
            return _local_row(provider, named[0]), True
        return self._from_catalog(provider, named, tier, at_ns)

    def _from_catalog(self, provider: str | None, named: list[str], tier: str, at_ns: int) -> tuple[PriceRow, bool]:
        if self._catalog is None:
            from wandb_governance.pricing.catalog import GenaiPrices

            self._catalog = GenaiPrices()
        first: PricingError | None = None
        for model in named:
            owner = canonical_provider(provider, model=model)
            try:
                if owner is None:
                    raise PricingError(f"unknown provider of model {model!r}")
                row = self._catalog.find(provider=owner, model=model, tier=tier, at_ns=at_ns)
            except PricingError as error:
                first = first or error
            else:
                return row, not self._catalog.varies_within_day(provider=owner, model=model)
        assert first is not None
        raise first


def _local_row(provider: str | None, model: str) -> PriceRow:
    free = Rate(per_mtok=Decimal(0))
    rates = {Unit.INPUT: free, Unit.OUTPUT: free, Unit.AUDIO_INPUT: free, Unit.AUDIO_OUTPUT: free}
    return PriceRow(source="local", source_version="", provider=provider, model=model, rates=rates)
