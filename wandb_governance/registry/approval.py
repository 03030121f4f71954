"""Votes on a promotion, and whether they are enough."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from wandb_governance.errors import ApprovalError
from wandb_governance.registry import dsse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wandb_governance.registry.document import ApprovalRule
    from wandb_governance.registry.identity import Authorship, Directory
    from wandb_governance.registry.keys import SigningKey, VerifyKey

VOTE_TYPE = "application/vnd.wandb-governance.vote+json"
"""DSSE payload type of a vote."""


class Choice(StrEnum):
    """What a vote says."""

    APPROVE = "approve"
    REJECT = "reject"
    REVOKE = "revoke"
    """Takes the person's earlier vote back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """One person's word on one promotion, bound to exactly what they looked at."""

    promotion: str
    choice: Choice
    person: str
    """Person id in ``governance.yaml``."""
    binding: Mapping[str, str]
    """``artifact_id``, ``root``, ``metadata`` and ``rule``: the content, its description and the policy version."""
    issued_at_ns: int
    expires_at_ns: int
    source: str = "cli"
    reference: str = ""
    """Ticket key, change number, run id."""
    comment: str = ""

    def sealed(self, key: SigningKey) -> dict[str, Any]:
        """The signed envelope: by the person's own key, or by the ledger's for a vote read from a ticket system."""
        value = {
            "promotion": self.promotion,
            "choice": self.choice.value,
            "person": self.person,
            "binding": dict(self.binding),
            "issued_at_ns": self.issued_at_ns,
            "expires_at_ns": self.expires_at_ns,
            "source": self.source,
            "reference": self.reference,
            "comment": self.comment,
        }
        return dsse.seal(value, payload_type=VOTE_TYPE, key=key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """A vote that does not count, and why."""

    vote: Vote
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Where a promotion stands."""

    approved: bool
    rejected_by: tuple[str, ...]
    counted: tuple[Vote, ...]
    ignored: tuple[Ignored, ...]
    missing: str
    """What is still needed, in words; empty when approved."""


def open_vote(envelope: object, *, directory: Directory, ledger_keys: Sequence[VerifyKey]) -> Vote:
    """Read a signed vote and make sure that who signed it may say so.

    Raises:
        ApprovalError: The signature does not verify, or the signer is not the person (or, for votes from another
            system, not the ledger's writer).
    """
    value, signer = dsse.unseal(
        envelope, payload_type=VOTE_TYPE, keys=[*ledger_keys, *_people_keys(directory, envelope)]
    )
    try:
        vote = Vote(**{**value, "choice": Choice(value["choice"])})
    except (TypeError, ValueError, KeyError) as error:
        raise ApprovalError("the signed payload is no vote") from error
    allowed = directory.keys(vote.person) if vote.source == "cli" else tuple(ledger_keys)
    if signer not in allowed:
        raise ApprovalError(f"the vote of {vote.person!r} ({vote.source}) is signed with a key that can't speak for it")
    return vote


def _people_keys(directory: Directory, envelope: object) -> tuple[VerifyKey, ...]:
    """Only the keys of the person the payload names: a hint, checked again after the signature."""
    import base64

    from wandb_governance.errors import RegistryError
    from wandb_governance.registry.canonical import parse

    try:
        hint = parse(base64.b64decode(envelope["payload"]))["person"]  # type: ignore[index]
        return directory.keys(str(hint))
    except (KeyError, TypeError, ValueError, RegistryError):
        return ()


def tally(
    votes: Sequence[Vote],
    *,
    rule: ApprovalRule,
    binding: Mapping[str, str],
    authors: Authorship,
    directory: Directory,
    now_ns: int,
) -> Tally:
    """Count the votes of distinct, allowed people.

    Args:
        votes: In ledger order; a person's later vote replaces the earlier one.
        rule: How many and who.
        binding: What is to be let in, as it is now.
        authors: Who may not approve.
        directory: Who is who, now.
        now_ns: Nanoseconds since 1970 UTC.
    """
    last: dict[str, Vote] = {}
    for vote in votes:
        last[vote.person] = vote
    counted, ignored = [], []
    for vote in last.values():
        reason = _refusal(vote, rule=rule, binding=binding, authors=authors, directory=directory, now_ns=now_ns)
        if reason:
            ignored.append(Ignored(vote=vote, reason=reason))
        elif vote.choice is Choice.APPROVE:
            counted.append(vote)
    rejected = tuple(
        vote.person for vote in last.values() if vote.choice is Choice.REJECT and directory.knows(vote.person)
    )
    missing = _missing(counted, rule=rule, directory=directory)
    if authors.unknown and not missing:
        names = ", ".join(str(account) for account in authors.unknown)
        missing = f"nobody knows who is behind {names}; add the account to people or service_accounts"
    return Tally(
        approved=not missing and not rejected,
        rejected_by=rejected,
        counted=tuple(counted),
        ignored=tuple(ignored),
        missing=missing,
    )


def _refusal(
    vote: Vote,
    *,
    rule: ApprovalRule,
    binding: Mapping[str, str],
    authors: Authorship,
    directory: Directory,
    now_ns: int,
) -> str:
    """Why a vote does not count; empty when it does."""
    changed = sorted(name for name in binding if vote.binding.get(name) != binding[name])
    end_ns = min(vote.expires_at_ns, vote.issued_at_ns + rule.expires_after)
    checks = (
        (not directory.knows(vote.person), "is not in people: an unknown identity is not an approver"),
        (vote.choice is Choice.REVOKE, "was taken back"),
        (vote.source not in rule.sources, f"came from {vote.source}, which this stage does not accept"),
        (vote.choice is Choice.REJECT, "is a rejection"),
        (vote.person in authors.people, "made or requested this version: separation of duties"),
        (bool(changed), f"is for something else: {', '.join(changed)} changed since"),
        (vote.issued_at_ns > now_ns + rule.clock_skew, "is dated in the future"),
        (now_ns + rule.clock_skew >= end_ns, "has expired, or may have within the clocks' skew"),
    )
    return next((reason for bad, reason in checks if bad), "")


def _missing(votes: Sequence[Vote], *, rule: ApprovalRule, directory: Directory) -> str:
    people = [vote.person for vote in votes]
    places = [role for role, number in rule.roles.items() for _ in range(number)]
    seated = _seat(people, places, directory)
    empty = [places[place] for place in range(len(places)) if place not in seated]
    parts = []
    if len(people) < rule.count:
        parts.append(f"{rule.count - len(people)} more of {rule.count} approvals")
    if empty:
        parts.append(f"someone with role {', '.join(sorted(set(empty)))}")
    return " and ".join(parts)


def _seat(people: Sequence[str], places: Sequence[str], directory: Directory) -> dict[int, str]:
    """Give each place to a different person who holds its role: a maximum bipartite matching.

    Source:
        Kuhn, The Hungarian method, 1955, in its augmenting-path form.
    """
    seated: dict[int, str] = {}

    def find(person: str, tried: set[int]) -> bool:
        for place, role in enumerate(places):
            if role in directory.roles(person) and place not in tried:
                tried.add(place)
                if place not in seated or find(seated[place], tried):
                    seated[place] = person
                    return True
        return False

    for person in people:
        find(person, set())
    return seated
