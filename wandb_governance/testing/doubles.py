"""Doubles for the ports, for users' tests and our own: a run in memory, a clock that steps, ids that count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_governance.backend.base import Cell, RunDescriptor, TableColumn
from wandb_governance.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class SteppedClock:
    """A clock that goes on by one step at each look.

    Args:
        start_ns: First wall-clock time.
        step_ns: What each look adds.
    """

    def __init__(self, *, start_ns: int = 1_700_000_000_000_000_000, step_ns: int = 1_000_000) -> None:
        self._time_ns = start_ns
        self._step_ns = step_ns

    def now_ns(self) -> int:
        """The time, one step on."""
        self._time_ns += self._step_ns
        return self._time_ns

    def monotonic_ns(self) -> int:
        """The same clock."""
        return self.now_ns()


class CountingIds:
    """Ids 1, 2, 3 … as hexadecimal digits."""

    def __init__(self) -> None:
        self._count = 0

    def _next(self, width: int) -> str:
        self._count += 1
        return f"{self._count:0{width}x}"

    def trace_id(self) -> str:
        """The next id, 32 digits."""
        return self._next(32)

    def span_id(self) -> str:
        """The next id, 16 digits."""
        return self._next(16)


class MemoryRun:
    """A run that keeps what is logged: ``tables``, ``live``, ``scalars``, ``summary``.

    Set ``failing`` to make every call raise ``BackendError``, as W&B does when it is away.
    """

    def __init__(
        self,
        run_id: str = "run1",
        *,
        project: str = "tests",
        mode: str = "online",
        label: str = "main",
        shared_worker: bool = False,
    ) -> None:
        self._descriptor = RunDescriptor(
            run_id=run_id, project=project, mode=mode, label=label, shared_worker=shared_worker
        )
        self.tables: dict[str, list[dict[str, Cell]]] = {}
        self.live: dict[str, list[dict[str, Cell]]] = {}
        self.scalars: list[dict[str, float]] = []
        self.summary: dict[str, Any] = {}
        self.versions: dict[str, int] = {}
        self.failing = False
        self.exit_code: int | None = None
        self._hooks: list[tuple[Callable[[], None], Callable[[], None]]] = []

    @property
    def descriptor(self) -> RunDescriptor:
        """How to open it again."""
        return self._descriptor

    @property
    def url(self) -> str | None:
        """None: there is nothing to look at."""
        return None

    @property
    def finished(self) -> bool:
        """Whether ``finish`` was called."""
        return self.exit_code is not None

    def _check(self) -> None:
        if self.failing or self.finished:
            raise BackendError("the run takes nothing now")

    def log_scalars(self, values: Mapping[str, float], *, own_step: bool) -> None:
        """Keep numbers."""
        del own_step
        self._check()
        self.scalars.append(dict(values))

    def log_table(self, key: str, columns: Sequence[TableColumn], rows: Sequence[Sequence[Cell]]) -> None:
        """Keep a table, in place of an earlier version."""
        self._check()
        self.tables[key] = _rows(columns, rows)
        self.versions[key] = self.versions.get(key, 0) + 1

    def live_table(self, key: str, columns: Sequence[TableColumn]) -> MemoryLiveTable:
        """A table that grows."""
        return MemoryLiveTable(self, key, columns)

    def update_summary(self, values: Mapping[str, Any]) -> None:
        """Keep summary entries."""
        self._check()
        self.summary.update(values)

    def on_finish(self, *, before: Callable[[], None], after: Callable[[], None]) -> None:
        """Keep the callbacks."""
        self._hooks.append((before, after))

    def finish(self, *, exit_code: int = 0) -> None:
        """Call the callbacks and take nothing more."""
        for before, _ in self._hooks:
            before()
        self.exit_code = exit_code
        for _, after in self._hooks:
            after()


class MemoryLiveTable:
    """The growing table of a ``MemoryRun``."""

    def __init__(self, run: MemoryRun, key: str, columns: Sequence[TableColumn]) -> None:
        self._run = run
        self._key = key
        self._columns = columns

    def append(self, rows: Sequence[Sequence[Cell]]) -> None:
        """Keep an increment."""
        self._run._check()  # noqa: SLF001
        self._run.live.setdefault(self._key, []).extend(_rows(self._columns, rows))


def _rows(columns: Sequence[TableColumn], rows: Sequence[Sequence[Cell]]) -> list[dict[str, Cell]]:
    names = [column.name for column in columns]
    return [dict(zip(names, row, strict=True)) for row in rows]
