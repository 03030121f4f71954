"""LoRA adapters on vLLM replicas, each loaded under a name that says which content it is.

Source:
    vLLM documentation, "Dynamically serving LoRA adapters": /v1/load_lora_adapter, /v1/models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wandb_governance.registry.http import HttpError, call
from wandb_governance.registry.rollout.base import DeliveryError, Event

if TYPE_CHECKING:
    from wandb_governance.registry.http import Transport
    from wandb_governance.registry.targets import Target

_ALREADY = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmAdapters:
    """Loads the adapter on every replica and checks ``root`` of ``/v1/models``, which tells which files serve.

    Old adapters stay loaded: switching back is instant, and requests under way end undisturbed. The alias that clients
    ask for is switched at the gateway (target kind ``gateway_alias``).
    """

    target: Target
    transport: Transport

    def deliver(self, event: Event) -> str:
        """See ``Deliverer.deliver``; names the replicas that do not serve it."""
        path = f"{(self.target.adapter_root or '').rstrip('/')}/{event.deployed_name}"
        failed = []
        for url in self.target.urls:
            try:
                self._load(url.rstrip("/"), event.deployed_name, path)
            except (HttpError, DeliveryError) as error:
                failed.append(f"{url}: {error}")
        if failed:
            done = len(self.target.urls) - len(failed)
            raise DeliveryError(f"{done} of {len(self.target.urls)} replicas serve it; {'; '.join(failed)}")
        return f"{len(self.target.urls)} replicas serve {event.deployed_name}"

    def _load(self, url: str, name: str, path: str) -> None:
        headers = {}
        if self.target.secret is not None:
            headers["Authorization"] = f"Bearer {self.target.secret.reference.read()}"
        if self._root(url, name, headers) != path:
            value = {"lora_name": name, "lora_path": path}
            call(
                self.transport,
                "POST",
                f"{url}/v1/load_lora_adapter",
                headers=headers,
                value=value,
                accept=(200, _ALREADY),
            )
        served = self._root(url, name, headers)
        if served != path:
            raise DeliveryError(f"serves {name} from {served!r}, not from {path!r}")

    def _root(self, url: str, name: str, headers: dict[str, str]) -> str | None:
        answer = call(self.transport, "GET", f"{url}/v1/models", headers=headers).json()
        models = answer.get("data", []) if isinstance(answer, dict) else []
        return next((model.get("root") for model in models if model.get("id") == name), None)
