"""The shared hard cases: every one, by its note."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wandb_governance.policy.rules.pii.entities import ALIASES

if TYPE_CHECKING:
    from wandb_governance.policy.rules.pii import PiiRule

_LINES = (Path(__file__).parent / "data" / "hard_cases.jsonl").read_text(encoding="utf-8").splitlines()
CASES = {row["note"]: row for row in map(json.loads, _LINES)}


def _agrees(rule: PiiRule, row: dict) -> bool:
    expected = [(start, end, ALIASES.get(entity, entity)) for start, end, entity in row["spans"]]
    return [(f.start, f.end, f.entity) for f in rule.find(row["text"])] == expected


@pytest.mark.parametrize("note", CASES)
def test_a_hard_case_is_decided_exactly(note: str, full_rule: PiiRule) -> None:
    """Spans and entities are those of the case and no others."""
    assert _agrees(full_rule, CASES[note])


def test_all_sixteen_hard_cases_are_met(full_rule: PiiRule) -> None:
    """16 of 16."""
    assert sum(_agrees(full_rule, row) for row in CASES.values()) == len(CASES) == 16
