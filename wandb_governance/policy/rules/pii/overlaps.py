"""One finding for each character: which of several overlapping findings stays, and what is left of the others."""

from __future__ import annotations

from bisect import bisect_right
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
    too, so that no character that any detector found is lost; but where a better reading finds the same entity, what
    the worse one had besides was a misreading.
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
    starts: list[int] = []
    for candidate in sorted(cluster, key=lambda c: (-c.rank, -c.score, c.start - c.end, c)):
        for start, end in _free(candidate, kept, bisect_right(starts, candidate.start)):
            at = bisect_right(starts, start)
            starts.insert(at, start)
            kept.insert(at, candidate._replace(start=start, end=end))
    return kept


def _free(candidate: Candidate, kept: list[Candidate], after: int) -> list[tuple[int, int]]:
    """The parts of a candidate that none of ``kept`` covers; ``after`` is the first of them that starts behind it."""
    position = candidate.start
    free: list[tuple[int, int]] = []
    for at in range(max(0, after - 1), len(kept)):
        other = kept[at]
        if other.start >= candidate.end:
            break
        if other.rank > candidate.rank and other.entity == candidate.entity and other.end > candidate.start:
            return []
        if other.start > position:
            free.append((position, other.start))
        position = max(position, other.end)
    if position < candidate.end:
        free.append((position, candidate.end))
    return free


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
