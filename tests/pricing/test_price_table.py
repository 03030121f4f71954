"""A wrong line in a price table is named with its file, line and key; a right one decides."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from wandb_governance.errors import ConfigError, PriceTableError
from wandb_governance.pricing.book import PriceBook
from wandb_governance.pricing.sources import load_price_table, parse_price_table

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "version: 1\nprices:\n  - model: m\n"

WRONG = {
    "no version": ("prices: []\n", 1, "version", "is missing"),
    "unknown version": ("version: 2\n", 1, "version", "write 1"),
    "unknown key": ("version: 1\nprizes: []\n", 2, "prizes", "did you mean 'prices'"),
    "unknown unit": (HEAD + "    per_mtok: {input: 1, outptu: 2}\n", 4, "prices[0].per_mtok.outptu", "'output'"),
    "key given twice": (HEAD + "    model: n\n", 4, "prices[0].model", "is given twice"),
    "no price": (HEAD, 3, "prices[0].per_mtok", "is missing"),
    "no model": ("version: 1\nprices:\n  - per_mtok: {input: 1}\n", 3, "prices[0]", "exactly one of"),
    "model and glob": (HEAD + "    glob: n\n    per_mtok: {input: 1}\n", 3, "prices[0]", "exactly one of"),
    "not a number": (HEAD + "    per_mtok:\n      input: cheap\n", 5, "prices[0].per_mtok.input", "not a number"),
    "comma": (HEAD + '    per_mtok: {input: "1,5"}\n', 4, "prices[0].per_mtok.input", "write a decimal point"),
    "negative": (HEAD + "    per_mtok: {input: -1}\n", 4, "prices[0].per_mtok.input", "must be from 0"),
    "infinite": (HEAD + "    per_mtok: {input: .inf}\n", 4, "prices[0].per_mtok.input", "not a number"),
    "not-a-number": (HEAD + "    per_mtok: {input: nan}\n", 4, "prices[0].per_mtok.input", "must be from 0"),
    "too fine": (HEAD + "    per_mtok: {input: 1e-19}\n", 4, "prices[0].per_mtok.input", "decimal places"),
    "null price": (HEAD + "    per_mtok: {input: }\n", 4, "prices[0].per_mtok.input", "single value"),
    "half a step": (HEAD + "    per_mtok: {input: {base: 1}}\n", 4, "prices[0].per_mtok.input", "'base' and 'above'"),
    "step without a number": (
        HEAD + "    per_mtok: {input: {base: 1, above: {200k: 2}}}\n",
        4,
        "prices[0].per_mtok.input.above",
        "not a number of input tokens",
    ),
    "unknown currency": (
        HEAD + "    currency: CHF\n    per_mtok: {input: 1}\n",
        4,
        "prices[0].currency",
        "currencies: {CHF",
    ),
    "currency worth nothing": ("version: 1\ncurrencies: {EUR: 0}\n", 2, "currencies.EUR", "greater than 0"),
    "wrong date": (
        HEAD + "    per_mtok: {input: 1}\n    valid_from: 1.6.2026\n",
        5,
        "prices[0].valid_from",
        "YYYY-MM-DD",
    ),
    "ends before it starts": (
        HEAD + "    per_mtok: {input: 1}\n    valid_from: 2026-02-01\n    valid_to: 2026-01-31\n",
        6,
        "prices[0].valid_to",
        "before valid_from",
    ),
    "wrong regex": ("version: 1\nprices:\n  - regex: '('\n    per_mtok: {input: 1}\n", 3, "prices[0].regex", "RE2"),
    "same price twice": (
        HEAD + "    per_mtok: {input: 1}\n  - model: M\n    per_mtok: {input: 2}\n",
        5,
        "prices[1]",
        "same day as prices[0]",
    ),
    "prices as a mapping": ("version: 1\nprices: {gpt-4o: 1}\n", 2, "prices", "must be a list"),
    "entry as text": ("version: 1\nprices:\n  - gpt-4o\n", 3, "prices[0]", "must be a mapping"),
    "a list": ("- version: 1\n", 1, None, "must be a mapping"),
    "broken YAML": ("version: 1\nprices: [\n", 3, None, "not valid YAML"),
    "a tab": ("version: 1\n\tprices: []\n", 2, None, "not valid YAML"),
    "two documents": ("version: 1\n---\nversion: 1\n", 2, None, "not valid YAML"),
    "empty": ("", None, None, "is empty"),
    "only a comment": ("# nothing\n", None, None, "is empty"),
    "too deep": ("[" * 5000, None, None, "not valid YAML"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_table_is_refused_with_file_line_and_key(name: str, tmp_path: Path) -> None:
    """The message leads to the place and says what to write."""
    text, line, key, message = WRONG[name]
    file = tmp_path / "prices.yaml"
    file.write_text(text)
    with pytest.raises(PriceTableError) as caught:
        load_price_table(file)
    error: ConfigError = caught.value
    assert (error.file, error.line, error.key) == (str(file), line, key)
    assert message in error.message
    assert str(file) in str(error)


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    """No traceback of the operating system."""
    with pytest.raises(PriceTableError, match="can't be read"):
        load_price_table(tmp_path / name)


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    """A spreadsheet saved under the wrong name."""
    file = tmp_path / "prices.yaml"
    file.write_bytes(b"version: 1 # \xff\xfe")
    with pytest.raises(PriceTableError, match="UTF-8"):
        load_price_table(file)


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    """Windows editors write one."""
    file = tmp_path / "prices.yaml"
    file.write_bytes(b"\xef\xbb\xbfversion: 1\n")
    assert load_price_table(file).entries == ()


def test_a_pattern_that_backtracks_elsewhere_takes_no_time() -> None:
    """RE2 matches in linear time, so that a table can't hang the export."""
    table = parse_price_table("version: 1\nprices:\n  - regex: '(a+)+b'\n    per_mtok: {input: 1}\n")
    assert table.find(provider=None, models=["a" * 100_000], tier="standard", day=20_000) is None


def test_the_row_says_which_line_of_which_file_priced_the_call(tmp_path: Path) -> None:
    """An auditor finds the price, and sees from the digest whether the file has changed since."""
    file = tmp_path / "prices.yaml"
    file.write_text("version: 1\nprices:\n  # negotiated\n  - model: m\n    per_mtok: {input: 1, output: 1}\n")
    at_ns = int(datetime(2026, 11, 20, tzinfo=UTC).timestamp()) * 10**9
    row = PriceBook.load(file).find(provider="x", request_model="M", at_ns=at_ns)
    assert row.source == "user"
    assert row.source_version.startswith("prices.yaml@")
    assert row.source_version.endswith(":4")


def test_prices_keep_every_digit() -> None:
    """A price never passes through binary floating point."""
    table = parse_price_table("version: 1\nprices:\n  - model: m\n    per_mtok: {input: 0.100000000000000005}\n")
    assert next(iter(table.entries[0].row.rates.values())).per_mtok == Decimal("0.100000000000000005")
