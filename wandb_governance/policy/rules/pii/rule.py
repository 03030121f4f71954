"""The ``pii-detector`` policy: personal data by patterns and, with the extra ``[ner]``, names and places."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from wandb_governance.errors import PolicyDocumentError
from wandb_governance.policy.rules.options import (
    number_option,
    refuse_unknown,
    string_list_option,
    user_patterns_option,
)
from wandb_governance.policy.rules.patterns import Pattern, PatternSet
from wandb_governance.policy.rules.pii.catalogue import DEFAULT_STRUCTURED, ENTITIES, NER_ENTITIES, catalogue
from wandb_governance.policy.rules.pii.entities import ALIASES
from wandb_governance.policy.rules.pii.overlaps import Candidate, findings
from wandb_governance.policy.rules.pii.phone import DEFAULT_REGIONS
from wandb_governance.policy.rules.pii.scan import RANK_SOURCE, scan
from wandb_governance.policy.rules.pii.variants import fold, unescape

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from wandb_governance.policy.rule import RuleContext
    from wandb_governance.policy.rules.ner.recognizer import NameRecognizer
    from wandb_governance.policy.rules.pii.variants import Mapped
    from wandb_governance.policy.verdict import Finding

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class PiiOptions:
    """What ``pii-detector`` looks for."""

    entities: tuple[str, ...] | None = None
    """Entities to find; None means all but URL and LOCATION, with PERSON where ``[ner]`` is installed."""
    threshold: float = DEFAULT_THRESHOLD
    """Lowest score that counts, in [0, 1]."""
    detect_patterns: tuple[Pattern, ...] = ()
    """Patterns of the user's own."""
    regions: tuple[str, ...] = DEFAULT_REGIONS
    """ISO 3166 codes of the countries whose national telephone format counts."""
    decode: bool = True
    """Look into base64, hexadecimal, URL, HTML and JSON escapes too."""


@dataclass(frozen=True)
class PiiRule:
    """Finds personal data. Immutable; safe from any thread; loads its model on construction."""

    options: PiiOptions = field(default_factory=PiiOptions)
    name: str = "pii-detector"

    def __post_init__(self) -> None:
        if self._wants_ner:
            _ = self._recognizer

    @classmethod
    def from_options(cls, options: Mapping[str, object]) -> PiiRule:
        """Build from the keys of a policy document.

        Args:
            options: ``entities``, ``threshold`` (or ``min_score``), ``detect_patterns``, ``regions``, ``decode``.

        Raises:
            PolicyDocumentError: A key is unknown or has a value it can't have.
            MissingExtraError: ``entities`` names PERSON or LOCATION and the extra ``[ner]`` is not installed.
        """
        refuse_unknown(options, {"entities", "threshold", "min_score", "detect_patterns", "regions", "decode"})
        decode = options.get("decode", True)
        if not isinstance(decode, bool):
            raise PolicyDocumentError("must be true or false", key="decode")
        threshold_key = "threshold" if "threshold" in options else "min_score"
        return cls(
            PiiOptions(
                entities=_entities(string_list_option(options, "entities")),
                threshold=number_option(options, threshold_key, default=DEFAULT_THRESHOLD),
                detect_patterns=user_patterns_option(options, "detect_patterns", rule="pii.user", entity="CUSTOM"),
                regions=_regions(string_list_option(options, "regions")),
                decode=decode,
            )
        )

    @cached_property
    def _wanted(self) -> frozenset[str]:
        if self.options.entities is not None:
            return frozenset(self.options.entities)
        from wandb_governance.policy.rules.ner.recognizer import installed

        return frozenset(DEFAULT_STRUCTURED + (("PERSON",) if installed() else ()))

    @property
    def entities(self) -> tuple[str, ...]:
        """What this rule can find, without the user's own patterns."""
        return tuple(sorted(self._wanted))

    @property
    def _wants_ner(self) -> bool:
        return not self._wanted.isdisjoint(NER_ENTITIES)

    @cached_property
    def _patterns(self) -> PatternSet:
        shipped = tuple(p for p in catalogue(self.options.regions) if p.entity in self._wanted)
        return PatternSet(shipped + self.options.detect_patterns)

    @cached_property
    def _recognizer(self) -> NameRecognizer:
        from wandb_governance.policy.rules.ner.recognizer import recognizer

        return recognizer()

    @cached_property
    def version(self) -> str:
        """Digest of patterns, options and, where one is used, the model."""
        parts = [f"{p.rule} {p.entity} {p.regex} {p.group} {p.score}" for p in self._patterns.patterns]
        parts += [repr(self.options.threshold), repr(self.options.regions), repr(self.options.decode), _LOGIC_VERSION]
        if self._wants_ner:
            parts.append(self._recognizer.version)
        return f"pii-{_LOGIC_VERSION}-{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:12]}"

    def find(self, text: str, context: RuleContext | None = None) -> Sequence[Finding]:
        """Findings in ``text``, ordered by start and without overlap; offsets are code points of ``text``.

        Raises:
            DetectorError: A user's pattern or the model could not decide.
        """
        if not text:
            return ()
        folded = fold(text)
        candidates = list(scan(self._patterns, folded, decode=self.options.decode))
        if self._wants_ner:
            candidates.extend(self._names(folded, candidates))
        return findings(text, candidates, self.options.threshold)

    def _names(self, folded: Mapped, structured: Sequence[Candidate]) -> Iterator[Candidate]:
        reading = (unescape(folded) if self.options.decode else None) or folded
        for name in self._recognizer.find(reading, [(c.start, c.end) for c in structured]):
            if name.entity in self._wanted:
                rule = f"pii.{name.entity.lower()}"
                yield Candidate(name.start, name.end, RANK_SOURCE, name.score, rule, name.entity, "name model")


_LOGIC_VERSION = "1"


def _entities(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if names is None:
        return None
    resolved = tuple(dict.fromkeys(ALIASES.get(name.upper(), name.upper()) for name in names))
    for index, name in enumerate(resolved):
        if name not in ENTITIES:
            raise PolicyDocumentError(
                f"unknown entity {names[index] if index < len(names) else name!r}; known are {', '.join(ENTITIES)}",
                key="entities",
            )
    return resolved


def _regions(names: tuple[str, ...] | None) -> tuple[str, ...]:
    if names is None:
        return DEFAULT_REGIONS
    import phonenumbers

    for name in names:
        if name not in phonenumbers.SUPPORTED_REGIONS:
            raise PolicyDocumentError(f"unknown region {name!r}; use ISO 3166 codes such as US or DE", key="regions")
    return names
