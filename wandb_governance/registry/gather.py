"""Reads from W&B what gates look at. Each call reads anew."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from wandb_governance.errors import PromotionError, UnreadableError
from wandb_governance.registry.canonical import digest_of
from wandb_governance.registry.content import content_of
from wandb_governance.registry.gate import Candidate, Evaluation, Evidence
from wandb_governance.registry.identity import Account
from wandb_governance.registry.keys import VerifyKey
from wandb_governance.registry.suite import EVALUATION_TYPE, read_evaluation

if TYPE_CHECKING:
    from wandb_governance.backend.registry import Registry, RunFacts, Version
    from wandb_governance.registry.document import GovernanceDocument

OWN_PREFIX = "wandb-governance/"
"""Metadata keys that governance writes itself; they change after an approval without voiding it."""
_DATASET_TYPES = ("dataset", "corpus")


class Gatherer:
    """Reads candidates, evaluations and authorship.

    Args:
        registry: W&B.
        document: ``governance.yaml``.
        folder: Folder of ``governance.yaml``.
    """

    def __init__(self, *, registry: Registry, document: GovernanceDocument, folder: Path) -> None:
        self._registry = registry
        self._document = document
        self._folder = folder
        self._evaluators = [VerifyKey.parse(key) for key in document.trust.evaluators]

    def candidate(self, thing: str, name: str) -> tuple[Candidate, str]:
        """The candidate and the text of its model card.

        Raises:
            PromotionError: There is no such version, or its content can't be had.
        """
        version = self._registry.resolve(name)
        if version is None:
            raise PromotionError(f"there is no version {name!r} in W&B; use [entity/]project/artifact:vN")
        return self.describe(thing, version, asked=name)

    def describe(self, thing: str, version: Version, *, asked: str = "") -> tuple[Candidate, str]:
        """The candidate behind a version that was read; downloads it to digest its content."""
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            self._registry.download(version, folder)
            root = content_of(folder).root
            card = self._card(thing, folder)
        described = {
            "metadata": {key: value for key, value in version.metadata.items() if not key.startswith(OWN_PREFIX)},
            "description": version.description,
            "card": card,
        }
        candidate = Candidate(
            thing=thing,
            version=asked or version.source,
            source=version.source,
            artifact_id=version.artifact_id,
            digest=version.digest,
            root=root,
            metadata_digest=digest_of(described),
            metadata=version.metadata,
            description=version.description,
            created_at_ns=version.created_at_ns,
        )
        return candidate, card

    def evidence(
        self, thing: str, name: str, *, incumbent: Version | None, evaluation: str | None, now_ns: int
    ) -> Evidence:
        """Everything the gates of one promotion look at."""
        candidate, card = self.candidate(thing, name)
        unreadable: list[str] = []
        version = self._registry.resolve(candidate.source)
        assert version is not None
        producer = self._producer(version, unreadable)
        return Evidence(
            candidate=candidate,
            now_ns=now_ns,
            evaluation=self._evaluation(version, candidate.root, evaluation, unreadable),
            incumbent=None if incumbent is None else self.describe(thing, incumbent)[0],
            incumbent_evaluation=None if incumbent is None else self._evaluation(incumbent, None, None, unreadable),
            producer=producer,
            datasets=self._datasets(producer, unreadable),
            card=card,
            unreadable=tuple(unreadable),
            folder=str(self._folder),
        )

    def authors(self, evidence: Evidence, requester: str) -> tuple[Account, ...]:
        """Accounts of whoever made the candidate, evaluated it or asks for its promotion."""
        run = evidence.producer
        made = [Account(system="wandb", name=requester)]
        if run is not None:
            made += [Account(system="wandb", name=run.user), Account(system="email", name=run.email)]
        author = evidence.candidate.metadata.get("author")
        if isinstance(author, str):
            made.append(Account(system="email" if "@" in author else "wandb", name=author))
        return tuple(dict.fromkeys(account for account in made if account.name))

    def _producer(self, version: Version, unreadable: list[str]) -> RunFacts | None:
        try:
            return self._registry.producer(version)
        except UnreadableError:
            unreadable.append(f"the run behind {version.source}")
            return None

    def _datasets(self, producer: RunFacts | None, unreadable: list[str]) -> tuple[str, ...]:
        if producer is None:
            return ()
        try:
            used = self._registry.inputs(producer.path)
        except UnreadableError:
            unreadable.append(f"what {producer.path} used")
            return ()
        return tuple(version.source for version in used if version.type in _DATASET_TYPES)

    def _evaluation(
        self, version: Version, root: str | None, named: str | None, unreadable: list[str]
    ) -> Evaluation | None:
        """The newest evaluation of the version; one of exactly this content goes before one of other content."""
        if named is not None:
            found = self._registry.resolve(named)
            return None if found is None else self._read(found)
        try:
            runs = [run for run in self._registry.consumers(version) if run.job_type == EVALUATION_TYPE]
            artifacts = [a for run in runs for a in self._registry.outputs(run.path) if a.type == EVALUATION_TYPE]
        except UnreadableError:
            unreadable.append(f"the evaluations of {version.source}")
            return None
        read = [self._read(artifact) for artifact in artifacts]
        read.sort(key=lambda item: (root is None or item.subject_root == root, item.finished_at_ns))
        return read[-1] if read else None

    def _read(self, artifact: Version) -> Evaluation:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            self._registry.download(artifact, folder)
            return read_evaluation(artifact, folder, run=self._registry.producer(artifact), keys=self._evaluators)

    def _card(self, thing: str, folder: Path) -> str:
        named = self._document.governed[thing].card
        path = self._folder / named if named else folder / "README.md"
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return ""
