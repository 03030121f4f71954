"""A user's own prices, and which of them holds for a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import TYPE_CHECKING

from wandb_governance.errors import PricingError
from wandb_governance.pricing.names import model_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from wandb_governance.pricing.row import PriceRow


class MatchKind(StrEnum):
    """How an entry names its models; an earlier kind wins over a later one."""

    MODEL = "model"
    """The whole name, in any case."""
    GLOB = "glob"
    """Shell wildcards: ``*``, ``?``, ``[...]``."""
    REGEX = "regex"
    """A regular expression (RE2) over the whole name, in any case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceEntry:
    """One price of a user's table."""

    kind: MatchKind
    row: PriceRow
    """``row.model`` holds the name or pattern."""

    def matches(self, names: Iterable[str]) -> bool:
        """Whether the entry names one of these models; names are in lower case."""
        pattern = self.row.model.lower() if self.kind is not MatchKind.REGEX else self.row.model
        if self.kind is MatchKind.MODEL:
            return pattern in names
        if self.kind is MatchKind.GLOB:
            return any(fnmatchcase(name, pattern) for name in names)
        import re2

        options = re2.Options()
        options.case_sensitive = False
        compiled = re2.compile(pattern, options)
        return any(compiled.fullmatch(name) is not None for name in names)

    def holds_on(self, day: date) -> bool:
        """Whether ``day`` (UTC) is within the entry's dates."""
        first, last = self.row.valid_from, self.row.valid_to
        return (first is None or first <= day) and (last is None or day <= last)

    @property
    def rank(self) -> tuple[int, int, int, date]:
        """The greatest rank wins: kind, then a named provider, then the longer pattern, then the later start."""
        literal = sum(char not in "*?[]" for char in self.row.model)
        kinds = list(MatchKind)
        return (
            len(kinds) - kinds.index(self.kind),
            int(self.row.provider is not None),
            literal if self.kind is MatchKind.GLOB else 0,
            self.row.valid_from or date.min,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    """A user's prices and the names of their deployments."""

    entries: tuple[PriceEntry, ...] = ()
    """In the order of the file; where two rank the same, the earlier one wins."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Deployment or gateway name in lower case -> model."""
    providers: Mapping[str, str] = field(default_factory=dict)
    """Gateway or host of an API in lower case -> provider whose prices it passes on."""
    source: str = "price table"
    """The file, for messages."""

    def __post_init__(self) -> None:
        for name in ("aliases", "providers"):
            lowered = {key.lower(): value for key, value in getattr(self, name).items()}
            object.__setattr__(self, name, MappingProxyType(lowered))

    def provider(self, name: str | None) -> str | None:
        """The provider that stands behind a gateway; ``name`` itself where the table says nothing of it."""
        plain = (name or "").strip().lower()
        host = plain.partition("://")[2].partition("/")[0] or plain
        return self.providers.get(host, name)

    def aliased(self, names: Sequence[str]) -> list[str]:
        """The names, each behind the model that it is an alias of."""
        found: list[str] = []
        for name in names:
            target = self.aliases.get(name.strip().lower())
            found.extend(new for new in (target, name) if new is not None and new not in found)
        return found

    def find(self, *, provider: str | None, models: Sequence[str], tier: str, day: int) -> PriceRow | None:
        """The price of the first entry that holds, or None where the table does not name the model.

        Args:
            provider: Canonical provider of the call; None where not known, which only entries without provider match.
            models: Names of the model, the best first.
            tier: Canonical service tier.
            day: Days since 1970-01-01 UTC.

        Raises:
            PricingError: The table prices the model at other tiers only. The catalogue's price is not taken for it, as
                the user pays another one.
        """
        names = {name for model in models for name in model_names(model, provider=provider)}
        on = datetime.fromtimestamp(day * 86_400, tz=UTC).date()
        named = [
            entry
            for entry in self.entries
            if entry.row.provider in (None, provider) and entry.holds_on(on) and entry.matches(names)
        ]
        if not named:
            return None
        priced = [entry for entry in named if entry.row.service_tier == tier]
        if not priced:
            raise PricingError(f"{self.source} has no {tier!r} price for model {models[0]!r}")
        return max(priced, key=lambda entry: entry.rank).row
