"""A user's price table as a YAML file.

version: 1
currencies: {EUR: 1.08}                # USD for one EUR
aliases:
  support-bot-prod: gpt-4o-2024-08-06  # deployment -> model
providers:
  llm.example.com:8080: openai         # host or name of a gateway -> provider
prices:
  - model: gpt-4o                      # or glob: "gpt-4o*", or regex: "gpt-4o(-.+)?"
    provider: azure                    # optional
    service_tier: batch                # optional; standard where not given
    per_mtok: {input: 1.25, output: 5, cache_read: {base: 0.6, above: {200000: 1.2}}}
    per_request: 0                     # optional
    currency: USD                      # optional
    valid_from: 2026-01-01             # optional; first day, UTC
    valid_to: 2026-12-31               # optional; last day, UTC
"""

from __future__ import annotations

import difflib
import hashlib
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from wandb_governance.errors import PriceTableError
from wandb_governance.pricing.names import canonical_provider, canonical_tier
from wandb_governance.pricing.row import PriceRow, Rate, Step, Unit
from wandb_governance.pricing.table import MatchKind, PriceEntry, PriceTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import NoReturn

_TOP = ("version", "currencies", "aliases", "providers", "prices")
_ENTRY = (*MatchKind, "provider", "service_tier", "per_mtok", "per_request", "currency", "valid_from", "valid_to")
_MAX_PRICE = Decimal(10) ** 9
_MAX_DECIMALS = 18


def load_price_table(path: str | Path) -> PriceTable:
    """Read a price table.

    Raises:
        PriceTableError: The file can't be read, or a line of it is wrong; the error names file, line and key.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise PriceTableError("is not UTF-8 text; save it as UTF-8", file=path) from error
    except OSError as error:
        raise PriceTableError(f"can't be read: {error.strerror}", file=path) from error
    return parse_price_table(text, file=str(path))


def parse_price_table(text: str, *, file: str = "price table") -> PriceTable:
    """Read a price table from its text; see ``load_price_table``."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise PriceTableError(f"is not valid YAML: {error.problem}", file=file, line=line) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise PriceTableError(f"is not valid YAML: {type(error).__name__}", file=file) from error
    if root is None:
        raise PriceTableError("is empty; a price table starts with 'version: 1'", file=file)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return _Reader(file, f"{Path(file).name}@{digest}").table(root)


class _Reader:
    """Turns YAML nodes into values; every complaint knows its line and key."""

    def __init__(self, file: str, version: str) -> None:
        self._file = file
        self._version = version
        self._currencies = {"USD": Decimal(1)}

    def table(self, root: yaml.Node) -> PriceTable:
        top = self._mapping(root, "", _TOP)
        if "version" not in top:
            self._fail(root, "version", "is missing; write 'version: 1'")
        if self._text(top["version"], "version") != "1":
            self._fail(top["version"], "version", "is not a known version; write 1")
        for code, node in self._mapping(top.get("currencies"), "currencies").items():
            self._currencies[code.upper()] = self._positive(node, f"currencies.{code}")
        aliases, providers = (
            {name: self._text(node, f"{key}.{name}") for name, node in self._mapping(top.get(key), key).items()}
            for key in ("aliases", "providers")
        )
        entries: list[PriceEntry] = []
        for index, node in enumerate(self._sequence(top.get("prices"), "prices")):
            entry = self._entry(node, f"prices[{index}]")
            self._refuse_twin(entry, entries, node, f"prices[{index}]")
            entries.append(entry)
        return PriceTable(entries=tuple(entries), aliases=aliases, providers=providers, source=self._file)

    def _entry(self, node: yaml.Node, key: str) -> PriceEntry:
        given = self._mapping(node, key, _ENTRY)
        kinds = [kind for kind in MatchKind if kind in given]
        if len(kinds) != 1:
            self._fail(node, key, "needs exactly one of 'model', 'glob' and 'regex'")
        kind = kinds[0]
        pattern = self._pattern(kind, given[kind], f"{key}.{kind}")
        rates = self._rates(given.get("per_mtok"), f"{key}.per_mtok")
        fee = self._price(given["per_request"], f"{key}.per_request") if "per_request" in given else Decimal(0)
        if not rates and "per_request" not in given:
            self._fail(node, f"{key}.per_mtok", "is missing; write {input: PRICE, output: PRICE} per million tokens")
        currency = self._currency(given.get("currency"), f"{key}.currency")
        first, last = (self._date(given.get(name), f"{key}.{name}") for name in ("valid_from", "valid_to"))
        if first is not None and last is not None and last < first:
            self._fail(given["valid_to"], f"{key}.valid_to", f"lies before valid_from ({first})")
        row = PriceRow(
            source="user",
            source_version=f"{self._version}:{node.start_mark.line + 1}",
            provider=canonical_provider(self._text(given["provider"], f"{key}.provider"))
            if "provider" in given
            else None,
            model=pattern,
            rates=rates,
            service_tier=canonical_tier(
                self._text(given["service_tier"], f"{key}.service_tier") if "service_tier" in given else None
            ),
            per_request=fee,
            currency=currency,
            usd_per_unit=self._currencies[currency],
            valid_from=first,
            valid_to=last,
        )
        return PriceEntry(kind=kind, row=row)

    def _pattern(self, kind: MatchKind, node: yaml.Node, key: str) -> str:
        pattern = self._text(node, key)
        if kind is MatchKind.REGEX:
            import re2

            try:
                re2.compile(pattern)
            except re2.error as error:
                self._fail(node, key, f"is not a regular expression that RE2 knows: {error}")
        return pattern

    def _rates(self, node: yaml.Node | None, key: str) -> dict[Unit, Rate]:
        given = self._mapping(node, key, tuple(Unit))
        return {Unit(unit): self._rate(value, f"{key}.{unit}") for unit, value in given.items()}

    def _rate(self, node: yaml.Node, key: str) -> Rate:
        if not isinstance(node, yaml.MappingNode):
            return Rate(per_mtok=self._price(node, key))
        given = self._mapping(node, key, ("base", "above"))
        if set(given) != {"base", "above"}:
            self._fail(node, key, "needs 'base' and 'above', as in {base: 3, above: {200000: 6}}")
        steps = []
        for threshold, value in self._mapping(given["above"], f"{key}.above").items():
            if not threshold.isdecimal():
                self._fail(value, f"{key}.above", f"{threshold!r} is not a number of input tokens")
            price = self._price(value, f"{key}.above.{threshold}")
            steps.append(Step(above_input_tokens=int(threshold), per_mtok=price))
        steps.sort(key=lambda step: step.above_input_tokens)
        return Rate(per_mtok=self._price(given["base"], f"{key}.base"), steps=tuple(steps))

    def _refuse_twin(self, new: PriceEntry, entries: Iterable[PriceEntry], node: yaml.Node, key: str) -> None:
        for index, old in enumerate(entries):
            if _identity(old) == _identity(new):
                self._fail(
                    node, key, f"prices the same model from the same day as prices[{index}]; give one a valid_from"
                )

    def _currency(self, node: yaml.Node | None, key: str) -> str:
        if node is None:
            return "USD"
        code = self._text(node, key).upper()
        if code not in self._currencies:
            self._fail(node, key, f"has no rate for {code}; add 'currencies: {{{code}: USD_PER_{code}}}' at the top")
        return code

    def _positive(self, node: yaml.Node, key: str) -> Decimal:
        value = self._price(node, key)
        if not value:
            self._fail(node, key, "must be greater than 0")
        return value

    def _price(self, node: yaml.Node, key: str) -> Decimal:
        text = self._text(node, key)
        try:
            value = Decimal(text)
        except InvalidOperation:
            hint = "; write a decimal point" if "," in text else ""
            self._fail(node, key, f"{text!r} is not a number{hint}")
        if not value.is_finite() or value < 0 or value > _MAX_PRICE:
            self._fail(node, key, f"{text!r} must be from 0 to {_MAX_PRICE:,}")
        exponent = value.as_tuple().exponent
        if isinstance(exponent, int) and exponent < -_MAX_DECIMALS:
            self._fail(node, key, f"has more than {_MAX_DECIMALS} decimal places")
        return value

    def _date(self, node: yaml.Node | None, key: str) -> date | None:
        if node is None:
            return None
        text = self._text(node, key)
        try:
            return date.fromisoformat(text)
        except ValueError:
            self._fail(node, key, f"{text!r} is not a date; write YYYY-MM-DD")

    def _text(self, node: yaml.Node, key: str) -> str:
        if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
            self._fail(node, key, "must be a single value")
        return str(node.value).strip()

    def _sequence(self, node: yaml.Node | None, key: str) -> list[yaml.Node]:
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            self._fail(node, key, "must be a list; start each entry with '- '")
        return list(node.value)

    def _mapping(self, node: yaml.Node | None, key: str, allowed: Iterable[str] | None = None) -> dict[str, yaml.Node]:
        if node is None:
            return {}
        if not isinstance(node, yaml.MappingNode):
            self._fail(node, key, "must be a mapping of 'name: value' lines")
        found: dict[str, yaml.Node] = {}
        for name_node, value in node.value:
            name = self._text(name_node, key)
            path = f"{key}.{name}" if key else name
            if name in found:
                self._fail(name_node, path, "is given twice")
            if allowed is not None and name not in allowed:
                close = difflib.get_close_matches(name, list(allowed), n=1)
                hint = f"; did you mean {str(close[0])!r}?" if close else f"; known keys: {', '.join(allowed)}"
                self._fail(name_node, path, f"is not a known key{hint}")
            found[name] = value
        return found

    def _fail(self, node: yaml.Node, key: str, problem: str) -> NoReturn:
        raise PriceTableError(problem, file=self._file, line=node.start_mark.line + 1, key=key or None)


def _identity(entry: PriceEntry) -> tuple[object, ...]:
    row = entry.row
    return entry.kind, row.model.lower(), row.provider, row.service_tier, row.valid_from


def dump_price_table(table: PriceTable) -> str:
    """The table as YAML that ``parse_price_table`` reads back to the same prices."""
    currencies = {
        entry.row.currency: str(entry.row.usd_per_unit) for entry in table.entries if entry.row.currency != "USD"
    }
    document: dict[str, object] = {"version": 1}
    if currencies:
        document["currencies"] = currencies
    document.update({key: dict(names) for key in ("aliases", "providers") if (names := getattr(table, key))})
    document["prices"] = [_plain(entry) for entry in table.entries]
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def _plain(entry: PriceEntry) -> Mapping[str, object]:
    row = entry.row.to_json()
    kept = {name: row[name] for name in _ENTRY if name in row and row[name] is not None}
    return {entry.kind.value: entry.row.model, **{name: value for name, value in kept.items() if name != "model"}}
