"""A W&B Registry in a folder: the same port as the real one, safe for several processes, for tests only."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from wandb_governance.backend.registry import Publication, RunFacts, Version
from wandb_governance.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path


class FolderRegistry:
    """State in ``state.json`` under a file lock, contents in ``blobs/``. Faults are switched on by attributes."""

    def __init__(self, folder: Path, *, viewer: str = "ana") -> None:
        self.folder = folder
        self.user = viewer
        self.before_move: Callable[[], None] = lambda: None
        self.after_move: Callable[[], None] = lambda: None
        self.before_resolve: Callable[[str], None] = lambda _: None
        (folder / "blobs").mkdir(parents=True, exist_ok=True)
        if not (folder / "state.json").exists():
            self._save({"versions": {}, "collections": {}, "runs": {}})

    @contextlib.contextmanager
    def _locked(self) -> Iterator[dict[str, Any]]:
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = json.loads((self.folder / "state.json").read_text())
            yield state
            self._save(state)

    def _save(self, state: dict[str, Any]) -> None:
        path = self.folder / "state.json.new"
        path.write_text(json.dumps(state))
        path.rename(self.folder / "state.json")

    # what a test arranges

    def log(
        self,
        source: str,
        files: Mapping[str, str],
        *,
        type: str = "model",
        metadata: Mapping[str, Any] | None = None,
        run: str = "",
    ) -> str:
        """Log a version, as a run would; returns its artifact id."""
        with self._locked() as state:
            artifact_id = f"id-{source}"
            blobs = self.folder / "blobs" / artifact_id.replace("/", "_")
            shutil.rmtree(blobs, ignore_errors=True)
            for name, text in files.items():
                (blobs / name).parent.mkdir(parents=True, exist_ok=True)
                (blobs / name).write_text(text)
            state["versions"][artifact_id] = {
                "source": source,
                "type": type,
                "metadata": dict(metadata or {}),
                "run": run,
                "blobs": str(blobs),
                "digest": f"md5-{source}",
            }
            return artifact_id

    def record_run(self, facts: RunFacts, *, used: Sequence[str] = ()) -> None:
        """Record a run and the sources it used."""
        with self._locked() as state:
            state["runs"][facts.path] = {"facts": asdict(facts), "used": list(used)}

    def set_alias(self, collection: str, alias: str, source: str | None) -> None:
        """Move an alias as someone in the UI would."""
        with self._locked() as state:
            aliases = state["collections"].setdefault(collection, {"aliases": {}, "members": []})["aliases"]
            if source is None:
                aliases.pop(alias, None)
            else:
                aliases[alias] = f"id-{source}"

    def edit(self, source: str, **changes: Any) -> None:
        """Change the record of a version."""
        with self._locked() as state:
            state["versions"][f"id-{source}"].update(changes)

    def delete(self, source: str) -> None:
        with self._locked() as state:
            del state["versions"][f"id-{source}"]

    def holder(self, collection: str, alias: str) -> str | None:
        """Source that holds the alias."""
        version = self.resolve(f"{collection}:{alias}")
        return version.source if version else None

    # the port

    def resolve(self, name: str) -> Version | None:
        self.before_resolve(name)
        with self._locked() as state:
            if f"id-{name}" in state["versions"]:
                return self._version(state, f"id-{name}", name)
            collection, _, alias = name.rpartition(":")
            held = state["collections"].get(collection, {"aliases": {}})["aliases"].get(alias)
            return self._version(state, held, name) if held in state["versions"] else None

    def _version(self, state: dict[str, Any], artifact_id: str, name: str) -> Version:
        record = state["versions"][artifact_id]
        aliases = [
            alias
            for item in state["collections"].values()
            for alias, held in item["aliases"].items()
            if held == artifact_id
        ]
        return Version(
            name=name,
            source=record["source"],
            artifact_id=artifact_id,
            type=record["type"],
            digest=record["digest"],
            metadata=record["metadata"],
            description=record.get("description", ""),
            aliases=tuple(aliases),
        )

    def move_alias(self, version: Version, collection: str, alias: str) -> None:
        self.before_move()
        with self._locked() as state:
            item = state["collections"].setdefault(collection, {"aliases": {}, "members": []})
            item["aliases"][alias] = version.artifact_id
            if version.artifact_id not in item["members"]:
                item["members"].append(version.artifact_id)
        self.after_move()

    def remove_alias(self, collection: str, alias: str) -> None:
        self.set_alias(collection, alias, None)

    def versions(self, collection: str) -> Sequence[Version]:
        with self._locked() as state:
            item = state["collections"].get(collection, {"aliases": {}, "members": []})
            ids = dict.fromkeys([*item["members"], *item["aliases"].values()])
            return [
                self._version(state, i, state["versions"][i]["source"])
                for i in reversed(list(ids))
                if i in state["versions"]
            ]

    def download(self, version: Version, folder: Path) -> None:
        with self._locked() as state:
            record = state["versions"].get(version.artifact_id)
            if record is None:
                raise BackendError(f"can't download {version.source!r}: not found")
            shutil.copytree(record["blobs"], folder, dirs_exist_ok=True)

    def _facts(self, record: dict[str, Any]) -> RunFacts:
        facts = record["facts"]
        return RunFacts(**{**facts, "tags": tuple(facts["tags"])})

    def producer(self, version: Version) -> RunFacts | None:
        with self._locked() as state:
            run = state["versions"][version.artifact_id]["run"]
            return self._facts(state["runs"][run]) if run in state["runs"] else None

    def consumers(self, version: Version) -> Sequence[RunFacts]:
        with self._locked() as state:
            return [self._facts(item) for item in state["runs"].values() if version.source in item["used"]]

    def run(self, path: str) -> RunFacts | None:
        with self._locked() as state:
            return self._facts(state["runs"][path]) if path in state["runs"] else None

    def inputs(self, run: str) -> Sequence[Version]:
        with self._locked() as state:
            return [self._version(state, f"id-{source}", source) for source in state["runs"][run]["used"]]

    def outputs(self, run: str) -> Sequence[Version]:
        with self._locked() as state:
            return [self._version(state, i, r["source"]) for i, r in state["versions"].items() if r["run"] == run]

    def tagged_runs(self, project: str, tag: str) -> Sequence[RunFacts]:
        with self._locked() as state:
            facts = [self._facts(item) for item in state["runs"].values()]
            return [item for item in facts if tag in item.tags and item.path.startswith(project + "/")]

    def runs(self, project: str) -> Sequence[RunFacts]:
        with self._locked() as state:
            facts = [self._facts(item) for item in state["runs"].values()]
            return [item for item in reversed(facts) if item.path.startswith(project + "/")]

    def retag(self, run: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        with self._locked() as state:
            facts = state["runs"][run]["facts"]
            facts["tags"] = [tag for tag in facts["tags"] if tag not in remove and tag not in add] + list(add)

    def publish(self, publication: Publication) -> Version:
        with self._locked() as state:
            number = sum(1 for r in state["versions"].values() if f"/{publication.name}:" in r["source"])
            run_number = len(state["runs"])
        project = publication.project if "/" in publication.project else f"acme/{publication.project}"
        source, path = f"{project}/{publication.name}:v{number}", f"{project}/run{run_number}"
        self.record_run(
            RunFacts(
                path=path, state="finished", user=self.user, job_type=publication.job_type, summary=publication.summary
            ),
            used=publication.uses,
        )
        files = {
            p.relative_to(publication.folder).as_posix(): p.read_text()
            for p in publication.folder.rglob("*")
            if p.is_file()
        }
        self.log(source, files, type=publication.type, metadata=publication.metadata, run=path)
        version = self.resolve(source)
        assert version is not None
        return version

    def viewer(self) -> str:
        return self.user
