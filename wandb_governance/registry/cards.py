"""Model cards in the Hugging Face form, and CycloneDX ML-BOMs, from what governance knows."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import yaml

from wandb_governance.registry.attest import iso_utc

if TYPE_CHECKING:
    from wandb_governance.registry.document import Governed
    from wandb_governance.registry.promotion import Promotion

_NAMESPACE = uuid.UUID("0b54b1f3-6a0e-5c4e-9f0f-6f6a2f8f7d42")
_MODEL_KINDS = ("base_model", "adapter", "embedding_model")


def model_card(name: str, thing: Governed, promotion: Promotion) -> str:
    """A README.md with YAML front matter that model hubs read.

    Args:
        name: Name in ``governance.yaml``.
        thing: Its entry there.
        promotion: The promotion whose version the card is of.
    """
    passed = [gate for gate in promotion.gates if gate["status"] == "pass"]
    metrics = [gate["gate"].partition(":")[2] for gate in passed if gate["gate"].startswith("metric:")]
    front: dict[str, Any] = {"license": thing.licence, "tags": ["wandb-governance", thing.kind], "model_name": name}
    if metrics:
        front["metrics"] = metrics
    if promotion.evaluation.get("dataset"):
        front["datasets"] = [promotion.evaluation["dataset"]]
    rows = "\n".join(f"| {gate['gate']} | {gate['status']} | {_cell(gate['reason'])} |" for gate in promotion.gates)
    return (
        f"---\n{yaml.safe_dump(front, sort_keys=True)}---\n\n# {name}\n\n"
        f"## Intended use\n\n{thing.intended_use}\n\n"
        f"## Governance\n\n- owner: {thing.owner}\n- risk level: {thing.risk}\n"
        f"- version: {promotion.candidate['source']}\n"
        f"- content SHA-256: {promotion.candidate['root']}\n- stage: {promotion.stage} ({promotion.state})\n"
        f"- promotion: {promotion.id}\n\n"
        f"## Evaluation\n\n| gate | result | reason |\n|---|---|---|\n{rows}\n"
    )


def ml_bom(name: str, thing: Governed, promotion: Promotion) -> dict[str, Any]:
    """A CycloneDX 1.6 document.

    Source:
        CycloneDX 1.6 JSON schema: component type machine-learning-model, modelCard.
    """
    candidate = promotion.candidate
    reference = f"wandb:{candidate['source']}"
    component: dict[str, Any] = {
        "type": "machine-learning-model" if thing.kind in _MODEL_KINDS else "data",
        "bom-ref": reference,
        "name": name,
        "version": candidate["source"].rpartition(":")[2],
        "hashes": [{"alg": "SHA-256", "content": candidate["root"]}],
        "licenses": [{"license": {"name": thing.licence}}],
        "properties": [
            {"name": "wandb-governance:source", "value": candidate["source"]},
            {"name": "wandb-governance:risk", "value": thing.risk},
            {"name": "wandb-governance:owner", "value": thing.owner},
            {"name": "wandb-governance:promotion", "value": promotion.id},
        ],
    }
    components = [component]
    dependencies: list[dict[str, Any]] = [{"ref": reference, "dependsOn": []}]
    dataset = promotion.evaluation.get("dataset")
    if dataset:
        data = f"wandb:{dataset}"
        components.append({"type": "data", "bom-ref": data, "name": dataset})
        dependencies = [{"ref": reference, "dependsOn": [data]}, {"ref": data, "dependsOn": []}]
    if component["type"] == "machine-learning-model":
        component["modelCard"] = _bom_card(thing, promotion)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, promotion.id)}",
        "version": 1,
        "metadata": {"timestamp": iso_utc(promotion.committed_at_ns or promotion.requested_at_ns)},
        "components": components,
        "dependencies": dependencies,
    }


def _bom_card(thing: Governed, promotion: Promotion) -> dict[str, Any]:
    metrics = [
        {"type": gate["gate"].partition(":")[2], "value": str(gate["facts"]["mean"])}
        for gate in promotion.gates
        if gate["gate"].startswith("metric:") and "mean" in gate.get("facts", {})
    ]
    card: dict[str, Any] = {"considerations": {"useCases": [thing.intended_use]}}
    if metrics:
        card["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    return card


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
