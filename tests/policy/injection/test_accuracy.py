"""What the detector reaches on the hard cases and on the labelled sets beside the repository.

The sets were used in training, so their floors guard against regressions; the figures on unseen sets are in
``training/injection/REPORT.md``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wandb_governance.policy.evaluate_injection import evaluate_injection
from wandb_governance.policy.rules.injection import PromptInjection
from wandb_governance.policy.verdict import Scope

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
RULE = PromptInjection.from_options({})
needs_data = pytest.mark.skipif(not DATA.exists(), reason="the labelled sets are not beside the repository")
HARD_FLOOR = 16
"""Of 16 cases."""


def rows(name: str, file: str = "data.jsonl", limit: int | None = None) -> list[dict[str, object]]:
    lines = (DATA / name / file).read_text("utf-8").split("\n")
    found = [{**json.loads(line), "source": name} for line in lines if line.strip()]
    return found if limit is None else found[:: max(1, len(found) // limit)]


@needs_data
def test_hard_cases_are_told_right() -> None:
    """Every hard case is told right: attacks are found, benign look-alikes are not."""
    cases = rows("hard_cases", "prompt_injection.jsonl")
    scopes = {"tool": Scope.TOOL_RESULT}
    wrong = []
    for case in cases:
        scope = scopes.get(str(case["scope"])) or Scope(str(case["scope"]))
        if (RULE.score(str(case["text"]), scope) >= RULE.threshold) != bool(case["label"]):
            wrong.append(case)
    print(f"hard cases: {len(cases) - len(wrong)} of {len(cases)}")
    assert [case["note"] for case in wrong if not case["label"]] == []
    assert len(cases) - len(wrong) >= HARD_FLOOR, [case["note"] for case in wrong]


@needs_data
def test_notinject_is_not_flagged() -> None:
    """At most 2 % of the benign prompts with trigger words are flagged at the default threshold."""
    flagged = [row for row in rows("notinject_one_two") if RULE.score(str(row["text"])) >= RULE.threshold]
    assert len(flagged) <= 0.02 * 226


@needs_data
def test_the_labelled_sets_are_ranked() -> None:
    """Attacks of every set rank above benign texts, and the report says so by set."""
    sets = ["deepset_test", "giskard_prompt_injections", "bastioncorpus", "bipia_email_train", "alpaca_seed_benign"]
    report = evaluate_injection([row for name in sets for row in rows(name, limit=90)], RULE)
    assert report.macro_auroc >= 0.9
    assert report.attacks["bastioncorpus"].tpr >= 0.7
    assert report.benign["alpaca_seed_benign"].fpr <= 0.02
    assert report.cpu_ms_per_kb_p50 < 10
    assert json.loads(json.dumps(report.to_json()))["threshold"] == 0.8
