"""The audit log of decisions that are made in the application's own process."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from wandb_governance.policy.audit import AuditLog
from wandb_governance.policy.budget import default_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wandb_governance.policy.rule import RuleContext
    from wandb_governance.policy.rules.audit_logger import AuditOptions
    from wandb_governance.policy.verdict import Decision


class DecisionAudit:
    """Writes a record for each judged call, as ``audit-logger`` asks. Opens its log with the first.

    Args:
        options: What the document says.
        digest: Digest of the document.
    """

    def __init__(self, options: AuditOptions, *, digest: str) -> None:
        self._options = options
        self._digest = digest
        self._lock = threading.Lock()
        self._log: AuditLog | None = None

    def write(self, decisions: Sequence[Decision], context: RuleContext) -> None:
        """Write the decisions on the texts of one call.

        Raises:
            AuditError: The log can't be written.
        """
        touched = any(verdict.findings or verdict.failure for d in decisions for verdict in d.verdicts)
        if not touched and not self._options.log_all_access:
            return
        actions: dict[str, str] = {}
        found: dict[str, int] = {}
        reasons: list[str] = []
        for decision in decisions:
            for verdict in decision.verdicts:
                if verdict.findings or verdict.policy not in actions:
                    actions[verdict.policy] = str(verdict.action)
                for finding in verdict.findings:
                    found[finding.entity] = found.get(finding.entity, 0) + 1
                    reasons.append(f"{verdict.policy}: {finding.explanation or finding.entity}")
        facts = {
            "scope": context.scope,
            "provider": context.provider,
            "model": context.model,
            "tool": context.tool,
            "team": context.team,
            "run": context.run,
            "outcome": str(max((d.action for d in decisions), key=lambda action: action.severity)),
            "actions": actions,
            "found": found,
            "policy_digest": self._digest,
        }
        self._opened().append("decision", facts, {"reasons": reasons})

    def close(self) -> None:
        """Sign and close the log."""
        with self._lock:
            if self._log is not None:
                self._log.close()
                self._log = None

    def _opened(self) -> AuditLog:
        with self._lock:
            if self._log is None:
                folder = Path(self._options.path) if self._options.path else default_path().parent / "audit"
                self._log = AuditLog(folder)
                if self._options.retention_days is not None:
                    hold = self._options.legal_hold_days
                    self._log.enforce_retention(self._options.retention_days, legal_hold_days=hold)
            return self._log
