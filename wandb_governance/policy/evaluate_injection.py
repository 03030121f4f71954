"""How good a detector of prompt injections is: ranking, rates at the threshold, calibration, cost; by set."""

from __future__ import annotations

import itertools
import time
from bisect import bisect_left, bisect_right
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from wandb_governance.policy.verdict import Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_BANDS = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)
_FALSE_POSITIVE_RATE = 0.01


class ScoringRule(Protocol):
    """A rule that gives each text a probability."""

    @property
    def threshold(self) -> float:
        """Probability from which a text is a finding."""
        ...

    def score(self, text: str, scope: Scope = Scope.INPUT) -> float:
        """Probability that the text is an attack."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackSet:
    """One set of attacks against all benign texts."""

    texts: int
    auroc: float
    """Chance that an attack of the set scores higher than a benign text; ties count half."""
    tpr_at_1_fpr: float
    """Share found at the threshold that one benign text of a hundred exceeds."""
    tpr: float
    """Share found at the rule's own threshold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenignSet:
    """One set of benign texts."""

    texts: int
    fpr: float
    """Share that the rule's own threshold flags."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Texts whose score lies in one band."""

    low: float
    high: float
    texts: int
    mean_score: float
    share_of_attacks: float
    """Share of attacks as the texts are; a calibrated score predicts it for the share it was calibrated to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectionReport:
    """Figures of one detector on labelled texts."""

    threshold: float
    attacks: Mapping[str, AttackSet]
    benign: Mapping[str, BenignSet]
    macro_auroc: float
    """Mean over the sets of attacks, each set alike."""
    macro_tpr_at_1_fpr: float
    tpr: float
    """Over all attacks, at the rule's own threshold."""
    fpr: float
    """Over all benign texts, at the rule's own threshold."""
    reliability: tuple[Band, ...]
    cpu_ms_per_kb_p50: float
    """CPU milliseconds for each 1,000 code points, median over the texts of at least 200 code points."""
    cpu_ms_p50: float
    cpu_ms_p99: float

    def to_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return asdict(self)


def evaluate_injection(rows: Iterable[Mapping[str, Any]], rule: ScoringRule) -> InjectionReport:
    """Score labelled texts.

    Args:
        rows: Mappings with ``text``, ``label`` (1 for an attack; rows with None are left out), and optionally
            ``source`` (name of the set) and ``scope``.
        rule: The detector.

    Raises:
        ValueError: There is no attack or no benign text.
    """
    scored: dict[tuple[int, str], list[float]] = {}
    cost: list[tuple[int, float]] = []
    for row in rows:
        if row["label"] is None:
            continue
        text, scope = str(row["text"]), _scope(row.get("scope"))
        began = time.process_time_ns()
        score = rule.score(text, scope)
        cost.append((len(text), (time.process_time_ns() - began) / 1e6))
        scored.setdefault((int(row["label"]), str(row.get("source", "all"))), []).append(score)
    benign = sorted(score for (label, _), scores in scored.items() if not label for score in scores)
    if not benign or not any(label for label, _ in scored):
        raise ValueError("needs at least one text with label 1 and one with label 0")
    cut = benign[min(len(benign) - 1, int(len(benign) * (1 - _FALSE_POSITIVE_RATE)))]
    attacks = {
        name: AttackSet(
            texts=len(scores),
            auroc=_auroc(scores, benign),
            tpr_at_1_fpr=_share(scores, cut, strictly=True),
            tpr=_share(scores, rule.threshold),
        )
        for (label, name), scores in sorted(scored.items())
        if label
    }
    quiet = {
        name: BenignSet(texts=len(scores), fpr=_share(scores, rule.threshold))
        for (label, name), scores in sorted(scored.items())
        if not label
    }
    found = [score for (label, _), scores in scored.items() if label for score in scores]
    return InjectionReport(
        threshold=rule.threshold,
        attacks=attacks,
        benign=quiet,
        macro_auroc=sum(entry.auroc for entry in attacks.values()) / len(attacks),
        macro_tpr_at_1_fpr=sum(entry.tpr_at_1_fpr for entry in attacks.values()) / len(attacks),
        tpr=_share(found, rule.threshold),
        fpr=_share(benign, rule.threshold),
        reliability=_reliability(found, benign),
        cpu_ms_per_kb_p50=_quantile([1000 * ms / size for size, ms in cost if size >= 200], 0.5),
        cpu_ms_p50=_quantile([ms for _, ms in cost], 0.5),
        cpu_ms_p99=_quantile([ms for _, ms in cost], 0.99),
    )


def _scope(value: object) -> Scope:
    """Scope of a row; ``tool`` is what a tool gave back."""
    return Scope.TOOL_RESULT if value == "tool" else Scope(str(value or "input"))


def _auroc(attacks: Sequence[float], benign: Sequence[float]) -> float:
    below = sum(bisect_left(benign, score) + bisect_right(benign, score) for score in attacks)
    return below / 2 / len(attacks) / len(benign)


def _share(scores: Sequence[float], threshold: float, *, strictly: bool = False) -> float:
    return sum(score > threshold if strictly else score >= threshold for score in scores) / len(scores)


def _quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def _reliability(attacks: Sequence[float], benign: Sequence[float]) -> tuple[Band, ...]:
    labelled = [(score, 1) for score in attacks] + [(score, 0) for score in benign]
    bands = []
    for low, high in itertools.pairwise(_BANDS):
        inside = [(score, label) for score, label in labelled if low <= score < high or (high == score == 1.0)]
        if inside:
            bands.append(
                Band(
                    low=low,
                    high=high,
                    texts=len(inside),
                    mean_score=sum(score for score, _ in inside) / len(inside),
                    share_of_attacks=sum(label for _, label in inside) / len(inside),
                )
            )
    return tuple(bands)
