"""Paired tests on per-example results."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_RESAMPLES = 9_999
_EXACT_UP_TO = 13
_BLOCK = 1_000
_BETS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedResult:
    """What a paired comparison found."""

    n: int
    mean_difference: float
    """Candidate minus incumbent."""
    low: float
    """Lower bound of the 90 % bootstrap interval of the mean difference."""
    high: float
    p_value: float
    """One-sided."""


def non_inferiority(differences: Sequence[float], *, margin: float, seed: int = 0) -> PairedResult:
    """Is the candidate worse by less than ``margin``? Small p says yes.

    A sign-flip randomisation test of the mean of ``difference + margin`` against zero; exact up to 13 pairs.

    Args:
        differences: Candidate minus incumbent per example, larger is better, shape (n,), n >= 1.
        margin: Largest loss that is accepted, >= 0, in units of the metric.
        seed: Of the Monte-Carlo draws, so that a re-run gives the same p.

    Source:
        Fisher, The Design of Experiments, 1935, section 21; Good, Permutation Tests, 2000, chapter 3. The statistic is
        studentised, which keeps the level when differences are skewed (Janssen, 1997).
    """
    values = np.asarray(differences, dtype=np.float64)
    shifted = values + margin
    rng = np.random.default_rng(seed)
    low, high = _bootstrap(values, rng)
    return PairedResult(
        n=len(values),
        mean_difference=float(values.mean()),
        low=low,
        high=high,
        p_value=_sign_flip(shifted, rng),
    )


def bounded_non_inferiority(differences: Sequence[float], *, margin: float, seed: int = 0) -> PairedResult:
    """The same question for scores in [0, 1], answered without any assumption on their distribution.

    Bets that the mean of ``difference + margin`` is above zero multiply a capital of 1; under the opposite the
    capital's expectation stays at most 1, so one over the capital is a valid p for every n. A sign-flip test is not:
    where a loss is rare, a small sample shows none by luck.

    Args:
        differences: Candidate minus incumbent per example, in [-1, 1], larger is better, shape (n,), n >= 1.
        margin: Largest loss that is accepted, in (0, 1).
        seed: Of the bootstrap interval.

    Source:
        Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, 2024; the capital is averaged
        over a grid of fixed bets, so that the order of examples does not matter.
    """
    values = np.asarray(differences, dtype=np.float64)
    bets = np.linspace(0, 1 / (1 - margin), _BETS + 2)[1:-1]
    with np.errstate(over="ignore"):
        capital = float(np.exp(np.log1p(np.outer(bets, values + margin)).sum(axis=1)).mean())
    low, high = _bootstrap(values, np.random.default_rng(seed))
    p_value = min(1.0, 1.0 / capital) if capital > 0 else 1.0
    return PairedResult(n=len(values), mean_difference=float(values.mean()), low=low, high=high, p_value=p_value)


def mcnemar(candidate: Sequence[bool], incumbent: Sequence[bool]) -> float:
    """One-sided exact McNemar test: small p says that the candidate is worse.

    Args:
        candidate: Right or wrong per example, shape (n,).
        incumbent: The same examples, shape (n,).

    Source:
        McNemar, 1947; exact binomial form.
    """
    lost = sum(1 for new, old in zip(candidate, incumbent, strict=True) if old and not new)
    won = sum(1 for new, old in zip(candidate, incumbent, strict=True) if new and not old)
    total = lost + won
    if total == 0:
        return 1.0
    tail = sum(math.comb(total, k) for k in range(lost, total + 1))
    return float(tail / 2**total)


def _sign_flip(values: np.ndarray, rng: np.random.Generator) -> float:
    """One-sided p of the studentised mean being this large when signs are arbitrary."""
    n = len(values)
    observed = _studentised(values[None, :])[0]
    if n <= _EXACT_UP_TO:
        bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        flipped = _studentised(values * (1 - 2 * bits))
        return float(np.mean(flipped >= observed - 1e-12))
    at_least = 0
    for start in range(0, _RESAMPLES, _BLOCK):
        rows = min(_BLOCK, _RESAMPLES - start)
        signs = rng.integers(0, 2, size=(rows, n), dtype=np.int8) * 2 - 1
        at_least += int(np.sum(_studentised(values * signs) >= observed - 1e-12))
    return (at_least + 1) / (_RESAMPLES + 1)


def _studentised(rows: np.ndarray) -> np.ndarray:
    """Mean over its standard error, per row; a row without spread counts as far out on the side of its mean."""
    mean = rows.mean(axis=1)
    spread = np.sqrt(np.maximum(np.square(rows).mean(axis=1) - np.square(mean), 1e-18))
    ratio: np.ndarray = mean / spread
    return ratio


def _bootstrap(values: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    means = [values[rng.integers(0, len(values), size=(_BLOCK, len(values)))].mean(axis=1) for _ in range(2)]
    low, high = np.quantile(np.concatenate(means), [0.05, 0.95])
    return float(low), float(high)
