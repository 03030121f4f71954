"""Journal records, in order, into the tables and totals of one run."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import orjson

from wandb_governance.export.totals import Totals
from wandb_governance.tracing.guard import fault
from wandb_governance.tracing.span import span_from_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wandb_governance.export.tables import RunTables
    from wandb_governance.journal.base import Entry
    from wandb_governance.pipeline import Enricher

_POINTS_KEPT = 10_000
"""Points of live charts that wait while W&B is away; older ones are dropped, the tables keep every row."""


class Feed:
    """Reads records into tables, totals and chart points. For one thread."""

    def __init__(self, tables: RunTables, enricher: Enricher) -> None:
        self.tables = tables
        self.totals = Totals()
        self.points: deque[dict[str, float]] = deque(maxlen=_POINTS_KEPT)
        self._enrich = enricher

    def take(self, entry: Entry) -> None:
        """Read one record; one of an unknown kind, as a newer version may write, is passed over and counted."""
        record = orjson.loads(entry.payload)
        kind = record.get("type")
        if kind == "span":
            row = self._enrich(span_from_json(record["span"]))
            self.tables.add_span(row)
            point = self.totals.add_span(row)
            if point is not None:
                self.points.append(point)
        elif kind == "verdict":
            self.tables.add_verdict(record)
            self.totals.add_verdict(record)
        else:
            fault("export.feed", ValueError(f"unknown record type {kind!r}"))

    def take_all(self, entries: Iterable[Entry]) -> None:
        """Read records."""
        for entry in entries:
            self.take(entry)
