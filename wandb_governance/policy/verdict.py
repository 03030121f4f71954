"""What a policy says of one piece of text: findings, a verdict per policy, one decision."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """What is done, from mildest to strictest; the strictest of a chain wins."""

    ALLOW = "allow"
    FLAG = "flag"
    REDACT = "redact"
    ESCALATE = "escalate"
    BLOCK = "block"

    @property
    def severity(self) -> int:
        """Rank in the order of strictness; 0 is allow."""
        return _SEVERITY[self]


_SEVERITY = {action: rank for rank, action in enumerate(Action)}


class Scope(StrEnum):
    """Which text a policy looks at."""

    INPUT = "input"
    OUTPUT = "output"
    TOOL_ARGS = "tool_args"
    TOOL_RESULT = "tool_result"
    RETRIEVAL = "retrieval"


class Mode(StrEnum):
    """Whether a verdict has an effect."""

    ENFORCE = "enforce"
    SHADOW = "shadow"
    """Recorded as it would have been; the call goes on unchanged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing a rule found. It never holds the value itself."""

    rule: str
    """Id of the rule or pattern, such as ``pii.email``."""
    entity: str
    """What kind of thing, such as ``EMAIL_ADDRESS`` or ``PROMPT_INJECTION``."""
    start: int
    """First code point in the text that was given."""
    end: int
    """One past the last code point."""
    score: float
    """Confidence in [0, 1]; a calibrated probability where the rule is a classifier."""
    threshold: float = 0.0
    """The score from which this counts."""
    explanation: str = ""
    """Why, in words, without the value."""
    message_index: int | None = None
    """Which message of a conversation, from 0; None for a single text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one policy of the chain says of one text."""

    policy: str
    """Name in the chain, such as ``pii-detector``."""
    policy_version: str
    """Version of the rule and of its detector data."""
    scope: Scope
    action: Action
    """The action this policy asks for."""
    mode: Mode = Mode.ENFORCE
    findings: tuple[Finding, ...] = ()
    latency_ns: int = 0
    failure: str | None = None
    """Why the rule could not decide; then ``action`` is what its ``fail_mode`` says."""

    @property
    def effective(self) -> Action:
        """The action that counts: shadow verdicts only allow."""
        return Action.ALLOW if self.mode is Mode.SHADOW else self.action


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the whole chain says of one text."""

    action: Action
    """The strictest effective action of the verdicts."""
    verdicts: tuple[Verdict, ...]
    """One per policy that ran, in chain order."""
    text: str
    """The text to go on with: redacted where a policy said so."""
    policy_digest: str
    """SHA-256 (hex) of the resolved policy document."""

    @property
    def changed_by(self) -> tuple[str, ...]:
        """Policies whose redaction is in ``text``."""
        return tuple(v.policy for v in self.verdicts if v.effective is Action.REDACT and v.findings)

    @property
    def blocking(self) -> Verdict | None:
        """The first verdict that blocks, if any."""
        return next((v for v in self.verdicts if v.effective is Action.BLOCK), None)
