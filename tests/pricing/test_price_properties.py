"""What holds for every price and every usage."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wandb_governance.errors import PricingError
from wandb_governance.pricing.book import PriceBook
from wandb_governance.pricing.charge import charge, parts
from wandb_governance.pricing.row import PriceRow, Rate, Step, Unit
from wandb_governance.pricing.sources import dump_price_table, parse_price_table
from wandb_governance.pricing.table import MatchKind, PriceEntry, PriceTable
from wandb_governance.tracing.usage import COUNT_FIELDS, TokenUsage

_money = st.decimals(min_value=0, max_value=10**6, places=9)
_tokens = st.integers(0, 10**12)
_days = st.dates(date(2020, 1, 1), date(2030, 1, 1))


@st.composite
def usages(draw: st.DrawFn) -> TokenUsage:
    """Token counts whose parts fit into their whole."""
    read, write, audio, image, text, think, talk, out = (draw(_tokens) for _ in range(8))
    return TokenUsage(
        input_tokens=read + write + audio + image + text,
        output_tokens=think + talk + out,
        cache_read_tokens=read,
        cache_write_tokens=write,
        cache_write_1h_tokens=draw(st.integers(0, write)),
        audio_input_tokens=audio,
        image_input_tokens=image,
        reasoning_tokens=think,
        audio_output_tokens=talk,
    )


@st.composite
def rates(draw: st.DrawFn, *, steps: bool) -> Rate:
    """A price, with thresholds where asked."""
    thresholds = sorted(draw(st.sets(st.integers(1, 10**6), max_size=3))) if steps else []
    above = tuple(Step(above_input_tokens=threshold, per_mtok=draw(_money)) for threshold in thresholds)
    return Rate(per_mtok=draw(_money), steps=above)


@st.composite
def rows(draw: st.DrawFn, *, steps: bool = False, fee: bool = False) -> PriceRow:
    """A row with a price for every unit."""
    return PriceRow(
        source="user",
        source_version="prices.yaml@0:1",
        provider="openai",
        model="m",
        rates={unit: draw(rates(steps=steps)) for unit in Unit},
        per_request=draw(_money) if fee else Decimal(0),
        usd_per_unit=draw(st.decimals(min_value="0.001", max_value=1000, places=6)),
    )


@given(rows(), usages(), usages())
def test_costs_add_up_where_there_are_no_thresholds(row: PriceRow, left: TokenUsage, right: TokenUsage) -> None:
    """Two calls cost what one call with their tokens would."""
    assert Fraction(charge(row, left)) + Fraction(charge(row, right)) == Fraction(charge(row, left + right))


@given(rows(steps=True, fee=True), usages())
def test_a_cost_is_exact_and_never_negative(row: PriceRow, usage: TokenUsage) -> None:
    """The Decimal equals the same sum in fractions."""
    total = usage.input_tokens or 0
    amount = sum((Fraction(row.rates[u].at(total)) * count for u, count in parts(usage).items()), Fraction(0))
    expected = (amount / 10**6 + Fraction(row.per_request)) * Fraction(row.usd_per_unit)
    assert Fraction(charge(row, usage)) == expected >= 0


@given(rows(), usages(), st.sampled_from(["input_tokens", "output_tokens"]), st.integers(1, 10**9))
def test_more_tokens_never_cost_less(row: PriceRow, usage: TokenUsage, name: str, more: int) -> None:
    """Cost is monotone in both totals where there are no thresholds."""
    extra = TokenUsage(**{"input_tokens": 0, "output_tokens": 0, name: more})  # type: ignore[arg-type]
    assert charge(row, usage + extra) >= charge(row, usage)


@given(usages())
def test_parts_are_disjoint_and_complete(usage: TokenUsage) -> None:
    """Every token is charged once."""
    assert sum(parts(usage).values()) == usage.total_tokens


@given(st.fixed_dictionaries({name: st.integers(0, 1000) for name in COUNT_FIELDS}))
def test_no_counts_make_a_cost_negative(counts: dict[str, int]) -> None:
    """Not even counts that contradict each other."""
    row = PriceRow(
        source="user",
        source_version="",
        provider=None,
        model="m",
        rates={unit: Rate(per_mtok=Decimal(1)) for unit in Unit},
    )
    assert charge(row, TokenUsage(**counts)) >= 0  # type: ignore[arg-type]
    assert all(count > 0 for count in parts(TokenUsage(**counts)).values())  # type: ignore[arg-type]


def test_tokens_that_are_cached_and_audio_are_charged_once() -> None:
    """A realtime call whose whole input is cached audio pays the cached audio price."""
    usage = TokenUsage(input_tokens=100, output_tokens=0, cache_read_tokens=100, audio_input_tokens=100)
    assert parts(usage) == {Unit.CACHE_READ_AUDIO: 100}


@given(rows(steps=True, fee=True), usages())
def test_a_stored_row_gives_the_same_cost_again(row: PriceRow, usage: TokenUsage) -> None:
    """What is written beside a cost is enough to compute it again."""
    again = PriceRow.from_json(json.loads(json.dumps(row.to_json())))
    assert again == row
    assert charge(again, usage) == charge(row, usage)


def test_a_row_survives_copy_and_pickle() -> None:
    """Rows cross threads and processes."""
    row = PriceBook().find(provider="openai", request_model="gpt-5.5", at_ns=1_790_000_000 * 10**9)
    assert pickle.loads(pickle.dumps(row)) == copy.deepcopy(row) == row


@pytest.mark.parametrize("stored", [{}, {"per_mtok": "x"}, {"per_mtok": {"nonesuch": "1"}}])
def test_something_else_is_not_taken_for_a_row(stored: dict[str, object]) -> None:
    """A damaged price row is an error, not a price of zero."""
    with pytest.raises(PricingError, match="not a price row"):
        PriceRow.from_json(stored)


_names = st.text("abcdefgh-./0123456789é ", min_size=1, max_size=12).map(str.strip).filter(bool)


@st.composite
def tables(draw: st.DrawFn) -> PriceTable:
    """A price table such as a user may write."""
    entries = {}
    for index in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(list(MatchKind)))
        first = draw(st.none() | _days)
        row = PriceRow(
            source="user",
            source_version="",
            provider=draw(st.sampled_from([None, "openai", "azure", "my gateway"])),
            model=f"m{index}-" + (draw(_names) if kind is not MatchKind.REGEX else "[a-z]+"),
            rates=draw(st.dictionaries(st.sampled_from(list(Unit)), rates(steps=True), min_size=1, max_size=4)),
            service_tier=draw(st.sampled_from(["standard", "batch", "flex"])),
            per_request=draw(_money),
            currency=draw(st.sampled_from(["USD", "EUR"])),
            usd_per_unit=Decimal(1),
            valid_from=first,
            valid_to=None if first is None else draw(st.none() | st.just(first + timedelta(days=30))),
        )
        entries[kind, row.model, row.provider] = PriceEntry(kind=kind, row=row)
    return PriceTable(entries=tuple(entries.values()), aliases=draw(st.dictionaries(_names, _names, max_size=3)))


@given(tables())
def test_a_table_survives_its_yaml(table: PriceTable) -> None:
    """Reading what was written gives the same prices, to the last digit."""
    again = parse_price_table(dump_price_table(table))
    assert again.aliases == table.aliases
    assert [(entry.kind, _content(entry.row)) for entry in again.entries] == [
        (entry.kind, _content(entry.row)) for entry in table.entries
    ]


def _content(row: PriceRow) -> dict[str, object]:
    """A row without the place it was read from."""
    return {name: value for name, value in row.to_json().items() if name != "source_version"}
