"""Where votes come from: the command line and ticket systems."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from wandb_governance.errors import ApprovalError
from wandb_governance.registry.approval import Choice, Tally, Vote, open_vote, tally
from wandb_governance.registry.canonical import digest_of
from wandb_governance.registry.document import ApprovalRule
from wandb_governance.registry.identity import Account, Directory
from wandb_governance.registry.promotion import LIVE, VOTE, Promotion, State
from wandb_governance.registry.tickets.base import Ticket, TicketRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wandb_governance.clock import Clock
    from wandb_governance.registry.document import GovernanceDocument
    from wandb_governance.registry.keys import SigningKey, VerifyKey
    from wandb_governance.registry.ledger import Ledger
    from wandb_governance.registry.tickets.base import Decision, TicketSystem

ROLLBACK_PROPOSED = "rollback_proposed"
"""Kind of the entry that asks people to roll back; nothing moves by itself."""
BREAK_GLASS = ApprovalRule(count=2, sources=("cli",), expires_after="1h")  # type: ignore[arg-type]
"""An emergency needs two people, by signature, within the hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """Collects votes and counts them."""

    document: GovernanceDocument
    ledger: Ledger
    clock: Clock
    key: SigningKey
    tickets: Mapping[str, TicketSystem] = field(default_factory=dict)

    def rule(self, promotion: Promotion) -> ApprovalRule | None:
        """The approvals a promotion needs; None for none."""
        if promotion.break_glass:
            return BREAK_GLASS
        return None if promotion.rollback else self.document.stages[promotion.stage].approvals

    def open(self, promotion: Promotion) -> None:
        """Open tickets and begin to wait."""
        rule = self.rule(promotion)
        assert rule is not None
        binding = binding_of(promotion)
        request = TicketRequest(
            promotion=promotion.id,
            title=f"Let {promotion.thing} {promotion.candidate['source']} into {promotion.stage}",
            text=_ticket_text(promotion),
            binding=binding,
            binding_digest=digest_of(binding),
        )
        opened = [
            self.tickets[source].open(request) for source in rule.sources if source != "cli" and source in self.tickets
        ]
        self.ledger.append(
            State.AWAITING_APPROVAL,
            promotion=promotion.id,
            body={
                "needed": {"count": rule.count, "roles": dict(rule.roles)},
                "expires_at_ns": self.clock.now_ns() + rule.expires_after,
                "tickets": [{"system": t.system, "reference": t.reference, "url": t.url} for t in opened],
            },
        )

    def cast(self, promotion: Promotion, envelope: Mapping[str, Any]) -> Vote:
        """Record a signed vote.

        Raises:
            ApprovalError: The signature or the signer is wrong, the vote is for another promotion, or it is too late.
        """
        vote = open_vote(envelope, directory=self._directory, ledger_keys=self._ledger_keys)
        if vote.promotion != promotion.id:
            raise ApprovalError(f"this vote is for promotion {vote.promotion}, not {promotion.id}")
        withdrawn = vote.choice is Choice.REVOKE and promotion.state in LIVE
        if promotion.state not in (State.AWAITING_APPROVAL, State.APPROVED) and not withdrawn:
            raise ApprovalError(f"promotion {promotion.id} is {promotion.state}: it takes no votes")
        self.ledger.append(VOTE, promotion=promotion.id, body={"envelope": dict(envelope)})
        if withdrawn:
            reason = f"{vote.person} took the approval back after the commit: {vote.comment or 'no comment'}"
            self.ledger.append(ROLLBACK_PROPOSED, promotion=promotion.id, body={"reason": reason})
        return vote

    def poll(self, promotion: Promotion) -> None:
        """Read every ticket's decisions from the system's history, and record what is new.

        Raises:
            ApprovalError: A system can't be read: then nothing is decided.
        """
        standing = {(vote.person, vote.source): vote for vote in self._votes(promotion)}
        for item in promotion.tickets:
            ticket = Ticket(**item)
            system = self.tickets.get(ticket.system)
            if system is None:
                raise ApprovalError(f"no access to {ticket.system} is configured, where {ticket.reference} is open")
            decisions = self._mapped(ticket, system.decisions(ticket, digest_of(binding_of(promotion))))
            for person, decision in decisions.items():
                self._record(promotion, ticket, person, decision, standing.get((person, ticket.system)))
            for (person, source), vote in standing.items():
                withdrawn = source == ticket.system and person not in decisions and vote.choice is not Choice.REVOKE
                if withdrawn and vote.reference.startswith(ticket.reference):
                    self._append(replace(vote, choice=Choice.REVOKE, comment="no longer so in the ticket system"))

    def tally(self, promotion: Promotion, *, binding: Mapping[str, str]) -> Tally:
        """Count the votes by the people of now."""
        rule = self.rule(promotion)
        if rule is None:
            return Tally(approved=True, rejected_by=(), counted=(), ignored=(), missing="")
        accounts = [Account(system=text.partition(":")[0], name=text.partition(":")[2]) for text in promotion.authors]
        authors = self._directory.authors(accounts)
        if promotion.break_glass:
            authors = replace(authors, people=frozenset(), unknown=())
        return tally(
            self._votes(promotion),
            rule=rule,
            binding=binding,
            authors=authors,
            directory=self._directory,
            now_ns=self.clock.now_ns(),
        )

    def record_approved(self, promotion: Promotion, counted: Tally) -> None:
        """Write down who let it in."""
        people = [{"person": v.person, "source": v.source, "reference": v.reference} for v in counted.counted]
        self.ledger.append(State.APPROVED, promotion=promotion.id, body={"counted": people})

    def votes(self, promotion: Promotion) -> Sequence[Vote]:
        """Votes whose signature verifies today."""
        return self._votes(promotion)

    def _votes(self, promotion: Promotion) -> list[Vote]:
        votes = []
        for envelope in promotion.votes:
            try:
                votes.append(open_vote(envelope, directory=self._directory, ledger_keys=self._ledger_keys))
            except ApprovalError:
                continue  # a person who left, or a key that was withdrawn: the vote no longer speaks
        return votes

    def _mapped(self, ticket: Ticket, decisions: Sequence[Decision]) -> dict[str, Decision]:
        """Decisions by person; accounts that nobody is known behind do not count."""
        mapped: dict[str, Decision] = {}
        for decision in decisions:
            person = self._directory.person(Account(system=ticket.system, name=decision.account))
            if person is not None:
                mapped[person] = decision
        return mapped

    def _record(
        self, promotion: Promotion, ticket: Ticket, person: str, decision: Decision, standing: Vote | None
    ) -> None:
        reference = decision.reference or ticket.reference
        if standing and (standing.choice, standing.issued_at_ns) == (decision.choice, decision.at_ns):
            return
        rule = self.rule(promotion)
        assert rule is not None
        self._append(
            Vote(
                promotion=promotion.id,
                choice=decision.choice,
                person=person,
                binding=binding_of(promotion),
                issued_at_ns=decision.at_ns,
                expires_at_ns=decision.at_ns + rule.expires_after,
                source=ticket.system,
                reference=reference,
                comment=decision.comment[:500],
            )
        )

    def _append(self, vote: Vote) -> None:
        self.ledger.append(VOTE, promotion=vote.promotion, body={"envelope": vote.sealed(self.key)})

    @property
    def _directory(self) -> Directory:
        return Directory(self.document)

    @property
    def _ledger_keys(self) -> tuple[VerifyKey, ...]:
        return (*self.document.ledger_keys(), self.key.public)


def binding_of(promotion: Promotion) -> dict[str, str]:
    """What an approval of this promotion is bound to."""
    return {
        "artifact_id": promotion.candidate["artifact_id"],
        "root": promotion.candidate["root"],
        "metadata": promotion.candidate["metadata"],
        "rule": promotion.rule,
    }


def _ticket_text(promotion: Promotion) -> str:
    lines = [
        f"Promotion {promotion.id}: {promotion.candidate['source']} -> {promotion.alias} of {promotion.collection}",
        f"Requested by {promotion.requested_by}. Content SHA-256: {promotion.candidate['root']}",
        f"Policy version: {promotion.rule}",
        "",
        *(f"{gate['status'].upper():9} {gate['gate']}: {gate['reason']}" for gate in promotion.gates),
    ]
    if promotion.evaluation:
        lines += ["", f"Evaluation: {promotion.evaluation.get('artifact')} (run {promotion.evaluation.get('run')})"]
    return "\n".join(lines)
