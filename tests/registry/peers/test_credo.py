"""Credo AI through the official ``pycredoai``, whose models check our double's answers; the double is our own."""

from __future__ import annotations

from typing import Any

import pytest

from registry.doubles_http import serving
from wandb_governance.errors import ApprovalError
from wandb_governance.registry.approval import Choice
from wandb_governance.registry.targets import CredoAI
from wandb_governance.registry.tickets.base import TicketRequest
from wandb_governance.registry.tickets.credo import CredoTickets

pytest.importorskip("credoai", reason="runs in tox -e registry-peers")
REQUEST = TicketRequest(promotion="p1", title="t", text="x", binding={}, binding_digest="b" * 64)


def credo(service: Any, method: str, path: str, body: Any) -> tuple[int, Any]:
    state = service.state
    page = {"page_size": 100, "has_next": False, "has_previous": False}
    evidence = state.setdefault("evidence", [])
    if path.endswith("/auth/token"):
        return 200, {"access_token": "t", "token_type": "bearer", "expires_in": 3600}
    if "/evidences" in path:
        evidence.append(f"E{len(evidence)}")
        return 201, {"id": evidence[-1], "type": "text", "data": {"value": "x"}, "control_requirement_id": "r1"}
    if "/workflow" in path:
        return 200, {"use_case_id": "u1", "workflow_stage_step": state.get("step", "assessment")}
    if "/controls" in path:
        control = {
            "id": "c1",
            "use_case_id": "u1",
            "control_key": "human-review",
            "status": state.get("status", "open"),
            "compliances": [
                {"requirement_id": "r1", "evidence_ids": state.get("attached", evidence), "attachment_ids": []}
            ],
        }
        return 200, {"items": [control], "pagination": page}
    if "/audit_logs" in path:
        return 200, {"items": state.get("log", []), "pagination": page}
    return 404, {"detail": path}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A ticket and the service behind it."""
    monkeypatch.setenv("CREDO", "key")
    with serving(credo) as service:
        settings = CredoAI.model_validate(
            {
                "url": service.url,
                "tenant": "acme",
                "use_case": "u1",
                "controls": ["human-review"],
                "met_statuses": ["met"],
                "decision_events": ["use_case_workflow_advanced"],
                "token": {"env": "CREDO"},
            }
        )
        system = CredoTickets(settings=settings)
        yield service, system, system.open(REQUEST)


LOG = {
    "id": "l1",
    "name": "use_case_workflow_advanced",
    "inserted_at": "2026-11-01T10:00:00Z",
    "user": {"id": "1", "email": "dev@acme.test", "name": "Dev"},
}


def test_clear_with_met_controls_and_our_evidence_is_an_approval_of_whoever_the_audit_log_names(opened: Any) -> None:
    """All three, and the name comes from the log."""
    service, system, ticket = opened
    assert system.decisions(ticket, REQUEST.binding_digest) == ()
    service.state |= {"step": "clear", "status": "met", "log": [LOG]}
    (decision,) = system.decisions(ticket, REQUEST.binding_digest)
    assert (decision.account, decision.choice) == ("dev@acme.test", Choice.APPROVE)


@pytest.mark.parametrize(
    "state",
    [{"status": "open"}, {"status": "somewhat met"}, {"attached": []}, {"log": []}, {"step": "evidence_collection"}],
    ids=["control open", "unknown status", "our evidence replaced", "nobody named", "not clear"],
)
def test_anything_less_is_no_approval(opened: Any, state: dict[str, Any]) -> None:
    """An unknown word is a no."""
    service, system, ticket = opened
    service.state |= {"step": "clear", "status": "met", "log": [LOG], **state}
    assert system.decisions(ticket, REQUEST.binding_digest) == ()


def test_evidence_for_something_else_is_an_error(opened: Any) -> None:
    """The ticket is bound to what it was opened for."""
    _, system, ticket = opened
    with pytest.raises(ApprovalError, match="something else"):
        system.decisions(ticket, "c" * 64)
