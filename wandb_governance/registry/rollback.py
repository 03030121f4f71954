"""Going back to the last good version."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from wandb_governance.errors import PromotionError
from wandb_governance.registry.holders import Holder, current, history
from wandb_governance.registry.identity import Account
from wandb_governance.registry.outcome import candidate_json
from wandb_governance.registry.promotion import Promotion, State, load

if TYPE_CHECKING:
    from wandb_governance.registry.gate import Candidate
    from wandb_governance.registry.workflow import Promoter

REVIEW_DUE = "review_due"
"""Kind of the entry that a break-glass rollback leaves behind."""
_REVIEW_WITHIN_NS = 72 * 3_600 * 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """Which rollback is wanted."""

    thing: str
    stage: str
    reason: str
    to: str | None = None
    """Source of an earlier version; None for the last good one."""
    break_glass: bool = False
    """Go on although a check fails; two people must sign within the hour."""


def roll_back(promoter: Promoter, wanted: Rollback) -> Promotion:
    """Give the alias back to a version that held it before.

    Raises:
        PromotionError: There is no earlier version, it is gone or changed, or a check fails without break-glass.
    """
    if not wanted.reason.strip():
        raise PromotionError("a rollback needs a reason (--reason)")
    thing, stage = promoter.document.governed[wanted.thing], promoter.document.stages[wanted.stage]
    held = current(promoter.ledger, collection=thing.collection, alias=stage.alias)
    if held is None:
        raise PromotionError(f"no promotion ever moved {stage.alias!r} of {thing.collection!r}")
    target = _target(promoter, wanted, held)
    candidate, _ = promoter.gatherer.candidate(wanted.thing, target.source)
    if candidate.root != target.root:
        raise PromotionError(f"{target.source} is not the content that was let in: its SHA-256 root differs")
    doubts = _doubts(promoter, wanted, target, candidate)
    if doubts and not wanted.break_glass:
        raise PromotionError(f"{target.source}: {doubts}; in an emergency use --break-glass and two signatures")
    promotion_id = promoter.ids.trace_id()
    _request(promoter, wanted, promotion_id, candidate, held)
    if wanted.break_glass:
        promoter.ballot.open(load(promoter.ledger, promotion_id))
        return load(promoter.ledger, promotion_id)
    promoter.ledger.append(State.APPROVED, promotion=promotion_id, body={"reason": f"was let in by {target.promotion}"})
    return finish(promoter, promotion_id)


def finish(promoter: Promoter, promotion_id: str) -> Promotion:
    """Commit an approved or break-glass rollback as far as it can go, and mark what was rolled back."""
    promotion = promoter.advance(promotion_id)
    if promotion.state is State.COMMITTED:
        moves = [
            holder
            for holder in history(promoter.ledger, collection=promotion.collection, alias=promotion.alias)
            if holder.promotion != promotion_id
        ]
        left = load(promoter.ledger, moves[-1].promotion)
        if left.state in (State.COMMITTED, State.DEPLOYED, State.DRIFTED):
            promoter.ledger.append(
                State.ROLLED_BACK, promotion=left.id, body={"by": promotion_id, "reason": promotion.reason}
            )
        if promotion.break_glass:
            due = promoter.clock.now_ns() + _REVIEW_WITHIN_NS
            promoter.ledger.append(REVIEW_DUE, promotion=promotion_id, body={"due_ns": due, "reason": promotion.reason})
    return promotion


def _target(promoter: Promoter, wanted: Rollback, held: Holder) -> Holder:
    """The version to go back to: the newest that was never rolled back from."""
    thing, stage = promoter.document.governed[wanted.thing], promoter.document.stages[wanted.stage]
    past = list(history(promoter.ledger, collection=thing.collection, alias=stage.alias))
    bad = _rolled_back(promoter, wanted)
    for item in reversed(past):
        if wanted.to is not None and item.source != wanted.to:
            continue
        if item.artifact_id != held.artifact_id and (wanted.to is not None or item.artifact_id not in bad):
            return item
    named = wanted.to or "an earlier good version"
    raise PromotionError(f"the ledger holds no move of {stage.alias!r} to {named}: nothing to go back to")


def _rolled_back(promoter: Promoter, wanted: Rollback) -> set[str]:
    """Artifact ids that a rollback took the alias from."""
    thing, stage = promoter.document.governed[wanted.thing], promoter.document.stages[wanted.stage]
    past = list(history(promoter.ledger, collection=thing.collection, alias=stage.alias))
    return {before.artifact_id for before, after in pairwise(past) if load(promoter.ledger, after.promotion).rollback}


def _doubts(promoter: Promoter, wanted: Rollback, target: Holder, candidate: Candidate) -> str:
    """Why going back needs an emergency; empty when it does not."""
    now_ns = promoter.clock.now_ns()
    doubts = []
    if now_ns - target.at_ns > promoter.document.stages[wanted.stage].rollback_within:
        doubts.append("its approval is too old (rollback_within)")
    if target.artifact_id in _rolled_back(promoter, wanted):
        doubts.append("it was itself rolled back")
    if candidate.metadata.get("withdrawn"):
        doubts.append(f"it was withdrawn: {candidate.metadata['withdrawn']}")
    shutdown = candidate.metadata.get("shutdown_date")
    if shutdown is not None and _past(str(shutdown), now_ns):
        doubts.append(f"its provider shut it down on {shutdown}")
    return "; ".join(doubts)


def _past(date: str, now_ns: int) -> bool:
    try:
        moment = datetime.fromisoformat(date)
    except ValueError:
        return True
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() <= now_ns / 1e9


def _request(promoter: Promoter, wanted: Rollback, promotion_id: str, candidate: Candidate, held: Holder) -> None:
    thing, stage = promoter.document.governed[wanted.thing], promoter.document.stages[wanted.stage]
    holder = promoter.registry.resolve(f"{thing.collection}:{stage.alias}")
    requester = str(Account(system="wandb", name=promoter.registry.viewer()))
    body = {
        "thing": wanted.thing,
        "stage": wanted.stage,
        "collection": thing.collection,
        "alias": stage.alias,
        "candidate": candidate_json(candidate),
        "expected": holder.artifact_id if holder else None,
        "generation": held.seq,
        "rule": promoter.document.rule_digest(wanted.thing, wanted.stage),
        "requested_by": requester,
        "authors": [requester],
        "reason": wanted.reason,
        "rollback": True,
        "break_glass": wanted.break_glass,
    }
    promoter.ledger.append(State.REQUESTED, promotion=promotion_id, body=body)
    note = {"reason": "a rollback runs no gates", "results": []}
    promoter.ledger.append(State.GATED, promotion=promotion_id, body=note)
