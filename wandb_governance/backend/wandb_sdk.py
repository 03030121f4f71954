"""W&B through its own SDK. The one module of the core that imports ``wandb``."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING, Any, Literal

from wandb_governance.backend.base import Cell, LiveTable, RunDescriptor, RunPort, TableColumn
from wandb_governance.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import wandb


def run_is_active() -> bool:
    """Whether this process has an active run; costs next to nothing."""
    return getattr(sys.modules.get("wandb"), "run", None) is not None


def active_run() -> WandbRun | None:
    """The run that is active in this process; None where there is none. Never imports ``wandb`` itself."""
    module = sys.modules.get("wandb")
    run = None if module is None else getattr(module, "run", None)
    return None if run is None else WandbRun(run)


def attach(run: Any) -> RunPort:
    """The port of a run that the application opened; a port is returned as it is.

    Raises:
        BackendError: ``run`` is not a W&B run.
    """
    if hasattr(run, "log_table"):
        return run  # type: ignore[no-any-return]
    if not hasattr(run, "log") or not hasattr(run, "id"):
        raise BackendError(f"run must be what wandb.init() returns, not a {type(run).__name__}")
    return WandbRun(run)


def summary_of(path: str) -> dict[str, Any]:
    """Summary of a run that W&B holds.

    Args:
        path: ``entity/project/run``.

    Raises:
        BackendError: W&B has no such run or could not be reached.
    """
    import wandb

    try:
        return dict(wandb.Api().run(path).summary_metrics)
    except Exception as error:
        raise BackendError(f"could not read the summary of {path!r}: {error}") from error


def start_run(
    *,
    project: str,
    mode: Literal["online", "offline"],
    directory: Path,
    base_url: str | None = None,
    api_key: str | None = None,
) -> WandbRun:
    """Start a run for a command of this package.

    Raises:
        BackendError: W&B refused or could not be reached.
    """
    import wandb

    settings: dict[str, Any] = {"silent": True, "console": "off", "disable_git": True, "x_disable_stats": True}
    if base_url is not None:
        settings |= {"base_url": base_url, "api_key": api_key}
    try:
        run = wandb.init(project=project, mode=mode, dir=str(directory), settings=wandb.Settings(**settings))
    except Exception as error:
        raise BackendError(f"could not start a run: {type(error).__name__}") from error
    return WandbRun(run)


def reopen(descriptor: RunDescriptor) -> WandbRun:
    """Open a run of an earlier process again.

    Raises:
        BackendError: W&B refused or could not be reached.
    """
    import wandb

    if descriptor.directory is not None:
        os.makedirs(descriptor.directory, exist_ok=True)
    settings: dict[str, Any] = {"silent": True, "console": "off", "disable_git": True, "x_disable_stats": True}
    if descriptor.base_url is not None:
        settings["base_url"] = descriptor.base_url
    offline = descriptor.mode == "offline"
    try:
        run = wandb.init(
            id=descriptor.run_id,
            project=descriptor.project,
            entity=descriptor.entity or None,
            dir=descriptor.directory,
            mode="offline" if offline else "online",
            resume=None if offline else "allow",
            settings=wandb.Settings(**settings),
        )
    except Exception as error:
        raise BackendError(f"could not open run {descriptor.run_id!r} again: {error}") from error
    return WandbRun(run)


def _label(settings: wandb.Settings) -> str:
    """Name of this process among those that share a run; two workers never have the same."""
    given = getattr(settings, "x_label", None)
    if given:
        return str(given)
    return "main" if getattr(settings, "x_primary", True) else f"{socket.gethostname()}-{os.getpid()}"


class WandbRun:
    """A ``wandb`` run behind the port."""

    def __init__(self, run: wandb.Run) -> None:
        self.run = run
        settings = run.settings
        mode = "offline" if getattr(run, "offline", False) else str(settings.mode)
        shared = mode == "shared"
        self._descriptor = RunDescriptor(
            run_id=run.id,
            project=run.project,
            entity=run.entity,
            mode=mode,
            base_url=None if mode == "offline" else str(settings.base_url),
            directory=str(settings.root_dir),
            label=_label(settings) if shared else "main",
            shared_worker=shared and not bool(getattr(settings, "x_primary", True)),
        )

    @property
    def descriptor(self) -> RunDescriptor:
        """How to open it again."""
        return self._descriptor

    @property
    def url(self) -> str | None:
        """Where a person looks at it; None offline."""
        return self.run.url

    @property
    def folder(self) -> str:
        """The run's folder on this machine."""
        return str(self.run.settings.sync_dir)

    @property
    def finished(self) -> bool:
        """Whether it takes nothing more."""
        return bool(getattr(self.run, "_is_finished", False))

    def log_scalars(self, values: Mapping[str, float], *, own_step: bool) -> None:
        """Log numbers, as a step of their own or riding on the run's next step."""
        self._try("log", lambda: self.run.log(dict(values), commit=own_step))

    def log_table(self, key: str, columns: Sequence[TableColumn], rows: Sequence[Sequence[Cell]]) -> None:
        """Log a whole table under ``key``; logging it again replaces it with a new version."""
        table = _table(columns, log_mode="IMMUTABLE")
        table.data.extend(list(row) for row in rows)
        self._try("log", lambda: self.run.log({key: table}))
        # The SDK has written the rows to a file, but keeps its last hundred artifacts in memory, and they their tables.
        table.data = []

    def live_table(self, key: str, columns: Sequence[TableColumn]) -> LiveTable:
        """A table that grows while the run goes on."""
        return _Incremental(self, key, columns)

    def update_summary(self, values: Mapping[str, Any]) -> None:
        """Set entries of the run's summary."""
        self._try("summary", lambda: self.run.summary.update(dict(values)))

    def on_finish(self, *, before: Callable[[], None], after: Callable[[], None]) -> None:
        """Call ``before`` while the run still takes data and ``after`` when W&B has it all."""
        from wandb.sdk.wandb_run import TeardownHook, TeardownStage

        # The SDK has no public hook here; this list is what its own Jupyter and code-saving parts use.
        self.run._teardown_hooks.extend(  # noqa: SLF001
            [TeardownHook(call=before, stage=TeardownStage.EARLY), TeardownHook(call=after, stage=TeardownStage.LATE)]
        )

    def finish(self, *, exit_code: int = 0) -> None:
        """Close the run; returns when W&B has everything. A run that is finished stays so."""
        if not self.finished:
            self._try("finish", lambda: self.run.finish(exit_code=exit_code))

    def _try(self, what: str, call: Callable[[], object]) -> None:
        if self.finished:
            raise BackendError(f"run {self._descriptor.run_id!r} is finished: can't {what}")
        try:
            call()
        except Exception as error:
            raise BackendError(f"{what} on run {self._descriptor.run_id!r} failed: {type(error).__name__}") from error


class _Incremental:
    """An INCREMENTAL table of the SDK."""

    def __init__(self, run: WandbRun, key: str, columns: Sequence[TableColumn]) -> None:
        self._run = run
        self._key = key
        self._table = _table(columns, log_mode="INCREMENTAL")

    def append(self, rows: Sequence[Sequence[Cell]]) -> None:
        """Log one increment."""
        logged = len(self._table.data)
        self._table.data.extend(list(row) for row in rows)
        try:
            self._run._try("log", lambda: self._run.run.log({self._key: self._table}))  # noqa: SLF001
        except BackendError:
            del self._table.data[logged:]
            raise


def _table(columns: Sequence[TableColumn], *, log_mode: str) -> wandb.Table:
    """An empty table with declared types.

    Rows go straight into ``data``: the types are known here, and the SDK's inference for each cell costs more than all
    else that is done with a row.
    """
    import wandb

    types: dict[str, type] = {"string": str, "number": float, "boolean": bool}
    table = wandb.Table(
        columns=[column.name for column in columns],
        dtype=[types[column.type] for column in columns],
        optional=True,
        log_mode=log_mode,  # type: ignore[arg-type]
    )
    table.to_json = _plain_rows(table)  # type: ignore[method-assign, assignment]
    return table


def _plain_rows(table: wandb.Table) -> Callable[[Any], dict[str, Any]]:
    """``table.to_json`` for cells that are JSON already: the SDK looks at each cell with some twenty type checks."""
    import wandb

    original = table.to_json

    def to_json(run_or_artifact: Any) -> dict[str, Any]:
        if not isinstance(run_or_artifact, wandb.Artifact):
            return original(run_or_artifact)
        rows = table._to_table_json(wandb.Table.MAX_ARTIFACT_ROWS)["data"]  # noqa: SLF001
        kept, table.data = table.data, []
        try:
            made = original(run_or_artifact)
        finally:
            table.data = kept
        return {**made, "data": rows, "nrows": len(rows)}

    return to_json
