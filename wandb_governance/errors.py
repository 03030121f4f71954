"""Every exception this package raises, as one tree.

Each exception carries the facts as attributes, so that a program can act on them, and a message that says what to do
next. No message ever holds a secret or raw text that a policy withheld.

    GovernanceError
    ├── ConfigError                  a file or setting that a user wrote is wrong; knows file, line and key
    │   ├── SettingsError
    │   ├── PolicyDocumentError
    │   ├── PriceTableError
    │   ├── SweepConfigError
    │   └── GovernanceFileError      governance.yaml
    ├── MissingExtraError            an optional dependency is not installed; knows the install line
    ├── PolicyViolation              a policy blocked a call: the one exception meant to reach the application
    ├── DetectorError                a rule could not decide
    ├── JournalError
    │   ├── JournalCorruptError      the hash chain does not verify
    │   └── JournalClosedError
    ├── BackendError                 W&B refused or could not be reached
    │   └── UnreadableError          it may exist, but this caller can't read it: never the same as "none"
    ├── ExportError
    ├── PricingError
    ├── SweepError
    │   └── IndexIntegrityError      an index artifact is not what its manifest says
    ├── RegistryError
    │   ├── GateError
    │   ├── ApprovalError
    │   ├── LedgerError
    │   └── PromotionError
    ├── AuditError
    ├── GatewayError
    └── ServerError
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class GovernanceError(Exception):
    """Base of every exception of this package."""


class ConfigError(GovernanceError):
    """A file or setting that a user wrote is wrong.

    Args:
        message: What is wrong and what to do.
        file: The file, where there is one.
        line: 1-based line in the file.
        key: Dotted path of the key, such as ``policies.policy.pii-detector.action``.
    """

    def __init__(
        self, message: str, *, file: str | Path | None = None, line: int | None = None, key: str | None = None
    ) -> None:
        self.message = message
        self.file = str(file) if file is not None else None
        self.line = line
        self.key = key
        super().__init__(message)

    def __str__(self) -> str:
        where = self.file or ""
        if self.line is not None:
            where = f"{where}:{self.line}" if where else f"line {self.line}"
        parts = [part for part in (where, self.key) if part]
        return f"{': '.join(parts)}: {self.message}" if parts else self.message


class SettingsError(ConfigError):
    """A setting has a value it can't have."""


class PolicyDocumentError(ConfigError):
    """A policy file is wrong."""


class PriceTableError(ConfigError):
    """A user's price table is wrong."""


class SweepConfigError(ConfigError):
    """A RAG sweep file is wrong."""


class GovernanceFileError(ConfigError):
    """A ``governance.yaml`` is wrong."""


class MissingExtraError(GovernanceError, ImportError):
    """An optional dependency is not installed.

    Args:
        package: What could not be imported.
        extra: The extra of ``wandb-governance`` that brings it.
    """

    def __init__(self, package: str, *, extra: str) -> None:
        self.package = package
        self.extra = extra
        super().__init__(f"{package!r} is not installed. Install it with: pip install 'wandb-governance[{extra}]'")


class PolicyViolation(GovernanceError):
    """A policy blocked a call.

    Args:
        policy: Name of the policy that blocked.
        scope: Where: ``input``, ``output``, ``tool_args``, ``tool_result`` or ``retrieval``.
        reasons: One line per finding, each without the value that was found.
        verdict_id: Id of the row in the ``verdicts`` table.
    """

    def __init__(self, *, policy: str, scope: str, reasons: Sequence[str] = (), verdict_id: str | None = None) -> None:
        self.policy = policy
        self.scope = scope
        self.reasons = tuple(reasons)
        self.verdict_id = verdict_id
        why = "; ".join(self.reasons) or "no reason given"
        super().__init__(f"blocked by policy {policy!r} on {scope}: {why}")

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_violation, (type(self), self.policy, self.scope, self.reasons, self.verdict_id)


def _rebuild_violation(
    cls: type[PolicyViolation], policy: str, scope: str, reasons: tuple[str, ...], verdict_id: str | None
) -> PolicyViolation:
    return cls(policy=policy, scope=scope, reasons=reasons, verdict_id=verdict_id)


class DetectorError(GovernanceError):
    """A rule could not decide.

    Args:
        rule: The rule.
        message: Why, without the text it looked at.
    """

    def __init__(self, message: str, *, rule: str) -> None:
        self.rule = rule
        super().__init__(message)


class JournalError(GovernanceError):
    """The journal could not be read or written."""


class JournalCorruptError(JournalError):
    """The journal's hash chain does not verify.

    Args:
        message: What does not fit.
        segment: The segment file.
        offset: Byte offset of the first record that does not fit.
    """

    def __init__(self, message: str, *, segment: str | Path, offset: int) -> None:
        self.segment = str(segment)
        self.offset = offset
        super().__init__(f"{segment} at byte {offset}: {message}")


class JournalClosedError(JournalError):
    """The journal has been closed."""


class BackendError(GovernanceError):
    """W&B refused a request or could not be reached."""


class UnreadableError(BackendError):
    """Something may exist in W&B, but this caller can't read it. Never the same as "there is none"."""


class ExportError(GovernanceError):
    """Rows could not be delivered."""


class PricingError(GovernanceError):
    """A price could not be computed from the facts given."""


class SweepError(GovernanceError):
    """A RAG sweep could not go on."""


class IndexIntegrityError(SweepError):
    """An index artifact is not what its manifest says."""


class RegistryError(GovernanceError):
    """A governed registry operation failed."""


class GateError(RegistryError):
    """A gate could not be evaluated."""


class ApprovalError(RegistryError):
    """An approval is missing, invalid, expired or not allowed."""


class LedgerError(RegistryError):
    """The promotion ledger does not verify or could not be written."""


class PromotionError(RegistryError):
    """A promotion was refused or did not complete."""


class AuditError(GovernanceError):
    """The audit log does not verify or could not be written."""


class GatewayError(GovernanceError):
    """The gateway could not serve a request."""


class ServerError(GovernanceError):
    """The embedded W&B server could not start or serve."""
