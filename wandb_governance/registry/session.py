"""Puts governance together from ``governance.yaml`` and the environment."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wandb_governance.backend.registry import Registry, WandbRegistry
from wandb_governance.clock import Clock, IdGenerator, RandomIds, SystemClock
from wandb_governance.errors import SettingsError
from wandb_governance.registry.document import GovernanceDocument, load_document
from wandb_governance.registry.http import send
from wandb_governance.registry.keys import load_signing_key
from wandb_governance.registry.ledger import Ledger
from wandb_governance.registry.outbox import Outbox
from wandb_governance.registry.reconcile import Reconciler
from wandb_governance.registry.rollout import deliverer_for
from wandb_governance.registry.tickets.systems import ticket_systems
from wandb_governance.registry.workflow import Promoter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from wandb_governance.registry.http import Transport
    from wandb_governance.registry.keys import SigningKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Everything a command needs."""

    document: GovernanceDocument
    folder: Path
    ledger: Ledger
    registry: Registry
    clock: Clock
    ids: IdGenerator
    key: SigningKey | None
    """The ledger writer's key; None in a session that only reads."""
    transport: Transport
    on_step: Callable[[str], None] = field(default=lambda _: None)

    @property
    def promoter(self) -> Promoter:
        """Drives promotions.

        Raises:
            SettingsError: This session only reads.
        """
        if self.key is None:
            raise SettingsError("this needs the ledger's signing key (WANDB_GOVERNANCE_SIGNING_KEY)")
        return Promoter(
            document=self.document,
            folder=self.folder,
            registry=self.registry,
            ledger=self.ledger,
            clock=self.clock,
            ids=self.ids,
            key=self.key,
            tickets=ticket_systems(self.document.tickets, transport=self.transport),
            on_step=self.on_step,
        )

    @property
    def reconciler(self) -> Reconciler:
        """Compares registry and ledger."""
        return Reconciler(document=self.document, registry=self.registry, ledger=self.ledger, clock=self.clock)

    @property
    def outbox(self) -> Outbox:
        """Delivers to roll-out targets."""
        return Outbox(
            ledger=self.ledger,
            clock=self.clock,
            targets=self.document.targets,
            deliverer=lambda target: deliverer_for(
                target, folder=self.folder, clock=self.clock, transport=self.transport
            ),
        )


@contextlib.contextmanager
def open_session(
    config: Path,
    *,
    write: bool,
    registry: Registry | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> Iterator[Session]:
    """Open ``governance.yaml`` and its ledger.

    Args:
        config: The file.
        write: Whether the ledger will be written; needs the signing key.
        registry: W&B; the SDK's own connection when None.
        on_step: Told each step of a promotion.

    Raises:
        ConfigError: The file is wrong, or the signing key is missing.
        LedgerError: The ledger can't be opened.
    """
    document = load_document(config)
    folder = config.resolve().parent
    clock = SystemClock()
    key = load_signing_key() if write else None
    ledger = Ledger(folder / document.ledger, clock=clock, key=key, trusted=document.ledger_keys())
    try:
        yield Session(
            document=document,
            folder=folder,
            ledger=ledger,
            registry=registry or WandbRegistry(),
            clock=clock,
            ids=RandomIds(),
            key=key,
            transport=send,
            on_step=on_step,
        )
    finally:
        ledger.close()
