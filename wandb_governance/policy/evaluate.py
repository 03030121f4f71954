"""How good a detector of personal data is on labelled texts: found, missed, wrong, left readable, and what it cost."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from wandb_governance.policy.rule import RuleContext
from wandb_governance.policy.rules.pii.entities import ALIASES
from wandb_governance.policy.verdict import Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from wandb_governance.policy.rule import Rule

_NOTHING = "(nothing)"


class Labelled(NamedTuple):
    """A span of a text and what it is; code points."""

    start: int
    end: int
    entity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Counts of one entity and what follows from them."""

    matched: int
    """Labelled entities that a finding of the same type overlaps enough."""
    missed: int
    """Labelled entities without such a finding."""
    spurious: int
    """Findings without such a labelled entity."""

    @property
    def precision(self) -> float:
        """Share of findings that are right; 1 where nothing was found."""
        found = self.matched + self.spurious
        return self.matched / found if found else 1.0

    @property
    def recall(self) -> float:
        """Share of labelled entities that were found; 1 where there are none."""
        labelled = self.matched + self.missed
        return self.matched / labelled if labelled else 1.0

    def f(self, beta: float) -> float:
        """F-measure; with ``beta`` 2 a miss weighs four times a false alarm."""
        precision, recall = self.precision, self.recall
        weight = beta * beta
        denominator = weight * precision + recall
        return (1 + weight) * precision * recall / denominator if denominator else 0.0

    def to_json(self) -> dict[str, float | int]:
        """Counts and measures as plain values."""
        return {
            "matched": self.matched,
            "missed": self.missed,
            "spurious": self.spurious,
            "precision": round(self.precision, 4),
            "recall": round(self.recall, 4),
            "f1": round(self.f(1), 4),
            "f2": round(self.f(2), 4),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PiiReport:
    """What one rule scored on one set of texts."""

    rule: str
    rule_version: str
    texts: int
    characters: int
    overall: Score
    """Over the scored entities, micro-averaged."""
    by_entity: Mapping[str, Score]
    confusion: Mapping[str, Mapping[str, int]]
    """Labelled entity by the entity found on the largest part of it, ``(nothing)`` where none was."""
    leaked_characters: int
    """Labelled characters of scored entities that no finding of any entity covers."""
    labelled_characters: int
    cpu_ms_per_kb: float
    """CPU time of the calling thread by 1,000 bytes of UTF-8."""
    cpu_ms_p50: float
    """Median for one text."""
    cpu_ms_p99: float
    not_scored: Mapping[str, int]
    """Labelled entities that were left out, with their number."""

    @property
    def leak_share(self) -> float:
        """Share of labelled characters left readable, in [0, 1]."""
        return self.leaked_characters / self.labelled_characters if self.labelled_characters else 0.0

    def to_json(self) -> dict[str, object]:
        """Everything as plain values, for ``--json``."""
        return {
            "rule": self.rule,
            "rule_version": self.rule_version,
            "texts": self.texts,
            "characters": self.characters,
            "overall": self.overall.to_json(),
            "by_entity": {entity: score.to_json() for entity, score in sorted(self.by_entity.items())},
            "confusion": {entity: dict(found) for entity, found in sorted(self.confusion.items())},
            "leak_share": round(self.leak_share, 5),
            "leaked_characters": self.leaked_characters,
            "labelled_characters": self.labelled_characters,
            "cpu_ms_per_kb": round(self.cpu_ms_per_kb, 3),
            "cpu_ms_p50": round(self.cpu_ms_p50, 3),
            "cpu_ms_p99": round(self.cpu_ms_p99, 3),
            "not_scored": dict(self.not_scored),
        }


def evaluate_pii(
    rows: Iterable[Mapping[str, object]], rule: Rule, *, entities: Sequence[str] | None = None, min_iou: float = 0.5
) -> PiiReport:
    """Score a rule on labelled texts.

    A finding matches a labelled span of the same entity whose intersection over union is at least ``min_iou``; each
    matches once. Names of entities are unified first (``EMAIL`` is ``EMAIL_ADDRESS``).

    Args:
        rows: Mappings with ``text`` and ``spans``, a list of ``[start, end, entity]`` in code points.
        rule: What is measured.
        entities: Which entities are scored; None means the labelled ones that ``rule.entities`` names, or all labelled
            ones where the rule has no such attribute. Others count neither as missed nor as spurious.
        min_iou: Overlap from which a finding counts, in (0, 1].

    Raises:
        ValueError: A row lacks ``text`` or has a span outside of it.
    """
    read = [_row(row) for row in rows]
    known: Iterable[str] | None = entities if entities is not None else getattr(rule, "entities", None)
    labelled_kinds = Counter(span.entity for _, spans in read for span in spans)
    scored = {_canonical(e) for e in known} & labelled_kinds.keys() if known is not None else set(labelled_kinds)
    if entities is not None:
        scored = {_canonical(e) for e in entities}
    tally = _Tally(scored)
    context = RuleContext(scope=Scope.INPUT)
    if read:
        # Tables that load on first use are the price of a process, not of a text.
        rule.find(read[0][0], context)
    cpu_ns: list[int] = []
    for text, labelled in read:
        began_ns = time.thread_time_ns()
        findings = rule.find(text, context)
        cpu_ns.append(time.thread_time_ns() - began_ns)
        tally.add([Labelled(f.start, f.end, _canonical(f.entity)) for f in findings], labelled, min_iou)
    n_bytes = sum(len(text.encode("utf-8", "replace")) for text, _ in read)
    ordered = sorted(cpu_ns) or [0]
    return PiiReport(
        rule=rule.name,
        rule_version=rule.version,
        texts=len(read),
        characters=sum(len(text) for text, _ in read),
        overall=tally.overall(),
        by_entity={entity: tally.score(entity) for entity in sorted(scored)},
        confusion={entity: dict(found) for entity, found in tally.confusion.items()},
        leaked_characters=tally.leaked,
        labelled_characters=tally.labelled,
        cpu_ms_per_kb=sum(cpu_ns) / 1e6 / (n_bytes / 1_000) if n_bytes else 0.0,
        cpu_ms_p50=ordered[len(ordered) // 2] / 1e6,
        cpu_ms_p99=ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] / 1e6,
        not_scored={entity: n for entity, n in sorted(labelled_kinds.items()) if entity not in scored},
    )


def _canonical(entity: str) -> str:
    return ALIASES.get(entity.upper(), entity.upper())


def _row(row: Mapping[str, object]) -> tuple[str, list[Labelled]]:
    text, spans = row.get("text"), row.get("spans", ())
    if not (isinstance(text, str) and isinstance(spans, list | tuple)):
        raise ValueError("a row needs 'text' and 'spans', a list of [start, end, entity]")  # noqa: TRY004
    labelled = []
    for span in spans:
        start, end, entity = span
        if not 0 <= start < end <= len(text):
            raise ValueError(f"span [{start}, {end}] lies outside of its text of {len(text)} code points")
        labelled.append(Labelled(start, end, _canonical(str(entity))))
    return text, labelled


class _Tally:
    def __init__(self, scored: set[str]) -> None:
        self.scored = scored
        self.matched: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self.spurious: Counter[str] = Counter()
        self.confusion: dict[str, Counter[str]] = {}
        self.leaked = 0
        self.labelled = 0

    def add(self, found: Sequence[Labelled], labelled: Sequence[Labelled], min_iou: float) -> None:
        wanted = [span for span in labelled if span.entity in self.scored]
        pairs = sorted(
            (
                (_iou(span, finding), i, j)
                for i, span in enumerate(wanted)
                for j, finding in enumerate(found)
                if span.entity == finding.entity and span.start < finding.end and finding.start < span.end
            ),
            reverse=True,
        )
        used_spans: set[int] = set()
        used_findings: set[int] = set()
        for iou, i, j in pairs:
            if iou >= min_iou and i not in used_spans and j not in used_findings:
                used_spans.add(i)
                used_findings.add(j)
                self.matched[wanted[i].entity] += 1
        self.missed.update(span.entity for i, span in enumerate(wanted) if i not in used_spans)
        self.spurious.update(
            f.entity for j, f in enumerate(found) if f.entity in self.scored and j not in used_findings
        )
        for span in wanted:
            self._coverage(span, found)

    def _coverage(self, span: Labelled, found: Sequence[Labelled]) -> None:
        covered: Counter[str] = Counter()
        open_to = span.start
        length = 0
        for finding in sorted(found):
            start, end = max(finding.start, span.start), min(finding.end, span.end)
            if end > start:
                covered[finding.entity] += end - start
                length += max(0, end - max(start, open_to))
                open_to = max(open_to, end)
        self.labelled += span.end - span.start
        self.leaked += span.end - span.start - length
        as_what = covered.most_common(1)[0][0] if covered else _NOTHING
        self.confusion.setdefault(span.entity, Counter())[as_what] += 1

    def score(self, entity: str) -> Score:
        return Score(matched=self.matched[entity], missed=self.missed[entity], spurious=self.spurious[entity])

    def overall(self) -> Score:
        return Score(matched=self.matched.total(), missed=self.missed.total(), spurious=self.spurious.total())


def _iou(one: Labelled, other: Labelled) -> float:
    overlap = min(one.end, other.end) - max(one.start, other.start)
    return overlap / (max(one.end, other.end) - min(one.start, other.start)) if overlap > 0 else 0.0
