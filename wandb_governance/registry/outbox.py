"""The outbox: what must still be told, tried until it is, or kept as a dead letter.

Rows are written in the transaction that commits a promotion, so no crash loses one. Delivery is at least once, with the
same event id each time.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from wandb_governance.errors import GovernanceError
from wandb_governance.registry.promotion import State, load
from wandb_governance.registry.rollout.base import Deliverer, DeliveryError, Event

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping

    from wandb_governance.clock import Clock
    from wandb_governance.registry.ledger import Ledger
    from wandb_governance.registry.targets import Target

_FIRST_DELAY_NS = 5 * 1_000_000_000
_LONGEST_DELAY_NS = 3_600 * 1_000_000_000
_LEASE_NS = 120 * 1_000_000_000
DELIVERED, DEAD = "delivered", "dead_letter"
"""Kinds of ledger entries about deliveries."""


class RowState(StrEnum):
    """Where a row of the outbox is."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One event for one target."""

    id: str
    promotion: str
    target: str
    event: Event
    state: RowState
    attempts: int
    next_at_ns: int
    last_error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbox:
    """Delivers what is due.

    Several workers may run: a row is leased to one for two minutes, and a worker that dies gives it back that way.
    """

    ledger: Ledger
    clock: Clock
    targets: Mapping[str, Target]
    deliverer: Callable[[Target], Deliverer]

    def rows(self, state: RowState | None = None) -> tuple[Row, ...]:
        """Rows, oldest first."""
        query = "SELECT id, promotion, target, event, state, attempts, next_at_ns, last_error FROM outbox"
        found = (_row(row) for row in self.ledger.rows(query + " ORDER BY rowid"))
        return tuple(row for row in found if state is None or row.state is state)

    def deliver_due(self) -> tuple[Row, ...]:
        """Try every row that is due once; the rows as they are afterwards."""
        tried = []
        for row in self.rows(RowState.PENDING):
            if row.next_at_ns <= self.clock.now_ns() and self._lease(row):
                self._try(row)
                tried.append(row.id)
        return tuple(row for row in self.rows() if row.id in tried)

    def revive(self, row_id: str) -> bool:
        """Give a dead letter a new life; whether there was one."""
        with self.ledger.transaction() as connection:
            query = "UPDATE outbox SET state = 'pending', attempts = 0, next_at_ns = ? WHERE id = ? AND state = 'dead'"
            return connection.execute(query, (self.clock.now_ns(), row_id)).rowcount == 1

    def _lease(self, row: Row) -> bool:
        now_ns = self.clock.now_ns()
        with self.ledger.transaction() as connection:
            query = (
                "UPDATE outbox SET next_at_ns = ?, attempts = attempts + 1 "
                "WHERE id = ? AND state = 'pending' AND next_at_ns = ?"
            )
            return connection.execute(query, (now_ns + _LEASE_NS, row.id, row.next_at_ns)).rowcount == 1

    def _try(self, row: Row) -> None:
        target = self.targets.get(row.target)
        try:
            if target is None:
                raise DeliveryError(f"{row.target!r} is no longer in targets", final=True)
            said = self.deliverer(target).deliver(row.event)
        except DeliveryError as error:
            self._failed(row, str(error), final=error.final, most=target.max_attempts if target else 1)
        except GovernanceError as error:  # a secret that is not set, a package that is not installed
            self._failed(row, str(error), final=False, most=target.max_attempts if target else 1)
        else:
            self._delivered(row, said)

    def _delivered(self, row: Row, said: str) -> None:
        body = {"target": row.target, "said": said, "attempts": row.attempts + 1}
        self.ledger.append(DELIVERED, promotion=row.promotion, body=body, also=_setter(row.id, RowState.DELIVERED, ""))
        left = [
            other for other in self.rows() if other.promotion == row.promotion and other.state is not RowState.DELIVERED
        ]
        if not left and load(self.ledger, row.promotion).state is State.COMMITTED:
            self.ledger.append(State.DEPLOYED, promotion=row.promotion, body={"reason": "every target took it"})

    def _failed(self, row: Row, reason: str, *, final: bool, most: int) -> None:
        attempts = row.attempts + 1
        if final or attempts >= most:
            body = {"target": row.target, "reason": reason, "attempts": attempts}
            self.ledger.append(DEAD, promotion=row.promotion, body=body, also=_setter(row.id, RowState.DEAD, reason))
            return
        longest = min(_FIRST_DELAY_NS * 2 ** (attempts - 1), _LONGEST_DELAY_NS)
        delay_ns = longest // 2 + random.randrange(longest // 2)
        with self.ledger.transaction() as connection:
            query = "UPDATE outbox SET next_at_ns = ?, last_error = ? WHERE id = ?"
            connection.execute(query, (self.clock.now_ns() + delay_ns, reason, row.id))


def _setter(row_id: str, state: RowState, error: str) -> Callable[[sqlite3.Connection], None]:
    def update(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE outbox SET state = ?, last_error = ? WHERE id = ?", (state.value, error, row_id))

    return update


def _row(columns: tuple[str, str, str, str, str, int, int, str]) -> Row:
    row_id, promotion, target, event, state, attempts, next_at_ns, last_error = columns
    return Row(
        id=row_id,
        promotion=promotion,
        target=target,
        event=Event(id=row_id, **json.loads(event)),
        state=RowState(state),
        attempts=attempts,
        next_at_ns=next_at_ns,
        last_error=last_error,
    )
