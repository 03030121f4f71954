"""Spend little on what will lose: retrieval before answers, few questions before many."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from wandb_governance.errors import GovernanceError
from wandb_governance.sweep.metrics import ANSWER_METRICS
from wandb_governance.sweep.significance import pareto
from wandb_governance.sweep.space import NONE
from wandb_governance.sweep.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wandb_governance.sweep.questions import Question
    from wandb_governance.sweep.runner import Outcome, Runner
    from wandb_governance.sweep.space import Configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class Screening:
    """What screening left, and what it cost."""

    survivors: tuple[Configuration, ...]
    evaluations: int
    """Questions asked of configurations, a question that was asked in an earlier rung not again."""
    exhaustive: int
    """What asking every question of every configuration would have been."""
    rungs: tuple[tuple[int, int], ...]
    """Configurations and questions of each rung."""


def halve(
    configurations: Sequence[Configuration],
    questions: Sequence[Question],
    evaluate: Callable[[Configuration, Sequence[Question]], Sequence[float]],
    *,
    first: int,
    factor: int,
) -> Screening:
    """Successive halving over questions.

    Every rung keeps the best of the last one and asks them more questions; questions are nested, so a score is only
    computed for those that are new. Equal means keep their order.

    Args:
        configurations: Candidates.
        questions: In asking order.
        evaluate: Scores of one configuration on some questions, shape (n_questions,).
        first: Questions in the first rung.
        factor: One in this many candidates goes on, and questions grow by this factor.

    Source:
        Jamieson and Talwalkar, Non-stochastic Best Arm Identification and Hyperparameter Optimization, 2016.
    """
    alive, asked, evaluations = list(configurations), 0, 0
    totals: dict[str, float] = {c.key: 0.0 for c in configurations}
    rungs: list[tuple[int, int]] = []
    size = min(first, len(questions))
    while True:
        fresh = questions[asked:size]
        for configuration in alive:
            totals[configuration.key] += float(np.sum(evaluate(configuration, fresh)))
        evaluations += len(alive) * len(fresh)
        rungs.append((len(alive), size))
        asked = size
        if size == len(questions):
            break
        alive.sort(key=lambda c: -totals[c.key])
        alive = alive[: max(1, -(-len(alive) // factor))]
        size = min(size * factor, len(questions))
    return Screening(
        survivors=tuple(alive),
        evaluations=evaluations,
        exhaustive=len(configurations) * len(questions),
        rungs=tuple(rungs),
    )


def retrieval_front(runner: Runner, configurations: Sequence[Configuration]) -> list[Configuration]:
    """Configurations whose retrieval no other beats in recall and in context tokens at once; nothing is generated.

    Retrieval and answer quality are only loosely related, so this leaves a front and not a winner.
    """
    points: dict[str, tuple[float, float]] = {}
    for configuration in configurations:
        plain = replace(configuration, llm=NONE, prompt=NONE, temperature=0.0)
        if plain.key not in points:
            metrics = Trial(sweep=runner.sweep, configuration=plain, store=runner.store).ask(runner.questions).metrics
            quality = metrics.get("recall", metrics.get("ndcg", 0.0))
            points[plain.key] = (quality, -metrics["context_tokens"])
    keys = list(points)
    front = {key for key, kept in zip(keys, pareto(np.array([points[key] for key in keys])), strict=True) if kept}
    return [c for c in configurations if replace(c, llm=NONE, prompt=NONE, temperature=0.0).key in front]


def screened(runner: Runner) -> Outcome:
    """Run a sweep by screening: the retrieval front where answers are scored, then successive halving.

    The survivors are then run in full, so that they are compared on all questions.
    """
    spec = runner.sweep.spec
    section = spec.screening
    configurations = runner.planned()
    if section is None:
        return runner.run(configurations)
    if spec.metric.name in ANSWER_METRICS:
        configurations = retrieval_front(runner, configurations)

    def evaluate(configuration: Configuration, questions: Sequence[Question]) -> list[float]:
        trial = Trial(
            sweep=runner.sweep,
            configuration=configuration,
            store=runner.store,
            draw=f"local-{configuration.key}",
            executor=runner.executor,
        )
        try:
            results = trial.ask(questions).results if questions else ()
        except GovernanceError:
            return [float("-inf")]
        return [result.scores.get(spec.metric.name, 0.0) for result in results]

    found = halve(configurations, runner.questions, evaluate, first=section.first_questions, factor=section.factor)
    outcome = runner.run(found.survivors)
    return replace(outcome, screening=found)
