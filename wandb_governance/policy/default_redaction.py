"""What is hidden in everything written, whatever the policy: secrets, and personal data that a pattern can tell."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from wandb_governance.policy.engine import WITHHELD
from wandb_governance.policy.redaction import Markers, redact
from wandb_governance.policy.rule import RuleContext
from wandb_governance.policy.verdict import Scope
from wandb_governance.tracing.guard import fault

if TYPE_CHECKING:
    from collections.abc import Callable


@cache
def default_redaction() -> Callable[[str], str]:
    """A function from text to text with the findings of the built-in rules replaced by markers.

    A rule that fails makes the text ``[WITHHELD]``: what was not looked at is not written.
    """
    from wandb_governance.policy.rules.builtin import default_rules

    rules = default_rules()
    markers = Markers()
    context = RuleContext(scope=Scope.OUTPUT)

    def hide(text: str) -> str:
        try:
            found = [found for rule in rules if (found := rule.find(text, context))]
        except Exception as error:  # noqa: BLE001 - whatever a rule raises, the text stays unwritten
            fault("policy.default_redaction", error)
            return WITHHELD
        return redact(text, [(findings, markers) for findings in found]) if found else text

    return hide
