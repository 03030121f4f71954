"""Moving the alias so that a crash at any moment leaves registry and ledger in a state that can be told and mended.

PREPARED -> re-check with fresh reads -> link -> read back -> COMMITTED with outbox rows. One commit at a time per
ledger: the lock is held by a SQLite transaction, which the operating system ends with the process.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wandb_governance.errors import BackendError, LedgerError, PromotionError
from wandb_governance.registry.attest import verification_summary
from wandb_governance.registry.holders import current
from wandb_governance.registry.promotion import Promotion, State, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from wandb_governance.backend.registry import Registry
    from wandb_governance.clock import Clock
    from wandb_governance.registry.ledger import Ledger

_LEFT_PREPARED = """
SELECT promotion FROM entries WHERE kind = 'prepared'
EXCEPT SELECT promotion FROM entries WHERE kind IN ('committed', 'aborted', 'drifted')
"""
LOCK_TIMEOUT_S = 300.0
"""How long a commit waits for another one."""


class ConflictError(PromotionError):
    """Another promotion or person moved the alias first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Committer:
    """Runs the commit protocol."""

    registry: Registry
    ledger: Ledger
    clock: Clock
    on_step: Callable[[str], None] = field(default=lambda _: None)
    """Told the name of each step right before it (``link``) and right after it (``linked``)."""

    def commit(self, promotion_id: str, *, recheck: Callable[[Promotion], None], targets: Sequence[str]) -> Promotion:
        """Let an approved promotion in.

        Args:
            promotion_id: A promotion in state ``approved``.
            recheck: Raises ``PromotionError`` when content, description, policy version or approvals are no longer what
                was approved; called with fresh eyes after PREPARED.
            targets: Names of roll-out targets to put into the outbox.

        Raises:
            ConflictError: The alias is not where it was at the request; the promotion is aborted.
            PromotionError: A re-check failed (aborted), or W&B's answer was lost (stays PREPARED; recovery settles it).
            LedgerError: The ledger could not be written; the alias has not moved unless PREPARED was written.
        """
        with commit_lock(self.ledger.path):
            self.recover()
            promotion = load(self.ledger, promotion_id)
            if promotion.state is not State.APPROVED:
                raise PromotionError(f"promotion {promotion_id} is {promotion.state}, not approved")
            self._prepare(promotion, targets)
            self._recheck(promotion, recheck)
            self._link(promotion)
            self._read_back(promotion)
            return self._finish(promotion, targets=targets, recovered=False)

    def recover(self) -> tuple[Promotion, ...]:
        """Settle promotions that a crash left PREPARED. The caller holds the commit lock."""
        left = [str(row[0]) for row in self.ledger.rows(_LEFT_PREPARED)]
        return tuple(self._settle(load(self.ledger, promotion)) for promotion in left)

    def _settle(self, promotion: Promotion) -> Promotion:
        holder = self._holder(promotion)
        if holder == promotion.candidate["artifact_id"]:
            return self._finish(promotion, targets=self._planned(promotion), recovered=True)
        if holder == promotion.expected:
            return self._end(promotion, State.ABORTED, "the process ended before the alias moved")
        return self._end(promotion, State.DRIFTED, f"found {holder!r} behind the alias after a crash")

    def _planned(self, promotion: Promotion) -> Sequence[str]:
        """Roll-out targets as they were written down with PREPARED."""
        entries = list(self.ledger.entries(promotion=promotion.id, kinds=(State.PREPARED,)))
        targets: list[str] = list(entries[-1].body.get("targets", ()))
        return targets

    def _prepare(self, promotion: Promotion, targets: Sequence[str]) -> None:
        held = current(self.ledger, collection=promotion.collection, alias=promotion.alias)
        generation = held.seq if held else 0
        if generation != promotion.generation:
            reason = f"another promotion moved {promotion.alias!r} since this one was requested; request it again"
            self._end(promotion, State.ABORTED, reason)
            raise ConflictError(reason)
        self.on_step("prepare")
        body = {**self._move(promotion), "targets": list(targets)}
        self.ledger.append(State.PREPARED, promotion=promotion.id, body=body)
        self.on_step("prepared")

    def _recheck(self, promotion: Promotion, recheck: Callable[[Promotion], None]) -> None:
        self.on_step("recheck")
        try:
            recheck(promotion)
            holder = self._holder(promotion)
        except (PromotionError, BackendError) as error:
            self._end(promotion, State.ABORTED, str(error))
            raise
        if holder != promotion.expected:
            reason = (
                f"{promotion.alias!r} of {promotion.collection!r} was moved outside the gate: expected "
                f"{promotion.expected!r}, found {holder!r}; run `wandb-governance audit reconcile`"
            )
            self._end(promotion, State.ABORTED, reason)
            raise ConflictError(reason)
        self.on_step("rechecked")

    def _link(self, promotion: Promotion) -> None:
        version = self.registry.resolve(promotion.candidate["source"])
        if version is None:
            self._end(promotion, State.ABORTED, f"{promotion.candidate['source']!r} is gone")
            raise PromotionError(f"{promotion.candidate['source']!r} is gone from W&B")
        self.on_step("link")
        try:
            self.registry.move_alias(version, promotion.collection, promotion.alias)
        except BackendError as error:
            # The server may have done it and the answer got lost: what it holds now decides.
            if self._holder(promotion) == promotion.expected:
                self._end(promotion, State.ABORTED, f"W&B refused: {error}")
                raise PromotionError(f"W&B refused the promotion: {error}") from error
        self.on_step("linked")

    def _read_back(self, promotion: Promotion) -> None:
        holder = self._holder(promotion)
        if holder != promotion.candidate["artifact_id"]:
            reason = f"after the move {promotion.alias!r} shows {holder!r}: someone moved it at the same moment"
            self._end(promotion, State.DRIFTED, reason)
            raise ConflictError(reason)
        self.on_step("read_back")

    def _finish(self, promotion: Promotion, *, targets: Sequence[str], recovered: bool) -> Promotion:
        self.on_step("commit")
        event = {
            "type": "promotion.rolled_back" if promotion.rollback else "promotion.committed",
            "promotion": promotion.id,
            "thing": promotion.thing,
            "stage": promotion.stage,
            "alias": promotion.alias,
            "collection": promotion.collection,
            "source": promotion.candidate["source"],
            "root": promotion.candidate["root"],
        }
        now_ns = self.clock.now_ns()

        def enqueue(connection: sqlite3.Connection) -> None:
            for target in targets:
                connection.execute(
                    "INSERT OR IGNORE INTO outbox (id, promotion, target, event, next_at_ns) VALUES (?, ?, ?, ?, ?)",
                    (f"{promotion.id}.{target}", promotion.id, target, json.dumps(event, sort_keys=True), now_ns),
                )

        summary = verification_summary(
            promotion.candidate,
            stage=promotion.stage,
            rule=promotion.rule,
            promotion=promotion.id,
            at_ns=now_ns,
            ledger=self.ledger.id,
        )
        body = {**self._move(promotion), "recovered": recovered, "targets": list(targets), "statement": summary}
        self.ledger.append(State.COMMITTED, promotion=promotion.id, body=body, also=enqueue)
        self.on_step("committed")
        return load(self.ledger, promotion.id)

    def _move(self, promotion: Promotion) -> dict[str, Any]:
        return {
            "collection": promotion.collection,
            "alias": promotion.alias,
            "expected": promotion.expected,
            "artifact_id": promotion.candidate["artifact_id"],
            "source": promotion.candidate["source"],
            "root": promotion.candidate["root"],
            "rule": promotion.rule,
        }

    def _holder(self, promotion: Promotion) -> str | None:
        version = self.registry.resolve(f"{promotion.collection}:{promotion.alias}")
        return version.artifact_id if version else None

    def _end(self, promotion: Promotion, state: State, reason: str) -> Promotion:
        self.ledger.append(state, promotion=promotion.id, body={"reason": reason})
        return load(self.ledger, promotion.id)


@contextlib.contextmanager
def commit_lock(ledger: Path, *, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
    """Hold the one commit lock of a ledger; a process that dies lets it go.

    Raises:
        LedgerError: Another process kept it for longer than ``timeout_s``.
    """
    path = ledger.with_name(ledger.name + ".lock")
    try:
        connection = sqlite3.connect(path, timeout=timeout_s, isolation_level=None)
    except sqlite3.Error as error:
        raise LedgerError(f"can't open the commit lock {path}: {error}") from error
    try:
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise LedgerError(f"can't take the commit lock {path}: {error}") from error
        yield
    finally:
        connection.close()
