"""Approvals as ServiceNow change requests.

Decisions are the rows of ``sysapproval_approver``; the decider is ``sys_updated_by``, which the platform writes, and
must be the approver of the row. The binding stands in a field of the change that is read back, because ServiceNow drops
unknown fields without an error.

Source:
    ServiceNow, Table API; tables change_request and sysapproval_approver.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from wandb_governance.errors import ApprovalError
from wandb_governance.registry.approval import Choice
from wandb_governance.registry.http import HttpError, call
from wandb_governance.registry.tickets.base import Decision, Ticket, TicketRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wandb_governance.registry.http import Transport
    from wandb_governance.registry.targets import ServiceNow

_CANCELED = "4"
_CHOICES = {"approved": Choice.APPROVE, "rejected": Choice.REJECT}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceNowChanges:
    """Opens change requests and reads their approvals."""

    settings: ServiceNow
    transport: Transport

    @property
    def name(self) -> str:
        """See ``TicketSystem.name``."""
        return "servicenow"

    def open(self, request: TicketRequest) -> Ticket:
        """See ``TicketSystem.open``; ``correlation_id`` makes it idempotent."""
        query = {
            "sysparm_query": f"correlation_id={request.promotion}",
            "sysparm_fields": self._fields,
            "sysparm_limit": "1",
        }
        found = self._call("GET", "change_request", query=query)
        change = found[0] if found else self._create(request)
        if change.get(self.settings.binding_field) != request.binding_digest:
            raise ApprovalError(
                f"ServiceNow did not keep {self.settings.binding_field!r} of {change.get('number')}: "
                "add that string field (64 characters) to change_request"
            )
        url = f"{self.settings.url.rstrip('/')}/nav_to.do?uri=change_request.do?sys_id={change['sys_id']}"
        return Ticket(system=self.name, reference=str(change["sys_id"]), url=url)

    def decisions(self, ticket: Ticket, binding_digest: str) -> Sequence[Decision]:
        """See ``TicketSystem.decisions``."""
        query = {"sysparm_query": f"sys_id={ticket.reference}", "sysparm_fields": self._fields, "sysparm_limit": "1"}
        found = self._call("GET", "change_request", query=query)
        if not found:
            raise ApprovalError(f"the change {ticket.reference} is gone from ServiceNow")
        if found[0].get(self.settings.binding_field) != binding_digest:
            raise ApprovalError(f"{found[0].get('number')} is bound to something else now")
        if str(found[0].get("state")) == _CANCELED:
            return ()
        fields = "sys_id,state,approver.user_name,sys_updated_on,sys_updated_by,comments"
        rows = self._call(
            "GET",
            "sysapproval_approver",
            query={
                "sysparm_query": f"sysapproval={ticket.reference}",
                "sysparm_fields": fields,
                "sysparm_exclude_reference_link": "true",
                "sysparm_limit": "100",
            },
        )
        return tuple(_decision(ticket, row) for row in rows if row.get("state") in _CHOICES and _own(row))

    @property
    def _fields(self) -> str:
        return f"sys_id,number,state,approval,correlation_id,{self.settings.binding_field}"

    def _create(self, request: TicketRequest) -> dict[str, Any]:
        value = {
            "short_description": request.title[:160],
            "description": request.text,
            "type": "normal",
            "correlation_id": request.promotion,
            "correlation_display": "wandb-governance",
            self.settings.binding_field: request.binding_digest,
        }
        made: dict[str, Any] = self._call("POST", "change_request", value=value)
        return made

    def _call(self, method: str, table: str, *, query: dict[str, str] | None = None, value: object = None) -> Any:
        pair = f"{self.settings.user.reference.read()}:{self.settings.password.reference.read()}".encode()
        headers = {"Authorization": "Basic " + base64.b64encode(pair).decode()}
        url = f"{self.settings.url.rstrip('/')}/api/now/table/{table}" + (f"?{urlencode(query)}" if query else "")
        try:
            answer = call(self.transport, method, url, headers=headers, value=value).json()
            return answer["result"]
        except HttpError as error:
            raise ApprovalError(f"ServiceNow: {error}") from error
        except (TypeError, KeyError) as error:
            raise ApprovalError("ServiceNow's answer has no result") from error


def _own(row: dict[str, Any]) -> bool:
    """Whether the approver decided, and not someone for them."""
    return str(row.get("sys_updated_by", "")).casefold() == str(row.get("approver.user_name", "")).casefold() != ""


def _decision(ticket: Ticket, row: dict[str, Any]) -> Decision:
    moment = datetime.strptime(row["sys_updated_on"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    return Decision(
        account=row["approver.user_name"],
        choice=_CHOICES[row["state"]],
        at_ns=int(moment.timestamp()) * 1_000_000_000,
        reference=f"{ticket.reference}#{row['sys_id']}",
        comment=str(row.get("comments") or ""),
    )
