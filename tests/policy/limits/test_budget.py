"""Budgets: exact under concurrency, and after a restart."""

from __future__ import annotations

import multiprocessing
import threading
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wandb_governance.policy.budget import Budget, BudgetExceededError, BudgetStore
from wandb_governance.policy.rule import RuleContext
from wandb_governance.policy.rules.limits import CostTracker
from wandb_governance.policy.verdict import Action, Scope

if TYPE_CHECKING:
    from pathlib import Path

CALL = RuleContext(scope=Scope.INPUT, team="a", model="gpt-4o", run="r1")
TEN = Budget(limit_usd=Decimal(10), by=("team",))


class SteppedClock:
    def __init__(self) -> None:
        self.ns = 1_760_000_000 * 10**9

    def now_ns(self) -> int:
        return self.ns

    def monotonic_ns(self) -> int:
        return self.ns


def spent(store: BudgetStore, budget: Budget = TEN, call: RuleContext = CALL) -> Decimal:
    return store.standing([budget], call)[0].spent_usd


def test_threads_never_overspend_a_hard_budget(tmp_path: Path) -> None:
    """Of 80 calls of 0.25 USD at once exactly 40 fit into 10 USD."""
    store = BudgetStore(tmp_path / "b.sqlite")
    taken: list[str] = []

    def work(seed: int) -> None:
        for n in range(10):
            hold = f"{seed}-{n}"
            try:
                store.reserve(hold, [TEN], CALL, Decimal("0.25"))
            except BudgetExceededError:
                continue
            store.settle(hold, Decimal("0.25"))
            taken.append(hold)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 40
    assert spent(store) == 10


def _spend(path: str, count: int) -> None:
    store = BudgetStore(path)
    for _ in range(count):
        store.charge([TEN], CALL, Decimal("0.001"))


def test_processes_share_one_account(tmp_path: Path) -> None:
    """Four workers book 100 cents of a cent each; nothing is lost."""
    path = str(tmp_path / "b.sqlite")
    BudgetStore(path).close()
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_spend, args=(path, 100)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert spent(BudgetStore(path)) == Decimal("0.4")


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    """What is spent and what is held stands in the file."""
    first = BudgetStore(tmp_path / "b.sqlite")
    first.charge([TEN], CALL, Decimal(4))
    first.reserve("open", [TEN], CALL, Decimal(5))
    first.close()
    again = BudgetStore(tmp_path / "b.sqlite")
    with pytest.raises(BudgetExceededError):
        again.reserve("next", [TEN], CALL, Decimal(2))
    again.settle("open", Decimal(1))
    again.reserve("next", [TEN], CALL, Decimal(2))
    assert spent(again) == 5


@settings(max_examples=40, deadline=None)
@given(st.lists(st.decimals(min_value=0, max_value=1000, places=12), max_size=20))
def test_sums_are_exact(tmp_path_factory: pytest.TempPathFactory, amounts: list[Decimal]) -> None:
    """Money is never rounded on the way."""
    store = BudgetStore(tmp_path_factory.mktemp("b") / "b.sqlite")
    for amount in amounts:
        store.charge([TEN], CALL, amount)
    assert spent(store) == sum(amounts, Decimal(0))


def test_a_budget_starts_again_with_its_period(tmp_path: Path) -> None:
    """Calendar days in UTC."""
    clock = SteppedClock()
    store = BudgetStore(tmp_path / "b.sqlite", clock=clock)
    daily = Budget(limit_usd=Decimal(1), period="day")
    store.charge([daily], CALL, Decimal(1))
    assert store.standing([daily], CALL)[0].exhausted
    clock.ns += 24 * 3600 * 10**9
    assert not store.standing([daily], CALL)[0].exhausted


def test_each_combination_has_an_account_of_its_own_and_only_narrows(tmp_path: Path) -> None:
    """By team; and a budget for one family of models."""
    store = BudgetStore(tmp_path / "b.sqlite")
    other = RuleContext(scope=Scope.INPUT, team="b", model="o3")
    store.charge([TEN], CALL, Decimal(3))
    assert spent(store, TEN, other) == 0
    narrow = Budget(limit_usd=Decimal(1), only=(("model", "gpt-*"),))
    assert len(store.standing([narrow], CALL)) == 1
    assert store.standing([narrow], other) == []


def test_a_reservation_on_two_budgets_is_all_or_nothing(tmp_path: Path) -> None:
    """The second budget refuses, so the first holds nothing."""
    store = BudgetStore(tmp_path / "b.sqlite")
    small = Budget(limit_usd=Decimal(1), by=("run",))
    with pytest.raises(BudgetExceededError):
        store.reserve("x", [TEN, small], CALL, Decimal(2))
    assert store.standing([TEN], CALL)[0].held_usd == 0


def test_a_promise_of_a_call_that_died_lapses(tmp_path: Path) -> None:
    """A killed process does not hold the budget forever."""
    clock = SteppedClock()
    store = BudgetStore(tmp_path / "b.sqlite", clock=clock)
    total = Budget(limit_usd=Decimal(1), period="total")
    store.reserve("x", [total], CALL, Decimal(1))
    assert store.standing([total], CALL)[0].exhausted
    clock.ns += 2 * 3600 * 10**9
    assert not store.standing([total], CALL)[0].exhausted


def test_the_rule_blocks_on_hard_and_flags_on_soft(tmp_path: Path) -> None:
    """The explanation names the budget."""
    rule = CostTracker.from_options(
        {"limit_usd": 2, "soft_limit_usd": "1.5", "by": ["team"], "path": str(tmp_path / "b.sqlite")}
    )
    assert rule.find("", CALL) == []
    rule.store.charge(rule.budgets, CALL, Decimal("1.6"))
    soft = rule.find("", CALL)
    assert rule.action_of(soft, Action.BLOCK) is Action.FLAG
    rule.store.charge(rule.budgets, CALL, Decimal("0.4"))
    hard = rule.find("", CALL)
    assert rule.action_of(hard, Action.BLOCK) is Action.BLOCK
    assert "hard budget of 2 USD" in hard[0].explanation


def test_pacing_admits_the_burst_then_one_an_interval(tmp_path: Path) -> None:
    """Generic cell rate: no more than burst plus elapsed over interval."""
    clock = SteppedClock()
    store = BudgetStore(tmp_path / "b.sqlite", clock=clock)
    admitted = [store.admit("k", interval_ns=10**9, burst=3) == 0 for _ in range(5)]
    assert admitted == [True, True, True, False, False]
    assert store.admit("k", interval_ns=10**9, burst=3) == 10**9
    clock.ns += 10**9
    assert store.admit("k", interval_ns=10**9, burst=3) == 0
    assert store.admit("other", interval_ns=10**9, burst=3) == 0
