"""Metrics against brute force over single positions, and by their definitions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wandb_governance.errors import SweepError
from wandb_governance.sweep.answer_metrics import exact_match, groundedness, token_f1
from wandb_governance.sweep.metrics import in_tokens, precision_omega, ranking_scores, span_scores

SPAN = st.tuples(st.sampled_from("ab"), st.integers(0, 60), st.integers(1, 15)).map(lambda s: (s[0], s[1], s[1] + s[2]))
SPANS = st.lists(SPAN, min_size=1, max_size=6)


def positions(spans: list[tuple[str, int, int]]) -> set[tuple[str, int]]:
    return {(doc, at) for doc, start, end in spans for at in range(start, end)}


@given(gold=SPANS, retrieved=SPANS)
def test_span_scores_equal_counting_positions(
    gold: list[tuple[str, int, int]], retrieved: list[tuple[str, int, int]]
) -> None:
    """Interval arithmetic equals counting one position at a time."""
    wanted, found = positions(gold), positions(retrieved)
    handed_over = sum(end - start for _, start, end in retrieved)
    scores = span_scores(gold, retrieved)
    assert scores["recall"] == pytest.approx(len(wanted & found) / len(wanted))
    assert scores["precision"] == pytest.approx(len(wanted & found) / handed_over)
    assert scores["iou"] == pytest.approx(len(wanted & found) / (handed_over + len(wanted - found)))


@given(gold=SPANS, chunks=SPANS)
def test_precision_omega_equals_counting_positions(
    gold: list[tuple[str, int, int]], chunks: list[tuple[str, int, int]]
) -> None:
    """The ideal retrieval is every chunk that shares a position with an excerpt."""
    touching = [chunk for chunk in chunks if positions([chunk]) & positions(gold)]
    covered, wanted = positions(touching), positions(gold)
    arrays = {
        doc: (np.array([c[1] for c in chunks if c[0] == doc]), np.array([c[2] for c in chunks if c[0] == doc]))
        for doc in {c[0] for c in chunks}
    }
    assert precision_omega(gold, arrays) == pytest.approx(len(covered & wanted) / len(covered | wanted))


def test_a_question_without_gold_has_no_score() -> None:
    """It is counted apart, never scored as a miss."""
    for call in (
        lambda: span_scores([], [("a", 0, 1)]),
        lambda: precision_omega([], {}),
        lambda: ranking_scores({}, []),
    ):
        with pytest.raises(SweepError):
            call()


def test_ndcg_equals_a_worked_example() -> None:
    """Grades 3, 2, 0, 1 in this order, as in the definition with gain 2^g - 1."""
    scores = ranking_scores({"a": 3, "b": 2, "d": 1}, ["a", "b", "c", "d"])
    gained = 7 / math.log2(2) + 3 / math.log2(3) + 1 / math.log2(5)
    ideal = 7 / math.log2(2) + 3 / math.log2(3) + 1 / math.log2(4)
    assert scores["ndcg"] == pytest.approx(gained / ideal)
    assert scores["mrr"] == 1.0
    assert scores["recall_docs"] == 1.0


def test_a_repeated_document_counts_once() -> None:
    """Several chunks of one document don't lift its rank or its gain."""
    assert ranking_scores({"b": 1}, ["a", "a", "b"])["mrr"] == 0.5


def test_spans_in_tokens_cover_the_tokens_they_touch() -> None:
    """A character span that cuts a token has the whole token."""
    starts = {"d": np.array([0, 4, 8, 12])}
    assert in_tokens([("d", 5, 9)], starts) == [("d", 1, 3)]
    assert in_tokens([("d", 4, 8)], starts) == [("d", 1, 2)]


def test_answer_metrics_follow_squad() -> None:
    """Case, articles and punctuation don't count; F1 is over words."""
    assert exact_match("The Eiffel tower!", ["eiffel Tower"]) == 1.0
    assert token_f1("in the big Paris", ["Paris", "London"]) == pytest.approx(2 * (1 / 3) / (1 / 3 + 1))
    assert token_f1("", [""]) == 1.0


def test_groundedness_is_the_share_of_words_that_were_retrieved() -> None:
    """Words that no chunk holds lower it."""
    assert groundedness("red blue green pink", ["a red", "blue thing"]) == 0.5
    assert groundedness("", []) == 1.0
