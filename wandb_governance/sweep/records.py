"""Trials as plain records: what a results file holds, and what a W&B run gives back."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from wandb_governance.errors import SweepError
from wandb_governance.sweep.space import Configuration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wandb_governance.sweep.result import TrialResult

RESULTS = "trials.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """One finished or failed trial."""

    run: str
    """Id of the W&B run, or ``local-<configuration key>``."""
    configuration: Configuration
    metric: str
    corpus: str
    """Digest of the corpus."""
    questions: str
    """Digest of the question set, held-out ones included."""
    metrics: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    """The sweep's metric by question id."""
    index_key: str = ""
    warnings: tuple[str, ...] = ()
    error: str | None = None
    """Why the trial failed; then it has no scores."""

    def to_json(self) -> dict[str, Any]:
        """The record as a JSON object."""
        return {one.name: getattr(self, one.name) for one in fields(self)} | {
            "configuration": asdict(self.configuration)
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> TrialRecord:
        """The record that ``to_json`` wrote.

        Raises:
            SweepError: It was not written by ``to_json``.
        """
        try:
            fields = {**row, "configuration": Configuration(**row["configuration"]), "warnings": tuple(row["warnings"])}
            return cls(**fields)
        except (KeyError, TypeError) as error:
            raise SweepError(f"not a trial record: {error}") from error


def record_of(result: TrialResult, *, run: str, corpus: str, questions: str) -> TrialRecord:
    """The record of a trial that went well."""
    name = result.metric
    return TrialRecord(
        run=run,
        configuration=result.configuration,
        metric=name,
        corpus=corpus,
        questions=questions,
        metrics=result.metrics | {"score": result.score},
        scores={one.question: one.scores[name] for one in result.results if name in one.scores},
        index_key=result.index_key,
        warnings=result.warnings,
    )


class ResultsFile:
    """Records of trials, one JSON object a line; a line that was cut off by a crash is thrown away.

    Args:
        folder: Folder of the results; made where it is not there.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.file = self.folder / RESULTS

    def read(self) -> list[TrialRecord]:
        """All whole records, the last one of each configuration."""
        return list({record.configuration.key: record for record in self._records()}.values())

    def append(self, record: TrialRecord) -> None:
        """Add a record; it is on the disk when this returns."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.file.open("ab+") as stream:
            _drop_torn_line(stream.fileno())
            stream.write(orjson.dumps(record.to_json()) + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

    def _records(self) -> Iterator[TrialRecord]:
        if not self.file.is_file():
            return
        for line in self.file.read_bytes().split(b"\n")[:-1]:
            try:
                yield TrialRecord.from_json(json.loads(line))
            except json.JSONDecodeError:
                continue


def _drop_torn_line(descriptor: int) -> None:
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, min(size, 1 << 20), max(0, size - (1 << 20)))
    if tail and not tail.endswith(b"\n"):
        os.ftruncate(descriptor, size - len(tail) + tail.rfind(b"\n") + 1)
