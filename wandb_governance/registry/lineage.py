"""From one prediction, or one artifact, to everything behind it.

The start is what was pinned when the call was made (``versions``, ``prompt_version``, ``index_version`` of the row): a
later move of an alias, a rename or a deletion can't rewrite it. What can't be read is told apart from what is not
there.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wandb_governance.errors import BackendError, RegistryError, UnreadableError
from wandb_governance.registry.promotion import all_promotions
from wandb_governance.registry.suite import EVALUATION_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from wandb_governance.backend.registry import Registry, RunFacts, Version
    from wandb_governance.registry.ledger import Ledger
    from wandb_governance.registry.promotion import Promotion

CALLS_TABLE = "llm_calls"
_TABLE_TYPE = "run_table"
_ID_COLUMNS = ("span_id", "trace_id", "prediction_id", "response_id")
_CODE = ("code", "commit")
_LIMIT = 500


class Presence(StrEnum):
    """Whether a node could be looked at."""

    KNOWN = "known"
    GONE = "gone"
    """Named by a record, but no longer in W&B."""
    UNREADABLE = "unreadable"
    """It may exist, but this account can't read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One thing of the graph."""

    id: str
    """``kind:name``, unique."""
    kind: str
    """``prediction``, ``artifact``, ``run``, ``commit``, ``promotion`` or ``approval``."""
    label: str
    presence: Presence = Presence.KNOWN
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """``source`` was made from, or decided by, ``target``."""

    source: str
    target: str
    relation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """What is behind ``root``."""

    root: str
    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...]

    def children(self, node: str) -> Iterator[tuple[str, Node]]:
        """Relation and node of everything directly behind a node."""
        for edge in self.edges:
            if edge.source == node:
                yield edge.relation, self.nodes[edge.target]


def find_prediction(registry: Registry, prediction: str, *, runs: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The run and the row of a prediction.

    Args:
        registry: W&B.
        prediction: ``span_id`` or ``trace_id`` of a row of ``llm_calls``.
        runs: Paths of the runs to look in.

    Raises:
        UnreadableError: It is in none of the readable runs, and some could not be read.
        RegistryError: It is in none of the runs.
    """
    unreadable = []
    for run in runs:
        try:
            for row in _rows(registry, run):
                if prediction in (row.get(name) for name in _ID_COLUMNS):
                    return run, row
        except UnreadableError:
            unreadable.append(run)
    if unreadable:
        raise UnreadableError(f"{prediction!r} is in no run this account can read; not read: {', '.join(unreadable)}")
    raise RegistryError(f"{prediction!r} is in {CALLS_TABLE} of none of {len(runs)} runs")


def _rows(registry: Registry, run: str) -> Iterator[dict[str, Any]]:
    for version in registry.outputs(run):
        if version.type != _TABLE_TYPE or CALLS_TABLE not in version.source:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            registry.download(version, Path(scratch))
            for path in sorted(Path(scratch).rglob("*.table.json")):
                table = json.loads(path.read_text())
                yield from (dict(zip(table["columns"], row, strict=True)) for row in table["data"])


class Tracer:
    """Walks from a start to everything behind it."""

    def __init__(self, *, registry: Registry, ledger: Ledger | None) -> None:
        self._registry = registry
        self._promotions = tuple(all_promotions(ledger).values()) if ledger else ()
        self._nodes: dict[str, Node] = {}
        self._edges: list[Edge] = []

    def prediction(self, prediction: str, run: str, row: Mapping[str, Any]) -> Graph:
        """The graph behind one row of ``llm_calls``."""
        shown = ("start", "provider", "request_model", "response_model", "verdict", "cost_usd", "status")
        root = self._add("prediction", prediction, facts={name: row.get(name) for name in shown})
        for relation, name in pinned(row):
            behind = self._add("commit", name) if relation in _CODE else self._artifact(name)
            self._link(root, behind, relation)
        self._link(root, self._run(run, deep=False), "recorded in run")
        return Graph(root=root, nodes=dict(self._nodes), edges=tuple(self._edges))

    def artifact(self, name: str) -> Graph:
        """The graph behind one artifact version."""
        root = self._artifact(name)
        return Graph(root=root, nodes=dict(self._nodes), edges=tuple(self._edges))

    def _artifact(self, name: str) -> str:
        node = f"artifact:{name}"
        if node in self._nodes or len(self._nodes) >= _LIMIT:
            return node if node in self._nodes else self._add("artifact", name, presence=Presence.UNREADABLE)
        try:
            version = self._registry.resolve(name)
        except BackendError:
            node = self._add("artifact", name, presence=Presence.UNREADABLE)
            self._decisions(node, name, artifact_id="")
            return node
        if version is None:
            node = self._add("artifact", name, presence=Presence.GONE)
            self._decisions(node, name, artifact_id="")
            return node
        node = f"artifact:{version.source}"
        if node in self._nodes:
            return node
        self._add("artifact", version.source, facts={"type": version.type, "digest": version.digest})
        self._behind(node, version)
        self._decisions(node, version.source, artifact_id=version.artifact_id)
        return node

    def _behind(self, node: str, version: Version) -> None:
        try:
            producer = self._registry.producer(version)
        except BackendError:
            self._link(node, self._add("run", f"of {version.source}", presence=Presence.UNREADABLE), "made by")
        else:
            if producer is not None:
                self._link(node, self._facts(producer, deep=True), "made by")
        try:
            evaluations = [run for run in self._registry.consumers(version) if run.job_type == EVALUATION_TYPE]
        except BackendError:
            evaluations = []
            missing = self._add("run", f"evaluations of {version.source}", presence=Presence.UNREADABLE)
            self._link(node, missing, "evaluated by")
        if version.type not in ("dataset", EVALUATION_TYPE):
            for run in evaluations:
                self._link(node, self._facts(run, deep=False), "evaluated by")

    def _run(self, path: str, *, deep: bool) -> str:
        try:
            run = self._registry.run(path)
        except BackendError:
            return self._add("run", path, presence=Presence.UNREADABLE)
        return self._add("run", path, presence=Presence.GONE) if run is None else self._facts(run, deep=deep)

    def _facts(self, run: RunFacts, *, deep: bool) -> str:
        node = f"run:{run.path}"
        if node in self._nodes:
            return node
        self._add("run", run.path, facts={"state": run.state, "user": run.user, "job_type": run.job_type})
        if run.commit:
            commit = self._add("commit", run.commit, facts={"repository": run.repository, "program": run.program})
            self._link(node, commit, "ran code")
        if deep:
            try:
                used = self._registry.inputs(run.path)
            except BackendError:
                missing = self._add("artifact", f"inputs of {run.path}", presence=Presence.UNREADABLE)
                self._link(node, missing, "used")
            else:
                for version in used:
                    self._link(node, self._artifact(version.source), "used")
        return node

    def _decisions(self, node: str, source: str, *, artifact_id: str) -> None:
        for promotion in self._promotions:
            same = promotion.candidate["artifact_id"] == artifact_id if artifact_id else False
            if same or promotion.candidate["source"] == source:
                self._link(node, self._promotion(promotion), f"{promotion.state} {promotion.alias}")

    def _promotion(self, promotion: Promotion) -> str:
        facts = {
            "state": promotion.state.value,
            "stage": promotion.stage,
            "root": promotion.candidate["root"],
            "rule": promotion.rule,
            "gates": {gate["gate"]: gate["status"] for gate in promotion.gates},
            "ledger_seq": promotion.committed_seq,
        }
        node = self._add("promotion", promotion.id, facts=facts)
        for envelope in promotion.votes:
            vote = _shown_vote(envelope)
            label = f"{vote['person']} {vote['choice']} ({vote['source']} {vote['reference']})".replace(" )", ")")
            approval = self._add("approval", f"{promotion.id}/{label}", label=label, facts=vote)
            self._link(node, approval, "decided by")
        if promotion.evaluation.get("run"):
            self._link(node, self._run(promotion.evaluation["run"], deep=False), "gated on")
        return node

    def _add(
        self,
        kind: str,
        name: str,
        *,
        label: str = "",
        presence: Presence = Presence.KNOWN,
        facts: Mapping[str, Any] | None = None,
    ) -> str:
        node = f"{kind}:{name}"
        self._nodes.setdefault(
            node, Node(id=node, kind=kind, label=label or name, presence=presence, facts=dict(facts or {}))
        )
        return node

    def _link(self, source: str, target: str, relation: str) -> None:
        edge = Edge(source=source, target=target, relation=relation)
        if edge not in self._edges:
            self._edges.append(edge)


def pinned(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Relation and exact version of everything a row says it used."""
    versions = row.get("versions") or {}
    if isinstance(versions, str):
        versions = json.loads(versions)
    found = [(str(relation), str(name)) for relation, name in sorted(versions.items()) if name]
    if row.get("index_version"):
        found.append(("index", str(row["index_version"])))
    prompt = row.get("prompt_version")
    if prompt and "prompt" not in versions and "/" in str(prompt):
        found.append(("prompt", str(prompt)))
    return found


def _shown_vote(envelope: Mapping[str, Any]) -> dict[str, Any]:
    import base64

    value: dict[str, Any] = json.loads(base64.b64decode(envelope["payload"]))
    return {name: value[name] for name in ("person", "choice", "source", "reference", "comment", "issued_at_ns")}
