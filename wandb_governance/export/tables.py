"""Rows of one run, gathered into tables of bounded size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_governance.export.schema import LLM_CALLS, RETRIEVALS, TABLES, TRACES, VERDICTS, Table
from wandb_governance.pipeline import CALL_KINDS, RETRIEVAL_KINDS, PricedSpan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wandb_governance.backend.base import Cell, LiveTable, RunPort

_SHARD_CELL_CHARS = 48_000_000
"""Text in one shard, in code points: bounds memory where prompts are long."""
_LIVE_INCREMENTS = 50
"""W&B repeats all earlier increments in each one: the cost is quadratic, so there are few and ever longer ones."""
_LIVE_GROWTH = 1.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much goes into one table and how often it grows."""

    shard_rows: int
    live_interval_ns: int


class Shards:
    """One table of a run as a sequence of shards: full ones are logged once, the last one as it grows.

    Shard 1 has the table's own name, further ones ``<name>_2`` and so on; ``suffix`` keeps apart the tables of several
    writers of one shared run. For one thread.
    """

    def __init__(self, table: Table[Any], limits: Limits, *, suffix: str, now_ns: int) -> None:
        self._table = table
        self._limits = limits
        self.suffix = suffix
        self._rows: list[list[Cell]] = []
        self._chars = 0
        self._shard = 1
        self._logged_rows = 0
        self._live: LiveTable | None = None
        self._live_rows = 0
        self._increments = 0
        self._wait_ns = float(limits.live_interval_ns)
        self._due_ns = now_ns + self._wait_ns
        self.count = 0

    def release(self) -> None:
        """Let go of the rows."""
        self._rows, self._chars, self._logged_rows = [], 0, 0

    @property
    def full(self) -> bool:
        """Whether the open shard takes no more rows."""
        return len(self._rows) >= self._limits.shard_rows or self._chars >= _SHARD_CELL_CHARS

    @property
    def key(self) -> str:
        """Name of the open shard in the run."""
        number = "" if self._shard == 1 else f"_{self._shard}"
        return f"{self._table.name}{number}{self.suffix}"

    def add(self, source: object) -> None:
        """Put the row of one record into the open shard."""
        row = self._table.row(source)
        self._rows.append(row)
        self._chars += sum(len(cell) for cell in row if type(cell) is str)
        self.count += 1

    def log(self, run: RunPort) -> None:
        """Log the open shard if it changed since it was last logged; go on with a new one if it is full.

        Raises:
            BackendError: W&B refused; the shard stays as it is.
        """
        if len(self._rows) > self._logged_rows:
            run.log_table(self.key, self._table.header, self._rows)
            self._logged_rows = len(self._rows)
        if self.full:
            self._shard += 1
            self.release()

    def log_live(self, run: RunPort, now_ns: int) -> None:
        """Log the new rows of the first shard as an increment of ``live/<name>``, if one is due.

        Raises:
            BackendError: W&B refused; the rows come with the next increment.
        """
        fresh = self._rows[self._live_rows :]
        if self._shard > 1 or not fresh or now_ns < self._due_ns or self._increments >= _LIVE_INCREMENTS:
            return
        if self._live is None:
            self._live = run.live_table(f"live/{self._table.name}{self.suffix}", self._table.header)
        self._live.append(fresh)
        self._live_rows = len(self._rows)
        self._increments += 1
        self._wait_ns *= _LIVE_GROWTH
        self._due_ns = now_ns + self._wait_ns


class RunTables:
    """The four tables of one run. For one thread."""

    def __init__(self, limits: Limits, *, suffix: str = "", now_ns: int = 0) -> None:
        self._shards = {table.name: Shards(table, limits, suffix=suffix, now_ns=now_ns) for table in TABLES}

    def name_after(self, suffix: str) -> None:
        """Put ``suffix`` behind every table's name; before anything is logged."""
        for shards in self._open():
            shards.suffix = suffix

    def release(self) -> None:
        """Let go of the rows; nothing is logged any more."""
        for shards in self._open():
            shards.release()

    def add_span(self, row: PricedSpan) -> None:
        """A span goes into ``traces``, and into the table of its kind."""
        self._shards[TRACES.name].add(row)
        if row.span.kind in CALL_KINDS:
            self._shards[LLM_CALLS.name].add(row)
        elif row.span.kind in RETRIEVAL_KINDS:
            self._shards[RETRIEVALS.name].add(row)

    def add_verdict(self, record: Mapping[str, Any]) -> None:
        """A verdict record goes into ``verdicts``."""
        self._shards[VERDICTS.name].add(record)

    def log_full(self, run: RunPort) -> None:
        """Log the shards that take no more rows."""
        for shards in self._open():
            if shards.full:
                shards.log(run)

    def log_all(self, run: RunPort) -> None:
        """Log every shard that changed."""
        for shards in self._open():
            shards.log(run)

    def log_live(self, run: RunPort, now_ns: int) -> None:
        """Log the increments that are due."""
        for shards in self._open():
            shards.log_live(run, now_ns)

    def _open(self) -> Sequence[Shards]:
        return tuple(self._shards.values())

    def counts(self) -> dict[str, int]:
        """Rows so far, by table."""
        return {name: shards.count for name, shards in self._shards.items()}
