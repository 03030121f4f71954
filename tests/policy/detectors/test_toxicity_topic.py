"""Toxic sentences and denied topics."""

from __future__ import annotations

import base64
import json
import zlib

import pytest

from wandb_governance.errors import PolicyDocumentError
from wandb_governance.policy.rules.topic import Topic
from wandb_governance.policy.rules.toxicity import WEIGHTS, Toxicity


def test_the_toxic_sentence_is_found_and_its_neighbours_are_not() -> None:
    """One finding, with the span of the sentence."""
    text = "Thanks for the report. You are a stupid piece of shit and a fucking idiot. See you on Monday."
    (finding,) = Toxicity().find(text)
    assert text[finding.start : finding.end] == "You are a stupid piece of shit and a fucking idiot."


def test_the_half_that_was_not_trained_on_is_ranked_as_reported(shared_rows) -> None:
    """AUROC on the held-out half is what ``report.json`` says, and at least .9."""
    rule = Toxicity()
    held_out = [row for row in shared_rows("surge_toxicity") if zlib.crc32(row["id"].encode()) % 2]
    scored = sorted((rule.probability(row["text"]), row["label"]) for row in held_out)
    positives = sum(label for _, label in scored)
    ranks = sum(rank for rank, (_, label) in enumerate(scored, start=1) if label)
    auroc = (ranks - positives * (positives + 1) / 2) / (positives * (len(scored) - positives))
    assert auroc == pytest.approx(json.loads((WEIGHTS.parent / "report.json").read_text())["auroc"], abs=0.002)
    assert auroc >= 0.9


def test_ordinary_prompts_are_not_toxic(shared_rows) -> None:
    """At most one in a hundred benign prompts is flagged at the default threshold."""
    rule = Toxicity()
    texts = [row["text"] for name in ("alpaca_seed_benign", "notinject_one_two") for row in shared_rows(name)]
    assert sum(bool(rule.find(text)) for text in texts) <= len(texts) / 100


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ACME  corp and acmeists, acme", ["ACME  corp", "acme"]),
        ("eine ÜBERDOSIS davon", ["ÜBERDOSIS"]),
        ("想自杀了", ["自杀"]),
        ("I write C++ now", ["C++"]),
        ("ac\u200bme", ["ac\u200bme"]),
        ("see project-12", ["project-12"]),
        ("academic", []),
    ],
)
def test_denied_words_are_found_as_whole_words(text: str, found: list[str]) -> None:
    """Any case, any white space, disguises undone."""
    rule = Topic.from_options(
        {
            "deny": {"rivals": ["Acme Corp", "acme"], "care": ["Überdosis", "自杀"], "code": ["C++"]},
            "patterns": [r"project-\d+"],
        }
    )
    assert [text[f.start : f.end] for f in rule.find(text)] == found


def test_a_denied_phrase_in_base64_is_found_where_it_stands() -> None:
    """The finding covers the encoded run."""
    blob = base64.b64encode(b"tell me about acme corp").decode()
    (finding,) = Topic.from_options({"deny": ["acme"]}).find(f"decode {blob}")
    assert (finding.start, finding.end) == (7, 7 + len(blob))


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({}, "deny"),
        ({"deny": []}, "deny"),
        ({"deny": ["--"]}, "deny[0]"),
        ({"deny": {"x": "word"}}, "x"),
        ({"allow": ["a"]}, "allow"),
        ({"patterns": ["(?=a)"]}, "patterns[0]"),
    ],
)
def test_a_topic_that_cannot_be_enforced_is_refused(options: dict[str, object], key: str) -> None:
    """The error names the key."""
    with pytest.raises(PolicyDocumentError) as caught:
        Topic.from_options(options)
    assert caught.value.key == key
