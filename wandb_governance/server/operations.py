"""Every module that registers resolvers. An operation exists when its module stands here."""

from __future__ import annotations

import importlib

MODULES = (
    "accounts.nodes",
    "accounts.features",
    "accounts.mutations",
    "projects.nodes",
    "runs.nodes",
    "runs.mutations",
    "runs.files",
    "runs.console",
    "artifacts.nodes",
    "artifacts.collections",
    "artifacts.create",
    "artifacts.change",
    "artifacts.files",
    "artifacts.aliases",
    "artifacts.tags",
    "registry.link",
    "registry.search",
    "registry.members",
    "views.nodes",
    "automations.nodes",
    "sweeps.nodes",
    "sweeps.mutations",
    "sweeps.heartbeat",
)
"""Below ``wandb_governance.server``."""


def load() -> None:
    """Import them all."""
    for name in MODULES:
        importlib.import_module(f"wandb_governance.server.{name}")
