"""Gates: what must be true of a candidate, as code. Whatever can't be decided does not pass."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from wandb_governance.errors import GateError

if TYPE_CHECKING:
    from wandb_governance.backend.registry import RunFacts


class Status(StrEnum):
    """What a gate says."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    UNDECIDED = "undecided"
    """It could not tell: it crashed, timed out, saw no examples or a value that is no number. Never a pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """What one gate said of one candidate."""

    gate: str
    """Name, such as ``metric:correctness``."""
    status: Status
    reason: str
    """One sentence with the figures."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Figures behind the reason, as JSON."""
    duration_ns: int = 0

    def as_json(self) -> dict[str, Any]:
        """The result as it stands in ledger, report and attestation."""
        return {"gate": self.gate, "status": self.status.value, "reason": self.reason, "facts": dict(self.facts)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """The exact thing that asks to be let in."""

    thing: str
    """Name in ``governance.yaml``."""
    version: str
    """The name it was asked for by."""
    source: str
    """The version a run logged."""
    artifact_id: str
    digest: str
    """W&B's own digest."""
    root: str
    """SHA-256 root over the content."""
    metadata_digest: str
    """SHA-256 of the metadata and description, without keys that governance writes."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    created_at_ns: int = 0

    @property
    def binding(self) -> dict[str, str]:
        """What approvals bind to."""
        return {"artifact_id": self.artifact_id, "root": self.root, "metadata": self.metadata_digest}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One evaluation run's results, checked against their own attestation."""

    artifact: str
    """Version of the evaluation artifact."""
    subject_root: str
    """SHA-256 root of what was evaluated."""
    dataset: str
    """Version of the dataset artifact."""
    dataset_root: str
    run: str
    """Path of the run."""
    run_state: str
    finished_at_ns: int
    metrics: Mapping[str, float | None]
    """Aggregates; None where one could not be computed."""
    examples: Sequence[Mapping[str, Any]]
    """One row per example: ``example_id``, metric columns, ``group`` columns, ``latency_s``, ``cost_usd``."""
    verdicts: Sequence[Mapping[str, Any]] = ()
    """Rows of the policy engine: ``example_id``, ``policy``, ``scope``, ``action``."""
    signed_by: str = ""
    """Key id of the signer; empty when nobody signed."""
    problem: str = ""
    """Why these results can't be believed; empty when they can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything a gate may look at. It is gathered once, before the first gate."""

    candidate: Candidate
    now_ns: int
    evaluation: Evaluation | None = None
    incumbent: Candidate | None = None
    """Who holds the alias now."""
    incumbent_evaluation: Evaluation | None = None
    producer: RunFacts | None = None
    """The run that logged the candidate."""
    datasets: Sequence[str] = ()
    """Dataset versions that the producer used."""
    card: str = ""
    """Text of the model card."""
    unreadable: Sequence[str] = ()
    """What the caller may not read; never the same as missing."""
    folder: str = "."
    """Folder of ``governance.yaml``, where custom gates are imported from."""

    def column(self, metric: str) -> dict[str, float]:
        """One metric per example id.

        Raises:
            GateError: There is no evaluation, no example, an example twice, or a value that is no finite number.
        """
        if self.evaluation is None:
            raise GateError("there is no evaluation of this version")
        return column(self.evaluation, metric)


class Gate(Protocol):
    """One condition. An implementation is immutable and reads nothing but the evidence."""

    @property
    def name(self) -> str:
        """Name in reports."""
        ...

    def evaluate(self, evidence: Evidence) -> GateResult:
        """Decide.

        Raises:
            GateError: It can't be decided; the caller records ``undecided``.
        """
        ...


def column(evaluation: Evaluation, metric: str) -> dict[str, float]:
    """One metric per example id of an evaluation; see ``Evidence.column``."""
    values: dict[str, float] = {}
    for row in evaluation.examples:
        key = str(row.get("example_id", ""))
        value = row.get(metric)
        if not key or key in values:
            raise GateError(f"example id {key!r} is empty or stands twice in {evaluation.artifact}")
        if isinstance(value, bool):
            value = float(value)
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise GateError(f"{metric!r} of example {key!r} is {value!r}, not a number")
        values[key] = float(value)
    if not values:
        raise GateError(f"{evaluation.artifact} holds no example")
    return values


def run_gates(gates: Sequence[Gate], evidence: Evidence) -> tuple[GateResult, ...]:
    """Every gate's result, in order; a gate that raises is undecided, and so is an empty list of gates."""
    if not gates:
        return (GateResult(gate="gates", status=Status.UNDECIDED, reason="no gate is defined for this stage"),)
    return tuple(_run(gate, evidence) for gate in gates)


def _run(gate: Gate, evidence: Evidence) -> GateResult:
    started = time.perf_counter_ns()
    try:
        result = gate.evaluate(evidence)
        if not isinstance(result, GateResult) or not isinstance(result.status, Status):
            raise GateError("the gate returned no result")
    except GateError as error:
        result = GateResult(gate=gate.name, status=Status.UNDECIDED, reason=str(error))
    except Exception as error:  # noqa: BLE001 a gate that crashes must close, whatever it raised
        result = GateResult(gate=gate.name, status=Status.UNDECIDED, reason=f"crashed: {type(error).__name__}: {error}")
    return GateResult(
        gate=result.gate,
        status=result.status,
        reason=result.reason,
        facts=_finite(result.facts),
        duration_ns=time.perf_counter_ns() - started,
    )


def overall(results: Sequence[GateResult]) -> Status:
    """A failure outweighs an undecided gate: both keep the candidate out, but the first is the candidate's fault."""
    statuses = {result.status for result in results}
    if Status.FAIL in statuses:
        return Status.FAIL
    return Status.PASS if statuses == {Status.PASS} else Status.UNDECIDED


def _finite(value: Any) -> Any:
    """Facts as JSON can hold them."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | None) else str(value)
