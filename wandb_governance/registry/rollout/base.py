"""The port of everything that learns which version is live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from wandb_governance.errors import RegistryError


class DeliveryError(RegistryError):
    """A target did not take the event.

    Args:
        message: Why, without secrets.
        final: Trying again will not help.
    """

    def __init__(self, message: str, *, final: bool = False) -> None:
        self.final = final
        super().__init__(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A version holds an alias."""

    id: str
    """The same on every retry."""
    type: str
    """``promotion.committed`` or ``promotion.rolled_back``."""
    promotion: str
    thing: str
    stage: str
    alias: str
    collection: str
    source: str
    """Exact version, never an alias."""
    root: str
    """SHA-256 root of its content."""

    @property
    def deployed_name(self) -> str:
        """A name that says which content it is: thing and the first 12 digits of its root."""
        return f"{self.thing}-{self.root[:12]}"


class Deliverer(Protocol):
    """Brings an event to one target. Delivering the same event twice has the effect of once."""

    def deliver(self, event: Event) -> str:
        """Deliver and make sure that it took effect.

        Returns:
            What the target said, in a few words.

        Raises:
            DeliveryError: It did not take effect.
        """
        ...
