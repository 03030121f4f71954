"""Measured quality on labelled texts that nothing was trained or tuned on; the bars are the product's targets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wandb_governance.policy.evaluate import PiiReport, evaluate_pii
from wandb_governance.policy.rules.pii import PiiOptions, PiiRule

PATTERN_ENTITIES = ("EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "US_SSN", "IBAN_CODE", "IP_ADDRESS")


def _prompts() -> list[dict]:
    lines = (Path(__file__).parent / "data" / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def with_names() -> PiiReport:
    """Patterns and the name model on the prompts."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tokenizers")
    return evaluate_pii(_prompts(), PiiRule(PiiOptions(entities=(*PATTERN_ENTITIES, "PERSON"))))


def test_pattern_entities_of_prompts_are_found_without_a_model() -> None:
    """F2 of the entities that patterns can find, and each of them."""
    report = evaluate_pii(_prompts(), PiiRule(PiiOptions(entities=PATTERN_ENTITIES)))
    assert report.overall.f(2) >= 0.95
    assert report.leak_share <= 0.02
    assert min(score.f(2) for score in report.by_entity.values()) >= 0.9


def test_names_in_prompts_of_many_languages(with_names: PiiReport) -> None:
    """F1 of PERSON, over 19 locales, a third of them not in Latin script."""
    assert with_names.by_entity["PERSON"].f(1) >= 0.85


def test_presidio_research_sentences(shared_rows) -> None:
    """F2 over all entities and F1 of PERSON on synth_dataset_v2, every fifth row."""
    pytest.importorskip("onnxruntime")
    rows = shared_rows("pii_presidio_synth_v2")[::5]
    report = evaluate_pii(rows, PiiRule(PiiOptions(entities=(*PATTERN_ENTITIES, "PERSON"))))
    assert report.overall.f(2) >= 0.9
    assert report.by_entity["PERSON"].f(1) >= 0.85


def test_a_name_is_found_in_json_and_chat_and_where_it_is_escaped(full_rule: PiiRule) -> None:
    """Name spans are exact in structure, in lower case and behind an escape."""
    for text, name in [
        ('{"name": "Maria Gonzalez", "id": 7}', "Maria Gonzalez"),
        ("hi its maria gonzalez from sales", "maria gonzalez"),
        ('{"text": "Best,\\nJ\\u00f6rg M\\u00fcller"}', "J\\u00f6rg M\\u00fcller"),
    ]:
        assert [text[f.start : f.end] for f in full_rule.find(text) if f.entity == "PERSON"] == [name]


def test_text_without_a_capital_or_an_unknown_word_never_reaches_the_model(full_rule: PiiRule) -> None:
    """The gate leaves plain prose out."""
    from wandb_governance.policy.rules.ner.gate import passages
    from wandb_governance.policy.rules.pii.variants import Mapped

    assert passages(Mapped("what are my options? how do I change the text."), ()) == []
    assert len(passages(Mapped("what are the options? how do you find maria."), ())) == 1
