"""The gates that ship; ``GATES`` maps the key in ``governance.yaml`` to the class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wandb_governance.registry.gates.completeness import LineageCompleteGate, ModelCardGate
from wandb_governance.registry.gates.custom import PythonGate
from wandb_governance.registry.gates.evaluation import EvaluationGate
from wandb_governance.registry.gates.metric import CostGate, FairnessGate, LatencyGate, MetricGate, NoRegressionGate
from wandb_governance.registry.gates.policy import PolicyCleanGate

if TYPE_CHECKING:
    from wandb_governance.registry.gates.base import GateSpec

GATES: dict[str, type[GateSpec]] = {
    "evaluation": EvaluationGate,
    "metric": MetricGate,
    "no_regression": NoRegressionGate,
    "fairness": FairnessGate,
    "latency": LatencyGate,
    "cost": CostGate,
    "policy_clean": PolicyCleanGate,
    "lineage_complete": LineageCompleteGate,
    "model_card_complete": ModelCardGate,
    "python": PythonGate,
}

__all__ = ["GATES"]
