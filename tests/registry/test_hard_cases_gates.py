"""Hard cases 15, 16, 24, 25, 26, 28, 30: gates that can't tell, tampered results, look-alikes, hostile text."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wandb_governance.backend.registry import RunFacts, Version
from wandb_governance.errors import GovernanceFileError, PromotionError, UnreadableError
from wandb_governance.registry import report
from wandb_governance.registry.document import load_document
from wandb_governance.registry.gate import Candidate, Evaluation, Evidence, GateResult, Status, overall, run_gates
from wandb_governance.registry.gates import GATES
from wandb_governance.registry.incidents import Finding, IncidentBook, IncidentState
from wandb_governance.registry.outcome import Exit, exit_code
from wandb_governance.registry.promotion import State, all_promotions
from wandb_governance.registry.reconcile import Agreement, Reconciler

from .conftest import COLLECTION, START_NS, World

V1 = "acme/bot/adapter:v1"
CANDIDATE = Candidate(thing="bot", version="v", source="v", artifact_id="1", digest="d", root="r", metadata_digest="m")


def evidence(rows: list[dict[str, Any]], **changes: Any) -> Evidence:
    evaluation = Evaluation(
        artifact="e",
        subject_root="r",
        dataset="d",
        dataset_root="dr",
        run="run",
        run_state="finished",
        finished_at_ns=START_NS,
        metrics={},
        examples=rows,
        signed_by="k",
    )
    return Evidence(candidate=CANDIDATE, now_ns=START_NS, evaluation=evaluation, **changes)


class Crash:
    name = "crash"

    def __init__(self, fault: Any) -> None:
        self.fault = fault

    def evaluate(self, _: Evidence) -> Any:
        if isinstance(self.fault, BaseException):
            raise self.fault
        return self.fault


@pytest.mark.parametrize(
    "fault", [ZeroDivisionError(), KeyError("x"), RecursionError(), None, True, "pass", GateResult], ids=str
)
def test_15_a_gate_that_crashes_or_answers_nonsense_is_undecided(fault: Any) -> None:
    """Never a pass."""
    (result,) = run_gates([Crash(fault)], evidence([]))
    assert result.status is Status.UNDECIDED


def test_15_no_gates_at_all_is_undecided() -> None:
    """An empty list proves nothing."""
    assert overall(run_gates([], evidence([]))) is Status.UNDECIDED


VALUES = st.one_of(
    st.none(), st.just(math.nan), st.just(math.inf), st.text(max_size=3), st.lists(st.integers(), max_size=1)
)


@given(bad=VALUES, good=st.lists(st.floats(0.9, 1), min_size=20, max_size=25), where=st.integers(0, 19))
@settings(max_examples=60, deadline=None)
def test_15_one_value_that_is_no_number_makes_every_metric_gate_undecided(
    bad: Any, good: list[float], where: int
) -> None:
    """NaN, None, text or a missing value anywhere in the column."""
    rows: list[dict[str, Any]] = [{"example_id": str(i), "m": value, "g": str(i % 2)} for i, value in enumerate(good)]
    rows[where]["m"] = bad
    gates = [
        GATES["metric"].model_validate({"metric": "m", "at_least": 0.1}),
        GATES["fairness"].model_validate({"metric": "m", "group": "g", "max_gap": 0.9, "min_group": 1}),
        GATES["latency"].model_validate({"at_most_s": 9.0, "column": "m"}),
        GATES["cost"].model_validate({"mean_at_most_usd": "9"}),
    ]
    assert {result.status for result in run_gates(gates, evidence(rows))} == {Status.UNDECIDED}


@pytest.mark.parametrize("kind", sorted(set(GATES) - {"lineage_complete", "model_card_complete", "python"}))
def test_15_zero_examples_never_pass(kind: str) -> None:
    """Every gate over results, on an empty evaluation."""
    settings_of = {
        "metric": {"metric": "m", "at_least": 0.0},
        "no_regression": {"metric": "m"},
        "latency": {"at_most_s": 1.0},
        "fairness": {"metric": "m", "group": "g", "max_gap": 0.5},
        "cost": {"mean_at_most_usd": "1"},
    }
    gate = GATES[kind].model_validate(settings_of.get(kind, {}))
    (result,) = run_gates([gate], evidence([], incumbent=replace(CANDIDATE, root="other")))
    assert result.status is not Status.PASS


CUSTOM = {
    "passes": ('def gate(e):\n    return {"pass": True, "reason": e["candidate"]["source"]}', Status.PASS),
    "fails": ('def gate(e):\n    return {"pass": False, "reason": "no"}', Status.FAIL),
    "raises": ("def gate(e):\n    raise ValueError(1)", Status.UNDECIDED),
    "hangs": ("import time\ndef gate(e):\n    time.sleep(60)", Status.UNDECIDED),
    "exits": ("import os\ndef gate(e):\n    os._exit(0)", Status.UNDECIDED),
    "says one": ('def gate(e):\n    return {"pass": 1}', Status.UNDECIDED),
    "prints a pass": ("def gate(e):\n    print('{\"pass\": true}')", Status.UNDECIDED),
    "answers NaN": ('def gate(e):\n    return {"pass": True, "x": float("nan")}', Status.UNDECIDED),
}


@pytest.mark.parametrize("how", CUSTOM)
def test_15_a_custom_gate_can_do_no_harm(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs in a process of its own, with a time limit and without our secrets."""
    monkeypatch.setenv("WANDB_GOVERNANCE_SIGNING_KEY", "secret")
    code, status = CUSTOM[how]
    (tmp_path / "my_gate.py").write_text("import os\nassert 'WANDB_GOVERNANCE_SIGNING_KEY' not in os.environ\n" + code)
    gate = GATES["python"].model_validate({"call": "my_gate:gate", "timeout": "2s"})
    (result,) = run_gates([gate], evidence([], folder=str(tmp_path)))
    assert result.status is status, result.reason


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("at_least: 0.8}", "at_lest: 0.8}", "at_lest"),
        ("at_least: 0.8}", "at_least: .nan}", "at_least"),
        ("at_least: 0.8}", "at_least: '0.8'}", "at_least"),
        ("policy_clean", "policy_cleen", "policy_cleen"),
        ("alias: production", "alias: Production", "alias"),
        ("alias: production", "alias: v3", "alias"),
        ("requires: staging", "requires: stagin", "requires"),
        ("expires_after: 72h", "expires_after: 72", "expires_after"),
        ("ml-lead: 1, compliance: 1", "ml-lead: 2, compliance: 1", "approvals"),
        ("licence: apache-2.0", "lisence: apache-2.0", "lisence"),
        ("risk: limited", "risk: none", "risk"),
        ("owner: ana", "owner: zoe", "owner"),
        ("version: 1", "version: 1\nversion: 1", "version"),
        ("version: 1", "version: 1\ntoken: abc", "token"),
    ],
)
def test_15_a_typo_in_the_file_names_its_line_and_key(world: World, old: str, new: str, key: str) -> None:
    """No default hides a misspelt rule."""
    assert old in world.yaml
    text = world.yaml.replace(old, new, 1)
    world.write_yaml(text)
    with pytest.raises(GovernanceFileError) as caught:
        load_document(world.file)
    line = text[: text.index(new) + len(new)].count("\n") + 1
    # What two keys say together is told at the key above them.
    assert caught.value.line == (line - 2 if key == "approvals" else line)
    assert key in str(caught.value)


def tampered(world: World, name: str, text: str) -> None:
    version = world.registry.resolve("acme/bot/adapter-evaluation:v0")
    assert version is not None
    state = json.loads((world.registry.folder / "state.json").read_text())
    (Path(state["versions"][version.artifact_id]["blobs"]) / name).write_text(text)


def gate_of(world: World, kind: str = "evaluation") -> GateResult:
    result = world.promoter().check("support-bot", V1, "staging")
    return next(item for item in result.results if item.gate.startswith(kind))


def test_16_metrics_edited_in_the_summary_after_the_evaluation_refuse(world: World) -> None:
    """The run's page shows another figure than the signed results."""
    world.registry.record_run(
        RunFacts(
            path="acme/bot/run2",
            state="finished",
            user="ana",
            job_type="evaluation",
            summary={"evaluation/correctness": 0.99},
        ),
        used=[V1],
    )
    run = next(r for r in world.registry.consumers(world.registry.resolve(V1)) if r.job_type == "evaluation")  # type: ignore[arg-type]
    world.registry.record_run(replace(run, summary={"evaluation/correctness": 0.5}), used=[V1])
    result = gate_of(world)
    assert (result.status, "edited in the run's summary" in result.reason) == (Status.FAIL, True)


def test_16_examples_edited_after_signing_refuse(world: World) -> None:
    """The file is not the one that was attested."""
    rows = [{"example_id": str(i), "correctness": 1.0, "latency_s": 0.1, "locale": "de"} for i in range(60)]
    tampered(world, "examples.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert "not the file that was attested" in gate_of(world).reason


def test_16_results_nobody_trusted_signed_refuse(world: World) -> None:
    """A stranger's key is not in trust.evaluators."""
    world.evaluator = world.people["eve"]
    world.evaluate(V1)
    result = gate_of(world)
    assert (result.status, "no trusted" in result.reason) == (Status.FAIL, True)


def test_16_an_evaluation_of_other_content_refuses(world: World) -> None:
    """The version name is the same, the bytes are not."""
    world.registry.log(V1, {"weights.json": "other", "README.md": "x"}, run="acme/bot/train1")
    assert "other content" in gate_of(world).reason


def test_16_an_old_evaluation_refuses(world: World) -> None:
    """Fourteen days are the default."""
    world.clock.pass_hours(15 * 24)
    assert "days old" in gate_of(world).reason


def test_16_an_evaluation_on_another_dataset_refuses(world: World) -> None:
    """The golden dataset is pinned by its root."""
    world.write_yaml(
        world.yaml.replace(
            "      - policy_clean\n", "      - policy_clean\n      - evaluation: {dataset_root: abc}\n", 1
        )
    )
    assert "not the golden one" in gate_of(world).reason


def test_16_an_evaluation_whose_run_did_not_finish_refuses(world: World) -> None:
    """A crashed run may have dropped the hard questions."""
    run = next(r for r in world.registry.consumers(world.registry.resolve(V1)) if r.job_type == "evaluation")  # type: ignore[arg-type]
    world.registry.record_run(replace(run, state="crashed"), used=[V1])
    assert "'crashed', not finished" in gate_of(world).reason


@pytest.mark.parametrize("alias", ["Staging", "staging ", "ѕtaging", "stagіng", "ｓｔａｇｉｎｇ", "stag\u200bing"])
def test_24_an_alias_that_only_looks_like_a_governed_one_is_reported(world: World, alias: str) -> None:
    """Other case, spaces, Cyrillic, full width, invisible characters."""
    world.registry.set_alias(COLLECTION, alias, V1)
    reconciler = Reconciler(document=world.document, registry=world.registry, ledger=world.ledger(), clock=world.clock)
    assert [item.alias for item in reconciler.compare() if item.agreement is Agreement.LOOKALIKE] == [alias]


def test_24_an_alias_that_merely_contains_a_governed_name_is_another_alias(world: World) -> None:
    """``production-canary`` is not ``production``."""
    world.registry.set_alias(COLLECTION, "staging-canary", V1)
    reconciler = Reconciler(document=world.document, registry=world.registry, ledger=world.ledger(), clock=world.clock)
    assert not any(item.differs for item in reconciler.compare())
    assert world.promoter().promote("support-bot", V1, "staging").state is State.COMMITTED


def test_25_a_protected_alias_the_caller_may_not_move_aborts_with_advice(world: World) -> None:
    """W&B's own words reach the user, and the ledger says that nothing moved."""

    def refuse() -> None:
        raise UnreadableError("You do not have permission to add the alias 'staging' (ask a registry admin for access)")

    world.registry.before_move = refuse
    with pytest.raises(PromotionError, match="permission to add the alias"):
        world.promoter().promote("support-bot", V1, "staging")
    assert [p.state for p in all_promotions(world.ledger()).values()] == [State.ABORTED]


def test_25_the_sdks_permission_error_is_told_apart_from_absence() -> None:
    """CommError texts become unreadable, absent or unreachable."""
    import wandb

    from wandb_governance.backend.registry import _AbsentError, _translated
    from wandb_governance.errors import BackendError

    for text, kind in (
        ("You do not have permission to add alias", UnreadableError),
        ("HTTP 404: run not found", _AbsentError),
        ("HTTP 503: try again", BackendError),
        ("HTTP 429: rate limit exceeded", BackendError),
    ):
        with pytest.raises(kind) as caught, _translated("x"):
            raise wandb.errors.CommError(text)
        assert type(caught.value) is kind


def test_26_lineage_that_can_not_be_read_is_undecided_and_not_missing(world: World) -> None:
    """A project the account may not read: the gate can't tell."""

    def unreadable(_: Version) -> RunFacts | None:
        raise UnreadableError("can't read acme/bot")

    world.registry.producer = unreadable  # type: ignore[method-assign]
    report_ = world.promoter().check("support-bot", V1, "staging")
    assert report_.exit_code is Exit.UNDECIDED
    assert "can't read" in report_.results[0].reason


def test_26_a_registry_that_does_not_answer_is_neither_same_nor_different(world: World) -> None:
    """429 and 5xx are no drift."""
    from wandb_governance.errors import BackendError

    world.promoter().promote("support-bot", V1, "staging")

    def fail(_: str) -> None:
        raise BackendError("HTTP 429")

    world.registry.before_resolve = fail
    reconciler = Reconciler(document=world.document, registry=world.registry, ledger=world.ledger(), clock=world.clock)
    assert {item.agreement for item in reconciler.compare()} == {Agreement.UNREADABLE}


def test_28_five_hundred_flapping_features_are_one_incident() -> None:
    """Every feature of one model drifts on and off for a day: one incident opens, with the features inside."""
    book = IncidentBook(open_after=2, window=3, close_after=3)
    news = []
    for hour in range(24):
        found = [
            Finding(monitor="psi", subject="bot", digest="r1", detail=f"feature {i}")
            for i in range(500)
            if (i + hour) % 3 == 0
        ]
        news += book.look(found if hour % 5 else [])
    assert [item.state for item in news] == [IncidentState.OPEN]
    assert len(book.open[0].details) == 500
    news = [item for _ in range(3) for item in book.look([])]
    assert [item.state for item in news] == [IncidentState.RESOLVED]


def test_28_a_new_version_closes_the_old_versions_incident() -> None:
    """Its drift is not the new one's."""
    book = IncidentBook()
    book.look([Finding(monitor="psi", subject="bot", digest="r1", detail="a")])
    news = book.look([Finding(monitor="psi", subject="bot", digest="r2", detail="a")])
    assert sorted(item.state for item in news) == [IncidentState.OPEN, IncidentState.RESOLVED]


HOSTILE = "](https://evil.test) <script>alert(1)</script> | `x` \x1b[31m\u202e ::error:: ![i](//e.test) ]]>&\n# h"


def test_30_hostile_text_is_shown_and_never_interpreted() -> None:
    """Markdown, JUnit, annotations and terminal get one inert line."""
    gates = [{"gate": HOSTILE, "status": "fail", "reason": HOSTILE}]
    page = report.markdown("t", gates, facts={"x": HOSTILE})
    row = page.splitlines()[-1]
    assert row.count("`") == 4
    assert row.replace("\\|", "").count("|") == 4
    assert not any(ord(char) < 32 for char in row)
    assert "\u202e" not in row
    root = ET.fromstring(report.junit(HOSTILE, gates))
    assert root.find(".//failure") is not None
    assert "\x1b" not in (root.find(".//failure").get("message") or "")  # type: ignore[union-attr]
    annotation = report.github_annotations(gates)
    assert annotation.count("\n") == 1
    assert annotation.count("::") == 2


def test_a_failed_gate_and_an_undecided_one_have_their_own_exit_codes(world: World) -> None:
    """1 when the candidate is at fault, 4 when nobody can tell."""
    bare = world.train(2, evaluated=False)
    world.write_yaml(
        world.yaml.replace(
            "      - metric: {metric: correctness, at_least: 0.8}\n    approvals", "      - policy_clean\n    approvals"
        )
    )
    assert exit_code(world.promoter().promote("support-bot", bare, "staging")) is Exit.FAILED
    assert overall([GateResult(gate="a", status=Status.UNDECIDED, reason="")]) is Status.UNDECIDED
