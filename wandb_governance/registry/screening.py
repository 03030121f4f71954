"""The policy engine as the screen of an evaluation suite: personal data, secrets, toxicity, injection."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from wandb_governance.policy.rule import RuleContext
from wandb_governance.policy.verdict import Scope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wandb_governance.policy.engine import PolicyEngine
    from wandb_governance.registry.suite import Screen


def engine_screen(engine: PolicyEngine) -> Screen:
    """Rows for ``verdicts.jsonl``: one per policy that looked, with kinds of findings and never a value.

    Args:
        engine: The chain, for example ``PolicyEngine.from_file("policy-config.yaml")``.
    """

    def screen(text: str, scope: str) -> Sequence[dict[str, Any]]:
        decision = engine.evaluate(text, RuleContext(scope=Scope(scope)))
        return [
            {
                "policy": verdict.policy,
                "policy_version": verdict.policy_version,
                "policy_digest": decision.policy_digest,
                "action": verdict.action.value,
                "findings": dict(Counter(finding.entity for finding in verdict.findings)),
                "failure": verdict.failure,
            }
            for verdict in decision.verdicts
        ]

    return screen
