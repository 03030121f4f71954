"""Hard cases 1, 2, 3, 4, 17: others move the alias, processes race, processes die."""

from __future__ import annotations

import time
from typing import Any

import pytest

from wandb_governance.errors import BackendError, PromotionError
from wandb_governance.registry.commit import ConflictError
from wandb_governance.registry.holders import current
from wandb_governance.registry.promotion import State, all_promotions
from wandb_governance.registry.reconcile import Agreement, Reconciler
from wandb_governance.registry.rollback import Rollback, roll_back
from wandb_governance.registry.verify import verify

from .conftest import COLLECTION, World
from .processes import finish, start

V1, V2 = "acme/bot/adapter:v1", "acme/bot/adapter:v2"
STEPS = ("gated", "prepare", "prepared", "recheck", "rechecked", "link", "linked", "read_back", "commit", "committed")


def consistent(world: World) -> None:
    """The ledger verifies, and registry and ledger agree on who holds staging."""
    ledger = world.ledger()
    result = verify(ledger, keys=[world.writer.public], every_signature=True)
    assert result.intact, result.problem
    held = current(ledger, collection=COLLECTION, alias="staging")
    assert world.registry.holder(COLLECTION, "staging") == (held.source if held else None)


def race(world: World) -> tuple[Any, Any]:
    flag = world.folder / f"go-{time.time_ns()}"
    first = start(world, [["promote", "support-bot", V1, "staging"]], wait_at="gated", flag=f"{flag}.1")
    second = start(world, [["promote", "support-bot", V2, "staging"]], wait_at="gated", flag=f"{flag}.2")
    for reached in (f"{flag}.reached",):
        deadline = time.time() + 60
        while not (world.folder / reached).exists() and time.time() < deadline:
            time.sleep(0.01)
    time.sleep(0.3)
    for number in (1, 2):
        (world.folder / f"{flag.name}.{number}").touch()
    return finish(first)[0], finish(second)[0]


def test_01_two_versions_promoted_at_once_have_one_winner(world: World) -> None:
    """Two processes pass their gates, then commit at the same moment: one is let in, the other is told why not."""
    world.train(2)
    answers = sorted(race(world), key=lambda answer: answer != "committed")
    assert answers[0] == "committed"
    assert "another promotion moved" in answers[1]
    states = sorted(promotion.state for promotion in all_promotions(world.ledger()).values())
    assert states == [State.ABORTED, State.COMMITTED]
    consistent(world)


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_01_a_hundred_races_have_a_hundred_winners(world: World) -> None:
    """The same, a hundred times over."""
    world.train(2)
    for _ in range(100):
        answers = race(world)
        assert sum(answer == "committed" for answer in answers) == 1, answers
        consistent(world)


@pytest.mark.parametrize("step", ["gated", "prepared", "recheck"])
def test_02_an_alias_moved_in_the_ui_between_gate_and_commit_refuses(world: World, step: str) -> None:
    """Someone else's move stays; the promotion is aborted and says what it found."""
    world.train(2)

    def in_the_ui(reached: str) -> None:
        if reached == step:
            world.registry.set_alias(COLLECTION, "staging", V2)

    with pytest.raises(ConflictError, match="moved outside the gate"):
        world.promoter(on_step=in_the_ui).promote("support-bot", V1, "staging")
    assert world.registry.holder(COLLECTION, "staging") == V2
    assert [p.state for p in all_promotions(world.ledger()).values()] == [State.ABORTED]


def test_02_an_alias_moved_right_after_ours_is_drift(world: World) -> None:
    """The read-back sees the other version, and the ledger does not claim otherwise."""
    world.train(2)
    world.registry.after_move = lambda: world.registry.set_alias(COLLECTION, "staging", V2)
    with pytest.raises(ConflictError, match="at the same moment"):
        world.promoter().promote("support-bot", V1, "staging")
    assert [p.state for p in all_promotions(world.ledger()).values()] == [State.DRIFTED]


@pytest.mark.parametrize(("where", "agreement"), [(V2, Agreement.MOVED), (None, Agreement.REMOVED)])
def test_03_an_alias_moved_behind_the_gate_is_found_and_repaired_by_a_signed_order(
    world: World, where: str | None, agreement: Agreement
) -> None:
    """Both versions are named; a repair needs a person's key."""
    world.train(2)
    promotion = world.promoter().promote("support-bot", V1, "staging")
    world.registry.set_alias(COLLECTION, "staging", where)
    ledger = world.ledger()
    reconciler = Reconciler(document=world.document, registry=world.registry, ledger=ledger, clock=world.clock)
    found = reconciler.compare()
    item = next(item for item in found if item.stage == "staging")
    assert (item.agreement, item.ledger, item.registry) == (agreement, V1, where or "")
    reconciler.record(found)
    assert all_promotions(ledger)[promotion.id].state is State.DRIFTED

    from wandb_governance.errors import ApprovalError

    with pytest.raises(ApprovalError, match="nobody in people"):
        reconciler.repair(item, approver=world.people["eve"])
    reconciler.repair(item, approver=world.people["ben"])
    assert all(not item.differs for item in reconciler.compare())
    consistent(world)


def test_03_an_alias_that_went_away_and_came_back_does_not_fool_a_waiting_promotion(world: World) -> None:
    """ABA: the value is the old one again, but the ledger's generation is not."""
    world.train(2)
    world.train(3)
    world.promoter().promote("support-bot", V1, "staging")

    def meanwhile(step: str) -> None:
        if step == "gated":
            world.promoter().promote("support-bot", "acme/bot/adapter:v3", "staging")
            roll_back(world.promoter(), Rollback(thing="support-bot", stage="staging", reason="not good"))
            assert world.registry.holder(COLLECTION, "staging") == V1

    with pytest.raises(ConflictError, match="another promotion moved"):
        world.promoter(on_step=meanwhile).promote("support-bot", V2, "staging")
    consistent(world)


def test_04_a_lost_webhook_does_not_matter(world: World) -> None:
    """Nothing was delivered; the next comparison finds the move all the same."""
    world.train(2)
    world.promoter().promote("support-bot", V1, "staging")
    world.registry.set_alias(COLLECTION, "staging", V2)
    reconciler = Reconciler(document=world.document, registry=world.registry, ledger=world.ledger(), clock=world.clock)
    assert any(item.agreement is Agreement.MOVED for item in reconciler.compare())


@pytest.mark.parametrize("step", STEPS)
def test_17_a_process_killed_at_any_step_leaves_what_recovery_can_mend(world: World, step: str) -> None:
    """``kill -9`` right before or after each step: never committed without the alias, nor the alias without record."""
    killed = start(world, [["promote", "support-bot", V1, "staging"]], die_at=step)
    finish(killed)
    assert killed.returncode == -9
    recovered = world.promoter().recover()
    moved = world.registry.holder(COLLECTION, "staging") == V1
    states = [promotion.state for promotion in all_promotions(world.ledger()).values()]
    if step in ("gated", "prepare"):
        assert (moved, states, recovered) == (False, [State.APPROVED if step == "prepare" else State.GATED], ())
    elif step in ("prepared", "recheck", "rechecked", "link"):
        assert (moved, states) == (False, [State.ABORTED])
    else:
        assert (moved, states) == (True, [State.COMMITTED])
    consistent(world)


def test_17_a_promotion_that_died_before_it_prepared_goes_on_when_it_is_asked_for_again(world: World) -> None:
    """The same command, run again, finishes the same promotion."""
    finish(start(world, [["promote", "support-bot", V1, "staging"]], die_at="gated"))
    (left,) = all_promotions(world.ledger()).values()
    done = world.promoter().promote("support-bot", V1, "staging")
    assert (done.id, done.state) == (left.id, State.COMMITTED)
    consistent(world)


def test_17_an_answer_that_got_lost_after_the_server_did_it_counts_as_done(world: World) -> None:
    """The network fails after the move: what the registry holds decides."""

    def lose() -> None:
        raise BackendError("timed out")

    world.registry.after_move = lose
    assert world.promoter().promote("support-bot", V1, "staging").state is State.COMMITTED
    consistent(world)


def test_17_a_refused_move_is_aborted(world: World) -> None:
    """The server says no: nothing moved, and the promotion ends."""

    def refuse() -> None:
        raise BackendError("503")

    world.registry.before_move = refuse
    with pytest.raises(PromotionError, match="W&B refused"):
        world.promoter().promote("support-bot", V1, "staging")
    assert [p.state for p in all_promotions(world.ledger()).values()] == [State.ABORTED]
    consistent(world)


@pytest.mark.soak
def test_two_hundred_promotions_by_four_processes_keep_the_chain(world: World) -> None:
    """Each process promotes fifty times; every win is one committed entry and the chain verifies."""
    for number in range(2, 6):
        world.train(number)
    do = [[["promote", "support-bot", f"acme/bot/adapter:v{number}", "staging"]] * 50 for number in range(2, 6)]
    processes = [start(world, work) for work in do]
    answers = [answer for process in processes for answer in finish(process, timeout_s=280)]
    assert len(answers) == 200
    won = sum(answer == "committed" for answer in answers)
    assert won == sum(1 for _ in world.ledger().entries(kinds=("committed",)))
    assert won >= 50
    consistent(world)
