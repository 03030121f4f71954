"""Approvals as a Credo AI use case whose assessment is clear, through the official ``pycredoai``.

Credo AI's workflow names no decider in its state; the audit log of the use case does. An account that the audit log
does not name is nobody.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from wandb_governance.errors import ApprovalError, MissingExtraError
from wandb_governance.registry.approval import Choice
from wandb_governance.registry.tickets.base import Decision, Ticket, TicketRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wandb_governance.registry.targets import CredoAI

_CLEAR = "clear"
_REJECTED = "rejected"
_SEPARATOR = ";"


@dataclass(frozen=True, slots=True, kw_only=True)
class CredoTickets:
    """Attaches our evidence to controls and reads assessment state, controls and audit log.

    Args:
        settings: From ``governance.yaml``.
        client: A ``credoai.CredoAI``; made from the settings when None.
    """

    settings: CredoAI
    client: Any = None

    @property
    def name(self) -> str:
        """See ``TicketSystem.name``."""
        return "credoai"

    def open(self, request: TicketRequest) -> Ticket:
        """See ``TicketSystem.open``: one text evidence per required control, which names promotion and binding.

        Credo AI keeps the newest evidence of a requirement only, so a second call replaces its own.
        """
        with self._connected() as (client, models):
            controls = self._controls(client)
            text = f"{request.title}\npromotion {request.promotion}\nbinding {request.binding_digest}\n\n{request.text}"
            ids = []
            for key in self.settings.controls:
                control = controls[key]
                if not control.compliances:
                    raise ApprovalError(f"Credo AI control {key!r} has no requirement to attach evidence to")
                data = models.ControlEvidenceCreate(
                    control_requirement_id=str(control.compliances[0].requirement_id),
                    data=models.TextData(value=text),
                )
                made = client.use_case_evidence.create_use_case_control_evidence(
                    use_case_id=self.settings.use_case, control_id=control.id, data=data
                )
                ids.append(made.id)
        reference = _SEPARATOR.join([request.binding_digest, *ids])
        return Ticket(
            system=self.name, reference=reference, url=f"{self.settings.url}/use_cases/{self.settings.use_case}"
        )

    def decisions(self, ticket: Ticket, binding_digest: str) -> Sequence[Decision]:
        """See ``TicketSystem.decisions``: clear, every control met, our evidence still what was looked at."""
        bound, *evidence = ticket.reference.split(_SEPARATOR)
        if bound != binding_digest:
            raise ApprovalError("the Credo AI evidence is of something else")
        with self._connected() as (client, _):
            step = client.use_cases(self.settings.use_case).workflow.get().workflow_stage_step
            if step not in (_CLEAR, _REJECTED):
                return ()
            if step == _CLEAR and not self._met(self._controls(client), set(evidence)):
                return ()
            return self._decider(client, ticket, Choice.APPROVE if step == _CLEAR else Choice.REJECT)

    def _met(self, controls: dict[str, Any], evidence: set[str]) -> bool:
        wanted = [controls[key] for key in self.settings.controls]
        attached = {
            item for control in wanted for entry in control.compliances or () for item in entry.evidence_ids or ()
        }
        return evidence <= attached and all(control.status in self.settings.met_statuses for control in wanted)

    def _decider(self, client: Any, ticket: Ticket, choice: Choice) -> tuple[Decision, ...]:
        entries = client.audit_logs.list(use_case_id=self.settings.use_case, page_limit=100).items
        decided = [
            entry
            for entry in entries
            if entry.name in self.settings.decision_events and entry.user and entry.user.email
        ]
        if not decided:
            return ()
        last = max(decided, key=lambda entry: entry.inserted_at)
        at_ns = _utc_ns(last.inserted_at)
        return (
            Decision(account=last.user.email, choice=choice, at_ns=at_ns, reference=f"{ticket.reference}#{last.id}"),
        )

    def _controls(self, client: Any) -> dict[str, Any]:
        found = {
            control.control_key: control for control in client.use_cases(self.settings.use_case).controls.list().items
        }
        missing = [key for key in self.settings.controls if key not in found]
        if missing:
            raise ApprovalError(f"the Credo AI use case {self.settings.use_case} has no control {', '.join(missing)}")
        return found

    @contextlib.contextmanager
    def _connected(self) -> Iterator[tuple[Any, Any]]:
        try:
            import credoai  # type: ignore[import-not-found, import-untyped, unused-ignore]
            import httpx
            from credoai import models
            from credoai.errors import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
                CredoAIError,
            )
        except ImportError as error:
            raise MissingExtraError("pycredoai", extra="credoai") from error
        try:
            yield (
                self.client
                or credoai.CredoAI(
                    base_url=self.settings.url,
                    api_key=self.settings.token.reference.read(),
                    tenant=self.settings.tenant,
                ),
                models,
            )
        except (CredoAIError, httpx.HTTPError) as error:
            raise ApprovalError(f"Credo AI: {error}") from error


def _utc_ns(moment: datetime) -> int:
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000) * 1_000_000
