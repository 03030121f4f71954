"""Selection: a winner is called so only where the questions say it, and what is taken is named for what it is."""

from pathlib import Path

import numpy as np
import pytest

from wandb_governance.errors import SweepError
from wandb_governance.sweep.config import ConstraintsSection
from wandb_governance.sweep.records import ResultsFile, TrialRecord
from wandb_governance.sweep.select import select
from wandb_governance.sweep.significance import compare, importance, pareto
from wandb_governance.sweep.space import Configuration

FREE = ConstraintsSection()


def record(number: int, scores: np.ndarray, *, tokens: float = 100.0, **metrics: float) -> TrialRecord:
    configuration = Configuration(
        splitter="recursive",
        tokenizer="characters",
        chunk_size=100 + number,
        chunk_overlap=0,
        retriever="bm25",
        embedding="none",
        reranker="none",
        top_k=5,
        llm="none",
        prompt="none",
        temperature=0.0,
    )
    return TrialRecord(
        run=f"run-{number}",
        configuration=configuration,
        metric="recall",
        corpus="c",
        questions="q",
        metrics={"context_tokens": tokens, "cost_usd": 0.0, "latency_s": 0.0, **metrics},
        scores={f"q{at}": float(score) for at, score in enumerate(scores)},
    )


def questions(count: int = 200, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(count)


def test_a_clear_winner_is_called_best() -> None:
    """Better on nearly every question: P(best) is near 1."""
    base = questions()
    records = [record(number, np.clip(base + 0.2 * (number == 3), 0, 1)) for number in range(8)]
    selection = select(records, FREE)
    assert selection.claim == "best"
    assert selection.winner is not None
    assert selection.winner.record.run == "run-3"
    assert selection.winner.p_best > 0.99


def test_equal_configurations_have_no_winner_and_the_cheapest_is_named() -> None:
    """All tied: nothing is claimed, P(best) is shared, the cheapest is taken and called that."""
    base = questions()
    records = [record(number, base, tokens=500 - 10 * number) for number in range(5)]
    selection = select(records, FREE)
    assert selection.claim == "tied: cheapest taken"
    assert selection.winner is None
    assert selection.choice.record.run == "run-4"
    assert selection.choice.p_best == pytest.approx(0.2)
    assert "No winner" in selection.sentence


def test_without_a_sure_best_the_cheapest_of_the_confident_set_is_taken() -> None:
    """Two good ones that can't be told apart and a bad one: the cheaper good one."""
    base, noise = questions(), np.random.default_rng(1).normal(0, 0.05, (2, 200))
    good = [record(number, np.clip(base + noise[number], 0, 1), tokens=100 + number) for number in (0, 1)]
    bad = record(2, np.clip(base - 0.4, 0, 1), tokens=1)
    selection = select([*good, bad], FREE)
    assert selection.claim == "cheapest of the confident set"
    assert selection.choice.record.run == "run-0"
    assert [c.confident for c in selection.candidates if c.record.run == "run-2"] == [False]


def test_more_candidates_make_the_same_evidence_weaker() -> None:
    """The correction: one lucky best among 40 equals is less sure than the better of two."""
    rng = np.random.default_rng(3)
    base = questions(120)
    lucky = np.clip(base + rng.normal(0.02, 0.15, 120), 0, 1)
    others = [np.clip(base + rng.normal(0, 0.15, 120), 0, 1) for _ in range(39)]
    few = compare(np.array([lucky, others[0]]))
    many = compare(np.array([lucky, *others]))
    assert many.p_best[0] < few.p_best[0]
    assert many.confident.sum() > 5


def test_p_best_is_calibrated_on_equal_candidates() -> None:
    """Where all are truly equal a winner is claimed in at most one sweep of twenty."""
    rng = np.random.default_rng(5)
    claims = 0
    for _ in range(60):
        base = rng.random(100)
        scores = np.clip(base + rng.normal(0, 0.1, (10, 100)), 0, 1)
        claims += compare(scores, resamples=500).p_best.max() >= 0.9
    assert claims <= 6


def test_the_confident_set_holds_the_truly_best() -> None:
    """At the 95% level the best candidate is left out of the set in few sweeps."""
    rng = np.random.default_rng(7)
    missed = 0
    for _ in range(60):
        shift = np.zeros((8, 1))
        shift[2] = 0.02
        scores = np.clip(rng.random(100) * 0.8 + shift + rng.normal(0, 0.1, (8, 100)), 0, 1)
        missed += not compare(scores, resamples=500).confident[2]
    assert missed <= 6


def test_constraints_leave_candidates_out_and_say_why() -> None:
    """Too dear, too slow, or blocked by a policy; an unknown price does not pass a limit on price."""
    base = questions()
    records = [
        record(0, base),
        record(1, base + 0.1, cost_usd=0.5),
        record(2, base + 0.1, latency_s=9.0),
        record(3, base + 0.1, blocked=1.0),
    ]
    unknown = record(4, base)
    del unknown.metrics["cost_usd"]
    limits = ConstraintsSection(cost_usd_per_question=0.1, latency_s=1.0, policy_clean=True)
    selection = select([*records, unknown], limits)
    assert selection.choice.record.run == "run-0"
    assert {run for run, _ in selection.excluded} == {"run-1", "run-2", "run-3", "run-4"}
    with pytest.raises(SweepError, match="keeps to the constraints"):
        select(records[1:], limits)


def test_failed_trials_are_counted_and_left_out() -> None:
    """A failure is no score of zero."""
    from dataclasses import replace

    base = questions()
    failed = replace(record(1, base), error="the model is down", scores={})
    selection = select([record(0, base), failed], FREE)
    assert (selection.failed, len(selection.candidates)) == (1, 1)
    with pytest.raises(SweepError, match="the model is down"):
        select([failed], FREE)


def test_trials_of_other_data_are_not_compared() -> None:
    """A corpus that changed between two trials is an error, not a comparison."""
    from dataclasses import replace

    base = questions()
    with pytest.raises(SweepError, match="corpus"):
        select([record(0, base), replace(record(1, base), corpus="other")], FREE)


def test_the_holdout_can_contradict_the_search() -> None:
    """A winner by luck is beaten on questions that the search did not see, and that is said."""
    base = questions()
    records = [record(0, np.clip(base + 0.2, 0, 1)), record(1, base)]
    fresh = questions(150, seed=9)

    def confirm(asked: list[TrialRecord]) -> list[list[float]]:
        return [list(np.clip(fresh - 0.3 * (one.run == "run-0"), 0, 1)) for one in asked]

    selection = select(records, FREE, confirm=confirm)
    assert selection.confirmation is not None
    assert not selection.confirmation.confirmed
    assert selection.confirmation.beaten_by == ("run-1",)
    assert selection.confirmation.optimism > 0.2


def test_a_score_that_is_not_a_number_is_an_error() -> None:
    """No mean is taken over it."""
    with pytest.raises(SweepError, match="not a number"):
        compare(np.array([[0.1, float("nan")], [0.1, 0.2]]))


def test_the_front_keeps_equals_and_drops_the_beaten() -> None:
    """A point stays unless another is at least as good everywhere and better somewhere."""
    points = np.array([[1.0, -5.0], [1.0, -5.0], [0.5, -1.0], [0.4, -2.0]])
    assert pareto(points).tolist() == [True, True, True, False]


def test_importance_finds_the_parameter_that_matters() -> None:
    """Scores that depend on k alone: k explains all, the size nothing."""
    values: list[dict[str, object]] = [{"k": k, "size": size} for k in (1, 3, 5) for size in (1, 2)]
    found = importance(values, np.array([float(v["k"]) for v in values]))  # type: ignore[arg-type]
    assert found["k"] == pytest.approx(1.0)
    assert found["size"] == pytest.approx(0.0)


def test_a_results_file_survives_a_crash_in_a_line(tmp_path: Path) -> None:
    """A record that was cut off is thrown away; the next one starts on a line of its own."""
    results = ResultsFile(tmp_path)
    first, second = record(0, questions(5)), record(1, questions(5))
    results.append(first)
    results.append(second)
    data = results.file.read_bytes()
    for cut in range(len(data) // 2 + 1, len(data), 7):
        results.file.write_bytes(data[:cut])
        assert results.read() == [first]
        results.append(second)
        assert results.read() == [first, second]
