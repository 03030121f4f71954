"""The same company on the embedded W&B server, through the unmodified SDK."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wandb

from wandb_governance.backend.registry import WandbRegistry
from wandb_governance.clock import RandomIds, SystemClock
from wandb_governance.registry.keys import SigningKey
from wandb_governance.registry.ledger import Ledger
from wandb_governance.registry.session import open_session
from wandb_governance.registry.suite import Answer, Suite, evaluate
from wandb_governance.registry.workflow import Promoter

from .conftest import CARD, yaml_text

_SETTINGS = {"silent": True, "console": "off"}


@dataclass
class RealWorld:
    """Everything a promotion needs, in a project and a collection of this test's own."""

    folder: Path
    project: str
    people: dict[str, SigningKey]
    writer: SigningKey
    evaluator: SigningKey
    registry: WandbRegistry = field(default_factory=WandbRegistry)
    golden: str = ""

    @property
    def file(self) -> Path:
        return self.folder / "governance.yaml"

    @property
    def collection(self) -> str:
        return f"wandb-registry-model/{self.project}"

    def ledger(self) -> Ledger:
        return Ledger(self.folder / "ledger.db", clock=SystemClock(), key=self.writer)

    def promoter(self, **changes: Any) -> Promoter:
        from wandb_governance.registry.document import load_document

        return Promoter(
            document=load_document(self.file),
            folder=self.folder,
            registry=self.registry,
            ledger=self.ledger(),
            clock=SystemClock(),
            ids=RandomIds(),
            key=self.writer,
            **changes,
        )

    def session(self, **options: Any) -> Any:
        return open_session(self.file, write=True, registry=self.registry, **options)

    def log(self, name: str, type: str, files: dict[str, str], *, uses: tuple[str, ...] = (), **run: Any) -> str:
        """Log an artifact from a run of its own."""
        metadata = run.pop("metadata", {})
        with (
            tempfile.TemporaryDirectory() as scratch,
            wandb.init(project=self.project, dir=scratch, settings=wandb.Settings(**_SETTINGS), **run) as live,
        ):
            for used in uses:
                live.use_artifact(used)
            artifact = wandb.Artifact(name, type=type, metadata=metadata)
            for file, text in files.items():
                path = Path(scratch) / file
                path.write_text(text)
                artifact.add_file(str(path), name=file)
            live.log_artifact(artifact).wait()
            return str(artifact.qualified_name)

    def train(self, number: int, *, wrong: int = 0, tags: tuple[str, ...] = (), **options: Any) -> str:
        """Log a version of the model and evaluate it."""
        files = {"weights.json": json.dumps({"version": number, "wrong": wrong}), "README.md": CARD}
        source = self.log("adapter", "model", files, uses=(self.golden,), job_type="train", tags=tags, **options)
        self.evaluate(source, wrong=wrong)
        return source

    def evaluate(self, source: str, *, wrong: int = 0) -> str:
        def predict(example: Any) -> Answer:
            text = example["answer"] if int(example["example_id"]) >= wrong else "?"
            return Answer(text=text, latency_s=0.1, cost_usd="0.0001")

        suite = Suite(
            scorers={"correctness": lambda example, answer: float(answer.text == example["answer"])},
            screen=lambda text, scope: [{"policy": "pii-detector", "action": "allow"}],
            groups=("locale",),
        )
        return evaluate(
            suite,
            registry=self.registry,
            candidate=source,
            dataset=self.golden,
            predict=predict,
            project=f"local/{self.project}",
            key=self.evaluator,
            clock=SystemClock(),
        ).source

    def holder(self, alias: str) -> str | None:
        version = self.registry.resolve(f"{self.collection}:{alias}")
        return version.source if version else None


def build(folder: Path, project: str) -> RealWorld:
    """A company whose only W&B user is ana (``local`` on the embedded server)."""
    people = {name: SigningKey.generate() for name in ("ana", "ben", "cho", "dev", "eve")}
    world = RealWorld(
        folder=folder, project=project, people=people, writer=SigningKey.generate(), evaluator=SigningKey.generate()
    )
    text = yaml_text(people, world.writer, world.evaluator).replace("wandb: [ana]", "wandb: [ana, local]")
    text = text.replace("wandb-registry-model/support-bot", world.collection).replace(
        "acme/governance", "local/governance"
    )
    text = text.replace(
        "      - lineage_complete\n", "      - lineage_complete: {require: [producer, dataset, evaluation]}\n"
    )
    world.file.write_text(text)
    rows = [
        {"example_id": str(i), "question": f"q{i}", "answer": f"a{i}", "locale": "de" if i % 2 else "en"}
        for i in range(60)
    ]
    world.golden = world.log("golden", "dataset", {"golden.jsonl": "".join(json.dumps(row) + "\n" for row in rows)})
    return world
