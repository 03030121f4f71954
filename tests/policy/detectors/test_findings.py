"""What holds for every rule and every text: valid offsets, order, no overlap, and redaction that is done once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wandb_governance.policy.rules.builtin import default_rules
from wandb_governance.policy.rules.topic import Topic
from wandb_governance.policy.rules.toxicity import Toxicity

PIECES = st.sampled_from(
    [
        "maria@example.com",
        "4111 1111 1111 1111",
        "536-22-8145",
        "192.0.2.1",
        "+49 30 901820",
        "GB29NWBK60161331926819",
        "sk-proj-aB3dE5gH7jK9mN1pQ3sT5vX7z",
        "password=Tr0ub4dor&3",
        "%40",
        "\\u0040",
        "&#64;",
        "(at)",
        "\u200b",
        "\uff11",
        "\ud800",
        "é",
        "日本",
        " ",
        "\n",
        ".",
        ",",
        "@",
        "-",
        "bWFyaWFAZXhhbXBsZS5jb20=",
        "born 12/05/1980",
        "acme",
        "x",
        "7",
    ]
)
TEXTS = st.lists(PIECES, max_size=14).map("".join) | st.text(max_size=80)
RULES = (*default_rules(), Toxicity(), Topic.from_options({"deny": ["acme", "example"]}))


@settings(max_examples=100, deadline=None)
@given(TEXTS)
def test_findings_are_in_range_in_order_and_apart(text: str) -> None:
    """For each rule."""
    for rule in RULES:
        at = 0
        for finding in rule.find(text, None):
            assert at <= finding.start < finding.end <= len(text)
            assert 0 <= finding.score <= 1
            at = finding.end


@settings(max_examples=100, deadline=None)
@given(TEXTS)
def test_what_was_redacted_is_not_redacted_again(text: str) -> None:
    """Placeholders are no findings, and nothing in a placeholder's place makes a new one of its neighbours' parts."""
    for rule in default_rules():
        once = _redacted(text, rule)
        for finding in rule.find(once, None):
            assert "<HIDDEN" not in once[finding.start : finding.end]


def _redacted(text: str, rule) -> str:
    out, at = [], 0
    for finding in rule.find(text, None):
        out += [text[at : finding.start], f"<HIDDEN_{finding.entity}>"]
        at = finding.end
    return "".join([*out, text[at:]])


def test_the_default_rules_are_built_once() -> None:
    """Every caller shares them."""
    assert default_rules() is default_rules()


@pytest.mark.parametrize("text", ["", " ", "\u200b", "\x00", "a" * 5])
def test_texts_with_nothing_in_them(text: str) -> None:
    """No finding and no error."""
    assert [rule.find(text, None) for rule in RULES] == [()] * len(RULES)


def test_importing_the_policy_package_loads_nothing_heavy() -> None:
    """Rules load engines, tables and models when they are first asked."""
    import subprocess
    import sys

    heavy = ("re2", "numpy", "phonenumbers", "onnxruntime", "stdnum")
    code = f"import sys, wandb_governance.policy.rules.builtin; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
