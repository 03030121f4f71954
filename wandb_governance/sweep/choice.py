"""From trials to a published choice: read them, choose, confirm on held-out questions, log the index."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from wandb_governance.errors import SweepError
from wandb_governance.sweep.build import obtain_index
from wandb_governance.sweep.compile import check_data
from wandb_governance.sweep.program import QUESTIONS_TABLE, holdout_questions, records_of
from wandb_governance.sweep.records import ResultsFile
from wandb_governance.sweep.select import select
from wandb_governance.sweep.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wandb_governance.backend.sweeps import SweepRuns
    from wandb_governance.sweep.cache import Store
    from wandb_governance.sweep.config import RagSweep
    from wandb_governance.sweep.records import TrialRecord
    from wandb_governance.sweep.select import Selection


@dataclass(frozen=True, kw_only=True)
class Trials:
    """The trials of a sweep, from a results folder or from W&B."""

    records: tuple[TrialRecord, ...]
    wandb: SweepRuns | None = None

    @property
    def sweep_path(self) -> str:
        """``entity/project/id``.

        Raises:
            SweepError: The trials are a results folder.
        """
        if self.wandb is None:
            raise SweepError("these trials are in a folder, not in W&B")
        return self.wandb.path


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedChoice:
    """Where the chosen index is."""

    folder: Path
    digest: str
    """SHA-256 of the index's manifest."""
    artifact: str | None
    """``entity/project/name:vN``; None where it was not published."""


def read_trials(where: str, sweep: RagSweep) -> Trials:
    """Trials of a results folder, or of a W&B sweep by its id.

    Raises:
        SweepError: There are none.
        SweepConfigError: The data on this machine is not that of the sweep.
        BackendError: W&B has no such sweep or can't be reached.
    """
    folder = Path(where)
    if folder.is_dir():
        identity = (sweep.corpus.digest, sweep.questions.digest, sweep.spec.metric.name)
        records = [r for r in ResultsFile(folder).read() if (r.corpus, r.questions, r.metric) == identity]
        if not records:
            raise SweepError(f"{folder} has no trials of this corpus, these questions and {sweep.spec.metric.name}")
        return Trials(records=tuple(records))
    from wandb_governance.backend.sweeps import read_sweep

    found = read_sweep(where, project=sweep.spec.project, table=QUESTIONS_TABLE)
    fixed = {key: value["value"] for key, value in found.config.get("parameters", {}).items() if "value" in value}
    check_data(sweep, fixed)
    records = records_of(found, sweep)
    if not records:
        raise SweepError(f"sweep {where} has no finished trial yet")
    return Trials(records=tuple(records), wandb=found)


def choose_from(trials: Trials, sweep: RagSweep, store: Store, *, holdout: bool) -> Selection:
    """The selection, confirmed on the held-out questions where there are any."""
    questions = holdout_questions(sweep) if holdout else []
    metric = sweep.spec.metric.name

    def confirm(records: Sequence[TrialRecord]) -> list[list[float]]:
        rows = []
        for record in records:
            trial = Trial(sweep=sweep, configuration=record.configuration, store=store, draw=f"holdout-{record.run}")
            results = trial.ask(questions).results
            rows.append([result.scores[metric] for result in results if metric in result.scores])
        return rows

    return select(
        trials.records,
        sweep.spec.constraints,
        seed=sweep.spec.search.seed,
        confirm=confirm if len(questions) > 1 else None,
    )


def publish(selection: Selection, trials: Trials, sweep: RagSweep, store: Store, *, in_wandb: bool) -> PublishedChoice:
    """Build the chosen index where it is not in the store, and log it in W&B where the trials are there.

    Raises:
        BackendError: W&B refused.
    """
    record = selection.choice.record
    trial = Trial(sweep=sweep, configuration=record.configuration, store=store)
    index = obtain_index(sweep.corpus, trial.index_spec, store)
    if not in_wandb or trials.wandb is None:
        return PublishedChoice(folder=index.folder, digest=index.digest, artifact=None)
    from wandb_governance.backend.sweeps import IndexArtifact, publish_index

    spec = sweep.spec.artifact
    with tempfile.TemporaryDirectory() as scratch:
        artifact = IndexArtifact(
            name=spec.name or f"{sweep.spec.name}-index",
            folder=index.folder,
            metadata=_metadata(selection, sweep, index.manifest, trials.wandb.id),
            aliases=(*spec.aliases, f"sweep-{trials.wandb.id}"),
            corpus_name=f"{sweep.spec.name}-corpus",
            corpus_files=corpus_files(sweep, Path(scratch)),
            registry=spec.registry,
        )
        published = publish_index(artifact, sweep=trials.wandb, winner=record.run)
    return PublishedChoice(folder=index.folder, digest=index.digest, artifact=published.path)


def corpus_files(sweep: RagSweep, scratch: Path) -> dict[str, Path]:
    """The corpus as one JSONL file: the same bytes for the same corpus, wherever it was read from."""
    file = scratch / "corpus.jsonl"
    with file.open("wb") as stream:
        for document in sweep.corpus.documents:
            stream.write(orjson.dumps({"id": document.id, "text": document.text}) + b"\n")
    return {file.name: file}


def _metadata(selection: Selection, sweep: RagSweep, manifest: dict[str, Any], sweep_id: str) -> dict[str, Any]:
    """What stays the same for the same choice: numbers that vary from run to run are left out."""
    choice = selection.choice
    return {
        "manifest": {**manifest, "documents": len(manifest["documents"])},
        "configuration": asdict(choice.record.configuration),
        "sweep": sweep_id,
        "run": choice.record.run,
        "questions": sweep.questions.digest,
        "metric": selection.metric,
        "value": choice.mean,
        "interval": [choice.low, choice.high],
        "p_best": choice.p_best,
        "claim": selection.claim,
    }
