"""What this package needs of W&B, as a port."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ColumnType = Literal["string", "number", "boolean"]
Cell = str | int | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableColumn:
    """A column's name and type; every cell may be None."""

    name: str
    type: ColumnType


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDescriptor:
    """What it takes to open the same run again in another process."""

    run_id: str
    project: str
    entity: str | None = None
    mode: str = "online"
    base_url: str | None = None
    directory: str | None = None
    """Folder in which the SDK keeps its ``wandb`` folder."""
    label: str = "main"
    """Name of this process among several that share the run."""
    shared_worker: bool = False
    """Whether this process is one of several writers of a shared run, and not the primary one."""

    def to_json(self) -> dict[str, Any]:
        """Plain data for a file."""
        return asdict(self)


class RunPort(Protocol):
    """A W&B run that is open in this process. Every method may raise ``BackendError``; then nothing was logged."""

    @property
    def descriptor(self) -> RunDescriptor:
        """How to open it again."""
        ...

    @property
    def url(self) -> str | None:
        """Where a person looks at it; None offline."""
        ...

    @property
    def finished(self) -> bool:
        """Whether it takes nothing more."""
        ...

    def log_scalars(self, values: Mapping[str, float], *, own_step: bool) -> None:
        """Log numbers, as a step of their own or riding on the run's next step."""
        ...

    def log_table(self, key: str, columns: Sequence[TableColumn], rows: Sequence[Sequence[Cell]]) -> None:
        """Log a whole table under ``key``; logging it again replaces it with a new version."""
        ...

    def live_table(self, key: str, columns: Sequence[TableColumn]) -> LiveTable:
        """A table that grows while the run goes on."""
        ...

    def update_summary(self, values: Mapping[str, Any]) -> None:
        """Set entries of the run's summary."""
        ...

    def on_finish(self, *, before: Callable[[], None], after: Callable[[], None]) -> None:
        """Call ``before`` while the run still takes data and ``after`` when W&B has it all."""
        ...

    def finish(self, *, exit_code: int = 0) -> None:
        """Close the run; returns when W&B has everything."""
        ...


class LiveTable(Protocol):
    """A table that grows by increments."""

    def append(self, rows: Sequence[Sequence[Cell]]) -> None:
        """Log one increment."""
        ...
