"""The promotion hook: what may change in a registry is asked before it changes.

The gated operations are those of :data:`GATED`. A refusal reaches the user of the SDK as ``CommError: <text>`` at once,
because it is answered as HTTP 403 with ``{"errors": [{"message": text}]}``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

GATED = frozenset({"linkArtifact", "addAliases", "updateArtifact", "deleteAliases", "unlinkArtifact", "deleteArtifact"})
"""Mutations that a hook can refuse. ``link_artifact`` sends its aliases inside ``linkArtifact``, so both are here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who asks."""

    username: str
    """Owner of the key, as this server knows it."""

    entity: str | None = None
    """Default entity of that user."""


class PromotionHook(Protocol):
    """Decides on a gated mutation."""

    def check(self, operation: str, input: Mapping[str, Any], actor: Actor) -> str | None:
        """Why ``operation`` is refused, or None when it may happen.

        Called before anything is written, outside any transaction, from several threads; must not raise.

        Args:
            operation: One of :data:`GATED`.
            input: The mutation's ``input`` as the client sent it.
            actor: Who asks.
        """
        ...


class AllowAll:
    """Refuses nothing: the hook of a server without promotion rules."""

    def check(self, operation: str, input: Mapping[str, Any], actor: Actor) -> str | None:
        """None."""
        return None
