"""The ticket systems of ``governance.yaml``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wandb_governance.registry.tickets.credo import CredoTickets
from wandb_governance.registry.tickets.github import GitHubReviews
from wandb_governance.registry.tickets.jira import JiraTickets
from wandb_governance.registry.tickets.servicenow import ServiceNowChanges

if TYPE_CHECKING:
    from wandb_governance.registry.http import Transport
    from wandb_governance.registry.targets import TicketSystems
    from wandb_governance.registry.tickets.base import TicketSystem


def ticket_systems(systems: TicketSystems, *, transport: Transport) -> dict[str, TicketSystem]:
    """Each configured system by its name."""
    found: list[TicketSystem] = []
    if systems.jira is not None:
        found.append(JiraTickets(settings=systems.jira, transport=transport))
    if systems.servicenow is not None:
        found.append(ServiceNowChanges(settings=systems.servicenow, transport=transport))
    if systems.github is not None:
        found.append(GitHubReviews(settings=systems.github, transport=transport))
    if systems.credoai is not None:
        found.append(CredoTickets(settings=systems.credoai))
    return {system.name: system for system in found}
