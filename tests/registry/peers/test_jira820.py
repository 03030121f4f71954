"""Hard case 12, against jira820: a stateful Jira Data Center of another author (REST v2)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from wandb_governance.errors import ApprovalError
from wandb_governance.registry.approval import Choice
from wandb_governance.registry.http import send
from wandb_governance.registry.targets import Jira
from wandb_governance.registry.tickets.base import Ticket, TicketRequest
from wandb_governance.registry.tickets.jira import JiraTickets

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("jira820", reason="runs in tox -e registry-peers")
jira = pytest.importorskip("jira")

DONE, REOPENED = "10002", "4"
REQUEST = TicketRequest(
    promotion="p" * 32, title="Let bot v1 in", text="gates: pass", binding={}, binding_digest="d" * 64
)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A Jira on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {**os.environ, "JIRA820_PORT": str(port), "JIRA820_HOST": "127.0.0.1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "jira820"], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    for _ in range(200):
        try:
            urllib.request.urlopen(f"{url}/rest/api/2/serverInfo", timeout=1)
            break
        except OSError:
            time.sleep(0.1)
    yield url
    process.terminate()
    process.wait(10)


@pytest.fixture
def tickets(server: str, monkeypatch: pytest.MonkeyPatch) -> JiraTickets:
    """Our side of it."""
    monkeypatch.setenv("JIRA_TOKEN", "x")
    project = jira.JIRA(server, token_auth="x").projects()[0].key
    settings = Jira.model_validate(
        {"url": server, "project": project, "api": "2", "approved_status_ids": [DONE], "token": {"env": "JIRA_TOKEN"}}
    )
    return JiraTickets(settings=settings, transport=send)


def move(server: str, key: str, status: str) -> None:
    client = jira.JIRA(server, token_auth="x")
    wanted = next(item["id"] for item in client.transitions(key) if item["to"]["id"] == status)
    client.transition_issue(key, wanted)


def request(name: str) -> TicketRequest:
    return TicketRequest(promotion=name * 32, title="t", text="x", binding={}, binding_digest=name * 64)


def test_12_only_the_configured_status_id_is_an_approval_and_its_mover_the_approver(
    server: str, tickets: JiraTickets
) -> None:
    """Open says nothing; Done says yes, in the name of the changelog's author; opening again finds the same issue."""
    ticket = tickets.open(request("a"))
    assert tickets.open(request("a")) == ticket
    assert tickets.decisions(ticket, "a" * 64) == ()
    move(server, ticket.reference, DONE)
    (decision,) = tickets.decisions(ticket, "a" * 64)
    history = jira.JIRA(server, token_auth="x").issue(ticket.reference, expand="changelog").changelog.histories[-1]
    assert (decision.choice, decision.account) == (Choice.APPROVE, history.author.name)


def test_10_a_reopened_ticket_no_longer_approves(server: str, tickets: JiraTickets) -> None:
    """What stood a minute ago does not stand now."""
    ticket = tickets.open(request("b"))
    move(server, ticket.reference, DONE)
    assert tickets.decisions(ticket, "b" * 64)
    move(server, ticket.reference, REOPENED)
    assert tickets.decisions(ticket, "b" * 64) == ()


def test_12_a_status_that_was_renamed_or_means_something_else_is_no_approval(server: str, tickets: JiraTickets) -> None:
    """In Review is not Done, whatever it is called."""
    ticket = tickets.open(request("c"))
    move(server, ticket.reference, "3")
    assert tickets.decisions(ticket, "c" * 64) == ()


def test_a_ticket_that_is_bound_to_something_else_does_not_count(server: str, tickets: JiraTickets) -> None:
    """Another content, or the label taken off."""
    ticket = tickets.open(request("e"))
    move(server, ticket.reference, DONE)
    with pytest.raises(ApprovalError, match="not bound"):
        tickets.decisions(ticket, "f" * 64)


def test_a_ticket_that_is_gone_is_an_error_and_not_a_no(tickets: JiraTickets) -> None:
    """404 decides nothing."""
    with pytest.raises(ApprovalError, match="404"):
        tickets.decisions(Ticket(system="jira", reference="NOPE-1", url=""), "a" * 64)


def v3(changelog: Any) -> Any:
    """Jira Cloud's v3 by its documentation, for what jira820 does not speak."""

    def answer(service: Any, method: str, path: str, body: Any) -> tuple[int, Any]:
        if method == "POST":
            service.state["issue"] = body
            return 201, {"id": "1", "key": "GOV-1", "self": ""}
        if method == "PUT":
            return 201, ""
        if "search/jql" in path:
            return 200, {"issues": []}
        if "/changelog" in path:
            return 200, {"values": changelog, "isLast": True}
        fields = {"status": {"id": DONE}, "labels": service.state["issue"]["fields"]["labels"]}
        return 200, {"key": "GOV-1", "fields": fields, "changelog": {"histories": [], "total": len(changelog)}}

    return answer


def test_12_cloud_v3_sends_a_document_and_pages_the_changelog(monkeypatch: pytest.MonkeyPatch) -> None:
    """The description is a document, and the approver the account of the last status change."""
    from registry.doubles_http import serving

    monkeypatch.setenv("JIRA_TOKEN", "t0ken")
    entry = {
        "id": "9",
        "author": {"accountId": "5b10"},
        "created": "2026-11-01T10:00:00.000+0200",
        "items": [{"field": "status", "from": "1", "to": DONE}],
    }
    with serving(
        v3(
            [
                {
                    **entry,
                    "id": "8",
                    "author": {"accountId": "bot"},
                    "created": "2026-11-01T09:00:00.000+0200",
                    "items": [{"field": "status", "from": DONE, "to": "1"}],
                },
                entry,
            ]
        )
    ) as service:
        settings = Jira.model_validate(
            {
                "url": service.url,
                "project": "GOV",
                "approved_status_ids": [DONE],
                "token": {"env": "JIRA_TOKEN"},
                "user": {"env": "JIRA_TOKEN"},
            }
        )
        system = JiraTickets(settings=settings, transport=send)
        ticket = system.open(REQUEST)
        sent = json.loads(next(call for call in service.calls if call.method == "POST").body)
        assert sent["fields"]["description"]["type"] == "doc"
        (decision,) = system.decisions(ticket, REQUEST.binding_digest)
        assert (decision.account, decision.at_ns) == ("5b10", 1_793_520_000 * 10**9)
