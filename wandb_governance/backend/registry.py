"""The W&B Registry as a port, and the W&B SDK behind it.

Every read goes to the server: nothing is remembered between two calls, because a promotion must see what others did.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from wandb_governance.errors import BackendError, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of an artifact, as the server had it at the time of the read."""

    name: str
    """The place it was read from, with its version: ``acme/wandb-registry-model/support-bot:v3``."""
    source: str
    """The version a run logged: ``ana/support/adapter:v7``. Equal to ``name`` when it is no link."""
    artifact_id: str
    """W&B's id of the source version; the same for every link to it."""
    type: str
    digest: str
    """W&B's own MD5 or XXH128; not safe against a crafted collision."""
    aliases: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    created_at_ns: int = 0
    """Nanoseconds since 1970 UTC."""
    references: tuple[str, ...] = ()
    """Paths whose bytes lie outside W&B."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What lineage and evidence need to know of a run."""

    path: str
    """``entity/project/id``."""
    state: str
    """W&B's word: ``running``, ``finished``, ``crashed``, ``failed``, ``killed``."""
    user: str = ""
    """User name of who started it."""
    email: str = ""
    job_type: str = ""
    commit: str = ""
    repository: str = ""
    program: str = ""
    created_at_ns: int = 0
    tags: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A folder to log as an artifact version."""

    project: str
    """``[entity/]project``."""
    name: str
    type: str
    folder: Path
    metadata: Mapping[str, Any] = field(default_factory=dict)
    uses: Sequence[str] = ()
    """Versions that the run used: its lineage."""
    summary: Mapping[str, Any] = field(default_factory=dict)
    job_type: str = "governance"


class Registry(Protocol):
    """What governance needs of the W&B Registry.

    Methods that read return what the server holds now. ``None`` means "there is none"; what can't be read raises
    ``UnreadableError``; what can't be reached raises ``BackendError``.
    """

    def resolve(self, name: str) -> Version | None:
        """The version behind ``[entity/]project/collection:alias-or-vN``."""
        ...

    def move_alias(self, version: Version, collection: str, alias: str) -> None:
        """Link ``version`` into ``collection`` and give it ``alias``, in one mutation that never leaves a gap."""
        ...

    def remove_alias(self, collection: str, alias: str) -> None:
        """Take ``alias`` away from whichever version of ``collection`` holds it."""
        ...

    def versions(self, collection: str) -> Sequence[Version]:
        """Every version linked into ``collection``, newest first."""
        ...

    def download(self, version: Version, folder: Path) -> None:
        """Write the version's files below ``folder``, from the server and not from a cache."""
        ...

    def producer(self, version: Version) -> RunFacts | None:
        """The run that logged the version."""
        ...

    def consumers(self, version: Version) -> Sequence[RunFacts]:
        """Runs that used the version."""
        ...

    def run(self, path: str) -> RunFacts | None:
        """The run at ``entity/project/id``."""
        ...

    def inputs(self, run: str) -> Sequence[Version]:
        """Versions the run used."""
        ...

    def outputs(self, run: str) -> Sequence[Version]:
        """Versions the run logged."""
        ...

    def tagged_runs(self, project: str, tag: str) -> Sequence[RunFacts]:
        """Runs of ``entity/project`` that carry ``tag``, oldest first."""
        ...

    def runs(self, project: str) -> Sequence[RunFacts]:
        """Runs of ``entity/project``, newest first."""
        ...

    def retag(self, run: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        """Change the tags of a run."""
        ...

    def publish(self, publication: Publication) -> Version:
        """Log a folder as a new version, from a run of its own."""
        ...

    def viewer(self) -> str:
        """User name of whoever this process is to W&B."""
        ...


class WandbRegistry:
    """The W&B Registry through the SDK: hosted, self-managed or embedded, as ``WANDB_BASE_URL`` says."""

    def __init__(self, *, timeout_s: int = 30) -> None:
        self._timeout_s = timeout_s

    def _api(self) -> Any:
        import wandb

        with _translated("connect to W&B"):
            # A new Api each time: Api.runs() and Api.project caches would hide what others did.
            return wandb.Api(timeout=self._timeout_s)

    def _artifact(self, name: str) -> Any:
        with _translated(f"read {name!r}"):
            return self._api().artifact(name)

    def resolve(self, name: str) -> Version | None:
        """See ``Registry.resolve``."""
        try:
            return _version(self._artifact(name))
        except _AbsentError:
            return None

    def move_alias(self, version: Version, collection: str, alias: str) -> None:
        """See ``Registry.move_alias``; one ``LinkArtifact`` mutation, which writes no metadata."""
        artifact = self._artifact(version.source)
        with _translated(f"give {alias!r} of {collection!r} to {version.source!r}"):
            artifact.link(collection, aliases=[alias])

    def remove_alias(self, collection: str, alias: str) -> None:
        """See ``Registry.remove_alias``."""
        artifact = self._artifact(f"{collection}:{alias}")
        with _translated(f"remove {alias!r} from {collection!r}"):
            artifact.aliases = [held for held in artifact.aliases if held != alias]
            artifact.save()

    def versions(self, collection: str) -> Sequence[Version]:
        """See ``Registry.versions``."""
        try:
            with _translated(f"list {collection!r}"):
                api = self._api()
                kind = api.artifact(f"{collection}:latest").type
                return [_version(item) for item in api.artifacts(kind, collection)]
        except _AbsentError:
            return []

    def download(self, version: Version, folder: Path) -> None:
        """See ``Registry.download``."""
        artifact = self._artifact(version.source)
        with _translated(f"download {version.source!r}"):
            artifact.download(root=str(folder), skip_cache=True)

    def producer(self, version: Version) -> RunFacts | None:
        """See ``Registry.producer``."""
        artifact = self._artifact(version.source)
        try:
            with _translated(f"read who logged {version.source!r}"):
                run = artifact.logged_by()
                return None if run is None else _run_facts(run)
        except _AbsentError:
            return None

    def consumers(self, version: Version) -> Sequence[RunFacts]:
        """See ``Registry.consumers``."""
        artifact = self._artifact(version.source)
        with _translated(f"read who used {version.source!r}"):
            return [_run_facts(run) for run in artifact.used_by()]

    def run(self, path: str) -> RunFacts | None:
        """See ``Registry.run``."""
        try:
            with _translated(f"read run {path!r}"):
                return _run_facts(self._api().run(path))
        except _AbsentError:
            return None

    def inputs(self, run: str) -> Sequence[Version]:
        """See ``Registry.inputs``."""
        with _translated(f"read what run {run!r} used"):
            return [_version(item) for item in self._api().run(run).used_artifacts()]

    def outputs(self, run: str) -> Sequence[Version]:
        """See ``Registry.outputs``."""
        with _translated(f"read what run {run!r} logged"):
            return [_version(item) for item in self._api().run(run).logged_artifacts()]

    def tagged_runs(self, project: str, tag: str) -> Sequence[RunFacts]:
        """See ``Registry.tagged_runs``."""
        with _translated(f"list runs of {project!r}"):
            runs = self._api().runs(project, filters={"tags": {"$in": [tag]}}, order="+created_at")
            return [_run_facts(run) for run in runs if tag in (run.tags or [])]

    def runs(self, project: str) -> Sequence[RunFacts]:
        """See ``Registry.runs``."""
        with _translated(f"list runs of {project!r}"):
            return [_run_facts(run) for run in self._api().runs(project, order="-created_at")]

    def retag(self, run: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        """See ``Registry.retag``."""
        with _translated(f"tag run {run!r}"):
            target = self._api().run(run)
            target.tags = [*(tag for tag in target.tags if tag not in remove and tag not in add), *add]
            target.update()

    def publish(self, publication: Publication) -> Version:
        """See ``Registry.publish``."""
        import wandb

        entity, _, project = publication.project.rpartition("/")
        with _translated(f"publish {publication.name!r}"), tempfile.TemporaryDirectory() as scratch:
            run = wandb.init(
                entity=entity or None,
                project=project,
                job_type=publication.job_type,
                dir=scratch,
                settings=wandb.Settings(silent=True, console="off"),
                reinit="create_new",
            )
            with run:
                for used in publication.uses:
                    run.use_artifact(used)
                run.summary.update(dict(publication.summary))
                artifact = wandb.Artifact(publication.name, type=publication.type, metadata=dict(publication.metadata))
                artifact.add_dir(str(publication.folder))
                logged = run.log_artifact(artifact)
                logged.wait()
            return _version(logged)

    def viewer(self) -> str:
        """See ``Registry.viewer``."""
        with _translated("read who this process is"):
            return str(self._api().viewer.username)


class _AbsentError(BackendError):
    """The server answered that there is no such thing."""


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turn the SDK's exceptions into this package's, telling absent, unreadable and unreachable apart."""
    import requests
    import wandb

    try:
        yield
    except (wandb.Error, ValueError, requests.RequestException, OSError) as error:
        text = str(error)
        lowered = text.lower()
        if "permission" in lowered or "403" in lowered or "not authorized" in lowered:
            raise UnreadableError(f"can't {what}: {text} (ask a registry admin for access)") from error
        if "not found" in lowered or "could not find" in lowered or "does not exist" in lowered or "404" in lowered:
            raise _AbsentError(f"can't {what}: {text}") from error
        raise BackendError(f"can't {what}: {text}") from error


def _version(artifact: Any) -> Version:
    references = tuple(path for path, entry in artifact.manifest.entries.items() if entry.ref is not None)
    return Version(
        name=artifact.qualified_name,
        source=artifact.source_qualified_name,
        artifact_id=artifact.id,
        type=artifact.type,
        digest=artifact.digest,
        aliases=tuple(artifact.aliases),
        metadata=dict(artifact.metadata),
        description=artifact.description or "",
        created_at_ns=_ns(artifact.created_at),
        references=references,
    )


def _run_facts(run: Any) -> RunFacts:
    run.load(force=True)
    recorded = run.metadata or {}
    git = recorded.get("git") or {}
    return RunFacts(
        path="/".join(run.path),
        state=run.state,
        user=run.user.username if run.user else "",
        email=recorded.get("email") or git.get("email") or "",
        job_type=run.job_type or "",
        commit=git.get("commit") or "",
        repository=git.get("remote") or "",
        program=recorded.get("codePath") or recorded.get("program") or "",
        created_at_ns=_ns(run.created_at),
        tags=tuple(run.tags or ()),
        config=_plain(run.config),
        summary=_plain(run.summary._json_dict),  # noqa: SLF001 the public view turns tables into objects
    )


def _plain(value: Any) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(dict(value), default=str))
    return plain


def _ns(stamp: str) -> int:
    moment = datetime.fromisoformat(stamp)
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1_000_000) * 1_000
