"""The weights that are shipped with the package, and the calibration of what they give."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wandb_governance.policy.rules.injection.signals import signal_names

if TYPE_CHECKING:
    from pathlib import Path

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Log-odds to probability: straight lines between knots, never flat, so that ranks are kept."""

    logits: npt.NDArray[np.float64]
    """Increasing, shape (n_knots,)."""
    probabilities: npt.NDArray[np.float64]
    """Increasing, in (0, 1), shape (n_knots,)."""

    def probability(self, logit: float) -> float:
        """Probability that a text with this score is an attack, in (0, 1)."""
        low, high = float(self.logits[0]), float(self.logits[-1])
        if logit < low:
            return float(self.probabilities[0]) / (1.0 + (low - logit))
        if logit > high:
            return 1.0 - (1.0 - float(self.probabilities[-1])) / (1.0 + (logit - high))
        return float(np.interp(logit, self.logits, self.probabilities))


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A linear model over n-grams and signals, with its calibration."""

    grams: FloatArray
    """Weight of each n-gram entry, shape (2**BITS,)."""
    signals: FloatArray
    """Weight of each signal, shape (n_signals,)."""
    bias: float
    calibration: Calibration


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """The two models of the package: what is ordinary in a prompt may be suspicious in a document."""

    prompt: Weights
    """For what a user writes."""
    document: Weights
    """For retrieved text and tool results, where nobody has a reason to ask the model for anything."""
    version: str
    """First characters of the file's SHA-256."""


def read_models(path: Path) -> Models:
    """Models of a file that the training script wrote.

    Raises:
        ValueError: The file was made for other signals than these.
    """
    with np.load(path) as stored:
        if tuple(stored["signal_names"]) != signal_names():
            raise ValueError(f"{path.name} was made for other signals; run training/injection/train.py")

        def weights(kind: str) -> Weights:
            return Weights(
                grams=stored[f"{kind}_grams"].astype(np.float32) * np.float32(stored[f"{kind}_gram_scale"]),
                signals=stored[f"{kind}_signals"].astype(np.float32),
                bias=float(stored[f"{kind}_bias"]),
                calibration=Calibration(logits=stored[f"{kind}_logits"], probabilities=stored[f"{kind}_probabilities"]),
            )

        version = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        return Models(prompt=weights("prompt"), document=weights("document"), version=version)


@lru_cache(maxsize=1)
def load_models() -> Models:
    """The shipped models; read once."""
    with as_file(files("wandb_governance.policy") / "data" / "injection" / "weights.npz") as path:
        return read_models(path)
