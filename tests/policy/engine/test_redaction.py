"""Replacing findings."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from wandb_governance.policy.redaction import Markers, plan, redact
from wandb_governance.policy.verdict import Finding


def finding(start: int, end: int, entity: str = "EMAIL_ADDRESS") -> Finding:
    return Finding(rule="t", entity=entity, start=start, end=end, score=1.0)


def digits(text: str) -> list[Finding]:
    return [finding(m.start(), m.end(), "PHONE_NUMBER") for m in re.finditer(r"\d+", text)]


def capitals(text: str) -> list[Finding]:
    return [finding(m.start(), m.end(), "PERSON") for m in re.finditer(r"[A-Z_]+", text)]


def test_a_finding_becomes_the_marker_of_its_entity() -> None:
    """The default marker is the entity in square brackets."""
    assert redact("to a@b.co.", [([finding(3, 9)], Markers())]) == "to [EMAIL_ADDRESS]."


def test_overlapping_findings_become_one_marker_named_by_the_longest() -> None:
    """Two rules that see the same place never write two markers."""
    found = [([finding(0, 4, "PERSON")], Markers()), ([finding(2, 10)], Markers())]
    assert redact("0123456789x", found) == "[EMAIL_ADDRESS]x"


def test_of_two_findings_as_long_the_earlier_policy_names_the_marker() -> None:
    """The order of the chain settles a tie."""
    found = [([finding(0, 4, "PERSON")], Markers()), ([finding(0, 4, "LOCATION")], Markers())]
    assert redact("0123", found) == "[PERSON]"


def test_findings_that_touch_stay_two() -> None:
    """Only an overlap merges."""
    assert redact("abcd", [([finding(0, 2), finding(2, 4)], Markers())]) == "[EMAIL_ADDRESS][EMAIL_ADDRESS]"


def test_custom_marker_and_length() -> None:
    """A custom marker goes over the format; preserve_length cuts or pads."""
    markers = Markers(custom={"PERSON": "<who>"}, preserve_length=True)
    assert redact("John Smithson!", [([finding(0, 13, "PERSON")], markers)]) == "<who>********!"
    assert redact("Jo!", [([finding(0, 2, "PERSON")], markers)]) == "<w!"


def test_a_bracketed_word_that_is_no_entity_is_no_marker() -> None:
    """Brackets do not shield a name."""
    assert redact("[JOHN]", [(capitals("[JOHN]"), Markers())]) == "[[PERSON]]"


def test_findings_outside_the_text_are_clipped() -> None:
    """A rule with wrong offsets can't break the text."""
    assert (
        redact("abc", [([finding(-3, 1), finding(2, 99), finding(5, 9)], Markers())])
        == "[EMAIL_ADDRESS]b[EMAIL_ADDRESS]"
    )


@given(st.text(alphabet="aB1_[] @*PERSON", max_size=60))
def test_redaction_is_idempotent(text: str) -> None:
    """A text that was redacted is not redacted again."""
    once = redact(text, [(digits(text), Markers()), (capitals(text), Markers())])
    assert redact(once, [(digits(once), Markers()), (capitals(once), Markers())]) == once


@given(
    st.text(max_size=40),
    st.lists(st.tuples(st.integers(-5, 45), st.integers(-5, 45)), max_size=8),
)
def test_replacements_are_ordered_disjoint_and_cover_every_finding(text: str, spans: list[tuple[int, int]]) -> None:
    """Every character of a finding is in exactly one replacement."""
    found = [finding(a, b, "X_NOT_KNOWN") for a, b in spans]
    planned = plan(text, [(found, Markers())])
    covered = [index for r in planned for index in range(r.start, r.end)]
    assert covered == sorted(set(covered))
    wanted = {i for a, b in spans for i in range(max(a, 0), min(b, len(text)))}
    assert set(covered) == wanted
