"""The watcher: finds candidates, drives their promotions, delivers and reconciles. One poll is one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_governance.errors import GovernanceError
from wandb_governance.registry.promotion import State, all_promotions
from wandb_governance.registry.report import plain
from wandb_governance.registry.rollback import finish

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wandb_governance.registry.incidents import Incident
    from wandb_governance.registry.promotion import Promotion
    from wandb_governance.registry.reconcile import Comparison
    from wandb_governance.registry.session import Session

_GOVERNED_TYPES = frozenset({"model", "prompt", "dataset", "vector-index", "rag-configuration"})
_WAITING = (State.AWAITING_APPROVAL, State.APPROVED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What to look for."""

    thing: str
    stage: str
    project: str
    tag: str
    """A run with this tag asks that the artifact it logged be promoted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """What one pass did."""

    promotions: tuple[Promotion, ...]
    failures: tuple[str, ...]
    """One sentence per candidate or promotion that could not be driven; tried again at the next poll."""
    compared: tuple[Comparison, ...]
    """Every governed alias, compared with the ledger."""
    delivered: int

    @property
    def drift(self) -> tuple[str, ...]:
        """One sentence per alias that is not where the ledger put it."""
        return tuple(
            f"{item.alias} of {item.thing} is {item.agreement}: {item.registry or 'nothing'}"
            for item in self.compared
            if item.differs
        )

    def as_json(self) -> dict[str, Any]:
        """One object per pass."""
        return {
            "promotions": [
                {"id": p.id, "state": p.state.value, "source": p.candidate["source"]} for p in self.promotions
            ],
            "failures": list(self.failures),
            "drift": list(self.drift),
            "delivered": self.delivered,
        }

    def lines(self, news: Sequence[Incident] = ()) -> list[str]:
        """For a terminal: what was done, and incidents that opened or closed; an old one is not told again."""
        lines = [plain(f"{p.state.value:18} {p.candidate['source']} {p.note}") for p in self.promotions]
        lines += [plain(f"could not go on: {text}") for text in self.failures]
        return lines + [plain(f"{item.state.upper()}: {item.subject} {', '.join(item.details)}") for item in news]


def poll(session: Session, wanted: Watch) -> Poll:
    """One pass. A run's tag is replaced by ``<tag>-<state>`` once its promotion has ended or waits for people."""
    promoter, done, failures = session.promoter, [], []
    promoter.recover()
    for run in session.registry.tagged_runs(wanted.project, wanted.tag):
        if run.state != "finished":
            continue
        try:
            done.append(_candidate(session, wanted, run.path))
        except GovernanceError as error:
            failures.append(f"{run.path}: {error}")
    for promotion in all_promotions(session.ledger).values():
        if promotion.state in _WAITING and promotion.id not in {item.id for item in done}:
            try:
                go_on = finish if promotion.rollback else type(promoter).advance
                done.append(go_on(promoter, promotion.id))
            except GovernanceError as error:
                failures.append(f"promotion {promotion.id}: {error}")
    delivered = session.outbox.deliver_due()
    compared = session.reconciler.compare()
    session.reconciler.record(compared)
    return Poll(
        promotions=tuple(done),
        failures=tuple(failures),
        compared=compared,
        delivered=len(delivered),
    )


def _candidate(session: Session, wanted: Watch, run: str) -> Promotion:
    logged = [version for version in session.registry.outputs(run) if version.type in _GOVERNED_TYPES]
    if len(logged) != 1:
        raise GovernanceError(f"a candidate run must log exactly one governed artifact, this one logged {len(logged)}")
    promotion = session.promoter.promote(
        wanted.thing, logged[0].source, wanted.stage, reason=f"run {run} is tagged {wanted.tag}"
    )
    session.registry.retag(run, add=[f"{wanted.tag}-{promotion.state.value}"], remove=[wanted.tag])
    return promotion
