"""Which of many configurations is best, judged by resampling the questions they were all asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wandb_governance.errors import SweepError

FloatArray = npt.NDArray[np.float64]

RESAMPLES = 10_000
_BLOCK = 1_000  # resamples at once, to bound memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What resampled questions say about candidates."""

    means: FloatArray
    """Shape (n_candidates,)."""
    low: FloatArray
    """2.5% quantile of the resampled mean, shape (n_candidates,)."""
    high: FloatArray
    """97.5% quantile, shape (n_candidates,)."""
    p_best: FloatArray
    """Share of resamples in which a candidate has the highest mean, ties shared; shape (n_candidates,), sums to 1."""
    confident: npt.NDArray[np.bool_]
    """Candidates that can't be told from the one with the highest mean, all candidates taken together."""


def compare(scores: FloatArray, *, seed: int = 0, resamples: int = RESAMPLES, level: float = 0.95) -> Comparison:
    """Compare candidates over the same questions.

    P(best) counts every candidate in every resample, so a crowd of equals shares it. The confident set holds every
    candidate whose distance from the best mean is within the ``level`` quantile of the largest studentised distance
    over all candidates (the max-t correction for many comparisons) and whose P(best) is at least (1 - ``level``) over
    the number of candidates, so that those left out for that share at most 1 - ``level``.

    Args:
        scores: Shape (n_candidates, n_questions), higher is better, all finite.
        seed: Of the resampling.
        resamples: Number of resamples of the questions with replacement.
        level: Of the confident set, for all candidates together.

    Raises:
        SweepError: Fewer than two questions, no candidate, or a score that is not a number.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993; Westfall and Young, Resampling-Based Multiple
        Testing, 1993, for max-t; Hansen, Lunde and Nason, The Model Confidence Set, 2011, for the set.
    """
    if scores.ndim != 2 or scores.shape[0] < 1 or scores.shape[1] < 2:
        raise SweepError(f"wanted scores of at least one candidate on at least two questions, got shape {scores.shape}")
    if not np.isfinite(scores).all():
        raise SweepError("a score is not a number")
    means = scores.mean(axis=1)
    resampled = _resampled_means(scores, seed=seed, resamples=resamples)
    tops = np.isclose(resampled, resampled.max(axis=1, keepdims=True), rtol=0, atol=1e-12)
    p_best = (tops / tops.sum(axis=1, keepdims=True)).mean(axis=0)
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    likely = p_best >= (1 - level) / len(scores)
    confident = _confident(means, resampled, level) & likely
    return Comparison(means=means, low=low, high=high, p_best=p_best, confident=confident)


def _resampled_means(scores: FloatArray, *, seed: int, resamples: int) -> FloatArray:
    """Shape (resamples, n_candidates)."""
    rng = np.random.default_rng(seed)
    questions = scores.shape[1]
    parts = []
    for first in range(0, resamples, _BLOCK):
        count = min(_BLOCK, resamples - first)
        weights = rng.multinomial(questions, np.full(questions, 1 / questions), size=count)
        parts.append(weights @ scores.T / questions)
    return np.concatenate(parts)


def _confident(means: FloatArray, resampled: FloatArray, level: float) -> npt.NDArray[np.bool_]:
    best = int(means.argmax())
    distance = means[best] - means
    shifts = (resampled[:, [best]] - resampled) - distance
    spread = shifts.std(axis=0)
    varies = spread > 1e-12
    if not varies.any():
        return np.asarray(distance <= 1e-12)
    largest = (np.abs(shifts[:, varies]) / spread[varies]).max(axis=1)
    critical = float(np.quantile(largest, level))
    return np.asarray(np.where(varies, distance <= critical * spread, distance <= 1e-12))


def pareto(points: FloatArray) -> npt.NDArray[np.bool_]:
    """Which points no other point beats.

    Args:
        points: Shape (n_points, n_objectives), higher is better in each.

    Returns:
        Shape (n_points,); equal points stay together.
    """
    kept = np.ones(len(points), dtype=bool)
    for row, point in enumerate(points):
        beaten = (points >= point).all(axis=1) & (points > point).any(axis=1)
        kept[row] = not beaten.any()
    return kept


def importance(values: list[dict[str, object]], scores: FloatArray) -> dict[str, float]:
    """How much of the spread of scores each parameter explains by itself.

    The variance of the mean score per value over the variance of all scores (eta squared), in [0, 1]; on a full grid
    these are the main effects of a functional ANOVA.

    Args:
        values: Parameters of each trial.
        scores: Shape (n_trials,).

    Source:
        Hutter, Hoos and Leyton-Brown, An Efficient Approach for Assessing Hyperparameter Importance, 2014.
    """
    total = float(scores.var())
    found: dict[str, float] = {}
    for name in dict.fromkeys(key for row in values for key in row):
        groups: dict[object, list[float]] = {}
        for row, score in zip(values, scores, strict=True):
            groups.setdefault(row.get(name), []).append(float(score))
        if len(groups) > 1:
            between = sum(len(g) * (np.mean(g) - scores.mean()) ** 2 for g in groups.values()) / len(scores)
            found[name] = float(between / total) if total > 0 else 0.0
    return dict(sorted(found.items(), key=lambda item: -item[1]))
