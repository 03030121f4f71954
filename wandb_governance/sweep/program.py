"""A trial as W&B sees it: the program that ``wandb agent`` starts, and a sweep's runs as records."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from wandb_governance.errors import GovernanceError
from wandb_governance.sweep.compile import DATA_KEYS, check_data
from wandb_governance.sweep.holdout import shuffled, split_questions
from wandb_governance.sweep.records import TrialRecord
from wandb_governance.sweep.trial import NoObserver, Trial

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from wandb_governance.backend.sweeps import SweepRuns, TrialRun
    from wandb_governance.sweep.build import Executor
    from wandb_governance.sweep.cache import Store
    from wandb_governance.sweep.config import RagSweep
    from wandb_governance.sweep.questions import Question
    from wandb_governance.sweep.result import TrialResult
    from wandb_governance.sweep.trial import Observer

QUESTIONS_TABLE = "questions"
_STEPS = 9  # reports of a trial that hyperband may stop

_COLUMNS = ("question", "text", "score", "verdict", "context_tokens", "latency_s", "cost_usd", "chunks", "answer")


def run_trial(
    sweep: RagSweep,
    run: TrialRun,
    store: Store,
    *,
    observer: Observer | None = None,
    executor: Executor | None = None,
) -> TrialResult:
    """Do what a sweep's run asks for, and log it.

    The metric's own name gets the final mean only. With hyperband it also gets lower bounds on the way: scores so far
    over all questions, which never exceed the final mean, so the best value in the history is the final one.

    Raises:
        GovernanceError: The trial failed; the run is marked failed with the reason.
    """
    try:
        check_data(sweep, run.parameters)
        configuration = sweep.space.configuration(run.parameters)
        run.name(configuration.label, {"rag": asdict(configuration) | {"key": configuration.key}})
        trial = Trial(
            sweep=sweep,
            configuration=configuration,
            store=store,
            draw=run.id,
            observer=observer or NoObserver(),
            executor=executor,
        )
        questions = search_questions(sweep)
        result = _ask_in_steps(trial, questions, run) if sweep.spec.search.early_stop else trial.ask(questions)
        _log(run, sweep, result)
    except GovernanceError as error:
        run.summarise({"rag_error": str(error)})
        raise
    return result


def search_questions(sweep: RagSweep) -> list[Question]:
    """Questions that the search may see, in asking order."""
    spec = sweep.spec
    seen, _ = split_questions(sweep.questions, holdout=spec.questions.holdout, seed=spec.search.seed)
    return shuffled(seen, seed=spec.search.seed)


def holdout_questions(sweep: RagSweep) -> list[Question]:
    """Questions that only confirm a winner."""
    spec = sweep.spec
    return list(split_questions(sweep.questions, holdout=spec.questions.holdout, seed=spec.search.seed)[1])


def records_of(found: SweepRuns, sweep: RagSweep) -> list[TrialRecord]:
    """The runs of a sweep as records: each configuration once, the first run that finished."""
    records: dict[str, TrialRecord] = {}
    for run in sorted(found.runs, key=lambda run: run.id):
        if run.state == "running":
            continue
        configuration = sweep.space.configuration(run.config)
        error = None if run.rows else str(run.summary.get("rag_error") or f"the run {run.state} without results")
        record = TrialRecord(
            run=run.id,
            configuration=configuration,
            metric=sweep.spec.metric.name,
            corpus=str(run.config.get("corpus_digest")),
            questions=str(run.config.get("questions_digest")),
            metrics={
                k: float(v) for k, v in run.summary.items() if isinstance(v, int | float) and not k.startswith("_")
            },
            scores={str(row["question"]): float(row["score"]) for row in run.rows if row["score"] is not None},
            index_key=str(run.summary.get("index_key", "")),
            error=error,
        )
        known = records.get(configuration.key)
        if known is None or (known.error is not None and error is None):
            records[configuration.key] = record
    return list(records.values())


def missing_points(found: SweepRuns, sweep: RagSweep, *, alive: Collection[str]) -> list[dict[str, Any]]:
    """Grid points of a sweep that no run has finished and no living run is at work on.

    Args:
        found: The sweep's runs.
        sweep: The sweep file; its search is a grid.
        alive: Ids of runs that are known to be at work.
    """
    taken = {
        sweep.space.configuration(run.config).key
        for run in found.runs
        if run.state == "finished" or (run.state == "running" and run.id in alive)
    }
    fixed = {key: value["value"] for key, value in found.config.get("parameters", {}).items() if key in DATA_KEYS}
    points = sweep.space.points()
    return [point | fixed for point in points if sweep.space.configuration(point).key not in taken]


def _ask_in_steps(trial: Trial, questions: Sequence[Question], run: TrialRun) -> TrialResult:
    name, size = trial.sweep.spec.metric.name, -(-len(questions) // _STEPS)
    parts: list[TrialResult] = []
    scored = sum(question.answerable for question in questions) or 1
    for first in range(0, len(questions), size):
        parts.append(trial.ask(questions[first : first + size]))
        so_far = sum(result.scores.get(name, 0.0) for part in parts for result in part.results)
        if first + size < len(questions):
            run.log({name: so_far / scored})
    return replace(parts[-1], results=tuple(result for part in parts for result in part.results))


def _log(run: TrialRun, sweep: RagSweep, result: TrialResult) -> None:
    texts = {question.id: question.text for question in sweep.questions.questions}
    scores = sorted({name for one in result.results for name in one.scores})
    rows = [
        [
            one.question,
            texts[one.question],
            one.scores.get(result.metric),
            one.verdict,
            one.context_tokens,
            one.latency_s,
            None if one.cost_usd is None else float(one.cost_usd),
            " ".join(one.chunks),
            one.answer,
            *(one.scores.get(name) for name in scores),
        ]
        for one in result.results
    ]
    run.log_table(QUESTIONS_TABLE, [*_COLUMNS, *(f"score.{name}" for name in scores)], rows)
    run.summarise(_facts(result))
    run.log(result.metrics)


def _facts(result: TrialResult) -> Mapping[str, Any]:
    return {
        "index_key": result.index_key,
        "index_rows": result.index_rows,
        "truncated_chunks": result.truncated_chunks,
        "questions_scored": sum(result.metric in one.scores for one in result.results),
        "questions_unanswerable": sum(not one.scores for one in result.results),
        "rag_warnings": list(result.warnings),
    }
