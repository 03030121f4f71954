"""The port every policy rule implements."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from wandb_governance.policy.verdict import Finding, Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleContext:
    """What a rule may know besides the text."""

    scope: Scope
    provider: str | None = None
    """Provider of the model, such as ``openai``."""
    model: str | None = None
    """Requested model."""
    role: str | None = None
    """Who wrote the text: ``user``, ``assistant``, ``system``, ``tool``."""
    tool: str | None = None
    """Name of the tool, for tool scopes."""
    user: str | None = None
    """Pseudonym of the end user."""
    session: str | None = None
    team: str | None = None
    project: str | None = None
    run: str | None = None
    roles: Sequence[str] = ()
    """Roles of the caller, for access rules."""
    spent_usd: Decimal | None = None
    """Cost so far in the budget's window, where the caller knows it."""
    attributes: Mapping[str, object] = field(default_factory=dict)


class Rule(Protocol):
    """One policy of the chain.

    An implementation is immutable after construction, safe from any thread, does no network call, and raises
    ``DetectorError`` where it can't decide: the engine turns that into a verdict by the policy's ``fail_mode``.
    """

    @property
    def name(self) -> str:
        """Name in the chain."""
        ...

    @property
    def version(self) -> str:
        """Version of the rule and its data; changes whenever its answers may."""
        ...

    def find(self, text: str, context: RuleContext) -> Sequence[Finding]:
        """Findings in ``text``, ordered by start; offsets are code points of ``text`` as given."""
        ...
