"""What a check or a promotion came to, and the exit code that tells CI."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from wandb_governance.registry.gate import Status, overall
from wandb_governance.registry.promotion import OPEN, Promotion, State

if TYPE_CHECKING:
    from wandb_governance.backend.registry import Version
    from wandb_governance.registry.gate import Candidate, Evidence, GateResult


class Exit(IntEnum):
    """Exit codes of ``promote``, for CI."""

    PASS = 0
    FAILED = 1
    USAGE = 2
    AWAITING_APPROVAL = 3
    UNDECIDED = 4
    DRIFT = 5
    """The registry does not hold what the ledger says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What the gates of a stage say of a candidate."""

    thing: str
    stage: str
    rule: str
    results: tuple[GateResult, ...]
    evidence: Evidence | None
    """None when it could not be gathered."""
    incumbent: Version | None
    drift: str = ""
    """How registry and ledger differ about the alias; empty when they agree."""

    @property
    def status(self) -> Status:
        """All gates together."""
        return overall(self.results)

    @property
    def exit_code(self) -> Exit:
        """For CI."""
        if self.drift:
            return Exit.DRIFT
        return {Status.PASS: Exit.PASS, Status.FAIL: Exit.FAILED, Status.UNDECIDED: Exit.UNDECIDED}[self.status]


def candidate_json(candidate: Candidate) -> dict[str, str]:
    """The candidate as it stands in the ledger."""
    return {
        "version": candidate.version,
        "source": candidate.source,
        "artifact_id": candidate.artifact_id,
        "digest": candidate.digest,
        "root": candidate.root,
        "metadata": candidate.metadata_digest,
    }


def exit_code(promotion: Promotion) -> Exit:
    """For CI: where a promotion stands."""
    if promotion.state in (State.COMMITTED, State.DEPLOYED):
        return Exit.PASS
    if promotion.state in OPEN:
        return Exit.AWAITING_APPROVAL
    if promotion.state is State.DRIFTED:
        return Exit.DRIFT
    undecided = promotion.state is State.FAILED and not any(r["status"] == Status.FAIL for r in promotion.gates)
    return Exit.UNDECIDED if undecided else Exit.FAILED
