"""The winner of a sweep, with how sure that is; or, said plainly, that there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from wandb_governance.errors import SweepError
from wandb_governance.sweep.significance import Comparison, compare, importance, pareto

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wandb_governance.sweep.config import ConstraintsSection
    from wandb_governance.sweep.records import TrialRecord

Claim = Literal["best", "cheapest of the confident set", "tied: cheapest taken"]

SURE = 0.9
"""P(best) from which a configuration is called the best."""
_CONFIRMED_AT_MOST = 10  # candidates that are asked the held-out questions

_COSTS = {"cost_usd": 9, "context_tokens": 0, "latency_s": 2}
"""What a front weighs against quality, and to how many digits: a few milliseconds are noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One configuration that kept to the constraints."""

    record: TrialRecord
    mean: float
    low: float
    """2.5% quantile of the resampled mean."""
    high: float
    p_best: float
    confident: bool
    """Can't be told from the highest mean."""
    on_front: bool
    """No other candidate is at least as good, as cheap and as fast, and better in one."""

    def to_json(self) -> dict[str, Any]:
        """The candidate as a JSON object."""
        from dataclasses import asdict

        return {
            "run": self.record.run,
            "configuration": asdict(self.record.configuration),
            "mean": self.mean,
            "low": self.low,
            "high": self.high,
            "p_best": self.p_best,
            "confident": self.confident,
            "on_front": self.on_front,
            "metrics": self.record.metrics,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What questions that the search did not see say of the choice."""

    questions: int
    mean: float
    low: float
    high: float
    confirmed: bool
    """No other candidate is better on these questions by more than chance."""
    beaten_by: tuple[str, ...]
    """Runs that are better by more than chance."""
    optimism: float
    """Mean in the search minus mean here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a sweep shows."""

    metric: str
    claim: Claim
    choice: Candidate
    """What is taken: the winner, or the cheapest where nothing wins."""
    candidates: tuple[Candidate, ...]
    """From the highest mean down."""
    failed: int
    """Trials without a score."""
    excluded: tuple[tuple[str, str], ...]
    """Run and the constraint that it does not keep."""
    importance: Mapping[str, float]
    questions: int
    confirmation: Confirmation | None = None
    stopped_by: str | None = None

    @property
    def winner(self) -> Candidate | None:
        """The choice, or None where all candidates are tied."""
        return None if self.claim.startswith("tied") else self.choice

    @property
    def sentence(self) -> str:
        """The result in one sentence."""
        label, many = self.choice.record.configuration.label, len(self.candidates)
        confident = sum(candidate.confident for candidate in self.candidates)
        if self.claim == "best":
            return f"{label} is best of {many} with probability {self.choice.p_best:.2f}."
        if self.claim.startswith("tied"):
            return f"No winner: {many} candidates can't be told apart on {self.questions} questions; cheapest: {label}."
        return f"No significant difference between {confident} of {many}: the cheapest of them is taken: {label}."


def select(
    records: Sequence[TrialRecord],
    constraints: ConstraintsSection,
    *,
    seed: int = 0,
    confirm: Callable[[Sequence[TrialRecord]], Sequence[Sequence[float]]] | None = None,
    stopped_by: str | None = None,
) -> Selection:
    """Choose among trials that were asked the same questions.

    Args:
        records: Of one sweep; failed ones are counted and left out.
        constraints: What a candidate must keep to.
        seed: Of the resampling.
        confirm: Scores of some records on the held-out questions, shape (n_records, n_questions); empty where none is
            held out.
        stopped_by: The budget that ended the sweep, where one did.

    Raises:
        SweepError: No trial has scores, none keeps to the constraints, or trials come from different data.
    """
    scored = [record for record in records if record.error is None and record.scores]
    if not scored:
        reasons = sorted({record.error for record in records if record.error})
        raise SweepError(f"no trial has scores; {len(records)} failed{': ' if reasons else ''}{'; '.join(reasons[:3])}")
    _same_data(scored)
    excluded = [(record.run, why) for record in scored if (why := violated(record, constraints))]
    names = {run for run, _ in excluded}
    kept = [record for record in scored if record.run not in names]
    if not kept:
        raise SweepError(
            f"no configuration keeps to the constraints: {'; '.join(sorted({why for _, why in excluded}))}"
        )
    kept.sort(key=lambda record: (-_mean(record), record.configuration.key))
    questions = _common_questions(kept)
    matrix = np.array([[record.scores[question] for question in questions] for record in kept])
    comparison = compare(matrix, seed=seed)
    candidates = _candidates(kept, comparison)
    claim, choice = choose(candidates)
    return Selection(
        metric=kept[0].metric,
        claim=claim,
        choice=choice,
        candidates=tuple(candidates),
        failed=len(records) - len(scored),
        excluded=tuple(excluded),
        importance=importance([_axes(record) for record in kept], comparison.means),
        questions=len(questions),
        confirmation=_confirm(candidates, choice, confirm, seed) if confirm else None,
        stopped_by=stopped_by,
    )


def choose(candidates: Sequence[Candidate]) -> tuple[Claim, Candidate]:
    """The claim that the evidence allows, and the configuration to take."""
    best = max(candidates, key=lambda candidate: (candidate.p_best, candidate.mean))
    if best.p_best >= SURE or len(candidates) == 1:
        return "best", best
    confident = [candidate for candidate in candidates if candidate.confident]
    cheapest = min(confident, key=_price_key)
    if len(confident) == len(candidates):
        return "tied: cheapest taken", cheapest
    return "cheapest of the confident set", cheapest


def violated(record: TrialRecord, constraints: ConstraintsSection) -> str | None:
    """The first constraint that a trial does not keep, in words."""
    limits = {
        "cost_usd": constraints.cost_usd_per_question,
        "latency_s": constraints.latency_s,
        "context_tokens": constraints.context_tokens,
    }
    for name, limit in limits.items():
        if limit is None:
            continue
        value = record.metrics.get(name)
        if value is None:
            return f"{name} is not known and must be at most {limit:g}"
        if value > limit:
            return f"{name} must be at most {limit:g}"
    if constraints.policy_clean and record.metrics.get("blocked", 0) > 0:
        return "a policy blocked"
    return None


def _candidates(kept: Sequence[TrialRecord], comparison: Comparison) -> list[Candidate]:
    costs = [[-round(record.metrics.get(name, 0.0), digits) for name, digits in _COSTS.items()] for record in kept]
    front = pareto(np.column_stack([comparison.means, np.array(costs)]))
    return [
        Candidate(
            record=record,
            mean=float(comparison.means[row]),
            low=float(comparison.low[row]),
            high=float(comparison.high[row]),
            p_best=float(comparison.p_best[row]),
            confident=bool(comparison.confident[row]),
            on_front=bool(front[row]),
        )
        for row, record in enumerate(kept)
    ]


def _confirm(
    candidates: Sequence[Candidate],
    choice: Candidate,
    confirm: Callable[[Sequence[TrialRecord]], Sequence[Sequence[float]]],
    seed: int,
) -> Confirmation | None:
    asked = [choice, *[c for c in candidates if c is not choice][: _CONFIRMED_AT_MOST - 1]]
    matrix = np.array(confirm([candidate.record for candidate in asked]), dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[1] < 2:
        return None
    held_out = compare(matrix, seed=seed)
    beaten = [] if held_out.confident[0] else [asked[int(held_out.means.argmax())].record.run]
    return Confirmation(
        questions=matrix.shape[1],
        mean=float(held_out.means[0]),
        low=float(held_out.low[0]),
        high=float(held_out.high[0]),
        confirmed=not beaten,
        beaten_by=tuple(beaten),
        optimism=choice.mean - float(held_out.means[0]),
    )


def _same_data(records: Sequence[TrialRecord]) -> None:
    for what in ("corpus", "questions", "metric"):
        found = {getattr(record, what) for record in records}
        if len(found) > 1:
            raise SweepError(f"trials of different data can't be compared: {len(found)} different values of {what!r}")


def _common_questions(records: Sequence[TrialRecord]) -> list[str]:
    common = set.intersection(*(set(record.scores) for record in records))
    if len(common) < 2:
        raise SweepError(f"the trials share {len(common)} scored questions; at least 2 are needed to compare them")
    return sorted(common)


def _axes(record: TrialRecord) -> dict[str, object]:
    c = record.configuration
    names = (
        "chunk_size",
        "chunk_overlap",
        "top_k",
        "splitter",
        "tokenizer",
        "reranker",
        "llm",
        "prompt",
        "temperature",
    )
    return {name: getattr(c, name) for name in names} | {"retrieval": (c.retriever, c.embedding)}


def _mean(record: TrialRecord) -> float:
    return sum(record.scores.values()) / len(record.scores)


def _price_key(candidate: Candidate) -> tuple[float, ...]:
    metrics = candidate.record.metrics
    return (*(metrics.get(name, float("inf")) for name in ("cost_usd", "context_tokens")), -candidate.mean)
