"""Telling other systems which version is live; ``deliverer_for`` maps a target's kind to what does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wandb_governance.registry.http import Transport, send
from wandb_governance.registry.rollout.gateway import GatewayAlias
from wandb_governance.registry.rollout.github import GitHubDispatch
from wandb_governance.registry.rollout.sagemaker import SageMakerEndpoint
from wandb_governance.registry.rollout.vllm import VllmAdapters
from wandb_governance.registry.rollout.webhook import SignedWebhook

if TYPE_CHECKING:
    from pathlib import Path

    from wandb_governance.clock import Clock
    from wandb_governance.registry.rollout.base import Deliverer
    from wandb_governance.registry.targets import Target


def deliverer_for(target: Target, *, folder: Path, clock: Clock, transport: Transport = send) -> Deliverer:
    """What delivers to this target.

    Args:
        target: From ``governance.yaml``.
        folder: Folder of ``governance.yaml``; relative paths start there.
        clock: For time stamps.
        transport: Sends HTTP.
    """
    if target.kind == "webhook":
        return SignedWebhook(target=target, clock=clock, transport=transport)
    if target.kind == "vllm":
        return VllmAdapters(target=target, transport=transport)
    if target.kind == "github_dispatch":
        return GitHubDispatch(target=target, transport=transport)
    if target.kind == "gateway_alias":
        return GatewayAlias(target=target, folder=folder)
    return SageMakerEndpoint(target=target)


__all__ = ["deliverer_for"]
