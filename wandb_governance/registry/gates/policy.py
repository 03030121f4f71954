"""The gate that asks whether the policy engine found anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from wandb_governance.errors import GateError
from wandb_governance.registry.gates.base import GateSpec

if TYPE_CHECKING:
    from wandb_governance.registry.gate import Evidence, GateResult

_KNOWN = {"allow", "flag", "redact", "escalate", "block"}
_LEAKS = {"redact", "escalate", "block"}
_OUT = {"output", "tool_args"}


class PolicyCleanGate(GateSpec):
    """The evaluation's verdict table shows no blocked item and no leak.

    A blocked item is any verdict ``block``. A leak is a finding in what the model gave out (scopes ``output`` and
    ``tool_args``) that a policy redacted, escalated or blocked.
    """

    kind: ClassVar[str] = "policy_clean"
    max_blocked: int = Field(default=0, ge=0)
    max_leaked: int = Field(default=0, ge=0)
    policies: tuple[str, ...] = Field(default=(), strict=False)
    """Policies that must have looked at every example; empty: any policy must have."""

    def evaluate(self, evidence: Evidence) -> GateResult:
        """Count; an example that no policy looked at is undecided, as is a verdict that failed."""
        evaluation = evidence.evaluation
        if evaluation is None or not evaluation.examples:
            raise GateError("there is no evaluation with examples")
        rows = evaluation.verdicts
        odd = sorted({str(row.get("action")) for row in rows} - _KNOWN)
        if odd:
            raise GateError(f"the verdict table holds unknown actions: {', '.join(odd)}")
        if any(row.get("failure") for row in rows):
            raise GateError("a policy could not decide on some example")
        self._all_seen(evidence)
        blocked = {str(row.get("example_id")) for row in rows if row.get("action") == "block"}
        leaked = {
            str(row.get("example_id")) for row in rows if row.get("action") in _LEAKS and row.get("scope") in _OUT
        }
        reason = (
            f"{len(blocked)} blocked and {len(leaked)} leaked of {len(evaluation.examples)} examples; "
            f"at most {self.max_blocked} and {self.max_leaked} are asked"
        )
        good = len(blocked) <= self.max_blocked and len(leaked) <= self.max_leaked
        return (self.passed if good else self.failed)(reason, blocked=len(blocked), leaked=len(leaked))

    def _all_seen(self, evidence: Evidence) -> None:
        assert evidence.evaluation is not None
        wanted = {str(row.get("example_id")) for row in evidence.evaluation.examples}
        for policy in self.policies or (None,):
            seen = {
                str(row.get("example_id"))
                for row in evidence.evaluation.verdicts
                if row.get("scope") == "output" and policy in (None, row.get("policy"))
            }
            if wanted - seen:
                who = f"policy {policy!r}" if policy else "a policy"
                raise GateError(f"{len(wanted - seen)} examples' output was never looked at by {who}")
