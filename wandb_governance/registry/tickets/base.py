"""The port every ticket system implements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wandb_governance.registry.approval import Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketRequest:
    """What an approver must see."""

    promotion: str
    title: str
    text: str
    """Plain text: gates, figures, where the evidence is."""
    binding: Mapping[str, str]
    """What an approval will be bound to."""
    binding_digest: str
    """SHA-256 of the binding, for systems that keep one field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A ticket that was opened."""

    system: str
    reference: str
    """Key or id in the system."""
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What one account decided, by the system's own history."""

    account: str
    """Account id in the system; never a field that anyone can write."""
    choice: Choice
    at_ns: int
    reference: str
    comment: str = ""


class TicketSystem(Protocol):
    """Opens tickets and reads decisions. Every read goes to the system."""

    @property
    def name(self) -> str:
        """``jira``, ``servicenow``, ``github`` or ``credoai``."""
        ...

    def open(self, request: TicketRequest) -> Ticket:
        """Open a ticket; idempotent by the promotion id.

        Raises:
            ApprovalError: The system refused, or did not keep what the approval must be bound to.
        """
        ...

    def decisions(self, ticket: Ticket, binding_digest: str) -> Sequence[Decision]:
        """Decisions that stand now. A ticket that was reopened has none.

        Raises:
            ApprovalError: The ticket is gone, unreadable, or bound to something else.
        """
        ...
