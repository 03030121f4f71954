"""What RAG sweeps need of W&B: trial runs, a sweep's runs read back, and index artifacts."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wandb_governance.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import wandb

    Cell = str | int | float | bool | None

INDEX_TYPE = "vector-index"
CORPUS_TYPE = "corpus"


class TrialRun:
    """The W&B run of one trial, open until it is finished.

    Args:
        run: What ``wandb.init()`` returned.
    """

    def __init__(self, run: wandb.Run) -> None:
        self.run = run

    @classmethod
    def start(
        cls,
        *,
        project: str | None = None,
        entity: str | None = None,
        sweep: str | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> TrialRun:
        """Start a run; under ``wandb agent`` it is the one that the sweep asked for.

        Args:
            project: W&B project.
            entity: W&B entity.
            sweep: Id of a sweep to add the run to, where no agent started this.
            parameters: What such a run is to try.

        Raises:
            BackendError: W&B refused or can't be reached.
        """
        import wandb

        with _translated("start a run"):
            settings = wandb.Settings(sweep_id=sweep) if sweep else None
            config = dict(parameters) if parameters else None
            run = wandb.init(project=project, entity=entity, job_type="rag-trial", config=config, settings=settings)
            return cls(run)

    @property
    def id(self) -> str:
        """Id of the run."""
        return str(self.run.id)

    @property
    def sweep(self) -> str | None:
        """Id of the sweep that the run belongs to."""
        return self.run.sweep_id

    @property
    def parameters(self) -> dict[str, Any]:
        """What the sweep asked for."""
        return dict(self.run.config)

    def name(self, label: str, config: Mapping[str, Any]) -> None:
        """Name the run and add what its parameters mean to its configuration."""
        with _translated("name the run"):
            self.run.name = label
            self.run.config.update(dict(config), allow_val_change=True)  # type: ignore[no-untyped-call]

    def log(self, values: Mapping[str, float]) -> None:
        """Log numbers as one step."""
        with _translated("log metrics"):
            self.run.log(dict(values))

    def summarise(self, values: Mapping[str, Any]) -> None:
        """Set entries of the run's summary."""
        with _translated("write the summary"):
            self.run.summary.update(dict(values))

    def log_table(self, key: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """Log a whole table."""
        import wandb

        with _translated("log a table"):
            self.run.log({key: wandb.Table(columns=list(columns), data=[list(row) for row in rows])})

    def use_files(self, name: str, kind: str, files: Mapping[str, Path], metadata: Mapping[str, Any]) -> None:
        """Say that the run used these files; the same bytes make no new version."""
        import wandb

        with _translated("use an artifact"):
            artifact = wandb.Artifact(name, type=kind, metadata=dict(metadata))
            for path, file in files.items():
                artifact.add_file(str(file), name=path)
            self.run.use_artifact(artifact)

    def finish(self, *, exit_code: int = 0) -> None:
        """Close the run; returns when W&B has everything."""
        with _translated("finish the run"):
            self.run.finish(exit_code=exit_code)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRuns:
    """A sweep as W&B has it."""

    id: str
    path: str
    """``entity/project/id``."""
    config: Mapping[str, Any]
    runs: tuple[ReadRun, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRun:
    """One run of a sweep."""

    id: str
    state: str
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    rows: tuple[Mapping[str, Any], ...]
    """Rows of its table, empty where it has none."""
    heartbeat: str | None = None
    """When it was last heard of, as W&B writes it."""


def read_sweep(sweep: str, *, project: str | None = None, table: str | None = None) -> SweepRuns:
    """The runs of a sweep with their tables.

    Args:
        sweep: ``id``, ``project/id`` or ``entity/project/id``.
        project: Where ``sweep`` is only an id; else ``WANDB_PROJECT``.
        table: Key of the table to read from each finished run; none is read without it.

    Raises:
        BackendError: There is no such sweep, or W&B can't be reached.
    """
    import wandb

    with _translated(f"read sweep {sweep!r}"):
        api: Any = wandb.Api()
        found = api.sweep(sweep_path(sweep, entity=api.default_entity, project=project))
        runs = tuple(
            ReadRun(
                id=run.id,
                state=run.state,
                config=dict(run.config),
                summary={key: run.summary[key] for key in run.summary.keys()},  # noqa: SIM118 - no mapping
                rows=_table_rows(run, table) if table and run.state == "finished" else (),
                heartbeat=getattr(run, "heartbeatAt", None),
            )
            for run in found.runs
        )
        return SweepRuns(id=found.id, path="/".join(found.path), config=dict(found.config), runs=runs)


def sweep_path(sweep: str, *, entity: str | None, project: str | None) -> str:
    """``entity/project/id`` of a sweep given by any of its short forms.

    Raises:
        BackendError: The project is not known.
    """
    parts = sweep.split("/")
    if len(parts) < 2:
        known = project or os.environ.get("WANDB_PROJECT")
        if not known:
            raise BackendError(f"which project is sweep {sweep!r} in? Write project/{sweep} or set WANDB_PROJECT")
        parts = [known, *parts]
    if len(parts) < 3:
        parts = [os.environ.get("WANDB_ENTITY") or entity or "", *parts]
    return "/".join(part for part in parts if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """An index artifact in W&B."""

    name: str
    """``name:vN``."""
    path: str
    """``entity/project/name:vN``."""
    digest: str
    """W&B's own digest of the artifact."""
    version: str
    linked: str | None
    """Registry path, where it was linked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexArtifact:
    """What is to be published."""

    name: str
    folder: Path
    metadata: Mapping[str, Any]
    aliases: tuple[str, ...]
    corpus_name: str
    corpus_files: Mapping[str, Path]
    registry: str | None = None
    """``wandb-registry-<registry>/<collection>``."""


def publish_index(artifact: IndexArtifact, *, sweep: SweepRuns, winner: str) -> Published:
    """Log the winner's index: corpus -> index -> winner's run; link it in the registry where one is named.

    The same index logged twice makes no new version.

    Args:
        artifact: Files, name, metadata and aliases.
        sweep: The sweep that chose it.
        winner: Id of the run that won; it is recorded as a user of the index.

    Raises:
        BackendError: W&B refused, such as a gate that forbids an alias.
    """
    import wandb

    entity, project, _ = sweep.path.split("/")
    with _translated("publish the index"):
        with wandb.init(entity=entity, project=project, job_type="rag-select", name=f"select-{sweep.id}") as run:
            selector = TrialRun(run)
            selector.use_files(artifact.corpus_name, CORPUS_TYPE, artifact.corpus_files, {})
            files = wandb.Artifact(artifact.name, type=INDEX_TYPE, metadata=dict(artifact.metadata))
            files.add_dir(str(artifact.folder))
            logged = run.log_artifact(files, aliases=list(artifact.aliases)).wait()
            linked = None
            if artifact.registry:
                linked = run.link_artifact(logged, artifact.registry, aliases=list(artifact.aliases))
        api = wandb.Api()
        path = f"{entity}/{project}/{artifact.name}:{logged.version}"
        api.run(f"{entity}/{project}/{winner}").use_artifact(api.artifact(path))
        return Published(
            name=f"{artifact.name}:{logged.version}",
            path=path,
            digest=str(logged.digest),
            version=str(logged.version),
            linked=artifact.registry if linked is not None else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """An index artifact on this machine."""

    folder: Path
    version: str
    """``name:vN``: resolved, whatever alias was asked for."""
    metadata: Mapping[str, Any]


def download_index(path: str, *, root: Path | None = None) -> Downloaded:
    """Download an index artifact, or take the one that was downloaded before; in a run this is recorded as use.

    Args:
        path: ``wandb-registry-<registry>/<collection>:<alias>`` or ``entity/project/name:alias``.
        root: Folder to download to.

    Raises:
        BackendError: There is no such artifact, it is of another type, or W&B can't be reached.
    """
    import wandb

    with _translated(f"get artifact {path!r}"):
        artifact = wandb.run.use_artifact(path) if wandb.run is not None else wandb.Api().artifact(path)
        if artifact.type != INDEX_TYPE:
            raise BackendError(f"{path!r} is a {artifact.type!r} artifact, wanted {INDEX_TYPE!r}")
        folder = Path(artifact.download(root=str(root) if root else None))
        version = f"{artifact.name.rpartition(':')[0]}:{artifact.version}"
        return Downloaded(folder=folder, version=version, metadata=dict(artifact.metadata))


def log_folder(name: str, kind: str, folder: Path, *, project: str | None = None) -> str:
    """Log a folder as an artifact from a run of its own; returns ``name:version``."""
    import wandb

    with _translated(f"log {name!r}"), wandb.init(project=project, job_type=f"{kind}-push") as run:
        artifact = wandb.Artifact(name, type=kind)
        artifact.add_dir(str(folder))
        return str(run.log_artifact(artifact).wait().name)


def download_folder(path: str, *, root: Path) -> Path:
    """Download an artifact of any type into a folder."""
    import wandb

    with _translated(f"get artifact {path!r}"):
        return Path(wandb.Api().artifact(path).download(root=str(root)))


def run_agent(
    sweep: str, function: Callable[[], None], *, project: str | None = None, count: int | None = None
) -> None:
    """Run trials of a sweep in this process by the SDK's Python agent, which polls faster than ``wandb agent``."""
    import wandb

    with _translated(f"run an agent of sweep {sweep!r}"):
        path = sweep_path(sweep, entity=wandb.Api().default_entity, project=project)
        wandb.agent(path, function=function, count=count)


def _table_rows(run: Any, key: str) -> tuple[Mapping[str, Any], ...]:
    for artifact in run.logged_artifacts():
        if artifact.type == "run_table" and artifact.name.split(":")[0] == f"run-{run.id}-{key}":
            entry = artifact.get_entry(f"{key}.table.json")
            content = json.loads(Path(entry.download()).read_bytes())
            return tuple(dict(zip(content["columns"], row, strict=True)) for row in content["data"])
    return ()


class _translated:  # noqa: N801 - reads as a verb where it is used
    """Turns the SDK's errors into ``BackendError`` with what was being done."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        import wandb

        if isinstance(error, wandb.Error | wandb.errors.CommError | ValueError) and not isinstance(error, BackendError):
            raise BackendError(f"could not {self._what}: {error}") from error
