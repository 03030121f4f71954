"""What a trial found, question by question and in the mean."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from wandb_governance.errors import SweepError

if TYPE_CHECKING:
    from wandb_governance.sweep.space import Configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionResult:
    """What a trial found for one question."""

    question: str
    """Id of the question."""
    scores: dict[str, float]
    """By metric; empty for a question that the corpus does not answer and that was not generated for."""
    chunks: tuple[str, ...]
    """Ids of the chunks handed over, best first."""
    context_tokens: int
    answer: str | None
    """The first sample."""
    cost_usd: str | None
    """Decimal USD when the models were really called; None where a price is unknown."""
    latency_s: float
    """Cold: retrieval and answer as measured when they were not in the store."""
    verdict: str = "allow"


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """What a trial found."""

    configuration: Configuration
    metric: str
    index_key: str
    index_rows: int
    truncated_chunks: int
    """Chunks longer than what the embedding model reads."""
    results: tuple[QuestionResult, ...]
    warnings: tuple[str, ...] = ()

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Mean over the questions that have the score; standard deviations as ``<name>_sd``."""
        names = list(dict.fromkeys(name for result in self.results for name in result.scores))
        means: dict[str, float] = {}
        for name in names:
            values = np.array([r.scores[name] for r in self.results if name in r.scores])
            means[name], means[f"{name}_sd"] = float(values.mean()), float(values.std())
        means["context_tokens"] = float(np.mean([r.context_tokens for r in self.results]))
        means["latency_s"] = float(np.mean([r.latency_s for r in self.results]))
        if all(result.cost_usd is not None for result in self.results):
            means["cost_usd"] = float(sum(Decimal(r.cost_usd or 0) for r in self.results) / len(self.results))
        means["blocked"] = float(sum(result.verdict == "block" for result in self.results))
        return means

    @property
    def score(self) -> float:
        """Mean of the sweep's metric.

        Raises:
            SweepError: No question has it.
        """
        if self.metric not in self.metrics:
            raise SweepError(f"no question has a score for {self.metric!r}; is there gold for it?")
        return self.metrics[self.metric]

    @property
    def spent_usd(self) -> Decimal:
        """Known cost of all questions."""
        return sum((Decimal(r.cost_usd) for r in self.results if r.cost_usd is not None), Decimal(0))
