"""Gates over figures: thresholds, no regression, fairness, latency, cost."""

from __future__ import annotations

import math
from collections import defaultdict
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from wandb_governance.errors import GateError
from wandb_governance.registry.gate import Evidence, GateResult, column
from wandb_governance.registry.gates.base import GateSpec
from wandb_governance.registry.statistics import bounded_non_inferiority, mcnemar, non_inferiority

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MIN_EXAMPLES = 20


class MetricGate(GateSpec):
    """The mean of a per-example metric is on the right side of a threshold."""

    kind: ClassVar[str] = "metric"
    metric: str
    at_least: float | None = Field(default=None, allow_inf_nan=False)
    at_most: float | None = Field(default=None, allow_inf_nan=False)
    min_examples: int = Field(default=_MIN_EXAMPLES, ge=1)

    @model_validator(mode="after")
    def _one_bound(self) -> MetricGate:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("needs exactly one of at_least and at_most")
        return self

    @property
    def name(self) -> str:
        """Name in reports."""
        return f"metric:{self.metric}"

    def evaluate(self, evidence: Evidence) -> GateResult:
        """Compare the mean with the threshold."""
        values = evidence.column(self.metric)
        _enough(len(values), self.min_examples)
        mean = math.fsum(values.values()) / len(values)
        if self.at_least is not None:
            good, bound = mean >= self.at_least, f"at least {self.at_least:g}"
        else:
            good, bound = mean <= (self.at_most or 0.0), f"at most {self.at_most:g}"
        reason = f"{self.metric} is {mean:.4g} over {len(values)} examples; {bound} is asked"
        return (self.passed if good else self.failed)(reason, mean=mean, examples=len(values))


class NoRegressionGate(GateSpec):
    """The candidate is not worse than the incumbent, example by example.

    ``non_inferior`` must show that the loss is below ``margin`` (too few examples do not show it).
    ``not_significantly_worse`` only asks that no significant loss was seen; with ``test: mcnemar`` for right or wrong.

    ``test: auto`` takes ``betting`` for ``non_inferior`` with scores in [0, 1], valid at any number of examples, and
    ``sign_flip`` for the rest.
    """

    kind: ClassVar[str] = "no_regression"
    metric: str
    rule: Literal["non_inferior", "not_significantly_worse"] = "non_inferior"
    margin: float = Field(default=0.02, ge=0, allow_inf_nan=False)
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    test: Literal["auto", "betting", "sign_flip", "mcnemar"] = "auto"
    higher_is_better: bool = True
    min_examples: int = Field(default=_MIN_EXAMPLES, ge=1)

    @model_validator(mode="after")
    def _makes_sense(self) -> NoRegressionGate:
        if self.rule == "non_inferior" and self.margin == 0:
            raise ValueError("margin must be above 0 for non_inferior: equal versions could never pass")
        if self.test == "betting" and (self.rule != "non_inferior" or self.margin >= 1):
            raise ValueError("test betting needs rule non_inferior and a margin below 1")
        if self.test == "mcnemar" and self.rule != "not_significantly_worse":
            raise ValueError("test mcnemar needs rule not_significantly_worse")
        return self

    @property
    def name(self) -> str:
        """Name in reports."""
        return f"no_regression:{self.metric}"

    def evaluate(self, evidence: Evidence) -> GateResult:
        """Run the paired test on the examples both versions answered."""
        if evidence.incumbent is None:
            return self.passed("no version holds the alias yet: there is nothing to be worse than")
        if evidence.incumbent.root == evidence.candidate.root:
            return self.passed("the candidate's content is the incumbent's own")
        if evidence.incumbent_evaluation is None:
            raise GateError(f"the incumbent {evidence.incumbent.source} has no evaluation to compare with")
        candidate = evidence.column(self.metric)
        incumbent = column(evidence.incumbent_evaluation, self.metric)
        self._same_examples(evidence, candidate, incumbent)
        ordered = sorted(candidate)
        _enough(len(ordered), self.min_examples)
        sign = 1.0 if self.higher_is_better else -1.0
        new, old = [sign * candidate[key] for key in ordered], [sign * incumbent[key] for key in ordered]
        return self._mcnemar(new, old) if self.test == "mcnemar" else self._paired(new, old)

    def _same_examples(self, evidence: Evidence, candidate: dict[str, float], incumbent: dict[str, float]) -> None:
        assert evidence.evaluation is not None
        assert evidence.incumbent_evaluation is not None
        if evidence.incumbent_evaluation.problem:
            raise GateError(f"the incumbent's evaluation can't be believed: {evidence.incumbent_evaluation.problem}")
        if evidence.evaluation.dataset_root != evidence.incumbent_evaluation.dataset_root:
            raise GateError(
                "candidate and incumbent were evaluated on different datasets; evaluate the incumbent again"
            )
        if candidate.keys() != incumbent.keys():
            odd = len(candidate.keys() ^ incumbent.keys())
            raise GateError(f"{odd} examples were answered by one version only; a paired test needs the same examples")

    def _betting(self, new: list[float], old: list[float]) -> bool:
        sign = 1.0 if self.higher_is_better else -1.0
        bounded = all(0 <= sign * value <= 1 for value in (*new, *old))
        if self.test == "betting" and not bounded:
            raise GateError(f"test betting needs scores in [0, 1]; {self.metric!r} has others")
        fits = bounded and self.rule == "non_inferior" and self.margin < 1
        return self.test == "betting" or (self.test == "auto" and fits)

    def _paired(self, new: list[float], old: list[float]) -> GateResult:
        differences = [a - b for a, b in zip(new, old, strict=True)]
        shows = self.rule == "non_inferior"
        tested = differences if shows else [-value for value in differences]
        test = bounded_non_inferiority if self._betting(new, old) else non_inferiority
        result = test(tested, margin=self.margin if shows else 0.0)
        mean = math.fsum(differences) / len(differences)
        significant = result.p_value < self.alpha
        good = significant if shows else not significant
        asked = f"a loss below {self.margin:g} must be shown" if shows else "no significant loss may be seen"
        reason = (
            f"{self.metric} differs by {mean:+.4g} over {result.n} pairs (one-sided p {result.p_value:.4g}, "
            f"alpha {self.alpha:g}); {asked}"
        )
        low, high = (result.low, result.high) if shows else (-result.high, -result.low)
        facts = {"mean_difference": mean, "low_90": low, "high_90": high, "p_value": result.p_value, "pairs": result.n}
        return (self.passed if good else self.failed)(reason, **facts)

    def _mcnemar(self, new: list[float], old: list[float]) -> GateResult:
        if any(abs(value) not in (0.0, 1.0) for value in (*new, *old)):
            raise GateError(f"test mcnemar needs 0 or 1 per example; {self.metric!r} has other values")
        # Where lower is better the values were negated, so the good one is 0 and the bad one -1.
        hit = 1.0 if self.higher_is_better else 0.0
        p_value = mcnemar([value == hit for value in new], [value == hit for value in old])
        good = p_value >= self.alpha
        reason = f"McNemar one-sided p {p_value:.4g} over {len(new)} pairs; below {self.alpha:g} is a loss"
        return (self.passed if good else self.failed)(reason, p_value=p_value, pairs=len(new))


class FairnessGate(GateSpec):
    """The metric's mean differs little between groups."""

    kind: ClassVar[str] = "fairness"
    metric: str
    group: str
    """Column that names the group of an example."""
    max_gap: float = Field(gt=0, allow_inf_nan=False)
    """Largest difference between the best and the worst group's mean."""
    min_group: int = Field(default=_MIN_EXAMPLES, ge=1)

    @property
    def name(self) -> str:
        """Name in reports."""
        return f"fairness:{self.metric}/{self.group}"

    def evaluate(self, evidence: Evidence) -> GateResult:
        """Compare group means; a group that is too small is undecided."""
        values = evidence.column(self.metric)
        assert evidence.evaluation is not None
        groups: defaultdict[str, list[float]] = defaultdict(list)
        for row in evidence.evaluation.examples:
            if row.get(self.group) in (None, ""):
                raise GateError(f"example {row['example_id']!r} has no {self.group!r}")
            groups[str(row[self.group])].append(values[str(row["example_id"])])
        if len(groups) < 2:
            raise GateError(f"{self.group!r} has one group only: there is no gap to measure")
        small = sorted(name for name, members in groups.items() if len(members) < self.min_group)
        if small:
            raise GateError(f"groups {', '.join(small)} have fewer than {self.min_group} examples")
        means = {name: math.fsum(members) / len(members) for name, members in groups.items()}
        best, worst = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
        gap = means[best] - means[worst]
        reason = f"{self.metric} differs by {gap:.4g} between {best!r} and {worst!r}; at most {self.max_gap:g} is asked"
        return (self.passed if gap <= self.max_gap else self.failed)(reason, gap=gap, means=means)


class LatencyGate(GateSpec):
    """A quantile of the latency is low enough."""

    kind: ClassVar[str] = "latency"
    at_most_s: float = Field(gt=0, allow_inf_nan=False)
    quantile: float = Field(default=0.95, gt=0, lt=1)
    column: str = "latency_s"
    min_examples: int = Field(default=_MIN_EXAMPLES, ge=1)

    def evaluate(self, evidence: Evidence) -> GateResult:
        """Take the smallest observation with at least ``quantile`` of all at or below it."""
        values = sorted(evidence.column(self.column).values())
        _enough(len(values), self.min_examples)
        seen = values[math.ceil(self.quantile * len(values)) - 1]
        reason = f"p{self.quantile * 100:g} of {self.column} is {seen:.4g} s; at most {self.at_most_s:g} s is asked"
        return (self.passed if seen <= self.at_most_s else self.failed)(reason, seconds=seen, examples=len(values))


class CostGate(GateSpec):
    """The mean cost of an example is low enough, in absolute terms or against the incumbent."""

    kind: ClassVar[str] = "cost"
    mean_at_most_usd: str | None = None
    """Decimal, quoted in the file so that it stays exact."""
    at_most_times_incumbent: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _one_bound(self) -> CostGate:
        if (self.mean_at_most_usd is None) == (self.at_most_times_incumbent is None):
            raise ValueError("needs exactly one of mean_at_most_usd and at_most_times_incumbent")
        if self.mean_at_most_usd is not None:
            _usd(self.mean_at_most_usd)
        return self

    def evaluate(self, evidence: Evidence) -> GateResult:
        """Compare exact means; an example of unknown cost is undecided."""
        mean = _mean_usd(evidence.evaluation.examples if evidence.evaluation else ())
        if self.mean_at_most_usd is not None:
            bound = _usd(self.mean_at_most_usd)
        elif evidence.incumbent is None:
            return self.passed("no version holds the alias yet: there is no cost to compare with")
        else:
            before = _mean_usd(evidence.incumbent_evaluation.examples if evidence.incumbent_evaluation else ())
            bound = before * Decimal(str(self.at_most_times_incumbent))
        reason = f"an example costs {mean:.6f} USD on average; at most {bound:.6f} USD is asked"
        return (self.passed if mean <= bound else self.failed)(reason, mean_usd=str(mean), bound_usd=str(bound))


def _mean_usd(rows: Sequence[Mapping[str, Any]]) -> Decimal:
    costs = [_usd(row.get("cost_usd")) for row in rows]
    if not costs:
        raise GateError("there is no evaluation with costs")
    return sum(costs, Decimal(0)) / len(costs)


def _usd(value: object) -> Decimal:
    try:
        amount = Decimal(str(value))
    except InvalidOperation as error:
        raise GateError(f"{value!r} is no amount in USD") from error
    if not amount.is_finite() or amount < 0:
        raise GateError(f"{value!r} is no amount in USD")
    return amount


def _enough(seen: int, asked: int) -> None:
    if seen < asked:
        raise GateError(f"{seen} examples are too few; {asked} are asked (min_examples)")
