"""The measures, against counts made by hand."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wandb_governance.policy.evaluate import evaluate_pii
from wandb_governance.policy.verdict import Finding


@dataclass(frozen=True)
class Scripted:
    """Says of each text what it was told to."""

    answers: dict[str, list[tuple[int, int, str]]]
    name: str = "scripted"
    version: str = "1"

    def find(self, text, context):
        return [Finding(rule="r", entity=e, start=s, end=t, score=1.0) for s, t, e in self.answers.get(text, [])]


def test_counts_measures_and_leak_are_those_made_by_hand() -> None:
    """One match by overlap, one of another type, one missed, one false alarm."""
    rows = [
        {"text": "0123456789", "spans": [[0, 10, "PERSON"]]},
        {"text": "abcdefghij", "spans": [[0, 4, "EMAIL"], [6, 10, "PERSON"]]},
        {"text": "nothing", "spans": []},
    ]
    rule = Scripted(
        {
            "0123456789": [(0, 5, "PERSON")],
            "abcdefghij": [(0, 4, "PHONE_NUMBER")],
            "nothing": [(0, 3, "PERSON")],
        }
    )
    report = evaluate_pii(rows, rule)
    person = report.by_entity["PERSON"]
    assert (person.matched, person.missed, person.spurious) == (1, 1, 1)
    assert report.by_entity["EMAIL_ADDRESS"].recall == 0
    assert report.overall.precision == 1 / 2
    assert report.overall.recall == 1 / 3
    assert report.overall.f(2) == pytest.approx(5 * (1 / 2) * (1 / 3) / (4 * (1 / 2) + 1 / 3))
    assert report.leak_share == (5 + 0 + 4) / 18
    assert report.confusion == {
        "PERSON": {"PERSON": 1, "(nothing)": 1},
        "EMAIL_ADDRESS": {"PHONE_NUMBER": 1},
    }


def test_only_known_or_chosen_entities_are_scored() -> None:
    """What a rule can't find is listed, not counted as missed."""
    rows = [{"text": "Acme 1", "spans": [[0, 4, "ORGANIZATION"], [5, 6, "AGE"]]}]
    rule = Scripted({})
    assert evaluate_pii(rows, rule, entities=["AGE"]).not_scored == {"ORGANIZATION": 1}
    assert evaluate_pii(rows, rule, entities=["AGE"]).overall.missed == 1


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 10), st.sampled_from(["PERSON", "EMAIL"])), max_size=5))
def test_a_detector_that_repeats_the_labels_is_perfect(spans: list[tuple[int, int, str]]) -> None:
    """Precision, recall 1 and leak 0, overlaps included."""
    text = "x" * 40
    labels = [(s, s + n, e) for s, n, e in spans]
    report = evaluate_pii([{"text": text, "spans": labels}], Scripted({text: labels}))
    assert (report.overall.precision, report.overall.recall, report.leak_share) == (1.0, 1.0, 0.0)


@pytest.mark.parametrize(
    "row", [{"spans": []}, {"text": "ab", "spans": [[0, 3, "PERSON"]]}, {"text": "ab", "spans": [[1, 1, "X"]]}]
)
def test_a_wrong_row_is_refused(row: dict[str, object]) -> None:
    """Missing text, or a span outside of it."""
    with pytest.raises(ValueError):
        evaluate_pii([row], Scripted({}))


def test_the_report_is_plain_values() -> None:
    """It can be written as JSON."""
    import json

    report = evaluate_pii([{"text": "a", "spans": []}], Scripted({}))
    assert json.loads(json.dumps(report.to_json()))["texts"] == 1
