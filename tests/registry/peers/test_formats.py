"""What we write, read by other authors' code: Standard Webhooks, in-toto, CycloneDX, model cards, OpenLineage."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from registry.conftest import SteppedClock, World
from wandb_governance.registry.attest import test_result as gate_statement
from wandb_governance.registry.attest import verification_summary
from wandb_governance.registry.cards import ml_bom, model_card
from wandb_governance.registry.document import load_document
from wandb_governance.registry.lineage import Edge, Graph, Node
from wandb_governance.registry.lineage_views import open_lineage
from wandb_governance.registry.promotion import Promotion, State
from wandb_governance.registry.webhooks import Inbox, sign

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("standardwebhooks", reason="runs in tox -e registry-peers")
CANDIDATE = {
    "source": "acme/bot/adapter:v1",
    "root": "ab" * 32,
    "artifact_id": "1",
    "metadata": "m",
    "version": "v",
    "digest": "d",
}
GATES = ({"gate": "metric:correctness", "status": "pass", "reason": "0.9 | ok", "facts": {"mean": 0.9}},)


def promotion() -> Promotion:
    return Promotion(
        id="p1",
        state=State.COMMITTED,
        thing="support-bot",
        stage="production",
        collection="c",
        alias="production",
        candidate=CANDIDATE,
        expected=None,
        generation=0,
        rule="r",
        requested_by="wandb:ana",
        requested_at_ns=10**18,
        gates=GATES,
        evaluation={"dataset": "acme/data/golden:v0", "run": "r", "artifact": "e"},
        committed_at_ns=10**18,
    )


def test_standardwebhooks_verifies_our_signature_and_we_verify_its(tmp_path: Path) -> None:
    """Both ways."""
    from standardwebhooks import Webhook

    secret, body = "whsec_" + base64.b64encode(b"k" * 24).decode(), b'{"a": 1}'
    clock = SteppedClock()
    assert Webhook(secret).verify(
        body, sign(secret, message_id="m1", timestamp_s=clock.now_ns() // 10**9, body=body)
    ) == {"a": 1}
    now = datetime.fromtimestamp(clock.now_ns() / 1e9, UTC)
    theirs = {
        "webhook-id": "m2",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign("m2", now, body.decode()),
    }
    Inbox(tmp_path / "i.db", clock=clock, secrets={"standard": [secret]}).receive("standard", theirs, body)


def test_in_toto_accepts_our_statements() -> None:
    """Statement, test result and verification summary, by in-toto's own protobuf classes."""
    from google.protobuf.json_format import ParseDict
    from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
    from in_toto_attestation.predicates.vsa.v1 import vsa_pb2
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.statement import Statement

    for statement, predicate in (
        (gate_statement(CANDIDATE, stage="production", rule="ab" * 32, results=GATES), test_result_pb2.TestResult()),
        (
            verification_summary(
                CANDIDATE, stage="production", rule="ab" * 32, promotion="p1", at_ns=10**18, ledger="l"
            ),
            vsa_pb2.VerificationSummary(),
        ),
    ):
        message = ParseDict(statement, statement_pb2.Statement())
        Statement.copy_from_pb(message).validate()
        # SLSA's verifiedLevels is a list; this release of the protobuf class holds one string.
        ParseDict({key: value for key, value in statement["predicate"].items() if key != "verifiedLevels"}, predicate)


def test_cyclonedx_accepts_our_bom(world: World) -> None:
    """The strict validator of CycloneDX 1.6."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    thing = load_document(world.file).governed["support-bot"]
    bom = ml_bom("support-bot", thing, promotion())
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bom)) is None
    assert bom["components"][0]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"][0]["type"] == "correctness"


def test_modelcards_reads_our_card(world: World) -> None:
    """Front matter and text."""
    from modelcards import ModelCard

    text = model_card("support-bot", load_document(world.file).governed["support-bot"], promotion())
    card = ModelCard(text)
    assert card.data.license == "apache-2.0"
    assert "Intended use" in card.text


def test_openlineage_reads_our_events() -> None:
    """The official client rebuilds the event and sends it to a file."""
    from openlineage.client.event_v2 import RunEvent

    nodes = {
        "artifact:a/b/m:v1": Node(id="artifact:a/b/m:v1", kind="artifact", label="a/b/m:v1"),
        "run:a/b/r": Node(id="run:a/b/r", kind="run", label="a/b/r", facts={"job_type": "train"}),
    }
    graph = Graph(
        root="artifact:a/b/m:v1",
        nodes=nodes,
        edges=(Edge(source="artifact:a/b/m:v1", target="run:a/b/r", relation="made by"),),
    )
    (event,) = open_lineage(graph, at_ns=10**18)
    from openlineage.client import event_v2

    rebuilt = RunEvent(
        eventType=event_v2.RunState[event["eventType"]],
        eventTime=event["eventTime"],
        producer=event["producer"],
        run=event_v2.Run(runId=event["run"]["runId"]),
        job=event_v2.Job(namespace=event["job"]["namespace"], name=event["job"]["name"]),
        outputs=[event_v2.OutputDataset(namespace=o["namespace"], name=o["name"]) for o in event["outputs"]],
    )
    assert rebuilt.outputs[0].name == "a/b/m"
