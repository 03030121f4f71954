"""Which control of a framework has evidence in the ledger. It says what is there; it never says "compliant"."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import yaml

from wandb_governance.errors import RegistryError
from wandb_governance.registry.promotion import State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wandb_governance.registry.document import GovernanceDocument
    from wandb_governance.registry.ledger import Entry
    from wandb_governance.registry.promotion import Promotion

FRAMEWORKS = ("nist-ai-rmf", "eu-ai-act", "iso-42001")
_SIX_MONTHS_NS = 184 * 86_400 * 1_000_000_000
_LIVE = (State.COMMITTED, State.DEPLOYED, State.ROLLED_BACK)


class Coverage(StrEnum):
    """How much evidence a control has."""

    EVIDENCED = "evidenced"
    PARTLY = "partly"
    NOT_COVERED = "not covered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What evidence is looked for in."""

    document: GovernanceDocument
    promotions: Sequence[Promotion]
    entries: Sequence[Entry]
    now_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlEvidence:
    """One control and what speaks for it."""

    id: str
    about: str
    coverage: Coverage
    found: Mapping[str, Sequence[str]]
    """Kind of evidence to pointers: ``ledger:12``, ``governance.yaml:governed.bot``."""
    missing: Sequence[str]
    """Kinds that were looked for and not found."""


def assess(framework: str, facts: Facts) -> tuple[ControlEvidence, ...]:
    """Every control of a framework.

    Raises:
        RegistryError: The framework is unknown.
    """
    if framework not in FRAMEWORKS:
        raise RegistryError(f"{framework!r} is unknown; known are {', '.join(FRAMEWORKS)}")
    text = (files("wandb_governance.registry") / "frameworks" / f"{framework}.yaml").read_text(encoding="utf-8")
    return tuple(_assess(control, facts) for control in yaml.safe_load(text)["controls"])


def _assess(control: Mapping[str, Any], facts: Facts) -> ControlEvidence:
    found = {kind: pointers for kind in control["needs"] if (pointers := _KINDS[kind](facts))}
    missing = [kind for kind in control["needs"] if kind not in found]
    coverage = Coverage.NOT_COVERED
    if found:
        coverage = Coverage.PARTLY if missing else Coverage.EVIDENCED
    return ControlEvidence(id=control["id"], about=control["about"], coverage=coverage, found=found, missing=missing)


def _promoted(test: Callable[[Promotion], bool]) -> Callable[[Facts], list[str]]:
    def look(facts: Facts) -> list[str]:
        return [
            f"ledger:{p.committed_seq}" for p in facts.promotions if p.state in _LIVE and not p.rollback and test(p)
        ]

    return look


def _gate(*prefixes: str) -> Callable[[Facts], list[str]]:
    def passed(promotion: Promotion) -> bool:
        return any(g["gate"].split(":")[0] in prefixes and g["status"] == "pass" for g in promotion.gates)

    return _promoted(passed)


def _kinds(*kinds: str) -> Callable[[Facts], list[str]]:
    return lambda facts: [f"ledger:{entry.seq}" for entry in facts.entries if entry.kind in kinds]


def _things(facts: Facts) -> list[str]:
    return [f"governance.yaml:governed.{name}" for name in facts.document.governed]


def _approved_stages(facts: Facts) -> list[str]:
    return [f"governance.yaml:stages.{name}" for name, stage in facts.document.stages.items() if stage.approvals]


def _six_months(facts: Facts) -> list[str]:
    old = [entry for entry in facts.entries[:1] if facts.now_ns - entry.at_ns >= _SIX_MONTHS_NS]
    return [f"ledger:{entry.seq}" for entry in old]


_KINDS: dict[str, Callable[[Facts], list[str]]] = {
    "approvals": _promoted(lambda p: bool(p.votes)),
    "dataset": _promoted(lambda p: bool(p.evaluation.get("dataset"))),
    "drift_detection": _kinds("drifted", "repaired", "reconciled"),
    "evaluation": _promoted(lambda p: bool(p.evaluation)),
    "fairness": _gate("fairness"),
    "gates": _promoted(lambda p: bool(p.gates)),
    "intended_use": _things,
    "inventory": _things,
    "ledger": lambda facts: [f"ledger:1-{facts.entries[-1].seq}"] if facts.entries else [],
    "ledger_six_months": _six_months,
    "licence": _things,
    "lineage": _gate("lineage_complete"),
    "model_card": _gate("model_card_complete"),
    "monitoring": lambda _: [],
    "policy_clean": _gate("policy_clean"),
    "policy_version": _promoted(lambda p: bool(p.rule)),
    "regression_test": _gate("no_regression"),
    "risk_level": _things,
    "rollback": lambda facts: [f"ledger:{p.committed_seq}" for p in facts.promotions if p.rollback and p.committed_seq],
    "separation_of_duties": _approved_stages,
}
