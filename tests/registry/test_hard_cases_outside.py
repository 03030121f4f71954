"""Hard cases 13, 14, 21, 23, 29: webhooks, roll-out targets and ticket systems that misbehave."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from wandb_governance.errors import ApprovalError
from wandb_governance.registry.outbox import Outbox, RowState
from wandb_governance.registry.promotion import State, load
from wandb_governance.registry.receiver import listening
from wandb_governance.registry.rollout import deliverer_for
from wandb_governance.registry.rollout.base import DeliveryError, Event
from wandb_governance.registry.rollout.sagemaker import SageMakerEndpoint
from wandb_governance.registry.targets import ServiceNow, Target
from wandb_governance.registry.tickets.base import TicketRequest
from wandb_governance.registry.tickets.servicenow import ServiceNowChanges
from wandb_governance.registry.webhooks import Inbox, WebhookRefusedError, secrets_from, sign

from .conftest import SteppedClock, World
from .doubles_http import Service, serving

if TYPE_CHECKING:
    from pathlib import Path

V1 = "acme/bot/adapter:v1"
SECRET, OLD = "whsec_" + base64.b64encode(b"n" * 24).decode(), "whsec_" + base64.b64encode(b"o" * 24).decode()
BODY = b'{"event_type": "ADD_ARTIFACT_ALIAS", "alias": "staging"}'


def hooked(tmp_path: Path, clock: SteppedClock, **secrets: Any) -> Inbox:
    return Inbox(tmp_path / "inbox.db", clock=clock, secrets=secrets or {"standard": [SECRET]})


def headers(
    clock: SteppedClock, *, secret: str = SECRET, off_s: int = 0, body: bytes = BODY, name: str = "m1"
) -> dict[str, str]:
    return sign(secret, message_id=name, timestamp_s=clock.now_ns() // 10**9 + off_s, body=body)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"secret": OLD}, 401),
        ({"off_s": -301}, 401),
        ({"off_s": 301}, 401),
        ({"body": json.dumps(json.loads(BODY), separators=(",", ":")).encode()}, 401),
    ],
    ids=["wrong secret", "old time stamp", "time stamp of the future", "signed another serialisation"],
)
def test_13_a_webhook_that_is_not_authentic_has_no_effect(tmp_path: Path, change: dict[str, Any], status: int) -> None:
    """401 for each."""
    clock = SteppedClock()
    with pytest.raises(WebhookRefusedError) as caught:
        hooked(tmp_path, clock).receive("standard", headers(clock, **change), BODY)
    assert caught.value.status == status


def test_13_a_replayed_or_reordered_webhook_counts_once(tmp_path: Path) -> None:
    """Also after a restart, and whatever came between."""
    clock = SteppedClock()
    first, second = headers(clock, name="m1"), headers(clock, name="m2")
    inbox = hooked(tmp_path, clock)
    inbox.receive("standard", second, BODY)
    inbox.receive("standard", first, BODY)
    for again in (inbox, hooked(tmp_path, clock)):
        with pytest.raises(WebhookRefusedError) as caught:
            again.receive("standard", second, BODY)
        assert caught.value.status == 409


def test_13_a_huge_body_and_an_empty_secret_are_refused(tmp_path: Path) -> None:
    """413 and 401; an empty secret would sign anything."""
    clock = SteppedClock()
    with pytest.raises(WebhookRefusedError) as caught:
        hooked(tmp_path, clock).receive("standard", headers(clock), b"x" * (1 << 20) + b"x")
    assert caught.value.status == 413
    empty = {"x-wandb-signature": base64.b64encode(hmac.new(b"", BODY, hashlib.sha256).digest()).decode()}
    with pytest.raises(WebhookRefusedError) as caught:
        hooked(tmp_path, clock, wandb=[""]).receive("wandb", empty, BODY)
    assert caught.value.status == 401


SCHEMES = {
    "wandb": lambda secret: {
        "X-Wandb-Signature": base64.b64encode(hmac.new(secret, BODY, hashlib.sha256).digest()).decode()
    },
    "jira": lambda secret: {
        "X-Hub-Signature": "sha256=" + hmac.new(secret, BODY, hashlib.sha256).hexdigest(),
        "X-Atlassian-Webhook-Identifier": "a1",
    },
    "github": lambda secret: {
        "X-Hub-Signature-256": "sha256=" + hmac.new(secret, BODY, hashlib.sha256).hexdigest(),
        "X-GitHub-Delivery": "d1",
    },
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_13_each_senders_own_scheme_is_understood(tmp_path: Path, scheme: Any) -> None:
    """W&B, Jira and GitHub sign differently; the second delivery is the same one."""
    inbox = hooked(tmp_path, SteppedClock(), **{scheme: ["s3cret"]})
    inbox.receive(scheme, SCHEMES[scheme](b"s3cret"), BODY)
    with pytest.raises(WebhookRefusedError):
        inbox.receive(scheme, SCHEMES[scheme](b"s3cret"), BODY)
    with pytest.raises(WebhookRefusedError):
        inbox.receive(scheme, SCHEMES[scheme](b"wrong"), BODY + b" ")


def test_14_a_forged_webhook_only_makes_us_look(world: World, tmp_path: Path) -> None:
    """The W&B secret leaked: the forger's alias event wakes the watcher, which reads the registry and finds nothing."""
    from wandb_governance.registry.reconcile import Reconciler

    world.promoter().promote("support-bot", V1, "staging")
    entries = sum(1 for _ in world.ledger().entries())
    wake = threading.Event()

    def inbox() -> Inbox:
        return hooked(tmp_path, world.clock, wandb=["leaked"])

    with listening("127.0.0.1", 0, inbox=inbox, wake=wake) as (host, port):
        request = urllib.request.Request(
            f"http://{host}:{port}/hooks/wandb", data=BODY, headers=SCHEMES["wandb"](b"leaked"), method="POST"
        )
        assert urllib.request.urlopen(request, timeout=10).status == 204
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=10)
        assert caught.value.code == 409
    assert wake.is_set()
    reconciler = Reconciler(document=world.document, registry=world.registry, ledger=world.ledger(), clock=world.clock)
    found = reconciler.compare()
    reconciler.record(found)
    assert not any(item.differs for item in found)
    assert sum(1 for _ in world.ledger().entries()) == entries


def test_29_two_secrets_are_valid_during_a_rotation(tmp_path: Path) -> None:
    """Old and new are accepted while both are configured; afterwards only the new one."""
    clock = SteppedClock()
    names = secrets_from({"WANDB_GOVERNANCE_HOOK_SECRETS_STANDARD": f"{SECRET}, {OLD}"})
    inbox = Inbox(tmp_path / "a.db", clock=clock, secrets=names)
    inbox.receive("standard", headers(clock, secret=OLD, name="m1"), BODY)
    inbox.receive("standard", headers(clock, secret=SECRET, name="m2"), BODY)
    with pytest.raises(WebhookRefusedError):
        hooked(tmp_path, clock).receive("standard", headers(clock, secret=OLD, name="m3"), BODY)


def test_29_one_secret_for_two_systems_does_not_let_one_speak_for_the_other(tmp_path: Path) -> None:
    """A delivery signed for GitHub is nothing at Jira's door, though the secret is the same."""
    inbox = hooked(tmp_path, SteppedClock(), jira=["same"], github=["same"])
    with pytest.raises(WebhookRefusedError):
        inbox.receive("jira", SCHEMES["github"](b"same"), BODY)


def rolled_out(world: World, targets: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Outbox]:
    monkeypatch.setenv("HOOK", SECRET)
    names = ", ".join(
        line.split(":")[0].strip()
        for line in targets.splitlines()
        if line.startswith("  ") and not line.startswith("   ")
    )
    text = world.yaml.replace("    alias: staging\n", f"    alias: staging\n    rollout: [{names}]\n")
    world.write_yaml(text + "targets:\n" + targets)
    promoter = world.promoter()
    promotion = promoter.promote("support-bot", V1, "staging")
    outbox = Outbox(
        ledger=promoter.ledger,
        clock=world.clock,
        targets=world.document.targets,
        deliverer=lambda target: deliverer_for(target, folder=world.folder, clock=world.clock),
    )
    return promotion, outbox


def test_21_one_of_three_vllm_replicas_fails_then_recovers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Committed is not deployed: the third replica is retried, the other two are not loaded twice."""
    with serving(vllm()) as one, serving(vllm()) as two, serving(vllm(broken=True)) as three:
        urls = json.dumps([service.url for service in (one, two, three)])
        target = f"  eu:\n    kind: vllm\n    urls: {urls}\n    adapter_root: /models\n"
        promotion, outbox = rolled_out(world, target, monkeypatch)
        (row,) = outbox.deliver_due()
        assert (row.state, "2 of 3 replicas" in row.last_error) == (RowState.PENDING, True)
        assert load(outbox.ledger, promotion.id).state is State.COMMITTED
        three.state["broken"] = False
        world.clock.pass_hours(1)
        (row,) = outbox.deliver_due()
        assert row.state is RowState.DELIVERED
        assert load(outbox.ledger, promotion.id).state is State.DEPLOYED
        assert sum(1 for call in one.calls if call.path.endswith("load_lora_adapter")) == 1


def vllm(*, broken: bool = False) -> Any:
    """VLLM's adapter endpoints by their documentation."""

    def answer(service: Service, method: str, path: str, body: Any) -> tuple[int, Any]:
        loaded = service.state.setdefault("loaded", {})
        if service.state.setdefault("broken", broken) and method == "POST":
            return 500, "CUDA out of memory"
        if path == "/v1/models":
            return 200, {
                "object": "list",
                "data": [{"id": k, "object": "model", "root": v, "parent": "base"} for k, v in loaded.items()],
            }
        loaded[body["lora_name"]] = body["lora_path"]
        return 200, f"Success: LoRA adapter '{body['lora_name']}' added successfully"

    return answer


def test_21_a_webhook_that_keeps_failing_becomes_a_dead_letter_and_can_be_revived(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retries keep the id; the last failure is written to the ledger; nobody is told that it is deployed."""
    with serving(lambda service, *_: (service.state.get("status", 503), "")) as service:
        target = f"  hook:\n    kind: webhook\n    url: {service.url}\n    secret: {{env: HOOK}}\n    max_attempts: 3\n"
        promotion, outbox = rolled_out(world, target, monkeypatch)
        for _ in range(5):
            outbox.deliver_due()
            world.clock.pass_hours(2)
        (row,) = outbox.rows()
        assert (row.state, row.attempts) == (RowState.DEAD, 3)
        assert len({call.headers["webhook-id"] for call in service.calls}) == 1
        assert load(outbox.ledger, promotion.id).state is State.COMMITTED
        assert [entry.body["target"] for entry in outbox.ledger.entries(kinds=("dead_letter",))] == ["hook"]
        service.state["status"] = 204
        assert outbox.revive(row.id)
        outbox.deliver_due()
        assert load(outbox.ledger, promotion.id).state is State.DEPLOYED
        received = service.calls[-1]
        Inbox(world.folder / "receiver.db", clock=world.clock, secrets={"standard": [SECRET]}).receive(
            "standard", received.headers, received.body
        )


def test_21_a_dispatch_github_can_not_process_is_not_retried(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """422 will not get better by itself."""
    with serving(lambda *_: (422, {"message": "Validation Failed"})) as service:
        target = f"  gh:\n    kind: github_dispatch\n    url: {service.url}\n"
        target += "    repository: acme/deploy\n    secret: {env: HOOK}\n"
        _, outbox = rolled_out(world, target, monkeypatch)
        (row,) = outbox.deliver_due()
        assert (row.state, row.attempts, len(service.calls)) == (RowState.DEAD, 1, 1)
        sent = json.loads(service.calls[0].body)
        assert sent["client_payload"]["source"] == V1
        assert SECRET not in row.last_error


def test_21_sagemaker_that_could_not_roll_back_is_final() -> None:
    """UpdateRollbackFailed needs a person."""

    class Failed(Exception):
        pass

    class Client:
        exceptions = type("E", (), {"ClientError": Failed})

        def describe_model(self, **_: Any) -> None: ...
        def describe_endpoint_config(self, **_: Any) -> None: ...
        def describe_endpoint(self, **_: Any) -> dict[str, str]:
            return {"EndpointStatus": "UpdateRollbackFailed", "EndpointConfigName": "bot-old"}

    target = Target(kind="sagemaker", model="bot", role_arn="r", image="i", region="eu-west-1")
    event = Event(
        id="1",
        type="promotion.committed",
        promotion="p",
        thing="bot",
        stage="s",
        alias="a",
        collection="c",
        source="s",
        root="r" * 64,
    )
    with pytest.raises(DeliveryError, match="UpdateRollbackFailed") as caught:
        SageMakerEndpoint(target=target, client=Client()).deliver(event)
    assert caught.value.final


def test_the_gateways_alias_file_names_the_exact_version(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other models of the file stay."""
    (world.folder / "aliases.json").write_text('{"version": 1, "aliases": {"other": {"model": "x"}}}')
    promotion, outbox = rolled_out(
        world, "  gw:\n    kind: gateway_alias\n    file: aliases.json\n    model: support\n", monkeypatch
    )
    outbox.deliver_due()
    aliases = json.loads((world.folder / "aliases.json").read_text())["aliases"]
    assert aliases["other"] == {"model": "x"}
    assert aliases["support"]["sha256"] == promotion.candidate["root"]
    assert load(outbox.ledger, promotion.id).state is State.DEPLOYED


def servicenow(*, keeps: bool) -> Any:
    """The Table API by its documentation: unknown fields vanish, and are only listed in ``__meta``."""

    def answer(service: Service, method: str, path: str, body: Any) -> tuple[int, Any]:
        changes = service.state.setdefault("changes", {})
        if "sysapproval_approver" in path:
            return 200, {"result": service.state.get("approvals", [])}
        if method == "POST":
            kept = dict(body) if keeps else {k: v for k, v in body.items() if not k.startswith("u_")}
            record = {"sys_id": "c1", "number": "CHG001", "state": "-5", "approval": "requested", **kept}
            changes["c1"] = record
            ignored = sorted(set(body) - set(kept))
            return 201, {"result": record, **({"__meta": {"ignoredFields": ignored}} if ignored else {})}
        return 200, {"result": list(changes.values())}

    return answer


def change_settings(url: str) -> ServiceNow:
    secret = {"env": "SN"}
    return ServiceNow.model_validate({"url": url, "user": secret, "password": secret})


REQUEST = TicketRequest(promotion="p1", title="t", text="x", binding={}, binding_digest="b" * 64)


def test_23_a_servicenow_that_drops_our_field_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest was not kept, so nothing would be bound to it."""
    from wandb_governance.registry.http import send

    monkeypatch.setenv("SN", "x")
    with serving(servicenow(keeps=False)) as service, pytest.raises(ApprovalError, match="did not keep"):
        ServiceNowChanges(settings=change_settings(service.url), transport=send).open(REQUEST)


def test_servicenow_approvals_count_for_whoever_gave_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that someone else set for the approver is not the approver's decision; opening twice makes one change."""
    from wandb_governance.registry.http import send

    monkeypatch.setenv("SN", "x")
    with serving(servicenow(keeps=True)) as service:
        system = ServiceNowChanges(settings=change_settings(service.url), transport=send)
        ticket = system.open(REQUEST)
        assert system.open(REQUEST) == ticket
        assert sum(call.method == "POST" for call in service.calls) == 1
        row = {
            "sys_id": "a1",
            "state": "approved",
            "approver.user_name": "dev.sn",
            "sys_updated_on": "2026-11-01 05:30:00",
        }
        service.state["approvals"] = [
            {**row, "sys_updated_by": "dev.sn"},
            {**row, "sys_id": "a2", "approver.user_name": "ben.sn", "sys_updated_by": "dev.sn"},
        ]
        assert [decision.account for decision in system.decisions(ticket, REQUEST.binding_digest)] == ["dev.sn"]
        with pytest.raises(ApprovalError, match="bound to something else"):
            system.decisions(ticket, "c" * 64)
