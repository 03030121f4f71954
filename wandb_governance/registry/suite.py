"""Evaluation suites: a candidate answers a golden dataset; scores, verdicts, latency and cost become one artifact.

The artifact (type ``evaluation``) holds ``examples.jsonl``, ``verdicts.jsonl`` and ``attestation.dsse.json``: a signed
in-toto statement that binds the results to the content root of what was evaluated and of the dataset. Gates recompute
every figure from the examples, so that a metric edited later in W&B shows.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wandb_governance.backend.registry import Publication
from wandb_governance.errors import ApprovalError, GateError, RegistryError
from wandb_governance.registry import dsse
from wandb_governance.registry.attest import STATEMENT
from wandb_governance.registry.canonical import parse
from wandb_governance.registry.content import content_of, file_sha256
from wandb_governance.registry.gate import Evaluation

if TYPE_CHECKING:
    from wandb_governance.backend.registry import Registry, RunFacts, Version
    from wandb_governance.clock import Clock
    from wandb_governance.registry.keys import SigningKey, VerifyKey

EVALUATION_TYPE = "evaluation"
"""Artifact type of an evaluation."""
PREDICATE = "urn:wandb-governance:evaluation:v1"
SUMMARY_PREFIX = "evaluation/"
"""Run summary keys that repeat the attested metrics."""
_EXAMPLES, _VERDICTS, _ATTESTATION = "examples.jsonl", "verdicts.jsonl", "attestation.dsse.json"
_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the candidate gave for one example."""

    text: str
    latency_s: float | None = None
    """Measured around ``predict`` when None."""
    cost_usd: str | None = None
    """Decimal as text; None when unknown."""


Predict = Callable[[Mapping[str, Any]], Answer]
Scorer = Callable[[Mapping[str, Any], Answer], float]
Screen = Callable[[str, str], Sequence[Mapping[str, Any]]]
"""Text and scope (``input`` or ``output``) to one row per policy: ``policy``, ``action``, ``findings``, ``failure``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """How a candidate is evaluated."""

    scorers: Mapping[str, Scorer]
    """Metric name to a function into a finite number."""
    screen: Screen | None = None
    """The policy engine; without it there are no verdicts and ``policy_clean`` stays undecided."""
    groups: Sequence[str] = ()
    """Columns of an example that name a group, for fairness gates."""
    input_column: str = "question"
    metadata: Mapping[str, Any] = field(default_factory=dict)


def evaluate(
    suite: Suite,
    *,
    registry: Registry,
    candidate: str,
    dataset: str,
    predict: Predict,
    project: str,
    key: SigningKey,
    clock: Clock,
) -> Version:
    """Run the suite and publish its results, linked by lineage to candidate and dataset.

    Args:
        suite: What to score.
        registry: Where the candidate is.
        candidate: Version of what is evaluated.
        dataset: Version of the golden dataset: an artifact with one JSON object per line in ``*.jsonl``, each with an
            ``example_id``.
        predict: Asks the candidate.
        project: ``[entity/]project`` for the evaluation run.
        key: The evaluator's key.
        clock: Where the end time comes from.

    Raises:
        RegistryError: A version does not exist, or the dataset holds no example.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        subject, subject_root, _ = _fetched(registry, candidate, folder / "subject")
        golden, dataset_root, examples = _fetched(registry, dataset, folder / "dataset")
        rows, verdicts = _answers(suite, examples, predict)
        out = folder / "evaluation"
        out.mkdir()
        _write_lines(out / _EXAMPLES, rows)
        _write_lines(out / _VERDICTS, verdicts)
        roots = {"subject_root": subject_root, "dataset_root": dataset_root}
        metrics = _means(rows, suite.scorers)
        _attest(out, (subject, golden), roots, metrics, key=key, now_ns=clock.now_ns())
        return registry.publish(
            Publication(
                project=project,
                name=f"{subject.source.split('/')[-1].split(':')[0]}-evaluation",
                type=EVALUATION_TYPE,
                folder=out,
                metadata={**suite.metadata, **roots},
                uses=(subject.source, golden.source),
                summary={SUMMARY_PREFIX + name: value for name, value in metrics.items()},
                job_type=EVALUATION_TYPE,
            )
        )


def _attest(
    out: Path,
    versions: tuple[Version, Version],
    roots: Mapping[str, str],
    metrics: Mapping[str, float | None],
    *,
    key: SigningKey,
    now_ns: int,
) -> None:
    """Sign what was evaluated, on what, and what came out."""
    subject, golden = versions
    statement = {
        "_type": STATEMENT,
        "subject": [{"name": subject.source, "digest": {"sha256": roots["subject_root"]}}],
        "predicateType": PREDICATE,
        "predicate": {
            "dataset": {"name": golden.source, "digest": {"sha256": roots["dataset_root"]}},
            "files": {name: file_sha256(out / name) for name in (_EXAMPLES, _VERDICTS)},
            "metrics": dict(metrics),
            "finished_at_ns": now_ns,
        },
    }
    envelope = dsse.seal(statement, payload_type=dsse.IN_TOTO, key=key)
    (out / _ATTESTATION).write_text(json.dumps(envelope))


def read_evaluation(artifact: Version, folder: Path, *, run: RunFacts | None, keys: Sequence[VerifyKey]) -> Evaluation:
    """Read a downloaded evaluation and say whether it can be believed.

    Args:
        artifact: The evaluation artifact.
        folder: Its files.
        run: The run that logged it.
        keys: Keys of trusted evaluators.

    Raises:
        GateError: The files are not what an evaluation holds.
    """
    try:
        envelope = json.loads((folder / _ATTESTATION).read_text())
        statement, signed_by, problem = _statement(envelope, keys)
        predicate = statement["predicate"]
        examples, verdicts = _read_lines(folder / _EXAMPLES), _read_lines(folder / _VERDICTS)
        evaluation = Evaluation(
            artifact=artifact.source,
            subject_root=statement["subject"][0]["digest"]["sha256"],
            dataset=predicate["dataset"]["name"],
            dataset_root=predicate["dataset"]["digest"]["sha256"],
            run=run.path if run else "",
            run_state=run.state if run else "unknown",
            finished_at_ns=int(predicate["finished_at_ns"]),
            metrics=predicate["metrics"],
            examples=examples,
            verdicts=verdicts,
            signed_by=signed_by,
            problem=problem or _tampering(folder, predicate, examples, run),
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError, RegistryError) as error:
        raise GateError(f"{artifact.source} is no evaluation: {error}") from error
    return evaluation


def _statement(envelope: object, keys: Sequence[VerifyKey]) -> tuple[dict[str, Any], str, str]:
    """The statement, the key that signed it and what is wrong with the signature."""
    import base64

    try:
        value, key = dsse.unseal(envelope, payload_type=dsse.IN_TOTO, keys=keys)
    except ApprovalError as error:
        if keys:
            return parse(base64.b64decode(envelope["payload"])), "", str(error)  # type: ignore[index]
        return parse(base64.b64decode(envelope["payload"])), "", ""  # type: ignore[index]
    return value, key.key_id, ""


def _tampering(
    folder: Path, predicate: Mapping[str, Any], examples: Sequence[Mapping[str, Any]], run: RunFacts | None
) -> str:
    for name, digest in predicate["files"].items():
        if file_sha256(folder / name) != digest:
            return f"{name} is not the file that was attested"
    for metric, attested in predicate["metrics"].items():
        mean = _mean(examples, metric)
        if not _close(mean, attested):
            return f"{metric} is attested as {attested} but its examples give {mean}"
        shown = run.summary.get(SUMMARY_PREFIX + metric, attested) if run else attested
        if not _close(shown, attested):
            return f"{metric} was edited in the run's summary after the evaluation: {shown}, not {attested}"
    return ""


def _close(left: object, right: object) -> bool:
    if not isinstance(left, int | float) or not isinstance(right, int | float):
        return left is right
    return math.isclose(left, right, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)


def _fetched(registry: Registry, name: str, folder: Path) -> tuple[Version, str, list[dict[str, Any]]]:
    version = registry.resolve(name)
    if version is None:
        raise RegistryError(f"there is no version {name!r} in W&B")
    registry.download(version, folder)
    rows = [row for path in sorted(folder.rglob("*.jsonl")) for row in _read_lines(path)]
    return version, content_of(folder).root, rows


def _answers(
    suite: Suite, examples: Sequence[Mapping[str, Any]], predict: Predict
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    if not examples:
        raise RegistryError("the dataset holds no example (one JSON object per line in *.jsonl)")
    rows, verdicts = [], []
    for example in examples:
        key = str(example["example_id"])
        started = time.perf_counter_ns()
        answer = predict(example)
        measured = (time.perf_counter_ns() - started) / 1e9
        row: dict[str, Any] = {
            "example_id": key,
            "latency_s": answer.latency_s if answer.latency_s is not None else measured,
            "cost_usd": answer.cost_usd,
        }
        row |= {name: _finite(scorer(example, answer)) for name, scorer in suite.scorers.items()}
        row |= {group: example.get(group) for group in suite.groups}
        rows.append(row)
        if suite.screen is not None:
            texts = (("input", str(example.get(suite.input_column, ""))), ("output", answer.text))
            verdicts += [
                {"example_id": key, "scope": scope, **verdict}
                for scope, text in texts
                for verdict in suite.screen(text, scope)
            ]
    return rows, verdicts


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _means(rows: Sequence[Mapping[str, Any]], names: Mapping[str, object]) -> dict[str, float | None]:
    return {name: _mean(rows, name) for name in (*names, "latency_s")}


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float | None:
    values = [row.get(name) for row in rows]
    if not values or any(not isinstance(value, int | float) for value in values):
        return None
    return math.fsum(values) / len(values)  # type: ignore[arg-type]


def _write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, allow_nan=False, sort_keys=True) + "\n" for row in rows))


def _read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
