"""The report on a detector of prompt injections."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wandb_governance.policy.evaluate_injection import evaluate_injection
from wandb_governance.policy.verdict import Scope


@dataclass(frozen=True)
class Stated:
    """A detector whose scores are the texts themselves."""

    threshold: float = 0.5

    def score(self, text: str, scope: Scope = Scope.INPUT) -> float:
        return float(text)


def labelled(attacks: list[float], benign: list[float]) -> list[dict[str, object]]:
    return [{"text": str(score), "label": 1} for score in attacks] + [
        {"text": str(score), "label": 0, "source": "quiet"} for score in benign
    ]


def test_a_perfect_detector_has_perfect_figures() -> None:
    """All attacks above all benign texts: AUROC and both rates are 1."""
    report = evaluate_injection(labelled([0.8, 0.9], [0.1, 0.2, 0.3]), Stated())
    assert (report.macro_auroc, report.macro_tpr_at_1_fpr, report.tpr, report.fpr) == (1.0, 1.0, 1.0, 0.0)
    assert report.benign["quiet"].texts == 3


def test_ties_count_half() -> None:
    """Equal scores say nothing: AUROC 0.5, and nothing is found at 1 % false positives."""
    report = evaluate_injection(labelled([0.4] * 5, [0.4] * 5), Stated())
    assert report.macro_auroc == 0.5
    assert report.macro_tpr_at_1_fpr == 0.0


def test_sets_count_alike_in_the_mean() -> None:
    """A small set weighs as much as a large one."""
    rows = [{"text": "0.9", "label": 1, "source": "large"}] * 9 + [{"text": "0.1", "label": 1, "source": "small"}]
    report = evaluate_injection([*rows, *labelled([], [0.5])], Stated())
    assert report.macro_auroc == 0.5


def test_rows_without_a_label_are_left_out() -> None:
    """A label of None is no evidence."""
    rows = [*labelled([0.9], [0.1]), {"text": "0.99", "label": None}]
    assert sum(entry.texts for entry in evaluate_injection(rows, Stated()).attacks.values()) == 1


def test_one_kind_of_label_is_refused() -> None:
    """Rates need both attacks and benign texts."""
    with pytest.raises(ValueError, match="label 1"):
        evaluate_injection(labelled([0.5], []), Stated())


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=20),
    st.lists(st.floats(0, 1), min_size=1, max_size=20),
)
def test_auroc_is_the_share_of_pairs_in_order(attacks: list[float], benign: list[float]) -> None:
    """AUROC equals the count over all pairs, and the bands hold every text once."""
    report = evaluate_injection(labelled(attacks, benign), Stated())
    pairs = sum((a > b) + (a == b) / 2 for a in attacks for b in benign) / (len(attacks) * len(benign))
    assert report.macro_auroc == pytest.approx(pairs)
    assert sum(band.texts for band in report.reliability) == len(attacks) + len(benign)
