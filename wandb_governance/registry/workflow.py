"""From a request to a moved alias: check, request, vote, advance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wandb_governance.errors import BackendError, GateError, GovernanceFileError, PromotionError
from wandb_governance.registry import dsse
from wandb_governance.registry.attest import test_result
from wandb_governance.registry.ballot import Ballot
from wandb_governance.registry.commit import Committer, ConflictError, commit_lock
from wandb_governance.registry.gate import Candidate, GateResult, Status, run_gates
from wandb_governance.registry.gather import Gatherer
from wandb_governance.registry.holders import current, history
from wandb_governance.registry.identity import Account
from wandb_governance.registry.outcome import CheckReport, candidate_json
from wandb_governance.registry.promotion import OPEN, Promotion, State, all_promotions, load

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from wandb_governance.backend.registry import Registry, Version
    from wandb_governance.clock import Clock, IdGenerator
    from wandb_governance.registry.approval import Tally
    from wandb_governance.registry.document import GovernanceDocument
    from wandb_governance.registry.keys import SigningKey
    from wandb_governance.registry.ledger import Ledger
    from wandb_governance.registry.tickets.base import TicketSystem


@dataclass(frozen=True, slots=True, kw_only=True)
class Promoter:
    """Drives promotions. Holds no state: every call reads W&B, the ledger and the ticket systems anew."""

    document: GovernanceDocument
    folder: Path
    """Folder of ``governance.yaml``."""
    registry: Registry
    ledger: Ledger
    clock: Clock
    ids: IdGenerator
    key: SigningKey
    """The ledger writer's key; seals attestations and votes that were read from ticket systems."""
    tickets: Mapping[str, TicketSystem] = field(default_factory=dict)
    on_step: Callable[[str], None] = field(default=lambda _: None)

    @property
    def gatherer(self) -> Gatherer:
        """Reads candidates and evaluations."""
        return Gatherer(registry=self.registry, document=self.document, folder=self.folder)

    @property
    def committer(self) -> Committer:
        """Runs the commit protocol."""
        return Committer(registry=self.registry, ledger=self.ledger, clock=self.clock, on_step=self.on_step)

    @property
    def ballot(self) -> Ballot:
        """Votes and tickets."""
        return Ballot(document=self.document, ledger=self.ledger, clock=self.clock, key=self.key, tickets=self.tickets)

    def check(self, thing: str, version: str, stage: str, *, evaluation: str | None = None) -> CheckReport:
        """Run the gates; writes nothing.

        Raises:
            GovernanceFileError: The thing or the stage is not in ``governance.yaml``.
            PromotionError: The thing may not reach the stage.
        """
        self._known(thing, stage)
        rule = self.document.rule_digest(thing, stage)
        incumbent = self._incumbent(thing, stage)
        drift = self._drift(thing, stage, incumbent)
        try:
            evidence = self.gatherer.evidence(
                thing, version, incumbent=incumbent, evaluation=evaluation, now_ns=self.clock.now_ns()
            )
        except (GateError, BackendError) as error:
            lost = GateResult(gate="evidence", status=Status.UNDECIDED, reason=str(error))
            return CheckReport(
                thing=thing, stage=stage, rule=rule, results=(lost,), evidence=None, incumbent=incumbent, drift=drift
            )
        results = (*self._path(evidence.candidate, thing, stage), *run_gates(self._gates(stage), evidence))
        return CheckReport(
            thing=thing, stage=stage, rule=rule, results=results, evidence=evidence, incumbent=incumbent, drift=drift
        )

    def promote(
        self, thing: str, version: str, stage: str, *, evaluation: str | None = None, reason: str = ""
    ) -> Promotion:
        """Request a promotion, or go on with the open one of the same version, as far as it can go now.

        Raises:
            PromotionError: See ``check``; or the commit did not complete.
        """
        open_one = self.open_promotion(thing, version, stage)
        if open_one is not None and open_one.state is State.REQUESTED:
            self._end(open_one, State.ABORTED, "the process ended before its gates were recorded")
        elif open_one is not None:
            return self.advance(open_one.id, evaluation=evaluation)
        report = self.check(thing, version, stage, evaluation=evaluation)
        if report.drift:
            raise ConflictError(report.drift)
        if report.evidence is None:
            raise PromotionError(report.results[0].reason)
        promotion_id = self.ids.trace_id()
        self._request(promotion_id, report, reason=reason)
        self._record_gates(promotion_id, report)
        if report.status is not Status.PASS:
            return load(self.ledger, promotion_id)
        self.on_step("gated")
        return self.advance(promotion_id, evaluation=evaluation)

    def open_promotion(self, thing: str, version: str, stage: str) -> Promotion | None:
        """The open promotion of this version into this stage."""
        for promotion in all_promotions(self.ledger).values():
            same = promotion.thing == thing and promotion.stage == stage and promotion.state in OPEN
            if same and version in (promotion.candidate["version"], promotion.candidate["source"]):
                return promotion
        return None

    def advance(self, promotion_id: str, *, evaluation: str | None = None) -> Promotion:
        """Read what ticket systems say, count votes, and commit when they are enough."""
        promotion = load(self.ledger, promotion_id)
        if promotion.state is State.PREPARED:
            self.recover()
            return load(self.ledger, promotion_id)
        if promotion.state is State.GATED:
            promotion = self._after_gates(promotion)
        if promotion.state not in (State.AWAITING_APPROVAL, State.APPROVED):
            return promotion
        if self._expired(promotion):
            return self._end(promotion, State.EXPIRED, "nobody approved in time; request it again")
        changed = self._changed(promotion)
        if changed:
            return self._end(promotion, State.ABORTED, changed)
        if promotion.state is State.AWAITING_APPROVAL:
            self.ballot.poll(promotion)
            promotion = load(self.ledger, promotion_id)
            counted = self.tally(promotion)
            if counted.rejected_by:
                return self._end(promotion, State.REJECTED, f"rejected by {', '.join(counted.rejected_by)}")
            if not counted.approved:
                return promotion
            if not promotion.rollback and not self._still_passes(promotion, evaluation):
                return load(self.ledger, promotion_id)
            self.ballot.record_approved(promotion, counted)
        return self._commit(promotion_id)

    def tally(self, promotion: Promotion) -> Tally:
        """Where the votes stand, by the people and rules of now."""
        return self.ballot.tally(promotion, binding=self.binding(promotion))

    def binding(self, promotion: Promotion) -> dict[str, str]:
        """What approvals must be bound to: content, description and policy version, as they are now."""
        candidate, _ = self.gatherer.candidate(promotion.thing, promotion.candidate["source"])
        return {**candidate.binding, "rule": self.document.rule_digest(promotion.thing, promotion.stage)}

    def recover(self) -> tuple[Promotion, ...]:
        """Settle what a crash left behind."""
        with commit_lock(self.ledger.path):
            return self.committer.recover()

    def _commit(self, promotion_id: str) -> Promotion:
        promotion = load(self.ledger, promotion_id)
        targets = self.document.stages[promotion.stage].rollout
        return self.committer.commit(promotion_id, recheck=self._recheck, targets=targets)

    def _after_gates(self, promotion: Promotion) -> Promotion:
        """Begin to wait for approvals, or go straight on where none are asked for."""
        if self.ballot.rule(promotion) is None:
            body = {"reason": "this stage asks for no approval"}
            self.ledger.append(State.APPROVED, promotion=promotion.id, body=body)
        else:
            self.ballot.open(promotion)
        return load(self.ledger, promotion.id)

    def _recheck(self, promotion: Promotion) -> None:
        changed = self._changed(promotion)
        if changed:
            raise PromotionError(changed)
        if self.ballot.rule(promotion) is None:
            return
        self.ballot.poll(promotion)
        counted = self.tally(load(self.ledger, promotion.id))
        if not counted.approved:
            raise PromotionError(f"approval no longer stands: {counted.missing or 'rejected'}")

    def _changed(self, promotion: Promotion) -> str:
        """What is no longer as it was requested."""
        now = self.binding(promotion)
        asked = {
            "artifact_id": promotion.candidate["artifact_id"],
            "root": promotion.candidate["root"],
            "metadata": promotion.candidate["metadata"],
            "rule": promotion.rule,
        }
        words = {
            "artifact_id": "the version",
            "root": "the content",
            "metadata": "metadata or model card",
            "rule": "the policy",
        }
        changed = [words[name] for name in asked if asked[name] != now[name]]
        return f"{' and '.join(changed)} changed since the request; request it again" if changed else ""

    def _still_passes(self, promotion: Promotion, evaluation: str | None) -> bool:
        report = self.check(promotion.thing, promotion.candidate["version"], promotion.stage, evaluation=evaluation)
        if report.status is Status.PASS:
            return True
        state = State.FAILED if report.status is Status.FAIL else State.ABORTED
        results = [result.as_json() for result in report.results]
        self.ledger.append(
            state, promotion=promotion.id, body={"reason": "the gates no longer pass", "results": results}
        )
        return False

    def _request(self, promotion_id: str, report: CheckReport, *, reason: str) -> None:
        assert report.evidence is not None
        candidate = report.evidence.candidate
        thing, stage = self.document.governed[report.thing], self.document.stages[report.stage]
        held = current(self.ledger, collection=thing.collection, alias=stage.alias)
        requester = self.registry.viewer()
        self.ledger.append(
            State.REQUESTED,
            promotion=promotion_id,
            body={
                "thing": report.thing,
                "stage": report.stage,
                "collection": thing.collection,
                "alias": stage.alias,
                "candidate": candidate_json(candidate),
                "expected": report.incumbent.artifact_id if report.incumbent else None,
                "generation": held.seq if held else 0,
                "rule": report.rule,
                "requested_by": str(Account(system="wandb", name=requester)),
                "authors": [str(account) for account in self.gatherer.authors(report.evidence, requester)],
                "reason": reason,
            },
        )

    def _record_gates(self, promotion_id: str, report: CheckReport) -> None:
        assert report.evidence is not None
        results = [result.as_json() for result in report.results]
        candidate = candidate_json(report.evidence.candidate)
        statement = test_result(candidate, stage=report.stage, rule=report.rule, results=results)
        evaluation = report.evidence.evaluation
        body: dict[str, Any] = {
            "results": results,
            "evaluation": None
            if evaluation is None
            else {"artifact": evaluation.artifact, "run": evaluation.run, "dataset": evaluation.dataset},
            "attestation": dsse.seal(statement, payload_type=dsse.IN_TOTO, key=self.key),
        }
        if report.status is not Status.PASS:
            body["reason"] = "; ".join(f"{r.gate}: {r.reason}" for r in report.results if r.status is not Status.PASS)
        state = State.GATED if report.status is Status.PASS else State.FAILED
        self.ledger.append(state, promotion=promotion_id, body=body)

    def _gates(self, stage: str) -> tuple[Any, ...]:
        return self.document.stages[stage].gates

    def _path(self, candidate: Candidate, thing: str, stage: str) -> tuple[GateResult, ...]:
        """The gate of the stage order."""
        needed = self.document.stages[stage].requires
        if needed is None:
            return ()
        rule = self.document.stages[needed]
        seen = any(
            holder.root == candidate.root
            for holder in history(self.ledger, collection=self.document.governed[thing].collection, alias=rule.alias)
        )
        status = Status.PASS if seen else Status.FAIL
        reason = f"this content {'was' if seen else 'was never'} in {needed}"
        return (GateResult(gate=f"requires:{needed}", status=status, reason=reason),)

    def _incumbent(self, thing: str, stage: str) -> Version | None:
        collection, alias = self.document.governed[thing].collection, self.document.stages[stage].alias
        return self.registry.resolve(f"{collection}:{alias}")

    def _drift(self, thing: str, stage: str, incumbent: Version | None) -> str:
        collection, alias = self.document.governed[thing].collection, self.document.stages[stage].alias
        held = current(self.ledger, collection=collection, alias=alias)
        found = incumbent.artifact_id if incumbent else None
        if held is None or held.artifact_id == found:
            return ""
        return (
            f"{alias!r} of {collection!r} is at {incumbent.source if incumbent else 'nothing'}, but the ledger put it "
            f"at {held.source}; run `wandb-governance audit reconcile`"
        )

    def _expired(self, promotion: Promotion) -> bool:
        return promotion.expires_at_ns is not None and self.clock.now_ns() >= promotion.expires_at_ns

    def _known(self, thing: str, stage: str) -> None:
        if thing not in self.document.governed:
            known = ", ".join(self.document.governed)
            raise GovernanceFileError(f"{thing!r} is not governed; known are {known}", key="governed")
        if stage not in self.document.stages:
            known = ", ".join(self.document.stages)
            raise GovernanceFileError(f"{stage!r} is no stage; known are {known}", key="stages")
        allowed = self.document.governed[thing].stages
        if allowed and stage not in allowed:
            raise PromotionError(f"{thing!r} may reach {', '.join(allowed)}, not {stage!r}")

    def _end(self, promotion: Promotion, state: State, reason: str) -> Promotion:
        self.ledger.append(state, promotion=promotion.id, body={"reason": reason})
        return load(self.ledger, promotion.id)
