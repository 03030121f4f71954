"""From log-odds to probabilities, on scores of sets that the scoring model has not seen."""

from __future__ import annotations

import itertools

import numpy as np
from sklearn.isotonic import IsotonicRegression

from wandb_governance.policy.rules.injection.weights import Calibration

PRIOR = 0.25
"""Share of attacks in the stream for which the probability holds."""
KNOTS = 24
SLOPE = 1e-3
"""Least rise of the probability over the whole range, so that ranks are kept."""


def fit_calibration(
    logit: np.ndarray, label: np.ndarray, source: np.ndarray, *, attacks: tuple[str, ...], benign: tuple[str, ...]
) -> Calibration:
    """Isotonic regression through few knots; every set counts alike and attacks have the share ``PRIOR``.

    Args:
        logit: Log-odds by a model that has not seen the text's set, shape (n,); NaN where there is none.
        label: 1 for attacks, shape (n,).
        source: Set of each text, shape (n,).
        attacks: Sets whose attacks count.
        benign: Sets whose benign texts count.
    """
    weight = np.zeros(len(logit))
    for names, value, share in ((attacks, 1, PRIOR), (benign, 0, 1 - PRIOR)):
        for name in names:
            mine = (source == name) & (label == value) & ~np.isnan(logit)
            weight[mine] = share / len(names) / max(1, int(mine.sum()))
    used = weight > 0
    order = np.argsort(logit[used], kind="stable")
    x, y, w = logit[used][order], label[used][order], weight[used][order]
    fitted = IsotonicRegression(y_min=1e-4, y_max=1 - 1e-4).fit(x, y, sample_weight=w).predict(x)
    positions = np.searchsorted(
        np.cumsum(w * (0.5 + 4 * y)) / np.sum(w * (0.5 + 4 * y)), np.linspace(0.01, 0.99, KNOTS)
    )
    knots = np.unique(np.round(x[np.minimum(positions, len(x) - 1)], 3))
    edges = np.concatenate([[-np.inf], (knots[1:] + knots[:-1]) / 2, [np.inf]])
    values = [
        float(np.average(fitted[inside], weights=w[inside])) if (inside := (x > low) & (x <= high)).any() else np.nan
        for low, high in itertools.pairwise(edges)
    ]
    filled = np.interp(knots, knots[~np.isnan(values)], np.array(values)[~np.isnan(values)])
    rising = np.maximum.accumulate(filled) * (1 - SLOPE) + np.linspace(0, SLOPE, len(knots)) * 0.9
    return Calibration(logits=knots, probabilities=rising)


def reliability(probability: np.ndarray, label: np.ndarray) -> list[dict[str, float]]:
    """Share of attacks among texts of each band of probability, as they are in the evaluated sets."""
    edges = [0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0]
    table = []
    for low, high in itertools.pairwise(edges):
        mine = (probability >= low) & (probability < high if high < 1 else probability <= 1)
        if mine.any():
            table.append(
                {
                    "from": low,
                    "to": high,
                    "n": int(mine.sum()),
                    "mean_probability": round(float(probability[mine].mean()), 4),
                    "share_of_attacks": round(float(label[mine].mean()), 4),
                }
            )
    return table
