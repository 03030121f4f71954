"""``rbac``: which role may use which model, provider and tool."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from wandb_governance.policy.rules.strict_options import RuleOptions, read_options
from wandb_governance.policy.verdict import Finding, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from wandb_governance.policy.rule import RuleContext


class Grant(RuleOptions):
    """What one role may use: names or globs."""

    models: tuple[str, ...] = ("*",)
    providers: tuple[str, ...] = ("*",)
    tools: tuple[str, ...] = ("*",)


class RbacOptions(RuleOptions):
    """Options of ``rbac``."""

    roles: dict[str, Grant]
    teams: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """W&B team to roles."""
    tiers: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Experiment tier (attribute ``tier`` of the call) to roles."""
    default_roles: tuple[str, ...] = ()
    """Roles of everybody."""

    @model_validator(mode="after")
    def _roles_exist(self) -> RbacOptions:
        named = {*self.default_roles, *(r for rs in (*self.teams.values(), *self.tiers.values()) for r in rs)}
        missing = sorted(named - set(self.roles))
        if missing:
            raise ValueError(f"no such role: {', '.join(missing)}")
        return self


class Rbac:
    """Refuses what no role of the caller grants."""

    name = "rbac"
    version = "1"

    def __init__(self, options: RbacOptions) -> None:
        self._options = options

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Rbac:
        """Read the rule's options.

        Raises:
            PolicyDocumentError: An option is unknown or wrong.
        """
        return cls(read_options(RbacOptions, options))

    def roles_of(self, context: RuleContext) -> tuple[str, ...]:
        """Every role of the caller that the document knows: given, by team, by tier, and everybody's."""
        options = self._options
        tier = context.attributes.get("tier")
        named = (
            *context.roles,
            *options.teams.get(context.team or "", ()),
            *options.tiers.get(str(tier), ()),
            *options.default_roles,
        )
        return tuple(role for role in dict.fromkeys(named) if role in options.roles)

    def find(self, text: str, context: RuleContext) -> Sequence[Finding]:
        """One finding where the call is not granted."""
        roles = self.roles_of(context)
        grants = [self._options.roles[role] for role in roles]
        if any(_granted(grant, context) for grant in grants):
            return ()
        held = f"role {', '.join(roles)}" if roles else "no role"
        what = f"tool {context.tool!r}" if context.scope is Scope.TOOL_ARGS else f"model {context.model!r}"
        explanation = f"{what} is not granted to a caller with {held}"
        return (Finding(rule="rbac.grant", entity="ACCESS", start=0, end=0, score=1.0, explanation=explanation),)


def _granted(grant: Grant, context: RuleContext) -> bool:
    if context.scope is Scope.TOOL_ARGS:
        return _matches(grant.tools, context.tool)
    return _matches(grant.models, context.model) and _matches(grant.providers, context.provider)


def _matches(globs: Iterable[str], name: str | None) -> bool:
    return any(glob == "*" or fnmatch.fnmatchcase(name or "", glob) for glob in globs)
