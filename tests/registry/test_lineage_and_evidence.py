"""Lineage from a prediction, hard case 27, and evidence bundles that verify without us."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from wandb_governance.backend.registry import RunFacts, Version
from wandb_governance.errors import RegistryError, UnreadableError
from wandb_governance.registry import lineage_views as views
from wandb_governance.registry.controls import FRAMEWORKS, Coverage
from wandb_governance.registry.evidence import export
from wandb_governance.registry.lineage import Presence, Tracer, find_prediction

from .conftest import COLLECTION, GOLDEN, World

if TYPE_CHECKING:
    from pathlib import Path

V1, PROMPT, INDEX = "acme/bot/adapter:v1", "acme/bot/answer-prompt:v0", "acme/bot/orders-index:v0"
APP = "acme/bot/app1"


@pytest.fixture
def served(world: World) -> World:
    """Version 1 is in production and answered one user."""
    promoter = world.promoter()
    promoter.promote("support-bot", V1, "staging")
    waiting = promoter.promote("support-bot", V1, "production")
    for person in ("ben", "dev"):
        promoter.ballot.cast(waiting, world.vote(waiting, person))
    promoter.advance(waiting.id)
    world.registry.log(PROMPT, {"prompt.txt": "Answer: {q}"}, type="prompt")
    world.registry.log(INDEX, {"vectors.npy": "x"}, type="vector-index")
    world.registry.record_run(RunFacts(path=APP, state="running", user="ana", job_type="app"))
    columns = ["span_id", "trace_id", "request_model", "versions", "prompt_version", "index_version", "verdict"]
    versions = json.dumps({"model": V1, "prompt": PROMPT, "code": "b" * 40})
    rows = [["s0", "t0", "m", None, None, None, "allow"], ["s1", "t1", "bot", versions, "v0", INDEX, "allow"]]
    table = json.dumps({"columns": columns, "data": rows})
    world.registry.log("acme/bot/run-app1-llm_calls:v0", {"llm_calls.table.json": table}, type="run_table", run=APP)
    return world


def graph_of(world: World, prediction: str = "s1") -> Any:
    run, row = find_prediction(world.registry, prediction, runs=[APP])
    return Tracer(registry=world.registry, ledger=world.ledger()).prediction(prediction, run, row)


def test_a_prediction_leads_to_everything_behind_it(served: World) -> None:
    """Model, prompt, index, dataset, code, training and evaluation run, promotions, approvals."""
    graph = graph_of(served)
    labels = {(node.kind, node.label) for node in graph.nodes.values()}
    for wanted in (
        ("artifact", V1),
        ("artifact", PROMPT),
        ("artifact", INDEX),
        ("artifact", GOLDEN),
        ("run", "acme/bot/train1"),
        ("commit", "a" * 40),
        ("commit", "b" * 40),
        ("run", APP),
    ):
        assert wanted in labels, labels
    kinds = [node.kind for node in graph.nodes.values()]
    assert (kinds.count("promotion"), kinds.count("approval")) == (2, 2)
    assert any(edge.relation == "evaluated by" for edge in graph.edges)
    assert all(node.presence is Presence.KNOWN for node in graph.nodes.values())


def test_27_a_deleted_model_is_answered_from_the_pinned_record(served: World) -> None:
    """The row names the exact version; W&B no longer has it; the ledger still knows who let it in."""
    served.registry.delete(V1)
    graph = graph_of(served)
    model = graph.nodes[f"artifact:{V1}"]
    assert model.presence is Presence.GONE
    assert sum(child.kind == "promotion" for _, child in graph.children(model.id)) == 2


def test_27_a_moved_alias_does_not_rewrite_what_answered(served: World) -> None:
    """The alias is elsewhere today; the prediction's model is not."""
    served.train(2)
    served.registry.set_alias(COLLECTION, "production", "acme/bot/adapter:v2")
    assert f"artifact:{V1}" in graph_of(served).nodes
    assert "artifact:acme/bot/adapter:v2" not in graph_of(served).nodes


def test_26_unreadable_lineage_is_shown_as_such(served: World) -> None:
    """The account may not read the training project: not the same as no training run."""

    def refuse(version: Version) -> RunFacts | None:
        raise UnreadableError("can't read")

    served.registry.producer = refuse  # type: ignore[method-assign]
    graph = graph_of(served)
    assert any(node.presence is Presence.UNREADABLE for _, node in graph.children(f"artifact:{V1}"))


def test_a_prediction_that_is_nowhere_is_told_apart_from_one_that_can_not_be_read(served: World) -> None:
    """Two errors."""
    with pytest.raises(RegistryError, match="none of 1 runs"):
        find_prediction(served.registry, "s9", runs=[APP])

    def refuse(run: str) -> Any:
        raise UnreadableError(run)

    served.registry.outputs = refuse  # type: ignore[method-assign]
    with pytest.raises(UnreadableError, match="not read"):
        find_prediction(served.registry, "s9", runs=[APP])


def test_the_views_hold_every_node_and_execute_nothing(served: World) -> None:
    """Tree, JSON, SVG, HTML and OpenLineage of one graph; hostile labels stay text."""
    served.registry.edit(V1, type='<script>alert("x")</script>')
    graph = graph_of(served)
    page = views.page(graph)
    assert "<script" not in page
    drawing = ET.fromstring(views.svg(graph))
    boxes = [item for item in drawing.iter() if item.tag.endswith("rect")]
    assert len(boxes) == len(graph.nodes)
    assert len(json.loads(json.dumps(views.as_json(graph)))["nodes"]) == len(graph.nodes)
    events = views.open_lineage(graph, at_ns=0)
    trained = next(event for event in events if event["job"]["name"] == "train")
    assert [item["name"] for item in trained["outputs"]] == ["acme/bot/adapter"]
    assert {test["status"] for test in trained["run"]["facets"]["test"]["tests"]} == {"pass"}
    from rich.console import Console

    console = Console(record=True, width=200, file=io.StringIO())
    console.print(views.tree(graph))
    assert V1 in console.export_text()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_bundle_verifies_offline_with_one_command(served: World, tmp_path: Path, framework: str) -> None:
    """A plain interpreter without this package, and openssl."""
    out = tmp_path / "bundle"
    controls = export(
        framework, out, document=served.document, ledger=served.ledger(), key=served.writer, clock=served.clock
    )
    assert {Coverage.EVIDENCED, Coverage.NOT_COVERED} <= {item.coverage for item in controls}
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(out / "verify.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=out, check=False).returncode == 0
    assert "compliant" not in (out / "index.html").read_text().lower()


TAMPER = {
    "a changed page": lambda out: (out / "index.html").write_text("fine"),
    "an added file": lambda out: (out / "more.txt").write_text("x"),
    "a removed vote": lambda out: next((out / "votes").iterdir()).unlink(),
    "new checksums": lambda out: (out / "SHA256SUMS").write_text((out / "SHA256SUMS").read_text() + "\n"),
}


@pytest.mark.parametrize("how", TAMPER)
def test_a_tampered_bundle_does_not_verify(served: World, tmp_path: Path, how: str) -> None:
    """Exit code 1 and a sentence."""
    out = tmp_path / "bundle"
    export("iso-42001", out, document=served.document, ledger=served.ledger(), key=served.writer, clock=served.clock)
    TAMPER[how](out)
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(out / "verify.py")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "FAILED" in done.stdout) == (1, True)


def test_no_secret_is_in_ledger_bundle_or_error(served: World, tmp_path: Path) -> None:
    """No private key, in any of its forms, in any file governance wrote, nor in its errors."""
    import base64

    from wandb_governance.errors import SettingsError
    from wandb_governance.registry.keys import SecretReference, SigningKey

    out = tmp_path / "bundle"
    export("iso-42001", out, document=served.document, ledger=served.ledger(), key=served.writer, clock=served.clock)
    secrets = []
    for key in (served.writer, served.evaluator, *served.people.values()):
        raw = key.private.private_bytes_raw()
        secrets += [raw, raw.hex().encode(), base64.b64encode(raw), key.pem().splitlines()[1]]
        assert base64.b64encode(raw).decode() not in repr(key)
    for path in served.folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not any(secret in data for secret in secrets), path
    with pytest.raises(SettingsError) as caught:
        SigningKey.parse("hunter2-not-a-key", source="environment variable X")
    assert "hunter2" not in str(caught.value)
    open_file = tmp_path / "key"
    open_file.write_text("hunter2")
    open_file.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600") as caught:
        SecretReference(file=str(open_file)).read()
    assert "hunter2" not in str(caught.value)
