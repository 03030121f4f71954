"""What has not reached W&B, and bringing it there after a crash."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

from wandb_governance.backend.base import RunDescriptor, RunPort
from wandb_governance.errors import ExportError, GovernanceError
from wandb_governance.export.feed import Feed
from wandb_governance.export.session import descriptor_of, mark_delivered, prices_of, write_json
from wandb_governance.export.tables import Limits, RunTables
from wandb_governance.export.worker import row_counts
from wandb_governance.journal.journal import Head, read, repair, segments, verify, writer_is_alive

if TYPE_CHECKING:
    from pathlib import Path

    from wandb_governance.journal.base import Entry
    from wandb_governance.pipeline import Enricher
    from wandb_governance.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalStatus:
    """One writer's journal."""

    folder: Path
    run: RunDescriptor | None
    """None where no run has claimed it."""
    records: int
    delivered: int
    """Records that W&B is known to have."""
    live: bool
    """Whether its writer still runs."""
    size_bytes: int

    @property
    def pending(self) -> int:
        """Records that W&B is not known to have."""
        return self.records - self.delivered

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "folder": str(self.folder),
            "run": None if self.run is None else self.run.to_json(),
            "records": self.records,
            "delivered": self.delivered,
            "pending": self.pending,
            "live": self.live,
            "size_bytes": self.size_bytes,
        }


def statuses(home: Path) -> list[JournalStatus]:
    """Every journal under ``home``, by run and writer."""
    found = []
    for folder in sorted((home / "journal").glob("*/*/")):
        if not segments(folder):
            continue
        found.append(
            JournalStatus(
                folder=folder,
                run=descriptor_of(folder),
                records=sum(1 for _ in read(folder)),
                delivered=_delivered(folder),
                live=writer_is_alive(folder),
                size_bytes=sum(path.stat().st_size for path in segments(folder)),
            )
        )
    return found


def _delivered(folder: Path) -> int:
    try:
        return int(orjson.loads((folder / "delivered.json").read_bytes())["records"])
    except FileNotFoundError:
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What one recovery brought to W&B."""

    run: RunDescriptor
    folders: tuple[Path, ...]
    rows: dict[str, int]
    """Rows now in the run, by table: those delivered before are among them, each once."""
    totals: dict[str, Any]


Reopen = Callable[[RunDescriptor], RunPort]
Progress = Callable[[str, int], None]
"""Told the run id and how many records are read so far."""


def recover(
    home: Path,
    *,
    reopen: Reopen,
    enricher: Callable[[Path | None], Enricher],
    settings: Settings,
    project: str | None = None,
    progress: Progress = lambda run_id, records: None,
) -> Iterator[Recovered]:
    """Deliver what dead processes left behind, one run at a time.

    A run's tables are made anew from all of its journals and replace what is there, so a row that W&B already has is
    not there twice, whatever was delivered before. Journals of live processes are left alone.

    Args:
        home: Folder of the settings.
        reopen: Opens a run again.
        enricher: Makes the pricing, given the price table of the process that is gone.
        settings: Limits.
        project: Project for records that no run has claimed; without it they are left where they are.
        progress: Told how far it is.

    Yields:
        One result per run, when W&B has it all.

    Raises:
        JournalCorruptError: A journal was changed after it was written; nothing of its run is delivered, others are.
        BackendError: W&B refused or could not be reached.
        PriceTableError: The price table of a run is gone or wrong.
    """
    waiting: dict[tuple[str, str], list[JournalStatus]] = defaultdict(list)
    for status in statuses(home):
        owner = status.run
        if owner is None and project is not None and not status.live:
            owner = _claim(status.folder, project)
        if owner is not None:
            key = (owner.run_id, owner.label if owner.mode == "shared" else "")
            waiting[key].append(replace(status, run=owner))
    failures: list[GovernanceError] = []
    for group in waiting.values():
        if any(status.pending for status in group) and not any(status.live for status in group):
            try:
                made = enricher(prices_of(group[0].folder))
                yield _recover_run(group, reopen=reopen, enricher=made, settings=settings, progress=progress)
            except GovernanceError as error:
                failures.append(error)
    if failures:
        # Every run had its turn; the first that failed tells why.
        raise failures[0]


def _claim(folder: Path, project: str) -> RunDescriptor:
    mode = os.environ.get("WANDB_MODE", "online")
    descriptor = RunDescriptor(run_id=folder.name.rsplit("-", 1)[-1], project=project, mode=mode)
    write_json(folder / "meta.json", {"version": 1, "run": descriptor.to_json()})
    return descriptor


def _recover_run(
    group: Sequence[JournalStatus], *, reopen: Reopen, enricher: Enricher, settings: Settings, progress: Progress
) -> Recovered:
    owner = group[0].run
    if owner is None:
        raise ExportError(f"no run has claimed {group[0].folder}")
    heads = {status.folder: _checked(status.folder) for status in group}
    suffix = f".{owner.label}" if owner.shared_worker else ""
    limits = Limits(shard_rows=settings.table_shard_rows, live_interval_ns=int(settings.live_interval_s * 1e9))
    feed = Feed(RunTables(limits, suffix=suffix), enricher)
    run = reopen(owner)
    for count, entry in enumerate(_entries(list(heads)), start=1):
        feed.take(entry)
        feed.tables.log_full(run)
        if count % 1_000 == 0:
            progress(owner.run_id, count)
    feed.tables.log_all(run)
    run.update_summary({**feed.totals.summary(), **row_counts(feed.tables.counts()), "governance/recovered": True})
    # The process that owned the run did not finish it: its exit code says so.
    run.finish(exit_code=1)
    for folder, head in heads.items():
        mark_delivered(folder, head)
    return Recovered(run=owner, folders=tuple(heads), rows=feed.tables.counts(), totals=feed.totals.to_json())


def _checked(folder: Path) -> Head:
    repair(folder)
    return verify(folder)


def _entries(folders: Sequence[Path]) -> Iterator[Entry]:
    for folder in folders:
        yield from read(folder)
