"""The pattern engine: the gate loses nothing, offsets are code points, nothing takes more than linear time."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from wandb_governance.errors import DetectorError, PolicyDocumentError
from wandb_governance.policy.rules.builtin import default_rules
from wandb_governance.policy.rules.patterns import Pattern, PatternSet, user_pattern
from wandb_governance.policy.rules.pii.catalogue import catalogue as pii_catalogue
from wandb_governance.policy.rules.secrets_catalogue import catalogue as secrets_catalogue

if TYPE_CHECKING:
    from wandb_governance.policy.rule import Rule

FRAGMENTS = st.sampled_from(
    [
        "maria",
        "@",
        "example",
        ".com",
        " ",
        "4111",
        "1111",
        "-",
        "GB29",
        "NWBK",
        "60161331926819",
        "+49",
        "030",
        "901820",
        "é",
        "日本",
        "\u200b",
        "536-22-8145",
        "10.0.0.1",
        "sk-",
        "AKIA",
        "password=",
        "Tr0ub4dor&3",
        "\n",
        "::1",
        "born ",
        "12/05/1980",
        "passport ",
        "X1234567",
        "https://",
        "a" * 20,
        "\U0001f600",
    ]
)
SHIPPED = pii_catalogue() + secrets_catalogue()
ALONE = [re2.compile(pattern.regex.encode()) for pattern in SHIPPED]
SET = PatternSet(SHIPPED)


@settings(max_examples=40, deadline=None)
@given(st.lists(FRAGMENTS, max_size=12).map("".join))
def test_the_gate_names_every_pattern_that_matches(text: str) -> None:
    """The set answers the same as each pattern alone, so nothing is lost at the gate."""
    data = text.encode()
    occurring = set(SET.occurring(data))
    alone = {index for index, compiled in enumerate(ALONE) if compiled.search(data)}
    assert occurring == alone


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60), st.text(max_size=60))
def test_offsets_are_code_points(left: str, right: str) -> None:
    """A marker is found where ``str`` has it, whatever stands around it, lone surrogates included."""
    text = f"{left}<<7>>{right}"
    hits = PatternSet((Pattern(rule="r", entity="E", regex=r"<<\d>>"),)).find(text)
    assert [text[hit.span.start : hit.span.end] for hit in hits] == re.findall(r"<<[0-9]>>", text)


@pytest.mark.parametrize(
    ("regex", "why"),
    [
        (r"(?=a)b", "look-ahead"),
        (r"(?<!a)b", "look-behind"),
        (r"(a)\1", "back-references"),
        (r"a*", "empty text"),
        (r"(", "RE2"),
        ("a" * 3000, "longer"),
    ],
)
def test_a_pattern_that_cannot_be_enforced_is_refused_with_its_key(regex: str, why: str) -> None:
    """Refusal names the key and says what is wrong."""
    with pytest.raises(PolicyDocumentError, match=why) as caught:
        user_pattern(regex, rule="u", entity="X", key="detect_patterns[0].pattern")
    assert caught.value.key == "detect_patterns[0].pattern"


def test_one_group_is_the_value() -> None:
    """With one capturing group the group is found, not the words around it."""
    text = "badge é no. 4711"
    (hit,) = PatternSet((user_pattern(r"no\. (\d+)", rule="u", entity="BADGE"),)).find(text)
    assert text[hit.span.start : hit.span.end] == "4711"


def test_a_pattern_that_looks_far_ahead_for_every_match_is_stopped() -> None:
    """Quadratic work ends in a verdict's reason, not in a stall."""
    began = time.thread_time()
    with pytest.raises(DetectorError):
        PatternSet((user_pattern(r"x(?:[^z]*z)?", rule="u", entity="X"),)).find("x" * 1_000_000)
    assert time.thread_time() - began < 2.0


ATTACKS = {
    "local part without end": "a" * 1_000_000,
    "dotted words": "a." * 500_000,
    "many at signs": "a@" * 500_000,
    "at and dots": "a@b." * 250_000,
    "digits": "4" * 1_000_000,
    "digit groups": "41 11 " * 166_666,
    "colons": "1:" * 500_000,
    "hex": "ab" * 500_000,
    "plus signs": "+1 " * 333_333,
    "braces": "(" * 1_000_000,
    "backslashes": "\\u00" * 250_000,
    "percents": "%41" * 333_333,
    "begin private key": "-----BEGIN PRIVATE KEY-----" * 37_000,
    "assignments": "token=" * 166_666,
    "zero width": "a\u200b" * 500_000,
    "ampersands": "&#" * 500_000,
    "country codes": "GB29" * 250_000,
    "passport": "passport " * 111_111,
    "schemes": "http://a:" * 111_111,
    "cards in a row": "4111 1111 1111 1111 " * 50_000,
    "mailboxes in a row": "a@b.co," * 142_000,
}


def _cost_s(rule: Rule, text: str) -> float:
    began = time.thread_time()
    rule.find(text)
    return time.thread_time() - began


@pytest.mark.parametrize("name", ATTACKS)
def test_cost_grows_with_the_length_and_no_faster(name: str) -> None:
    """Four times the text costs about four times the time; double that and 100 ms are left for a loaded machine."""
    text = ATTACKS[name][:80_000]
    for rule in default_rules():
        rule.find(text[:1000])
        quarter = min(_cost_s(rule, text[: len(text) // 4]) for _ in range(2))
        whole = min(_cost_s(rule, text) for _ in range(2))
        assert whole <= 4 * quarter * 2 + 0.1, rule.name


@pytest.mark.soak
@pytest.mark.parametrize("name", ATTACKS)
def test_no_megabyte_costs_more_than_its_linear_share(name: str) -> None:
    """One megabyte costs at most 100 ms beyond eight times its eighth, best of three on each side."""
    text = ATTACKS[name]
    for rule in default_rules():
        rule.find(text[:1000])
        eighth = min(_cost_s(rule, text[: len(text) // 8]) for _ in range(3))
        whole = min(_cost_s(rule, text) for _ in range(3))
        assert whole <= 8 * eighth * 1.25 + 0.1, rule.name
