"""What was spent and what is promised, exact under concurrency and after a restart."""

from __future__ import annotations

import datetime as dt
import fnmatch
import os
import sqlite3
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from wandb_governance.clock import Clock, SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wandb_governance.policy.rule import RuleContext

Period = Literal["hour", "day", "week", "month", "total"]
Dimension = Literal["run", "team", "project", "model", "user", "session", "provider", "key"]

_UNIT = Decimal("1e-12")
_HOLD_NS = 3600 * 10**9
_SCHEMA = """
CREATE TABLE IF NOT EXISTS spent (account TEXT PRIMARY KEY, pico INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS held (id TEXT, account TEXT, pico INTEGER NOT NULL, until_ns INTEGER NOT NULL,
  PRIMARY KEY (id, account)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS held_account ON held (account);
CREATE TABLE IF NOT EXISTS paced (account TEXT PRIMARY KEY, next_ns INTEGER NOT NULL) WITHOUT ROWID;
"""


def default_path() -> Path:
    """The file that gateways and processes of this folder share."""
    return Path(os.environ.get("WANDB_GOVERNANCE_HOME", ".wandb-governance")) / "budget.sqlite"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A limit on what may be spent in a period."""

    limit_usd: Decimal
    period: Period = "month"
    """Calendar periods in UTC; ``total`` never starts again."""
    by: tuple[Dimension, ...] = ()
    """Each combination of these has a limit of its own; () is one limit for all."""
    hard: bool = True
    """A soft budget flags and lets go on."""
    only: tuple[tuple[Dimension, str], ...] = ()
    """Dimensions and globs that a call must match for this budget to count it."""

    def account(self, context: RuleContext, now_ns: int) -> str | None:
        """Key of the account a call is booked on; None where the budget does not count the call."""
        if any(not fnmatch.fnmatchcase(dimension_of(context, name) or "", glob) for name, glob in self.only):
            return None
        parts = [f"{name}={dimension_of(context, name) or ''}" for name in self.by]
        only = [f"{name}~{glob}" for name, glob in self.only]
        return "|".join([self.period, _window(self.period, now_ns), *only, *parts])

    def __str__(self) -> str:
        kind = "hard" if self.hard else "soft"
        per = f" by {', '.join(self.by)}" if self.by else ""
        return f"{kind} budget of {self.limit_usd} USD a {self.period}{per}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How an account stands."""

    budget: Budget
    spent_usd: Decimal
    held_usd: Decimal

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left."""
        return self.spent_usd + self.held_usd >= self.budget.limit_usd


class BudgetExceededError(Exception):
    """A reservation does not fit into a hard budget."""

    def __init__(self, standing: Standing) -> None:
        self.standing = standing
        super().__init__(f"{standing.budget} is used up: {standing.spent_usd} USD spent, {standing.held_usd} USD held")


class BudgetStore:
    """Accounts in one SQLite file; safe from any thread and any process on the machine.

    Money is kept in whole 1e-12 USD, so sums are exact. A call reserves what it may cost before it goes out and is
    settled with what it did cost; the check and the reservation are one transaction.

    Args:
        path: The file; its folder is made.
        clock: Time.
    """

    def __init__(self, path: str | Path, *, clock: Clock | None = None) -> None:
        self._path = Path(path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._connection = self._open()

    def standing(self, budgets: Sequence[Budget], context: RuleContext) -> list[Standing]:
        """How every budget that counts the call stands."""
        now = self._clock.now_ns()
        with self._transaction("DEFERRED") as db:
            return [self._read(db, budget, account, now) for budget, account in _accounts(budgets, context, now)]

    def reserve(self, hold_id: str, budgets: Sequence[Budget], context: RuleContext, amount_usd: Decimal) -> None:
        """Promise ``amount_usd`` for a call on every budget that counts it.

        A budget with anything left takes one more call of a cost that is not known (0).

        Raises:
            BudgetExceededError: A hard budget is used up or would be exceeded; nothing is reserved on any.
        """
        now = self._clock.now_ns()
        pico = _pico(amount_usd)
        with self._transaction("IMMEDIATE") as db:
            accounts = _accounts(budgets, context, now)
            for budget, account in accounts:
                standing = self._read(db, budget, account, now)
                used = standing.spent_usd + standing.held_usd
                if budget.hard and (standing.exhausted or used + amount_usd > budget.limit_usd):
                    raise BudgetExceededError(standing)
            db.executemany(
                "INSERT OR REPLACE INTO held VALUES (?, ?, ?, ?)",
                [(hold_id, account, pico, now + _HOLD_NS) for account in {a for _, a in accounts}],
            )

    def settle(self, hold_id: str, cost_usd: Decimal) -> None:
        """Book what the call did cost in place of what was promised."""
        with self._transaction("IMMEDIATE") as db:
            accounts = [row[0] for row in db.execute("SELECT account FROM held WHERE id = ?", (hold_id,))]
            self._book(db, accounts, cost_usd)
            db.execute("DELETE FROM held WHERE id = ?", (hold_id,))

    def release(self, hold_id: str) -> None:
        """Take a promise back: the call cost nothing."""
        self.settle(hold_id, Decimal(0))

    def charge(self, budgets: Sequence[Budget], context: RuleContext, cost_usd: Decimal) -> None:
        """Book a cost that was not reserved."""
        now = self._clock.now_ns()
        with self._transaction("IMMEDIATE") as db:
            self._book(db, {account for _, account in _accounts(budgets, context, now)}, cost_usd)

    def admit(self, account: str, *, interval_ns: int, burst: int) -> int:
        """Count one request against a rate (generic cell rate algorithm).

        Args:
            account: Whose rate.
            interval_ns: Time between two requests at the full rate.
            burst: Requests at once, >= 1.

        Returns:
            0 where it is admitted, else the nanoseconds to wait.
        """
        now = self._clock.now_ns()
        with self._transaction("IMMEDIATE") as db:
            row = db.execute("SELECT next_ns FROM paced WHERE account = ?", (account,)).fetchone()
            due = max(row[0] if row else 0, now)
            wait = due - now - (burst - 1) * interval_ns
            if wait > 0:
                return int(wait)
            db.execute("INSERT OR REPLACE INTO paced VALUES (?, ?)", (account, due + interval_ns))
            return 0

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _book(self, db: sqlite3.Connection, accounts: Sequence[str] | set[str], cost_usd: Decimal) -> None:
        pico = _pico(cost_usd)
        if pico:
            db.executemany(
                "INSERT INTO spent VALUES (?, ?) ON CONFLICT (account) DO UPDATE SET pico = pico + excluded.pico",
                [(account, pico) for account in accounts],
            )

    def _read(self, db: sqlite3.Connection, budget: Budget, account: str, now_ns: int) -> Standing:
        spent = db.execute("SELECT pico FROM spent WHERE account = ?", (account,)).fetchone()
        held = db.execute("SELECT SUM(pico) FROM held WHERE account = ? AND until_ns > ?", (account, now_ns)).fetchone()
        return Standing(
            budget=budget, spent_usd=(spent[0] if spent else 0) * _UNIT, held_usd=((held and held[0]) or 0) * _UNIT
        )

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=10, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.executescript(_SCHEMA)
        return connection

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._pid != os.getpid():
                # SQLite connections do not survive a fork.
                self._pid, self._connection = os.getpid(), self._open()
            db = self._connection
            db.execute(f"BEGIN {kind}")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")


def dimension_of(context: RuleContext, name: str) -> str | None:
    """Value of a dimension in a call."""
    if name == "key":
        value = context.attributes.get("key")
        return None if value is None else str(value)
    found: str | None = getattr(context, name)
    return found


def _accounts(budgets: Sequence[Budget], context: RuleContext, now_ns: int) -> list[tuple[Budget, str]]:
    found = [(budget, budget.account(context, now_ns)) for budget in budgets]
    return [(budget, account) for budget, account in found if account is not None]


def _pico(amount: Decimal) -> int:
    return int((amount / _UNIT).to_integral_value(ROUND_HALF_EVEN))


def _window(period: Period, now_ns: int) -> str:
    now = dt.datetime.fromtimestamp(now_ns // 10**9, tz=dt.UTC)
    if period == "hour":
        return now.strftime("%Y-%m-%dT%H")
    if period == "day":
        return now.strftime("%Y-%m-%d")
    if period == "week":
        return now.strftime("%G-W%V")
    return now.strftime("%Y-%m") if period == "month" else ""
