"""``audit-logger``: keep a record of every decision. It finds nothing; the engine and the gateway do what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from wandb_governance.policy.rules.strict_options import RuleOptions, read_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wandb_governance.policy.rule import RuleContext
    from wandb_governance.policy.verdict import Finding


class AuditOptions(RuleOptions):
    """Options of ``audit-logger``."""

    immutable: bool = True
    """Records go into a Merkle tree with signed checkpoints; with false they are plain lines."""
    retention_days: Annotated[int, Field(ge=1)] | None = None
    """After so many days the payload and its key are destroyed; the leaf and its proof stay. None keeps all."""
    log_all_access: bool = False
    """Also record calls that no policy touched, refused keys and model listings."""
    legal_hold_days: Annotated[int, Field(ge=0)] = 0
    """No payload younger than this is destroyed."""
    path: str | None = None
    """Folder of the log; by default ``audit`` in the data folder."""


class AuditLogger:
    """Marks that decisions must be recorded, and how."""

    name = "audit-logger"
    version = "1"

    def __init__(self, options: AuditOptions) -> None:
        self.options = options

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> AuditLogger:
        """Read the rule's options.

        Raises:
            PolicyDocumentError: An option is unknown or wrong.
        """
        return cls(read_options(AuditOptions, options))

    def find(self, text: str, context: RuleContext) -> Sequence[Finding]:
        """Nothing."""
        return ()
