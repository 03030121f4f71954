"""Approvals as Jira issues, REST API v2 (Server, Data Center) and v3 (Cloud).

The approver is the author of the changelog entry that brought the issue into an approved status: not the assignee, not
a field. Status ids decide, because names are renamed and translated.

Source:
    Atlassian, Jira REST API v2 and v3: issue, changelog, issue properties, remote links.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from wandb_governance.errors import ApprovalError
from wandb_governance.registry.approval import Choice
from wandb_governance.registry.http import HttpError, call
from wandb_governance.registry.tickets.base import Decision, Ticket, TicketRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wandb_governance.registry.http import Response, Transport
    from wandb_governance.registry.targets import Jira

_PROPERTY = "wandb-governance"
_LABEL = "wandb-governance"
_PAGE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class JiraTickets:
    """Opens issues and reads their changelog."""

    settings: Jira
    transport: Transport

    @property
    def name(self) -> str:
        """See ``TicketSystem.name``."""
        return "jira"

    def open(self, request: TicketRequest) -> Ticket:
        """See ``TicketSystem.open``; the promotion's own label makes it idempotent."""
        label = f"{_LABEL}-{request.promotion}"
        found = self._search(f'project = "{self.settings.project}" AND labels = "{label}"')
        key = found[0]["key"] if found else self._create(request, label)
        return Ticket(system=self.name, reference=key, url=f"{self.settings.url.rstrip('/')}/browse/{key}")

    def decisions(self, ticket: Ticket, binding_digest: str) -> Sequence[Decision]:
        """See ``TicketSystem.decisions``."""
        issue = self._get(f"issue/{quote(ticket.reference)}?fields=status,labels,description&expand=changelog")
        self._bound(issue, binding_digest)
        status = str(issue["fields"]["status"]["id"])
        choice = self._choice(status)
        if choice is None:
            return ()
        for history in sorted(self._histories(ticket.reference, issue), key=lambda item: item["created"], reverse=True):
            for item in reversed(history["items"]):
                if item.get("field") == "status":
                    if str(item.get("to")) != status:
                        raise ApprovalError(f"{ticket.reference}: the changelog does not lead to the status it shows")
                    return (self._decision(ticket, history, choice),)
        return ()  # it was created in this status: nobody decided

    def _decision(self, ticket: Ticket, history: dict[str, Any], choice: Choice) -> Decision:
        author = history.get("author") or {}
        account = author.get("accountId") or author.get("name") or author.get("key") or ""
        moment = datetime.fromisoformat(history["created"])
        at_ns = int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000) * 1_000_000
        reference = f"{ticket.reference}#{history['id']}"
        return Decision(account=str(account), choice=choice, at_ns=at_ns, reference=reference)

    def _choice(self, status: str) -> Choice | None:
        if status in self.settings.approved_status_ids:
            return Choice.APPROVE
        return Choice.REJECT if status in self.settings.rejected_status_ids else None

    def _bound(self, issue: dict[str, Any], binding_digest: str) -> None:
        """The issue must carry the digest of exactly what is asked about."""
        if f"{_LABEL}-{binding_digest[:32]}" not in issue["fields"].get("labels", []):
            raise ApprovalError(f"{issue['key']} is not bound to this content and policy any more (its label is gone)")

    def _histories(self, key: str, issue: dict[str, Any]) -> list[dict[str, Any]]:
        page = issue.get("changelog", {})
        histories: list[dict[str, Any]] = list(page.get("histories", []))
        if self.settings.api == "3" and page.get("total", 0) > len(histories):
            histories, start = [], 0
            while True:
                more = self._get(f"issue/{quote(key)}/changelog?startAt={start}&maxResults={_PAGE}")
                histories += more["values"]
                start += len(more["values"])
                if more.get("isLast", True) or not more["values"]:
                    break
        return histories

    def _create(self, request: TicketRequest, label: str) -> str:
        text: object = request.text
        if self.settings.api == "3":
            paragraphs = [_paragraph(line) for line in request.text.splitlines()]
            text = {"type": "doc", "version": 1, "content": paragraphs}
        fields = {
            "project": {"key": self.settings.project},
            "issuetype": {"name": self.settings.issue_type},
            "summary": request.title[:250],
            "labels": [_LABEL, label, f"{_LABEL}-{request.binding_digest[:32]}"],
            "description": text,
        }
        key = str(self._call("POST", "issue", {"fields": fields}).json()["key"])
        if self.settings.api == "3":
            value = {"promotion": request.promotion, "binding": request.binding_digest}
            self._call("PUT", f"issue/{quote(key)}/properties/{_PROPERTY}", value)
        return key

    def _search(self, jql: str) -> list[dict[str, Any]]:
        path = "search/jql" if self.settings.api == "3" else "search"
        found: list[dict[str, Any]] = self._get(f"{path}?jql={quote(jql)}&fields=status").get("issues", [])
        return found

    def _get(self, path: str) -> dict[str, Any]:
        value = self._call("GET", path).json()
        if not isinstance(value, dict):
            raise ApprovalError("Jira's answer is not JSON")
        return value

    def _call(self, method: str, path: str, value: object = None) -> Response:
        token = self.settings.token.reference.read()
        if self.settings.user is not None:
            pair = f"{self.settings.user.reference.read()}:{token}".encode()
            authorization = "Basic " + base64.b64encode(pair).decode()
        else:
            authorization = f"Bearer {token}"
        url = f"{self.settings.url.rstrip('/')}/rest/api/{self.settings.api}/{path}"
        try:
            return call(self.transport, method, url, headers={"Authorization": authorization}, value=value)
        except HttpError as error:
            raise ApprovalError(f"Jira: {error}") from error


def _paragraph(line: str) -> dict[str, Any]:
    return {"type": "paragraph", "content": [{"type": "text", "text": line}] if line else []}
