"""Evaluation suites with the real policy engine, paired statistics, the watcher, GitHub reviews."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from wandb_governance.backend.registry import RunFacts
from wandb_governance.clock import RandomIds
from wandb_governance.errors import ApprovalError
from wandb_governance.policy.engine import PolicyEngine
from wandb_governance.registry.approval import Choice
from wandb_governance.registry.gate import Status
from wandb_governance.registry.http import send
from wandb_governance.registry.promotion import State, load
from wandb_governance.registry.screening import engine_screen
from wandb_governance.registry.session import Session
from wandb_governance.registry.statistics import bounded_non_inferiority, mcnemar, non_inferiority
from wandb_governance.registry.suite import Answer, Suite, evaluate
from wandb_governance.registry.targets import GitHub
from wandb_governance.registry.tickets.base import TicketRequest
from wandb_governance.registry.tickets.github import GitHubReviews
from wandb_governance.registry.watch import Watch, poll

from .conftest import COLLECTION, GOLDEN, World
from .doubles_http import Service, serving

V1 = "acme/bot/adapter:v1"
POLICY = """
pack: {name: release, version: 1.0.0, enabled: true}
policies:
  chain: [pii-detector]
  policy:
    pii-detector: {action: redact}
"""


@pytest.mark.parametrize(("leak", "status"), [("", Status.PASS), (" Write to jane.doe@example.com.", Status.FAIL)])
def test_personal_data_in_one_answer_keeps_a_version_out(world: World, leak: str, status: Status) -> None:
    """The real engine reads every question and answer; the row tells what kind it found, never the value."""
    path = world.folder / "policy.yaml"
    path.write_text(POLICY)
    suite = Suite(
        scorers={"correctness": lambda example, answer: 1.0},
        screen=engine_screen(PolicyEngine.from_file(path)),
        groups=("locale",),
    )

    def predict(example: Any) -> Answer:
        return Answer(text="The order is on its way." + (leak if example["example_id"] == "7" else ""), cost_usd="0")

    world.clock.pass_hours(1)
    version = evaluate(
        suite,
        registry=world.registry,
        candidate=V1,
        dataset=GOLDEN,
        predict=predict,
        project="acme/bot",
        key=world.evaluator,
        clock=world.clock,
    )
    results = world.promoter().check("support-bot", V1, "staging").results
    assert next(item for item in results if item.gate == "policy_clean").status is status
    folder = world.folder / "read"
    world.registry.download(version, folder)
    assert "jane.doe" not in "".join(file.read_text() for file in folder.iterdir())


@given(st.lists(st.floats(-1, 1, allow_nan=False).map(lambda x: round(x, 3)), min_size=3, max_size=10))
@settings(max_examples=40, deadline=None)
def test_the_exact_test_agrees_with_scipys(differences: list[float]) -> None:
    """Sign flips of the mean, all of them, against ``scipy.stats.permutation_test``."""
    if np.std(np.abs(differences)) < 1e-3:
        return
    ours = non_inferiority(differences, margin=0.0).p_value
    theirs = stats.permutation_test(
        (np.array(differences),),
        lambda x, axis: np.mean(x, axis=axis),
        permutation_type="samples",
        alternative="greater",
        n_resamples=np.inf,
        vectorized=True,
    ).pvalue
    assert ours == pytest.approx(theirs, abs=0.02)


@pytest.mark.parametrize("n", [20, 40, 200])
def test_the_gate_lets_a_version_that_is_worse_by_the_margin_in_at_most_as_often_as_alpha(n: int) -> None:
    """Right or wrong answers, true loss equal to the margin: 1,000 simulated evaluations, alpha 5 %.

    A sign-flip test lets 11 % in at 40 examples, where no loss is seen by luck; that is why scores in [0, 1] are tested
    by betting.
    """
    rng = np.random.default_rng(1)
    passed = 0
    for _ in range(1_000):
        old = rng.random(n) < 0.8
        new = np.where(rng.random(n) < 0.1, rng.random(n) < 0.3, old)
        passed += bounded_non_inferiority(new.astype(float) - old.astype(float), margin=0.05).p_value < 0.05
    assert passed / 1_000 <= 0.06


def test_an_equal_version_passes_with_enough_examples_and_not_with_few() -> None:
    """The rule of three: no loss in n examples shows a loss below 3 / n at 95 %."""
    assert bounded_non_inferiority([0.0] * 60, margin=0.02).p_value > 0.05
    assert bounded_non_inferiority([0.0] * 60, margin=0.1).p_value < 0.05
    assert bounded_non_inferiority([0.0] * 300, margin=0.02).p_value < 0.05


def test_mcnemar_agrees_with_the_binomial_test() -> None:
    """One-sided and exact."""
    old = [True] * 30 + [False] * 10
    new = [True] * 22 + [False] * 8 + [True] * 2 + [False] * 8
    assert mcnemar(new, old) == pytest.approx(stats.binomtest(8, 10, 0.5, alternative="greater").pvalue)


def session_of(world: World) -> Session:
    return Session(
        document=world.document,
        folder=world.folder,
        ledger=world.ledger(),
        registry=world.registry,
        clock=world.clock,
        ids=RandomIds(),
        key=world.writer,
        transport=send,
    )


WATCH = Watch(thing="support-bot", stage="staging", project="acme/bot", tag="candidate-for-staging")


def test_the_watcher_promotes_a_tagged_run_once(world: World) -> None:
    """The tag is replaced by what became of it; the next poll has nothing to do."""
    run = world.registry.run("acme/bot/train1")
    assert run is not None
    world.registry.record_run(replace(run, tags=("candidate-for-staging",)), used=[GOLDEN])
    seen = poll(session_of(world), WATCH)
    assert [item.state for item in seen.promotions] == [State.COMMITTED]
    assert world.registry.run("acme/bot/train1").tags == ("candidate-for-staging-committed",)  # type: ignore[union-attr]
    again = poll(session_of(world), WATCH)
    assert (again.promotions, again.failures, again.drift) == ((), (), ())


def test_the_watcher_goes_on_with_what_waits_and_tells_what_it_can_not_do(world: World) -> None:
    """A candidate that logged nothing is a failure for a person; a waiting promotion moves on when votes are in."""
    world.registry.record_run(RunFacts(path="acme/bot/empty", state="finished", tags=("candidate-for-staging",)))
    promoter = world.promoter()
    promoter.promote("support-bot", V1, "staging")
    waiting = promoter.promote("support-bot", V1, "production")
    seen = poll(session_of(world), WATCH)
    assert "logged 0" in seen.failures[0]
    for person in ("ben", "dev"):
        promoter.ballot.cast(waiting, world.vote(waiting, person))
    poll(session_of(world), WATCH)
    assert load(promoter.ledger, waiting.id).state is State.COMMITTED
    assert world.registry.holder(COLLECTION, "production") == V1


def github(service: Service, method: str, path: str, body: Any) -> tuple[int, Any]:
    """GitHub's deployments and run reviews, by its documentation."""
    made = service.state.setdefault("deployments", [])
    if method == "POST":
        made.append({"id": 7, "sha": "c" * 40, "payload": body["payload"], "description": body["description"]})
        return 201, made[-1]
    if "/approvals" in path:
        return 200, service.state.get("reviews", [])
    if "/actions/runs" in path:
        runs = [{"id": 1, "display_title": made[0]["description"], "updated_at": "2026-11-01T10:00:00Z"}]
        return 200, {"workflow_runs": runs}
    return 200, made[0] if path.endswith("/7") else made


def test_github_reviews_of_the_environment_are_votes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only reviews of this environment count, and the last one of a person."""
    monkeypatch.setenv("GH", "token")
    request = TicketRequest(promotion="p1", title="Let bot in", text="x", binding={}, binding_digest="b" * 64)
    with serving(github) as service:
        settings_ = GitHub.model_validate({"url": service.url, "repository": "acme/models", "token": {"env": "GH"}})
        system = GitHubReviews(settings=settings_, transport=send)
        ticket = system.open(request)
        assert system.open(request) == ticket
        service.state["reviews"] = [
            {"state": "approved", "user": {"login": "ben-gh"}, "environments": [{"name": "production"}], "comment": ""},
            {"state": "approved", "user": {"login": "cho-gh"}, "environments": [{"name": "staging"}], "comment": ""},
            {
                "state": "rejected",
                "user": {"login": "dev-gh"},
                "environments": [{"name": "production"}],
                "comment": "no",
            },
        ]
        found = {item.account: item.choice for item in system.decisions(ticket, "b" * 64)}
        assert found == {"ben-gh": Choice.APPROVE, "dev-gh": Choice.REJECT}
        with pytest.raises(ApprovalError, match="something else"):
            system.decisions(ticket, "c" * 64)


def test_a_jira_approval_drives_a_promotion_and_a_reopened_ticket_stops_it(world: World) -> None:
    """The whole way with a ticket system of the test's own: open, approve, reopen, approve again, commit."""
    world.write_yaml(
        world.yaml.replace(
            "      count: 2\n      roles: {ml-lead: 1, compliance: 1}\n", "      count: 1\n      sources: [jira]\n"
        )
    )
    desk = Desk()
    promoter = world.promoter(tickets={"jira": desk})
    promoter.promote("support-bot", V1, "staging")
    waiting = promoter.promote("support-bot", V1, "production")
    assert desk.opened == 1
    desk.approved_by = "jira-ana"
    assert promoter.advance(waiting.id).state is State.AWAITING_APPROVAL
    desk.approved_by = "jira-nobody"
    assert promoter.advance(waiting.id).state is State.AWAITING_APPROVAL
    desk.approved_by = "jira-ben"

    def reopen(step: str) -> None:
        if step == "recheck":
            desk.approved_by = ""

    with pytest.raises(Exception, match="no longer stands"):
        world.promoter(tickets={"jira": desk}, on_step=reopen).advance(waiting.id)
    assert world.registry.holder(COLLECTION, "production") is None


class Desk:
    """A ticket system in memory."""

    name = "jira"

    def __init__(self) -> None:
        self.opened = 0
        self.approved_by = ""

    def open(self, request: TicketRequest) -> Any:
        from wandb_governance.registry.tickets.base import Ticket

        self.opened += 1
        return Ticket(system="jira", reference="GOV-1", url="https://jira.test/GOV-1")

    def decisions(self, ticket: Any, binding_digest: str) -> Any:
        from wandb_governance.registry.tickets.base import Decision

        if not self.approved_by:
            return ()
        return (Decision(account=self.approved_by, choice=Choice.APPROVE, at_ns=time.time_ns(), reference="GOV-1#1"),)
