"""One run's journal and its export thread, from the first span until W&B has it all.

<home>/journal/<run id>/<writer>/     meta.json  delivered.json  000000.jsonl …
<home>/journal/unattached/<writer>/   while there is no run; moved under the run when one begins
"""

from __future__ import annotations

import os
import secrets
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from wandb_governance.backend.base import RunDescriptor, RunPort
from wandb_governance.clock import SystemClock
from wandb_governance.errors import JournalClosedError
from wandb_governance.export.feed import Feed
from wandb_governance.export.tables import Limits, RunTables
from wandb_governance.export.worker import ExportWorker
from wandb_governance.journal.journal import Head, Journal
from wandb_governance.tracing.deferred import run_waiting
from wandb_governance.tracing.guard import fault, logger
from wandb_governance.tracing.span import Span, SpanKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wandb_governance.pipeline import Enricher
    from wandb_governance.settings import Settings

UNATTACHED = "unattached"
"""Folder of journals that no run has claimed."""

_WRITE_AT_ONCE = frozenset({SpanKind.LLM, SpanKind.EMBEDDING})
"""What cost money is in the journal before the call returns; steps inside a chain follow with the next such write."""
_BUFFERED_SPANS = 64
_KEPT_SPANS = 1_000
"""Records kept in memory while the disk refuses them."""


class Sweeper(Protocol):
    """Knows of open spans."""

    def sweep(self, *, final: bool) -> None:
        """End those that nothing else will end; all of them where ``final``. Raises nothing."""
        ...


class Session:
    """Journal and export of one run, or of none yet. Writing is safe from any thread.

    Args:
        run: The run; None to wait for one.
        settings: Intervals, limits, folder.
        enricher: Makes the pricing of spans; called on the export thread.
        prices: The price table behind ``enricher``, for whoever recovers the run.
        look_for_run: Called at every look while there is no run, to ``claim`` one that has begun.
    """

    def __init__(
        self,
        run: RunPort | None,
        *,
        settings: Settings,
        enricher: Enricher,
        look_for_run: Callable[[], None] = lambda: None,
        prices: Path | None = None,
    ) -> None:
        self.settings = settings
        self.prices = prices
        self._look_for_run = look_for_run
        self._buffer: list[bytes] = []
        self._lock = threading.Lock()
        self._owner: int | None = None
        """Thread that appends now."""
        self._forked = False
        self.sweepers: weakref.WeakSet[Sweeper] = weakref.WeakSet()
        """Who ends spans that nothing else will end: asked at every look, and before the run ends."""
        self.run: RunPort | None = None
        self.closed = False
        self._delivered: Mapping[Path, Head] = {}
        self._label = "main" if run is None else run.descriptor.label
        self._writer = f"{self._label}-{os.getpid()}-{secrets.token_hex(4)}"
        owner = UNATTACHED if run is None else run.descriptor.run_id
        self._root = settings.home / "journal"
        self.journal = self._open(self._root / owner / self._writer)
        self._enricher = enricher
        self.worker = self._new_worker()
        if run is not None:
            self._bind(run)
        self.worker.start()

    def _new_worker(self) -> ExportWorker:
        settings = self.settings
        limits = Limits(shard_rows=settings.table_shard_rows, live_interval_ns=int(settings.live_interval_s * 1e9))
        return ExportWorker(
            folders=self._folders,
            run=lambda: self.run,
            feed=Feed(RunTables(limits, now_ns=SystemClock.monotonic_ns()), self._enricher),
            tend=self._tend,
            interval_s=settings.export_interval_s,
            own_step={"per_call": True, "with_run_step": False, "off": None}[settings.scalars],
        )

    def _open(self, folder: Path) -> Journal:
        return Journal(folder, fsync=self.settings.fsync, segment_bytes=self.settings.segment_bytes)

    def _bind(self, run: RunPort) -> None:
        if run.descriptor.shared_worker:
            self.worker.feed.tables.name_after(f".{run.descriptor.label}")
        self.run = run
        prices = None if self.prices is None else str(self.prices)
        meta = {"version": 1, "run": run.descriptor.to_json(), "prices": prices}
        write_json(self.journal.folder / "meta.json", meta)
        run.on_finish(before=self._before_finish, after=self._after_finish)

    def write_span(self, span: Span) -> None:
        """Put a finished span into the journal; one that cost money or ends a trace is there when this returns."""
        payload = orjson.dumps({"type": "span", "span": span}, default=_name_of_type)
        self._put(payload, at_once=span.kind in _WRITE_AT_ONCE or span.parent_id is None)

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Put another record, such as a verdict, into the journal; it is there when this returns."""
        self._put(orjson.dumps(record, default=_name_of_type), at_once=True)

    def _put(self, payload: bytes, *, at_once: bool) -> None:
        if self._owner == threading.get_ident():
            # A finalizer that the garbage collector runs inside our own append: its record goes with the next one.
            self._buffer.append(payload)
            return
        with self._lock:
            self._owner = threading.get_ident()
            try:
                self._buffer.append(payload)
                if at_once or len(self._buffer) >= _BUFFERED_SPANS:
                    self._drain()
            finally:
                self._owner = None

    def _drain(self) -> None:
        """Append the buffer; with the lock held."""
        while self._buffer:
            batch, self._buffer = self._buffer, []
            try:
                self._append(batch)
            except Exception:
                # The disk refuses: keep what can be kept, for the next try.
                self._buffer = [*batch, *self._buffer][-_KEPT_SPANS:]
                raise

    def _append(self, batch: list[bytes]) -> None:
        try:
            self.journal.append(batch)
        except JournalClosedError:
            self.journal = self._open(self.journal.folder)
            self.journal.append(batch)

    def drain(self) -> None:
        """Append what is buffered."""
        with self._lock:
            self._owner = threading.get_ident()
            try:
                self._drain()
            finally:
                self._owner = None

    def flush(self, timeout_s: float | None = None) -> bool:
        """Bring everything to W&B, partly filled tables too.

        Returns:
            Whether W&B's SDK took it within the time; what is left stays in the journal.
        """
        run_waiting()
        self.drain()
        if self.run is None:
            self._tend()
        if self.run is None:
            logger.warning(
                "no W&B run is active: %d records wait in %s; start one, or: wandb-governance recover --project NAME",
                self.journal.head.records,
                self.journal.folder,
            )
            return False
        return self.worker.flush(self.settings.flush_timeout_s if timeout_s is None else timeout_s)

    def serves(self, run: RunPort) -> bool:
        """Whether records of ``run`` can go here: the same run, not opened anew since this session ended."""
        return not self.closed and (self.run is None or not self.run.finished or run.finished)

    def close(self) -> None:
        """Flush and end the export thread; later spans still reach the journal."""
        self._sweep(final=True)
        if self.run is not None and not self.run.finished:
            self.flush()
        self.drain()
        self.worker.stop()
        self.journal.close()
        self.closed = True

    def leave(self) -> None:
        """At the interpreter's exit: hand over what there is and close.

        W&B's own exit hook comes later, without a hook for us, and waits for the upload. So what its SDK has taken
        counts as delivered here.
        """
        if self.closed:
            return
        if self.run is not None and not self.run.finished and not self._forked:
            self._before_finish()
        self._after_finish()
        self.closed = True

    def _sweep(self, *, final: bool) -> None:
        run_waiting()
        for sweeper in list(self.sweepers):
            sweeper.sweep(final=final)

    def _before_finish(self) -> None:
        try:
            self._sweep(final=True)
            if not self.flush():
                logger.warning("not all rows reached W&B; run: wandb-governance recover")
                return
            self._delivered = {
                folder: self.worker.heads[folder.name] for folder in self._folders() if folder.name in self.worker.heads
            }
        except Exception as error:  # noqa: BLE001 - finishing the run must not fail because of telemetry
            fault("export.session", error)

    def _after_finish(self) -> None:
        try:
            self.drain()
            self.worker.stop()
            for folder, head in self._delivered.items():
                mark_delivered(folder, head)
            self.journal.close()
            self.worker.feed.tables.release()
        except Exception as error:  # noqa: BLE001 - as above
            fault("export.session", error)

    def _tend(self) -> None:
        self._sweep(final=False)
        self.drain()
        self.journal.sync()
        if self.run is None:
            self._look_for_run()

    def claim(self, run: RunPort) -> None:
        """Go on under ``run``, which has begun; what was recorded before goes there too."""
        self._label = run.descriptor.label
        target = self._root / run.descriptor.run_id / self._writer
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._lock:
            self.journal.folder.rename(target)
            self.journal.folder = target
        self._bind(run)

    def _folders(self) -> Sequence[Path]:
        """Journals whose rows are in this run's tables: all of the run, or this writer's where several share it."""
        parent = self.journal.folder.parent
        if parent.name == UNATTACHED or (self.run is not None and self.run.descriptor.mode == "shared"):
            return [self.journal.folder]
        return sorted(folder for folder in parent.iterdir() if folder.is_dir())

    def after_fork(self) -> None:
        """In a forked child: go on in a journal of its own.

        Where there is a run it is the parent's, whose export thread reads this journal too, unless several processes
        share the run: then ``recover`` delivers it. Where there is none yet, this process exports for itself.
        """
        parent = self.journal
        self._lock = threading.Lock()
        self._owner = None
        self._buffer = []
        self.sweepers = weakref.WeakSet()
        self._forked = self.run is not None
        parent.abandon()
        self._writer = f"{self._label}-{os.getpid()}-{secrets.token_hex(4)}"
        self.journal = self._open(parent.folder.parent / self._writer)
        meta = parent.folder / "meta.json"
        if meta.exists():
            write_json(self.journal.folder / "meta.json", orjson.loads(meta.read_bytes()))
        if not self._forked:
            self.worker = self._new_worker()
            self.worker.start()


def _name_of_type(value: object) -> str:
    """What is written of a value that is no data: never its text, which nobody has looked at."""
    return f"<{type(value).__qualname__}>"


def write_json(path: Path, data: object) -> None:
    """Write a small file in one piece: it is there whole or not at all."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(3)}")
    scratch.write_bytes(orjson.dumps(data, option=orjson.OPT_INDENT_2))
    scratch.replace(path)


def mark_delivered(folder: Path, head: Head) -> None:
    """Write down that W&B has the first ``head.records`` records of a journal."""
    write_json(folder / "delivered.json", {"records": head.records, "chain": head.chain})


def descriptor_of(folder: Path) -> RunDescriptor | None:
    """The run a journal belongs to; None where none has claimed it."""
    try:
        meta = orjson.loads((folder / "meta.json").read_bytes())
    except FileNotFoundError:
        return None
    return RunDescriptor(**meta["run"])


def prices_of(folder: Path) -> Path | None:
    """The price table that a journal's rows were priced with, over the public prices."""
    path = orjson.loads((folder / "meta.json").read_bytes()).get("prices")
    return None if path is None else Path(path)
