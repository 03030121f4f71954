"""A generic signed webhook."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from wandb_governance.registry.http import HttpError, Request
from wandb_governance.registry.rollout.base import DeliveryError, Event
from wandb_governance.registry.webhooks import sign

if TYPE_CHECKING:
    from wandb_governance.clock import Clock
    from wandb_governance.registry.http import Transport
    from wandb_governance.registry.targets import Target

_GONE = 410


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedWebhook:
    """Posts the event as Standard Webhooks asks."""

    target: Target
    clock: Clock
    transport: Transport

    def deliver(self, event: Event) -> str:
        """See ``Deliverer.deliver``; any 2xx is a yes, 410 ends the retries."""
        assert self.target.url is not None
        assert self.target.secret is not None
        now_s = self.clock.now_ns() // 1_000_000_000
        body = json.dumps({"type": event.type, "timestamp": now_s, "data": asdict(event)}, sort_keys=True).encode()
        signature = sign(self.target.secret.reference.read(), message_id=event.id, timestamp_s=now_s, body=body)
        try:
            headers = {"Content-Type": "application/json", **signature}
            answer = self.transport(Request(method="POST", url=self.target.url, headers=headers, body=body))
        except HttpError as error:
            raise DeliveryError(str(error)) from error
        if not 200 <= answer.status < 300:
            raise DeliveryError(f"HTTP {answer.status}", final=answer.status == _GONE)
        return f"HTTP {answer.status}"
