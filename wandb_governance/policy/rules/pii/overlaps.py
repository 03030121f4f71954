"""One finding for each character: which of several overlapping findings stays, and what is left of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from wandb_governance.policy.verdict import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Candidate(NamedTuple):
    """A finding before overlaps are settled; spans are code points of the source."""

    start: int
    end: int
    rank: int
    """Which reading of the text it comes from; a higher one displaces a lower one."""
    score: float
    rule: str
    entity: str
    explanation: str


def settle(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Candidates without overlap, ordered by start.

    The stronger one stays whole: higher rank, then higher score, then longer. What sticks out of a weaker one stays
    too, so that no character that any detector found is lost.
    """
    return [candidate for cluster in _clusters(candidates) for candidate in _settled(cluster)]


def _clusters(candidates: Iterable[Candidate]) -> Iterator[list[Candidate]]:
    cluster: list[Candidate] = []
    reach = 0
    for candidate in sorted(candidates):
        if cluster and candidate.start >= reach:
            yield cluster
            cluster = []
        cluster.append(candidate)
        reach = max(reach, candidate.end) if len(cluster) > 1 else candidate.end
    if cluster:
        yield cluster


def _settled(cluster: list[Candidate]) -> list[Candidate]:
    if len(cluster) == 1:
        return cluster
    kept: list[Candidate] = []
    for candidate in sorted(cluster, key=lambda c: (-c.rank, -c.score, c.start - c.end, c)):
        position = candidate.start
        for other in [*kept, None]:
            stop = candidate.end if other is None else min(other.start, candidate.end)
            if stop > position:
                kept = sorted([*kept, candidate._replace(start=position, end=stop)])
            if other is not None and other.start < candidate.end:
                position = max(position, other.end)
            if other is None or other.start >= candidate.end:
                break
    return kept


def findings(text: str, candidates: Iterable[Candidate], threshold: float) -> tuple[Finding, ...]:
    """What a rule reports: settled candidates that reach ``threshold`` and hold a letter or digit."""
    return tuple(
        Finding(
            rule=c.rule,
            entity=c.entity,
            start=c.start,
            end=c.end,
            score=round(c.score, 4),
            threshold=threshold,
            explanation=c.explanation,
        )
        for c in settle(c for c in candidates if c.score >= threshold)
        if any(map(str.isalnum, text[c.start : c.end]))
    )
