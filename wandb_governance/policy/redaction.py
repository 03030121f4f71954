"""Replace what was found. Pure: text and findings in, text out."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from wandb_governance.policy.verdict import Finding

ENTITIES = frozenset(
    """
    ADDRESS AGE API_KEY AU_ABN AU_ACN AU_MEDICARE AU_TFN AWS_ACCESS_KEY BIC CREDENTIALS CREDIT_CARD CRYPTO
    CRYPTO_ADDRESS DATE_OF_BIRTH DATE_TIME DEVICE_ID DRIVER_LICENSE EMAIL EMAIL_ADDRESS ES_NIE ES_NIF
    FI_PERSONAL_IDENTITY_CODE GPE HEALTH_ID IBAN IBAN_CODE IMEI IN_AADHAAR IN_PAN IP IP_ADDRESS IT_FISCAL_CODE JWT
    LICENSE_PLATE LOCATION MAC_ADDRESS MEDICAL_LICENSE MEDICAL_RECORD NATIONAL_ID NRP ORGANIZATION PASSPORT
    PASSWORD PERSON PHONE PHONE_NUMBER PL_PESEL PRIVATE_KEY PROMPT_INJECTION SECRET SG_NRIC_FIN SSN STREET_ADDRESS
    SWIFT_CODE TAX_ID TITLE TOKEN TOXICITY UK_NHS UK_NINO URL USERNAME US_BANK_NUMBER US_DRIVER_LICENSE US_ITIN
    US_PASSPORT US_SSN VAT_ID VIN ZIP_CODE
    """.split()  # noqa: SIM905 - one a line would be longer than the module
)
"""Types whose marker in a text is taken as a marker, so that a text is not redacted twice."""


class Replacer(Protocol):
    """Turns one finding into what stands in its place."""

    def replace(self, entity: str, value: str) -> str:
        """Replacement of ``value``, which is of type ``entity``."""
        ...

    def placed(self, text: str) -> Iterable[tuple[int, int]]:
        """Spans in ``text`` that are replacements already."""
        ...


@dataclass(frozen=True, kw_only=True)
class Markers:
    """Irreversible markers such as ``[EMAIL_ADDRESS]``."""

    marker_format: str = "[{entity}]"
    custom: Mapping[str, str] = field(default_factory=dict)
    """Marker by entity, over ``marker_format``."""
    preserve_length: bool = False
    entities: frozenset[str] = ENTITIES

    def replace(self, entity: str, value: str) -> str:
        """Marker of ``entity``."""
        marker = self._marker(entity)
        if not self.preserve_length:
            return marker
        return marker[: len(value)].ljust(len(value), "*")

    def placed(self, text: str) -> Iterable[tuple[int, int]]:
        """Spans of markers in ``text``."""
        return (match.span() for match in self._pattern.finditer(text))

    def _marker(self, entity: str) -> str:
        custom = self.custom.get(entity)
        if custom is not None:
            return custom
        return self.marker_format.replace("{entity}", entity).replace("{type}", entity)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        markers = {self._marker(entity) for entity in self.entities | set(self.custom)} - {""}
        alternatives = "|".join(re.escape(marker) for marker in sorted(markers, key=len, reverse=True))
        # preserve_length pads with stars, which hold nothing to find.
        return re.compile(rf"(?:{alternatives})\**" if alternatives else r"(?!)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """One span of the text and what goes in its place."""

    start: int
    end: int
    entity: str
    text: str


@dataclass(slots=True)
class _Span:
    start: int
    end: int
    rank: tuple[int, int]
    entity: str
    replacer: Replacer


def plan(text: str, found: Sequence[tuple[Iterable[Finding], Replacer]]) -> list[Replacement]:
    """What to replace, ordered and without overlap.

    Findings that overlap become one span; the longest of them names it, and of two as long the policy that stands first
    in the chain. What lies inside a marker that is in ``text`` already stays as it is.

    Args:
        text: The text the findings point into.
        found: Findings of each redacting policy, in chain order, with the policy's replacer.

    Returns:
        Replacements ordered by start.
    """
    spans: list[_Span] = []
    for order, (findings, replacer) in enumerate(found):
        for finding in findings:
            start, end = max(finding.start, 0), min(finding.end, len(text))
            if start < end:
                spans.append(_Span(start, end, (start - end, order), finding.entity, replacer))
    if not spans:
        return []
    spans = _outside(spans, _placed(text, found))
    merged: list[_Span] = []
    for span in sorted(spans, key=lambda s: (s.start, s.rank)):
        last = merged[-1] if merged else None
        if last is None or span.start >= last.end:
            merged.append(span)
            continue
        last.end = max(last.end, span.end)
        if span.rank < last.rank:
            last.rank, last.entity, last.replacer = span.rank, span.entity, span.replacer
    return [
        Replacement(start=s.start, end=s.end, entity=s.entity, text=s.replacer.replace(s.entity, text[s.start : s.end]))
        for s in merged
    ]


def apply(text: str, replacements: Sequence[Replacement]) -> str:
    """``text`` with every replacement made."""
    if not replacements:
        return text
    parts: list[str] = []
    done = 0
    for replacement in replacements:
        parts.append(text[done : replacement.start])
        parts.append(replacement.text)
        done = replacement.end
    parts.append(text[done:])
    return "".join(parts)


def redact(text: str, found: Sequence[tuple[Iterable[Finding], Replacer]]) -> str:
    """``plan`` and ``apply`` in one."""
    return apply(text, plan(text, found))


def _placed(text: str, found: Sequence[tuple[Iterable[Finding], Replacer]]) -> list[tuple[int, int]]:
    unique: dict[int, Replacer] = {id(replacer): replacer for _, replacer in found}
    return sorted({span for replacer in unique.values() for span in replacer.placed(text)})


def _outside(spans: list[_Span], placed: list[tuple[int, int]]) -> list[_Span]:
    for start, end in placed:
        cut: list[_Span] = []
        for span in spans:
            if span.end <= start or span.start >= end:
                cut.append(span)
                continue
            if span.start < start:
                cut.append(_Span(span.start, start, span.rank, span.entity, span.replacer))
            if span.end > end:
                cut.append(_Span(end, span.end, span.rank, span.entity, span.replacer))
        spans = cut
    return spans
