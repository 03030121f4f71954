"""One incident per cause, however often it is seen: repeated findings are counted, not repeated.

A finding opens an incident when it was seen in ``open_after`` of the last ``window`` looks, and closes it only after
``close_after`` looks without it, so that flapping makes no storm. A new digest is a new cause: it closes the old
incident.
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wandb_governance.registry.reconcile import Comparison


class IncidentState(StrEnum):
    """Where an incident is."""

    OPEN = "open"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is wrong at one look."""

    monitor: str
    """What looks: ``alias`` or the name of a drift monitor."""
    subject: str
    """What it looks at: an alias of a collection, or a model's digest."""
    digest: str
    """Content of the model concerned."""
    detail: str
    """Feature or version: counted inside the incident, never a cause of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One cause."""

    fingerprint: str
    monitor: str
    subject: str
    state: IncidentState
    looks: int
    """Looks at which it was seen."""
    details: tuple[str, ...]
    """Every detail seen, sorted."""


@dataclass(slots=True, kw_only=True)
class IncidentBook:
    """Folds looks into incidents."""

    open_after: int = 1
    window: int = 1
    close_after: int = 3
    _looks: dict[str, deque[bool]] = field(default_factory=dict)
    _details: dict[str, set[str]] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)
    _quiet: dict[str, int] = field(default_factory=dict)
    _open: dict[str, Finding] = field(default_factory=dict)
    _samples: dict[str, Finding] = field(default_factory=dict)

    def look(self, findings: Sequence[Finding]) -> tuple[Incident, ...]:
        """Take one look in; only incidents that opened or closed by it."""
        grouped: dict[str, list[Finding]] = {}
        for finding in findings:
            grouped.setdefault(fingerprint(finding), []).append(finding)
        news = [self._close(key) for key in self._superseded(grouped)]
        for key, found in grouped.items():
            self._samples.setdefault(key, found[0])
            self._details.setdefault(key, set()).update(item.detail for item in found)
            self._counts[key] = self._counts.get(key, 0) + 1
        for key in list(self._samples):
            news += self._seen(key, seen=key in grouped)
        return tuple(news)

    @property
    def open(self) -> tuple[Incident, ...]:
        """Incidents that are open now."""
        return tuple(self._incident(key, IncidentState.OPEN) for key in self._open)

    def _seen(self, key: str, *, seen: bool) -> list[Incident]:
        recent = self._looks.setdefault(key, deque(maxlen=self.window))
        recent.append(seen)
        self._quiet[key] = 0 if seen else self._quiet.get(key, 0) + 1
        if key not in self._open and sum(recent) >= self.open_after:
            self._open[key] = self._samples[key]
            return [self._incident(key, IncidentState.OPEN)]
        if key in self._open and self._quiet[key] >= self.close_after:
            return [self._close(key)]
        return []

    def _superseded(self, grouped: Mapping[str, Sequence[Finding]]) -> list[str]:
        """Open incidents of a subject whose content is another one now."""
        now = {(items[0].monitor, items[0].subject): key for key, items in grouped.items()}
        return [key for key, item in self._open.items() if now.get((item.monitor, item.subject), key) != key]

    def _close(self, key: str) -> Incident:
        incident = self._incident(key, IncidentState.RESOLVED)
        for table in (self._open, self._samples, self._details, self._counts, self._quiet, self._looks):
            table.pop(key, None)
        return incident

    def _incident(self, key: str, state: IncidentState) -> Incident:
        sample = self._samples[key]
        return Incident(
            fingerprint=key,
            monitor=sample.monitor,
            subject=sample.subject,
            state=state,
            looks=self._counts.get(key, 0),
            details=tuple(sorted(self._details.get(key, ()))),
        )


def fingerprint(finding: Finding) -> str:
    """16 hexadecimal digits of the cause: monitor, subject and content."""
    cause = f"{finding.monitor}\x1f{finding.subject}\x1f{finding.digest}"
    return hashlib.sha256(cause.encode()).hexdigest()[:16]


def alias_findings(compared: Sequence[Comparison]) -> tuple[Finding, ...]:
    """Aliases that are not where the ledger put them, as findings."""
    return tuple(
        Finding(
            monitor="alias",
            subject=f"{item.collection}:{item.alias}",
            digest=item.ledger,
            detail=f"{item.agreement}: {item.registry or 'nothing'}",
        )
        for item in compared
        if item.differs
    )
