"""GitHub ``repository_dispatch``: starts the workflows that listen for the event type.

Source:
    GitHub REST API, "Create a repository dispatch event": 204 on success.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from wandb_governance.registry.http import HttpError, call
from wandb_governance.registry.rollout.base import DeliveryError, Event

if TYPE_CHECKING:
    from wandb_governance.registry.http import Transport
    from wandb_governance.registry.targets import Target

API_VERSION = "2022-11-28"
_FINAL = (401, 403, 404, 422)


@dataclass(frozen=True, slots=True, kw_only=True)
class GitHubDispatch:
    """Sends one dispatch. GitHub does not deduplicate: the workflow finds the event id in the payload."""

    target: Target
    transport: Transport

    def deliver(self, event: Event) -> str:
        """See ``Deliverer.deliver``."""
        assert self.target.secret is not None
        base = (self.target.url or "https://api.github.com").rstrip("/")
        headers = {
            "Authorization": f"Bearer {self.target.secret.reference.read()}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": API_VERSION,
            "User-Agent": "wandb-governance",
        }
        value = {"event_type": self.target.event_type, "client_payload": asdict(event)}
        url = f"{base}/repos/{self.target.repository}/dispatches"
        try:
            call(self.transport, "POST", url, headers=headers, value=value, accept=(204,))
        except HttpError as error:
            raise DeliveryError(str(error), final=error.status in _FINAL) from error
        return f"dispatched {self.target.event_type} to {self.target.repository}"
