"""Which rules a chain may name, and what each does where the document says nothing."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_governance.policy.verdict import Action, Scope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wandb_governance.policy.rule import Rule

_EVERYWHERE = frozenset(Scope)
_INPUT = frozenset({Scope.INPUT})
_TALK = frozenset({Scope.INPUT, Scope.OUTPUT})
_NO_SPAN = frozenset({Action.ALLOW, Action.FLAG, Action.ESCALATE, Action.BLOCK})
_ANY = frozenset(Action)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleKind:
    """One kind of policy."""

    target: str
    """``module:class``; the class has ``from_options``."""
    action: Action
    """Action where the document names none."""
    scopes: frozenset[Scope]
    """Scopes where the document names none."""
    actions: frozenset[Action] = _ANY
    """Actions it can be given; one that finds no span can't redact."""
    fail_closed: bool = True
    pure: bool = True
    """Its answer depends on text, scope and role alone, so it may be kept."""
    admission: bool = False
    """It looks at the call and not at the text: it runs once for all texts of a call."""
    passive: bool = False
    """It judges nothing; others do what it says."""
    sensitive: bool = False
    """What it finds may stand in no record, whatever its action."""

    def load(self, options: Mapping[str, Any]) -> Rule:
        """The rule itself.

        Raises:
            ImportError: The rule or what it needs is not installed.
            ConfigError: An option is wrong; ``key`` names it.
        """
        module, _, name = self.target.partition(":")
        rule: Rule = getattr(importlib.import_module(module), name).from_options(options)
        return rule


_RULES = "wandb_governance.policy.rules"

KINDS: dict[str, RuleKind] = {
    "prompt-injection": RuleKind(
        target=f"{_RULES}.injection:PromptInjection",
        action=Action.BLOCK,
        scopes=frozenset({Scope.INPUT, Scope.TOOL_RESULT, Scope.RETRIEVAL}),
    ),
    "pii-detector": RuleKind(target=f"{_RULES}.pii:PiiRule", action=Action.REDACT, scopes=_EVERYWHERE, sensitive=True),
    "secrets": RuleKind(
        target=f"{_RULES}.secrets:SecretsRule", action=Action.REDACT, scopes=_EVERYWHERE, sensitive=True
    ),
    "toxicity": RuleKind(target=f"{_RULES}.toxicity:Toxicity", action=Action.FLAG, scopes=_TALK),
    "topic": RuleKind(target=f"{_RULES}.topic:Topic", action=Action.BLOCK, scopes=_TALK),
    "rbac": RuleKind(
        target=f"{_RULES}.rbac:Rbac",
        action=Action.BLOCK,
        scopes=frozenset({Scope.INPUT, Scope.TOOL_ARGS}),
        actions=_NO_SPAN,
        pure=False,
        admission=True,
    ),
    "cost-tracker": RuleKind(
        target=f"{_RULES}.limits:CostTracker",
        action=Action.BLOCK,
        scopes=_INPUT,
        actions=_NO_SPAN,
        fail_closed=False,
        pure=False,
        admission=True,
    ),
    "rate-limit": RuleKind(
        target=f"{_RULES}.rate_limit:RateLimit",
        action=Action.BLOCK,
        scopes=_INPUT,
        actions=_NO_SPAN,
        fail_closed=False,
        pure=False,
        admission=True,
    ),
    "output-schema": RuleKind(
        target=f"{_RULES}.output_schema:OutputSchema",
        action=Action.BLOCK,
        scopes=frozenset({Scope.OUTPUT}),
        actions=_NO_SPAN,
    ),
    "audit-logger": RuleKind(
        target=f"{_RULES}.audit_logger:AuditLogger",
        action=Action.ALLOW,
        scopes=_EVERYWHERE,
        actions=frozenset({Action.ALLOW}),
        passive=True,
    ),
}
KINDS["cost-limit"] = KINDS["cost-tracker"]
"""The older name."""
