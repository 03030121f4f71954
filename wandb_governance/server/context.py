"""What a resolver has at hand: the services of the process and the facts of one request."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from wandb_governance.clock import Clock
    from wandb_governance.server.events import Event
    from wandb_governance.server.graphql.schema import Row
    from wandb_governance.server.hook import PromotionHook
    from wandb_governance.server.settings import ServerSettings
    from wandb_governance.server.store.blobs import BlobStore
    from wandb_governance.server.store.database import Database, Transaction
    from wandb_governance.server.store.signing import LinkSigner


@dataclass(slots=True, kw_only=True)
class Services:
    """Everything that lives as long as the process."""

    settings: ServerSettings
    database: Database
    blobs: BlobStore
    signer: LinkSigner
    clock: Clock
    hook: PromotionHook
    unresolved: Counter[str] = field(default_factory=Counter)
    """Fields that no resolver knew, as ``Type.field``, with how often they were asked for."""

    subscribers: list[Callable[[Event, Context], None]] = field(default_factory=list)
    """Called inside the transaction in which an event happened, so that what they write commits with it."""

    started_ns: int = 0
    """When the process began to serve; heartbeats missed before that are the server's fault, not a run's."""

    locks: defaultdict[str, threading.Lock] = field(default_factory=lambda: defaultdict(threading.Lock))
    """Named locks for work that must not run twice at once, such as choosing a sweep's next point."""


@dataclass(slots=True, kw_only=True)
class Context:
    """One request."""

    services: Services
    tx: Transaction
    """The transaction of the request: a write for a mutation, a snapshot for a query."""

    user: Row
    """The user whose key came with the request."""

    base_url: str
    """Scheme and host the client used, no slash at the end; links are built on it."""

    memo: dict[Any, Any] = field(default_factory=dict)
    """Answers that one request may need again."""

    @property
    def now_ns(self) -> int:
        """The time, in nanoseconds since 1970 UTC."""
        return self.services.clock.now_ns()

    def link(self, method: str, path: str) -> str:
        """A signed link to ``path``."""
        return self.services.signer.link(self.base_url, method, path)

    def emit(self, event: Event) -> None:
        """Tell every subscriber, inside this transaction."""
        for subscriber in self.services.subscribers:
            subscriber(event, self)


def iso(time_ns: int | None) -> str | None:
    """A time as the API writes it, ``2026-11-22T02:36:16Z``; None stays None."""
    if time_ns is None:
        return None
    moment = datetime.fromtimestamp(time_ns / 1_000_000_000, tz=UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
