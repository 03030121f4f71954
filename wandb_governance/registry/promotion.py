"""The life of a promotion, as its ledger entries tell it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from wandb_governance.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wandb_governance.registry.ledger import Entry, Ledger


class State(StrEnum):
    """Where a promotion is."""

    REQUESTED = "requested"
    GATED = "gated"
    FAILED = "failed"
    AWAITING_APPROVAL = "awaiting_approval"
    APPROVED = "approved"
    PREPARED = "prepared"
    COMMITTED = "committed"
    DEPLOYED = "deployed"
    ABORTED = "aborted"
    EXPIRED = "expired"
    REJECTED = "rejected"
    DRIFTED = "drifted"
    """The registry does not hold what the ledger says."""
    ROLLED_BACK = "rolled_back"


_NEXT: dict[State, frozenset[State]] = {
    State.REQUESTED: frozenset({State.GATED, State.FAILED, State.ABORTED}),
    State.GATED: frozenset({State.AWAITING_APPROVAL, State.APPROVED, State.ABORTED}),
    State.AWAITING_APPROVAL: frozenset(
        {State.APPROVED, State.REJECTED, State.EXPIRED, State.GATED, State.FAILED, State.ABORTED}
    ),
    State.APPROVED: frozenset(
        {
            State.PREPARED,
            State.AWAITING_APPROVAL,
            State.GATED,
            State.FAILED,
            State.EXPIRED,
            State.ABORTED,
            State.REJECTED,
        }
    ),
    State.PREPARED: frozenset({State.COMMITTED, State.ABORTED, State.DRIFTED}),
    State.COMMITTED: frozenset({State.DEPLOYED, State.ROLLED_BACK, State.DRIFTED}),
    State.DEPLOYED: frozenset({State.ROLLED_BACK, State.DRIFTED}),
    State.DRIFTED: frozenset({State.COMMITTED, State.ROLLED_BACK, State.ABORTED}),
    State.FAILED: frozenset(),
    State.ABORTED: frozenset(),
    State.EXPIRED: frozenset(),
    State.REJECTED: frozenset(),
    State.ROLLED_BACK: frozenset(),
}
LIVE = frozenset({State.COMMITTED, State.DEPLOYED})
"""States in which the version holds the alias, unless a later promotion took it."""
OPEN = frozenset({State.REQUESTED, State.GATED, State.AWAITING_APPROVAL, State.APPROVED, State.PREPARED})
"""States from which the alias may still move."""
STATE_KINDS = tuple(state.value for state in State)
VOTE = "vote"
"""Kind of an entry that carries a vote and changes no state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """A promotion as of its last entry."""

    id: str
    state: State
    thing: str
    stage: str
    collection: str
    alias: str
    candidate: Mapping[str, Any]
    """``version``, ``source``, ``artifact_id``, ``digest``, ``root``, ``metadata``."""
    expected: str | None
    """Artifact id that held the alias when it was requested; None for nobody."""
    generation: int
    """Ledger sequence number of the alias's last move when it was requested; 0 for none."""
    rule: str
    """Digest of the policy version."""
    requested_by: str
    requested_at_ns: int
    rollback: bool = False
    break_glass: bool = False
    reason: str = ""
    expires_at_ns: int | None = None
    votes: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    """Signed envelopes in ledger order."""
    gates: tuple[Mapping[str, Any], ...] = ()
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    tickets: tuple[Mapping[str, Any], ...] = ()
    note: str = ""
    """Reason of the last entry."""
    committed_seq: int = 0
    committed_at_ns: int = 0
    authors: tuple[str, ...] = ()
    """``system:account`` of everyone who made or requested it."""


def fold(entries: Iterable[Entry]) -> Promotion:
    """The promotion behind its entries.

    Raises:
        LedgerError: There is no entry, the first is no request, or one follows that the state does not allow.
    """
    promotion: Promotion | None = None
    for entry in entries:
        promotion = _opened(entry) if promotion is None else apply(promotion, entry)
    if promotion is None:
        raise LedgerError("the ledger holds no such promotion; `wandb-governance audit log` lists them")
    return promotion


def apply(promotion: Promotion, entry: Entry) -> Promotion:
    """The promotion after one more entry.

    Raises:
        LedgerError: The state does not allow it.
    """
    if entry.kind == VOTE:
        return replace(promotion, votes=(*promotion.votes, entry.body["envelope"]))
    if entry.kind not in STATE_KINDS:
        return promotion
    state = State(entry.kind)
    if state not in _NEXT[promotion.state]:
        raise LedgerError(f"entry {entry.seq}: promotion {promotion.id} can't go from {promotion.state} to {state}")
    changes: dict[str, Any] = {"state": state, "note": str(entry.body.get("reason", ""))}
    if "results" in entry.body:
        changes |= {"gates": tuple(entry.body["results"]), "evaluation": entry.body.get("evaluation") or {}}
    if state is State.AWAITING_APPROVAL:
        changes |= {
            "expires_at_ns": entry.body.get("expires_at_ns"),
            "tickets": tuple(entry.body.get("tickets", promotion.tickets)),
        }
    if state is State.COMMITTED:
        changes |= {"committed_seq": entry.seq, "committed_at_ns": entry.at_ns}
    return replace(promotion, **changes)


def _opened(entry: Entry) -> Promotion:
    if entry.kind != State.REQUESTED:
        raise LedgerError(f"entry {entry.seq}: promotion {entry.promotion} begins with {entry.kind!r}")
    body = entry.body
    return Promotion(
        id=entry.promotion,
        state=State.REQUESTED,
        thing=body["thing"],
        stage=body["stage"],
        collection=body["collection"],
        alias=body["alias"],
        candidate=body["candidate"],
        expected=body["expected"],
        generation=body["generation"],
        rule=body["rule"],
        requested_by=body["requested_by"],
        requested_at_ns=entry.at_ns,
        rollback=body.get("rollback", False),
        break_glass=body.get("break_glass", False),
        reason=body.get("reason", ""),
        authors=tuple(body.get("authors", ())),
    )


def load(ledger: Ledger, promotion_id: str) -> Promotion:
    """One promotion.

    Raises:
        LedgerError: There is none of that id, or its entries make no sense.
    """
    return fold(ledger.entries(promotion=promotion_id))


def all_promotions(ledger: Ledger) -> dict[str, Promotion]:
    """Every promotion by id, oldest first."""
    found: dict[str, Promotion] = {}
    for entry in ledger.entries():
        if entry.promotion:
            held = found.get(entry.promotion)
            found[entry.promotion] = _opened(entry) if held is None else apply(held, entry)
    return found
