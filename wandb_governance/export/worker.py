"""The export thread of one run: journal to W&B, with back-off, apart from every caller."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from wandb_governance.clock import Clock, SystemClock
from wandb_governance.errors import BackendError
from wandb_governance.journal.journal import Head, read
from wandb_governance.tracing.guard import fault, logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from wandb_governance.backend.base import RunPort
    from wandb_governance.export.feed import Feed
    from wandb_governance.journal.base import Cursor, Entry

_BACKOFF_FIRST_NS = 1_000_000_000
_BACKOFF_LAST_NS = 60_000_000_000
_TURN_NS = 200_000
_REST_S = 0.001


class ExportWorker:
    """Reads journals and logs to a run.

    Memory is bounded by one shard of each table: while W&B is away records stay in the journal, unread.

    Args:
        folders: The journals that belong to the run; asked again at every look.
        run: The run; None while there is none, then nothing is read.
        feed: Where records go.
        tend: Called at every look, for what else must be done apart from callers.
        interval_s: Seconds between two looks.
    """

    def __init__(
        self,
        *,
        folders: Callable[[], Sequence[Path]],
        run: Callable[[], RunPort | None],
        feed: Feed,
        tend: Callable[[], None],
        interval_s: float,
        own_step: bool | None = True,
        clock: Clock | None = None,
    ) -> None:
        self._folders = folders
        self._run = run
        self.feed = feed
        self._tend = tend
        self._interval_s = interval_s
        self._own_step = own_step
        self._clock = clock or SystemClock()
        self._cursors: dict[str, Cursor] = {}
        self.heads: dict[str, Head] = {}
        """How far each journal has been taken, by its folder's name."""
        self._wake = threading.Condition()
        self._asked = 0
        self._done = 0
        self._stopping = False
        self._backoff_ns = 0
        self._retry_at_ns = 0
        self._turn_began_ns = 0
        self.last_error: str | None = None
        self._thread = threading.Thread(target=self._loop, name="wandb-governance-export", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def flush(self, timeout_s: float) -> bool:
        """Log all that is in the journals now, partly filled tables and the summary too.

        Returns:
            Whether W&B's SDK took it all within ``timeout_s``; what is left stays in the journal.
        """
        with self._wake:
            if not self._thread.is_alive():
                return False
            self._asked += 1
            ticket = self._asked
            self._wake.notify_all()
            done = self._wake.wait_for(lambda: self._done >= ticket, timeout=timeout_s)
            if not done:
                # Nobody waits any more: go on at the pace of the back-off.
                self._asked = self._done
            return done

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the thread after its current look."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    def _loop(self) -> None:
        while True:
            with self._wake:
                if not self._stopping and self._asked <= self._done:
                    self._wake.wait(self._interval_s)
                if self._stopping:
                    return
                asked = self._asked
            complete = asked > self._done
            if self._look(complete=complete):
                with self._wake:
                    self._done = asked
                    self._wake.notify_all()
            elif complete:
                with self._wake:
                    self._wake.wait(min(self._interval_s, 0.2))

    def _look(self, *, complete: bool) -> bool:
        """One look at the journals; True where all that was there is with the SDK."""
        try:
            self._tend()
            run = self._run()
            now_ns = self._clock.monotonic_ns()
            if run is None or run.finished or (now_ns < self._retry_at_ns and not complete):
                return False
            self._export(run, now_ns, complete=complete)
        except BackendError as error:
            self._back_off(error)
            return False
        except Exception as error:  # noqa: BLE001 - this thread is the last that can say so, and must not die
            fault("export.worker", error)
            self._back_off(error)
            return False
        self._backoff_ns, self._retry_at_ns, self.last_error = 0, 0, None
        return True

    def _export(self, run: RunPort, now_ns: int, *, complete: bool) -> None:
        tables = self.feed.tables
        tables.log_full(run)
        for folder in self._folders():
            for entry in read(folder, self._cursors.get(folder.name)):
                self._cursors[folder.name] = entry.after
                known = self.heads.get(folder.name)
                self.heads[folder.name] = Head(records=1 if known is None else known.records + 1, chain=entry.chain)
                self._take(entry)
                tables.log_full(run)
                self._give_way()
        self._log_points(run)
        if complete:
            tables.log_all(run)
            run.update_summary({**self.feed.totals.summary(), **row_counts(tables.counts())})
        else:
            tables.log_live(run, now_ns)

    def _take(self, entry: Entry) -> None:
        try:
            self.feed.take(entry)
        except Exception as error:  # noqa: BLE001 - one odd record must not keep the others back
            fault("export.feed", error)

    def _log_points(self, run: RunPort) -> None:
        if self._own_step is None:
            self.feed.points.clear()
        while self.feed.points:
            run.log_scalars(self.feed.points[0], own_step=bool(self._own_step))
            self.feed.points.popleft()
            self._give_way()

    def _give_way(self) -> None:
        """Rest after each short turn, unless somebody waits for a flush.

        A thread that computes on makes each write of a caller wait up to 5 ms for the interpreter.
        """
        if self._clock.monotonic_ns() - self._turn_began_ns > _TURN_NS:
            if self._asked <= self._done:
                time.sleep(_REST_S)
            self._turn_began_ns = self._clock.monotonic_ns()

    def _back_off(self, error: Exception) -> None:
        self.last_error = str(error) if isinstance(error, BackendError) else type(error).__name__
        if not self._backoff_ns:
            logger.warning("W&B takes no data now (%s); rows wait in the journal", self.last_error)
        self._backoff_ns = min(max(self._backoff_ns * 2, _BACKOFF_FIRST_NS), _BACKOFF_LAST_NS)
        self._retry_at_ns = self._clock.monotonic_ns() + self._backoff_ns


def row_counts(counts: dict[str, int]) -> dict[str, int]:
    """Entries of the run's summary that say how many rows there are."""
    return {f"governance/rows/{name}": count for name, count in counts.items()}
