"""Policy documents: both shapes, and every mistake with file, line and key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wandb_governance.errors import PolicyDocumentError
from wandb_governance.policy.document import load_document, parse_document
from wandb_governance.policy.engine import PolicyEngine
from wandb_governance.policy.rule import RuleContext
from wandb_governance.policy.verdict import Action, Scope

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = """\
pack: {name: wandb-governed-experiments, version: 1.0.0, enabled: true}
providers:
  targets:
    - id: experiment-llm
      provider: openai:chat:gpt-4o
      secret_key_ref: {env: OPENAI_API_KEY}
policies:
  chain: [prompt-injection, pii-detector, audit-logger]
  policy:
    prompt-injection: {threshold: 0.8, action: block}
    pii-detector: {action: redact, entities: [PERSON, EMAIL_ADDRESS]}
    audit-logger: {immutable: true, retention_days: 365, log_all_access: true}
"""
NEWER = """\
pack: {name: p, version: "2"}
policies:
  chain: [pii-detector]
  policy:
    pii-detector:
      action: redact
      phases: [input, tool]
      entities: [EMAIL_ADDRESS]
      redaction: {marker_format: "<{type}>", custom_markers: {EMAIL_ADDRESS: "<mail>"}}
"""
SMALL = """\
pack: {name: p}
policies:
  chain: [audit-logger]
  policy:
    audit-logger: {retention_days: 30}
"""


def test_the_example_document_is_read() -> None:
    """The shape of the first documents."""
    document, _ = parse_document(EXAMPLE)
    assert document.pack.version == "1.0.0"
    assert document.providers.targets[0].family == "openai"
    assert document.providers.targets[0].model == "gpt-4o"
    assert document.policies.policy["prompt-injection"].options == {"threshold": 0.8}
    assert len(document.digest) == 64


def test_the_newer_field_names_are_enforced() -> None:
    """Fields phases and redaction do what they say."""
    engine = PolicyEngine.from_document(*parse_document(NEWER))
    assert engine.evaluate("to a@example.com", RuleContext(scope=Scope.TOOL_RESULT)).text == "to <mail>"
    assert engine.evaluate("to a@example.com", RuleContext(scope=Scope.OUTPUT)).action is Action.ALLOW


WRONG = {
    "unknown key of the pack": ("pack: {name: p}", "pack: {nam: p}", 1, "pack.nam", "did you mean 'name'"),
    "unknown key of a rule": (
        "retention_days: 30",
        "retention_dayz: 30",
        5,
        "audit-logger.retention_dayz",
        "did you mean",
    ),
    "value out of range": ("retention_days: 30", "retention_days: 0", 5, "audit-logger.retention_days", "greater"),
    "an action it can't take": ("retention_days: 30", "action: block", 5, "audit-logger.action", "can't be enforced"),
    "unknown policy": ("[audit-logger]", "[audit-loger]", 3, "chain[0]", "did you mean 'audit-logger'"),
    "twice in the chain": ("[audit-logger]", "[audit-logger, audit-logger]", 3, "chain[1]", "twice"),
    "options of what does not run": ("[audit-logger]", "[]", 5, "policy.audit-logger", "nothing runs it"),
    "a key given twice": ("pack: {name: p}", "pack: {name: p, name: q}", 1, "pack.name", "twice"),
    "a number as text": ("pack: {name: p}", "pack: {name: p, version: 1.0}", 1, "pack.version", "quotes"),
    "a boolean as text": ("pack: {name: p}", "pack: {name: p, enabled: 'yes'}", 1, "pack.enabled", "boolean"),
    "async that redacts": (
        "chain: [audit-logger]\n  policy:\n",
        "chain: [audit-logger, pii-detector]\n  policy:\n    pii-detector: {async: true, entities: [EMAIL]}\n",
        5,
        "pii-detector.async",
        "can't redact",
    ),
    "no such mode": ("retention_days: 30", "mode: shadowy", 5, "audit-logger.mode", "enforce"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_names_file_line_and_key(case: str, tmp_path: Path) -> None:
    """What a user wrote wrongly is pointed at."""
    old, new, line, key, words = WRONG[case]
    file = tmp_path / "p.yaml"
    assert old in SMALL
    file.write_text(SMALL.replace(old, new))
    with pytest.raises(PolicyDocumentError) as caught:
        PolicyEngine.from_file(file)
    error = caught.value
    assert error.file == str(file)
    assert (error.line, key in (error.key or "")) == (line, True), str(error)
    assert words in str(error)


@pytest.mark.parametrize(
    "text", ["", "- a", "pack: [", "a: &a [*a, *a]", "&a a: *a", "x: !!python/object:os.system {}", "1: 2", "<<: {}"]
)
def test_what_is_no_document_is_refused(text: str) -> None:
    """No text ends in another error."""
    with pytest.raises(PolicyDocumentError):
        parse_document(text)


def test_aliases_that_multiply_are_refused() -> None:
    """A small file can't become a large one."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(PolicyDocumentError, match="nodes"):
        parse_document("\n".join(lines))


def test_fragments_come_before_and_their_mistakes_name_their_own_file(tmp_path: Path) -> None:
    """A fragment holds policies that several packs share."""
    (tmp_path / "base.yaml").write_text("policies:\n  chain: [secrets]\n  policy:\n    secrets: {action: block}\n")
    file = tmp_path / "p.yaml"
    file.write_text("includes: [base.yaml]\n" + SMALL)
    document, _ = load_document(file)
    assert document.policies.chain == ("secrets", "audit-logger")
    (tmp_path / "base.yaml").write_text("policies:\n  chain: [secrets]\n  policy:\n    secrets: {acton: block}\n")
    with pytest.raises(PolicyDocumentError) as caught:
        PolicyEngine.from_file(file)
    assert caught.value.file == str(tmp_path / "base.yaml")
    assert caught.value.line == 4


def test_an_include_outside_the_folder_is_refused(tmp_path: Path) -> None:
    """A document can't read the machine's other files."""
    file = tmp_path / "p.yaml"
    file.write_text("includes: [../../etc/passwd]\n" + SMALL)
    with pytest.raises(PolicyDocumentError, match="folder"):
        load_document(file)


def test_a_disabled_pack_checks_nothing() -> None:
    """enabled: false is an empty chain."""
    engine = PolicyEngine.from_document(*parse_document(SMALL.replace("{name: p}", "{name: p, enabled: false}")))
    assert engine.links == ()


def test_the_digest_follows_the_policies_and_not_the_layout() -> None:
    """Comments do not change what is enforced."""
    one, _ = parse_document(SMALL)
    two, _ = parse_document("# a comment\n" + SMALL.replace("{name: p}", "\n  name: p"))
    other, _ = parse_document(SMALL.replace("30", "31"))
    assert one.digest == two.digest != other.digest


def test_in_process_decisions_are_recorded_where_the_document_asks(tmp_path: Path) -> None:
    """audit-logger is enforced without a gateway too."""
    from wandb_governance.policy.audit import read_records, verify

    options = f'{{entities: [EMAIL]}}\n    audit-logger: {{path: "{tmp_path / "audit"}"}}\n'
    text = SMALL.replace("[audit-logger]", "[pii-detector, audit-logger]").replace(
        "audit-logger: {retention_days: 30}\n", f"pii-detector: {options}"
    )
    engine = PolicyEngine.from_document(*parse_document(text))
    engine.evaluate("to maria@example.com", RuleContext(scope=Scope.INPUT, model="m"))
    engine.evaluate("plain words", RuleContext(scope=Scope.INPUT))
    assert engine.audit is not None
    engine.audit.close()
    (record,) = read_records(tmp_path / "audit")
    assert record["facts"]["found"] == {"EMAIL_ADDRESS": 1}
    assert "maria" not in str(record)
    assert verify(tmp_path / "audit").ok


@pytest.mark.parametrize(
    ("options", "profile", "words"),
    [
        ("retention_days: 30, legal_hold_days: 60", "", "legal hold"),
        ("retention_days: 30", "profile: eu-ai-act-deployer\n", "183"),
    ],
)
def test_a_retention_that_falls_short_is_refused(options: str, profile: str, words: str) -> None:
    """Of a legal hold, or of six months for a deployer under the AI Act."""
    text = profile + SMALL.replace("retention_days: 30", options)
    with pytest.raises(PolicyDocumentError, match=words):
        PolicyEngine.from_document(*parse_document(text))


def test_the_newer_modes_add_their_entities() -> None:
    """pci_mode puts cards beside what is asked for; a mode that is no boolean is an error."""
    text = SMALL.replace("[audit-logger]", "[pii-detector]").replace(
        "audit-logger: {retention_days: 30}", "pii-detector: {entities: [EMAIL], pci_mode: true}"
    )
    engine = PolicyEngine.from_document(*parse_document(text))
    assert engine.evaluate("card 4111 1111 1111 1111", RuleContext(scope=Scope.INPUT)).text == "card [CREDIT_CARD]"
    with pytest.raises(PolicyDocumentError, match="true or false"):
        PolicyEngine.from_document(*parse_document(text.replace("pci_mode: true", "pci_mode: 1")))
