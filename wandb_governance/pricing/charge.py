"""What token counts cost at one price row, exactly."""

from __future__ import annotations

from decimal import Context, Decimal, localcontext
from typing import TYPE_CHECKING

from wandb_governance.errors import PricingError
from wandb_governance.pricing.row import Unit

if TYPE_CHECKING:
    from wandb_governance.pricing.row import PriceRow
    from wandb_governance.tracing.usage import TokenUsage

_EXACT = Context(prec=400)
"""More digits than any sum of counts times prices needs: nothing is rounded."""

_FALLBACK = {
    Unit.CACHE_READ: Unit.INPUT,
    Unit.CACHE_WRITE: Unit.INPUT,
    Unit.REASONING: Unit.OUTPUT,
    Unit.IMAGE_INPUT: Unit.INPUT,
    Unit.IMAGE_OUTPUT: Unit.OUTPUT,
    Unit.CACHE_READ_AUDIO: Unit.AUDIO_INPUT,
    Unit.CACHE_READ_IMAGE: Unit.CACHE_READ,
}
"""Where a source gives no price of its own, the tokens are billed as what they are a part of.

Audio is not here: providers bill it at a multiple of text, so a missing price is unknown. The same holds for one-hour
cache writes where writes have a price at all.
"""


def parts(usage: TokenUsage) -> dict[Unit, int]:
    """Token counts as disjoint parts whose sum is the inclusive totals.

    Tokens can be cached and audio (or image) at once, but providers report the two apart; they are taken as overlapping
    only where they would not fit into the input otherwise.
    """
    total_in = usage.input_tokens or 0
    read, write = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
    audio, image = usage.audio_input_tokens or 0, usage.image_input_tokens or 0
    overlap = max(0, read + write + audio + image - total_in)
    read_audio = min(overlap, audio, read)
    read_image = min(overlap - read_audio, image, read - read_audio)
    write_1h = min(usage.cache_write_1h_tokens or 0, write)
    total_out = usage.output_tokens or 0
    special_out = {
        Unit.REASONING: usage.reasoning_tokens or 0,
        Unit.AUDIO_OUTPUT: usage.audio_output_tokens or 0,
        Unit.IMAGE_OUTPUT: usage.image_output_tokens or 0,
    }
    special_in = {
        Unit.CACHE_READ: read - read_audio - read_image,
        Unit.CACHE_WRITE: write - write_1h,
        Unit.CACHE_WRITE_1H: write_1h,
        Unit.AUDIO_INPUT: audio - read_audio,
        Unit.IMAGE_INPUT: image - read_image,
        Unit.CACHE_READ_AUDIO: read_audio,
        Unit.CACHE_READ_IMAGE: read_image,
    }
    found = {
        Unit.INPUT: max(0, total_in - sum(special_in.values())),
        **special_in,
        Unit.OUTPUT: max(0, total_out - sum(special_out.values())),
        **special_out,
    }
    return {unit: count for unit, count in found.items() if count}


def charge(row: PriceRow, usage: TokenUsage) -> Decimal:
    """Cost of ``usage`` at ``row`` in USD: exact, >= 0.

    Raises:
        PricingError: The row has no price for a kind of token that was used, or a count that it needs is unknown.
    """
    _require_counts(row, usage)
    total_in = usage.input_tokens or 0
    with localcontext(_EXACT):
        amount = Decimal(0)
        for unit, count in parts(usage).items():
            amount += _per_mtok(row, unit, total_in) * count
        return ((amount.scaleb(-6) + row.per_request) * row.usd_per_unit).normalize() + Decimal(0)


def _require_counts(row: PriceRow, usage: TokenUsage) -> None:
    if usage.input_tokens is None and usage.output_tokens is None:
        raise PricingError("no token usage")
    for name, count, unit in (("input", usage.input_tokens, Unit.INPUT), ("output", usage.output_tokens, Unit.OUTPUT)):
        rate = row.rates.get(unit)
        if count is None and rate is not None and (rate.per_mtok or rate.steps):
            raise PricingError(f"the number of {name} tokens is unknown")


def _per_mtok(row: PriceRow, unit: Unit, input_tokens: int) -> Decimal:
    rate = row.rates.get(unit)
    if rate is None and unit is Unit.CACHE_WRITE_1H and Unit.CACHE_WRITE not in row.rates:
        rate = row.rates.get(Unit.INPUT)
    if rate is not None:
        return rate.at(input_tokens)
    if unit not in _FALLBACK:
        raise PricingError(f"no price for {unit.value} tokens of model {row.model!r}")
    return _per_mtok(row, _FALLBACK[unit], input_tokens)
