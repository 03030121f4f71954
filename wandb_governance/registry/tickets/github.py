"""Approvals as reviews of a GitHub environment, or as reviews of a deployment's workflow run.

A deployment is created for the promotion; the workflow it starts waits for the environment's required reviewers.
Reviews come from ``GET /actions/runs/{id}/approvals``, which GitHub writes.

Source:
    GitHub REST API: deployments, workflow runs, "Get the review history for a workflow run".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from wandb_governance.errors import ApprovalError
from wandb_governance.registry.approval import Choice
from wandb_governance.registry.http import HttpError, call
from wandb_governance.registry.rollout.github import API_VERSION
from wandb_governance.registry.tickets.base import Decision, Ticket, TicketRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wandb_governance.registry.http import Transport
    from wandb_governance.registry.targets import GitHub

_TASK = "wandb-governance"
_CHOICES = {"approved": Choice.APPROVE, "rejected": Choice.REJECT}


@dataclass(frozen=True, slots=True, kw_only=True)
class GitHubReviews:
    """Creates deployments and reads the reviews of their workflow runs."""

    settings: GitHub
    transport: Transport

    @property
    def name(self) -> str:
        """See ``TicketSystem.name``."""
        return "github"

    def open(self, request: TicketRequest) -> Ticket:
        """See ``TicketSystem.open``; the promotion id in the payload makes it idempotent."""
        query = f"?environment={self.settings.environment}&task={_TASK}&per_page=100"
        for known in self._call("GET", f"deployments{query}"):
            if _payload(known).get("promotion") == request.promotion:
                return self._ticket(known)
        value = {
            "ref": self.settings.ref,
            "environment": self.settings.environment,
            "task": _TASK,
            "auto_merge": False,
            "required_contexts": [],
            "description": request.title[:140],
            "payload": {"promotion": request.promotion, "binding": request.binding_digest},
        }
        return self._ticket(self._call("POST", "deployments", value))

    def decisions(self, ticket: Ticket, binding_digest: str) -> Sequence[Decision]:
        """See ``TicketSystem.decisions``."""
        deployment = self._call("GET", f"deployments/{ticket.reference}")
        if _payload(deployment).get("binding") != binding_digest:
            raise ApprovalError(f"deployment {ticket.reference} is bound to something else")
        runs = self._call("GET", f"actions/runs?event=deployment&head_sha={deployment['sha']}&per_page=100")
        last: dict[str, Decision] = {}
        for run in runs.get("workflow_runs", []):
            if run.get("display_title") != deployment.get("description"):
                continue
            for index, review in enumerate(self._call("GET", f"actions/runs/{run['id']}/approvals")):
                names = {environment["name"] for environment in review.get("environments", [])}
                if review.get("state") in _CHOICES and self.settings.environment in names:
                    decision = _decision(ticket, run, review, index)
                    last[decision.account] = decision
        return tuple(last.values())

    def _ticket(self, deployment: dict[str, Any]) -> Ticket:
        host = self.settings.url.replace("https://api.", "https://").rstrip("/")
        url = f"{host}/{self.settings.repository}/deployments/{self.settings.environment}"
        return Ticket(system=self.name, reference=str(deployment["id"]), url=url)

    def _call(self, method: str, path: str, value: object = None) -> Any:
        headers = {
            "Authorization": f"Bearer {self.settings.token.reference.read()}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": API_VERSION,
            "User-Agent": "wandb-governance",
        }
        url = f"{self.settings.url.rstrip('/')}/repos/{self.settings.repository}/{path}"
        try:
            return call(self.transport, method, url, headers=headers, value=value, accept=(200, 201)).json()
        except HttpError as error:
            raise ApprovalError(f"GitHub: {error}") from error


def _payload(deployment: dict[str, Any]) -> dict[str, Any]:
    payload = deployment.get("payload")
    return payload if isinstance(payload, dict) else {}


def _decision(ticket: Ticket, run: dict[str, Any], review: dict[str, Any], index: int) -> Decision:
    moment = datetime.fromisoformat(run["updated_at"])
    return Decision(
        account=review["user"]["login"],
        choice=_CHOICES[review["state"]],
        at_ns=int(moment.timestamp()) * 1_000_000_000,
        reference=f"{ticket.reference}#run{run['id']}.{index}",
        comment=str(review.get("comment") or ""),
    )
