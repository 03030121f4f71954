"""A run's tables as they stand in its journals, for people who look before, or without, W&B."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_governance.backend.base import Cell, LiveTable, RunDescriptor, TableColumn
from wandb_governance.errors import BackendError
from wandb_governance.export.feed import Feed
from wandb_governance.export.tables import Limits, RunTables
from wandb_governance.journal.journal import read

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from wandb_governance.pipeline import Enricher

Row = dict[str, Cell]


class Reading:
    """Keeps rows instead of sending them."""

    def __init__(self) -> None:
        self.tables: dict[str, list[Row]] = {}
        self.descriptor = RunDescriptor(run_id="", project="")
        self.url = None
        self.finished = False

    def log_table(self, key: str, columns: Sequence[TableColumn], rows: Sequence[Sequence[Cell]]) -> None:
        """Keep a table."""
        names = [column.name for column in columns]
        self.tables[key] = [dict(zip(names, row, strict=True)) for row in rows]

    def log_scalars(self, values: Mapping[str, float], *, own_step: bool) -> None:
        """Nothing to chart."""

    def live_table(self, key: str, columns: Sequence[TableColumn]) -> LiveTable:
        """Nothing grows here."""
        raise BackendError("a reading has no live tables")

    def update_summary(self, values: Mapping[str, Any]) -> None:
        """Nothing to summarise."""

    def on_finish(self, *, before: Callable[[], None], after: Callable[[], None]) -> None:
        """It never finishes."""

    def finish(self, *, exit_code: int = 0) -> None:
        """It never finishes."""


def read_tables(folders: Sequence[Path], enricher: Enricher) -> tuple[dict[str, list[Row]], dict[str, Any]]:
    """Rows by table, and the totals, of the journals in ``folders``. All rows are in memory at once."""
    feed = Feed(RunTables(Limits(shard_rows=2**31, live_interval_ns=2**62)), enricher)
    for folder in folders:
        feed.take_all(read(folder))
    reading = Reading()
    feed.tables.log_all(reading)
    return reading.tables, feed.totals.to_json()
