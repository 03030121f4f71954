"""``governance.yaml``: what is governed, by which stages, gates and people. Committed; it never holds a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from wandb_governance.errors import GovernanceFileError, SettingsError
from wandb_governance.registry.canonical import digest_of
from wandb_governance.registry.gates import GATES
from wandb_governance.registry.gates.base import DurationNs, GateSpec, Section
from wandb_governance.registry.gates.evaluation import EvaluationGate
from wandb_governance.registry.keys import VerifyKey
from wandb_governance.registry.targets import Target, TicketSystems
from wandb_governance.registry.yaml_lines import MarkedDocument, load_marked

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_FILE = "governance.yaml"
ALIAS = re.compile(r"[a-z][a-z0-9_.-]{0,62}[a-z0-9]")
_NEEDS_EVALUATION = {"metric", "no_regression", "fairness", "latency", "cost", "policy_clean"}
_RESERVED = re.compile(r"latest|v[0-9]+")

Kind = Literal["base_model", "adapter", "embedding_model", "prompt", "dataset", "vector_index", "rag_configuration"]
System = Literal["cli", "jira", "servicenow", "github", "credoai"]


def _verify_key(text: str) -> str:
    try:
        VerifyKey.parse(text)
    except SettingsError as error:
        raise ValueError(str(error)) from error
    return text


Names = Annotated[tuple[str, ...], Field(strict=False)]
PublicKey = Annotated[str, BeforeValidator(_verify_key)]


class Trust(Section):
    """Public keys whose signatures count."""

    ledger: tuple[PublicKey, ...] = Field(default=(), strict=False)
    """Keys that write the ledger."""
    evaluators: tuple[PublicKey, ...] = Field(default=(), strict=False)
    """Keys that sign evaluation results."""


class Person(Section):
    """Someone who may train, approve or own; all accounts of one human stand here together."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    roles: tuple[str, ...] = Field(default=(), strict=False)
    accounts: dict[str, Names] = Field(default_factory=dict)
    """Account names by system: ``wandb``, ``email``, ``jira``, ``servicenow``, ``github``, ``credoai``."""
    keys: tuple[PublicKey, ...] = Field(default=(), strict=False)


class ServiceAccount(Section):
    """A machine's account. It never approves."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    accounts: dict[str, Names] = Field(default_factory=dict)
    responsible: str
    """The person who stands behind what it does; excluded from approving it."""


class ApprovalRule(Section):
    """How many distinct people must approve, and who."""

    count: int = Field(ge=1)
    roles: dict[str, int] = Field(default_factory=dict)
    """At least this many of the approvers, by role; one person fills one place only."""
    expires_after: DurationNs = 72 * 3_600 * 1_000_000_000
    sources: tuple[System, ...] = Field(default=("cli",), min_length=1, strict=False)
    clock_skew: DurationNs = 600 * 1_000_000_000
    """How far another system's clock may be off; an approval this close to its end no longer counts."""

    @model_validator(mode="after")
    def _enough_places(self) -> Self:
        if sum(self.roles.values()) > self.count:
            raise ValueError(f"roles ask for {sum(self.roles.values())} people, count only for {self.count}")
        return self


class Stage(Section):
    """One step on the way to production."""

    alias: str
    requires: str | None = None
    """Stage this version must have reached before."""
    gates: tuple[Any, ...] = Field(default=(), strict=False)
    approvals: ApprovalRule | None = None
    rollout: tuple[str, ...] = Field(default=(), strict=False)
    """Names of targets that are told once the alias has moved."""
    rollback_within: DurationNs = 90 * 86_400 * 1_000_000_000
    """How long after it was let in a version may be gone back to without a new approval."""

    @field_validator("alias")
    @classmethod
    def _plain_alias(cls, alias: str) -> str:
        if not ALIAS.fullmatch(alias) or _RESERVED.fullmatch(alias):
            raise ValueError("an alias is lower-case ASCII, starts with a letter and is neither latest nor vN")
        return alias

    @field_validator("gates", mode="before")
    @classmethod
    def _read_gates(cls, value: Any) -> Any:
        if not isinstance(value, list):
            raise ValueError("must be a list of gates")  # noqa: TRY004 pydantic wants ValueError
        gates = [_gate(index, item) for index, item in enumerate(value)]
        if _NEEDS_EVALUATION & {gate.kind for gate in gates} and not any(g.kind == "evaluation" for g in gates):
            gates.insert(0, EvaluationGate())
        return tuple(gates)


class Governed(Section):
    """One model, prompt, dataset, index or configuration, with what must be said of it."""

    kind: Kind
    collection: str = Field(pattern=r"^([^/:\s]+/)?wandb-registry-[^/:\s]+/[^/:\s]+$")
    owner: str
    licence: str = Field(min_length=1)
    risk: Literal["minimal", "limited", "high"]
    intended_use: str = Field(min_length=10)
    card: str | None = None
    """Path of the model card, relative to this file; without it, README.md inside the artifact."""
    stages: tuple[str, ...] = Field(default=(), strict=False)
    """Stages it may reach; empty: all."""


class GovernanceDocument(Section):
    """The whole file."""

    version: Literal[1]
    ledger: str = ".wandb-governance/ledger.db"
    project: str = "governance"
    """``[entity/]project`` for what governance itself logs: anchors, results."""
    trust: Trust = Trust()
    people: tuple[Person, ...] = Field(default=(), strict=False)
    service_accounts: tuple[ServiceAccount, ...] = Field(default=(), strict=False)
    governed: dict[str, Governed] = Field(min_length=1)
    stages: dict[str, Stage] = Field(min_length=1)
    targets: dict[str, Target] = Field(default_factory=dict)
    tickets: TicketSystems = TicketSystems()

    @model_validator(mode="after")
    def _names_resolve(self) -> Self:
        people = {person.id for person in self.people}
        for name, thing in self.governed.items():
            _known(f"governed.{name}.owner", thing.owner, people)
            for stage in thing.stages:
                _known(f"governed.{name}.stages", stage, self.stages)
        for account in self.service_accounts:
            _known(f"service_accounts.{account.id}.responsible", account.responsible, people)
        for name, stage_rule in self.stages.items():
            if stage_rule.requires is not None:
                _known(f"stages.{name}.requires", stage_rule.requires, self.stages)
            for target in stage_rule.rollout:
                _known(f"stages.{name}.rollout", target, self.targets)
        self._unique_accounts()
        return self

    def _unique_accounts(self) -> None:
        owners: dict[tuple[str, str], str] = {}
        holders: list[Person | ServiceAccount] = [*self.people, *self.service_accounts]
        for holder in holders:
            for system, names in holder.accounts.items():
                for name in names:
                    other = owners.setdefault((system, name.casefold()), holder.id)
                    if other != holder.id:
                        raise ValueError(f"the {system} account {name!r} belongs to both {other!r} and {holder.id!r}")
        aliases = [stage.alias for stage in self.stages.values()]
        if len(set(aliases)) != len(aliases):
            raise ValueError("two stages share one alias")

    def rule_digest(self, thing: str, stage: str) -> str:
        """SHA-256 of everything that decides about ``thing`` entering ``stage``: what approvals call policy version."""
        rule = self.stages[stage]
        gates = [{gate.kind: gate.model_dump(mode="json")} for gate in rule.gates]
        return digest_of(
            {
                "thing": self.governed[thing].model_dump(mode="json"),
                "stage": {**rule.model_dump(mode="json", exclude={"gates"}), "name": stage, "gates": gates},
                "evaluators": sorted(self.trust.evaluators),
            }
        )

    def ledger_keys(self) -> tuple[VerifyKey, ...]:
        """Keys that may sign ledger entries."""
        return tuple(VerifyKey.parse(key) for key in self.trust.ledger)

    def thing_of(self, collection: str) -> str | None:
        """Name of what is governed in this collection, whatever organisation stands before it."""
        short = "/".join(collection.split("/")[-2:])
        for name, thing in self.governed.items():
            if "/".join(thing.collection.split("/")[-2:]) == short:
                return name
        return None


def load_document(path: Path) -> GovernanceDocument:
    """Read and check ``governance.yaml``.

    Raises:
        GovernanceFileError: Names file, line and key of the first thing that is wrong.
    """
    marked = load_marked(path)
    if not isinstance(marked.value, Mapping):
        raise GovernanceFileError("must be a mapping with version, governed and stages", file=path, line=1)
    try:
        return GovernanceDocument.model_validate(marked.value)
    except ValidationError as error:
        raise _located(error, marked) from error


def _gate(index: int, item: Any) -> GateSpec:
    if isinstance(item, str):
        item = {item: {}}
    if not isinstance(item, dict) or len(item) != 1:
        raise _GateError(index, "", "a gate is one key, such as `metric: {metric: correctness, at_least: 0.8}`")
    kind, settings = next(iter(item.items()))
    if kind not in GATES:
        raise _GateError(index, kind, f"is no gate; known are {', '.join(GATES)}")
    try:
        return GATES[kind].model_validate(settings or {})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join([kind, *(str(part) for part in first["loc"])])
        raise _GateError(index, key, _said(first)) from error


class _GateError(ValueError):
    """What is wrong with one gate, and where inside the list."""

    def __init__(self, index: int, key: str, message: str) -> None:
        self.path: tuple[str | int, ...] = (index, *(part for part in key.split(".") if part))
        self.said = message
        super().__init__(message)


def _located(error: ValidationError, marked: MarkedDocument) -> GovernanceFileError:
    problems = error.errors(include_url=False)
    # A misspelt key is both unknown and missing: the first says more.
    first = next((item for item in problems if item["type"] == "extra_forbidden"), problems[0])
    location: tuple[str | int, ...] = tuple(part for part in first["loc"] if part != "[key]")
    message = _said(first)
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, _GateError):
        location, message = (*location, *cause.path), cause.said
    elif isinstance(cause, _UnknownNameError):
        location, message = tuple(cause.key.split(".")), cause.said
    key = ".".join(str(part) for part in location) or None
    return GovernanceFileError(message, file=marked.file, line=marked.line_of(location), key=key)


def _said(problem: Mapping[str, Any]) -> str:
    if problem["type"] == "extra_forbidden":
        return "is not a key here; check the spelling"
    if problem["type"] == "missing":
        return "is missing"
    text: str = problem["msg"]
    return text.removeprefix("Value error, ")


class _UnknownNameError(ValueError):
    def __init__(self, key: str, message: str) -> None:
        self.key = key
        self.said = message
        super().__init__(message)


def _known(key: str, name: str, names: Any) -> None:
    if name not in names:
        raise _UnknownNameError(key, f"{name!r} is not defined; known are {', '.join(sorted(names)) or 'none'}")
