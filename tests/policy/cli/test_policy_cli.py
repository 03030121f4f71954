"""The commands for people: check, test, explain, eval, init."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from wandb_governance.cli.policy import policy
from wandb_governance.errors import ConfigError
from wandb_governance.policy.engine import PolicyEngine

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENT = """\
pack: {name: p, version: "1"}
policies:
  chain: [pii-detector, secrets]
  policy:
    pii-detector: {entities: [EMAIL, CREDIT_CARD]}
    secrets: {action: block}
"""
CASES = """\
cases:
  - name: mail is hidden
    text: to maria@example.com
    stream: true
    expect: {action: redact, text: "to [EMAIL_ADDRESS]", entities: [EMAIL_ADDRESS], by: pii-detector}
  - name: nothing is found
    text: plain words
    expect: {action: allow, lacks: ["["]}
"""


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "p.yaml"
    path.write_text(DOCUMENT)
    return path


def call(*arguments: Any, code: int = 0) -> Result:
    result = CliRunner().invoke(policy, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def test_check_tells_what_is_enforced(document: Path) -> None:
    """Action, mode, scopes and fail mode of each policy."""
    facts = json.loads(call("check", document, "--json").output)
    assert [link["policy"] for link in facts["policies"]] == ["pii-detector", "secrets"]
    assert facts["policies"][1]["action"] == "block"
    assert "pack p 1" in call("check", document).output


def test_check_names_the_line_of_a_mistake(document: Path) -> None:
    """Exit code 2, as for every wrong file."""
    document.write_text(DOCUMENT.replace("action: block", "acton: block"))
    facts = json.loads(call("check", document, "--json", code=2).output)
    assert facts["error"]["line"] == 6
    assert "acton" in facts["error"]["key"]


@pytest.mark.parametrize("pattern", ["(?=x)y", "(?<!a)b", r"(a)\1", "a*", "("])
def test_check_refuses_a_pattern_that_is_not_linear(pattern: str, document: Path) -> None:
    """Look-around, back-references, and what matches everywhere."""
    document.write_text(DOCUMENT.replace("entities: [EMAIL, CREDIT_CARD]", f"detect_patterns: ['{pattern}']"))
    facts = json.loads(call("check", document, "--json", code=2).output)
    assert facts["error"]["line"] == 5


def test_cases_pass_and_fail(document: Path, tmp_path: Path) -> None:
    """Exit code 1, JSON and JUnit say which and why."""
    cases, xml = tmp_path / "c.yaml", tmp_path / "j.xml"
    cases.write_text(CASES)
    call("test", cases, "-c", document)
    cases.write_text(CASES.replace("[EMAIL_ADDRESS], by", "[PERSON], by"))
    result = json.loads(call("test", cases, "-c", document, "--json", "--junit", xml, code=1).output)
    assert (result["passed"], result["failed"]) == (1, 1)
    assert "PERSON" in result["cases"][0]["problems"][0]
    suite = ET.parse(xml).getroot()[0]
    assert suite.get("failures") == "1"
    assert suite[0][0].tag == "failure"


def test_a_wrong_case_file_names_its_line(document: Path, tmp_path: Path) -> None:
    """Unknown keys are mistakes here too."""
    cases = tmp_path / "c.yaml"
    cases.write_text("cases:\n  - name: x\n    text: y\n    expects: {}\n")
    result = CliRunner().invoke(policy, ["test", str(cases), "-c", str(document)])
    assert isinstance(result.exception, ConfigError)
    assert result.exception.line is not None


def test_explain_gives_reasons_without_the_value(document: Path) -> None:
    """Rule, span, score and threshold."""
    output = call("explain", "card 4111 1111 1111 1111", "-c", document).output
    assert "CREDIT_CARD at 5-24" in output
    assert "4111" not in output
    facts = json.loads(call("explain", "x", "-c", document, "--json").output)
    assert facts["action"] == "allow"


def test_eval_measures_spans_and_draws_them(document: Path, tmp_path: Path) -> None:
    """Precision, recall, F1, confusion and latency."""
    data, picture = tmp_path / "d.jsonl", tmp_path / "d.svg"
    rows = [{"text": "to maria@example.com", "spans": [[3, 20, "EMAIL"]]}, {"text": "no 12", "spans": []}]
    data.write_text("\n".join(json.dumps(row) for row in rows))
    report = json.loads(call("eval", data, "-c", document, "--picture", picture, "--json").output)
    assert report["overall"]["f1"] == 1.0
    assert report["cpu_ms_per_kb"] > 0
    assert picture.read_text().startswith("<svg")


def test_eval_measures_labels(document: Path, tmp_path: Path) -> None:
    """For rules that say yes or no."""
    data = tmp_path / "d.jsonl"
    rows = [
        {"text": "to maria@example.com", "label": 1},
        {"text": "words", "label": 0},
        {"text": "b@c.org", "label": 0},
    ]
    data.write_text("\n".join(json.dumps(row) for row in rows))
    report = json.loads(call("eval", data, "-c", document, "--rule", "pii-detector", "--json").output)
    assert (report["true_positive"], report["false_positive"], report["true_negative"]) == (1, 1, 1)
    assert report["precision"] == 0.5


def test_eval_names_a_wrong_line(document: Path, tmp_path: Path) -> None:
    """File and line."""
    data = tmp_path / "d.jsonl"
    data.write_text('{"text": "a", "label": 1}\n{"text": 3}\n')
    result = CliRunner().invoke(policy, ["eval", str(data), "-c", str(document)])
    assert isinstance(result.exception, ConfigError)
    assert result.exception.line == 2


def test_every_starter_can_be_enforced(tmp_path: Path) -> None:
    """Init writes it, check takes it."""
    names = json.loads(call("init", "--list", "--json").output)
    assert {"governed", "shadow", "payments", "budgets", "agents"} <= set(names)
    for name in names:
        path = tmp_path / f"{name}.yaml"
        call("init", "--template", name, "-o", path)
        assert PolicyEngine.from_file(path).links
        call("init", "--template", name, "-o", path, code=2)
