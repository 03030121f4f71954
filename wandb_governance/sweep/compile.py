"""``rag.yaml`` as a W&B sweep configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from wandb_governance.errors import SweepConfigError

if TYPE_CHECKING:
    from wandb_governance.sweep.config import RagSweep

DATA_KEYS = ("corpus_digest", "questions_digest")
"""Fixed parameters by which a trial sees that it has the same data as its sweep."""


def sweep_config(sweep: RagSweep) -> dict[str, Any]:
    """The configuration that ``wandb sweep`` takes.

    Every combination of its parameters is possible: an overlap is a share of the size, or size and overlap are one
    parameter of possible pairs.

    Raises:
        SweepConfigError: The file asks for a search that W&B does not have.
    """
    spec = sweep.spec
    parameters = sweep.space.parameters()
    parameters["corpus_digest"] = {"value": sweep.corpus.digest[:16]}
    parameters["questions_digest"] = {"value": sweep.questions.digest[:16]}
    config: dict[str, Any] = {
        "name": spec.name,
        "description": f"RAG sweep of {spec.name}: {spec.metric.name} over {len(sweep.questions.questions)} questions",
        "program": "wandb-governance",
        "command": ["${env}", "wandb-governance", "sweep", "trial", sweep.file.name],
        "method": spec.search.method,
        "metric": {"name": spec.metric.name, "goal": "maximize"},
        "parameters": dict(sorted(parameters.items())),
    }
    if spec.project:
        config["project"] = spec.project
    if spec.search.runs:
        config["run_cap"] = spec.search.runs
    if spec.search.early_stop:
        if spec.search.scheduler == "optuna":
            raise SweepConfigError(
                "hyperband is the server's; with optuna leave early_stop out", key="search.early_stop"
            )
        config["early_terminate"] = {"type": "hyperband", "min_iter": 1, "eta": 3}
    if spec.search.scheduler:
        config["scheduler"] = {"engine": spec.search.scheduler}
        if spec.search.scheduler == "optuna":
            config["scheduler"] |= {"source": "rag_space.py", "search_space": "search_space", "optimizer": "optimizer"}
    return config


def config_text(config: dict[str, Any]) -> str:
    """The configuration as YAML, keys in the order given."""
    text: str = yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=120)
    return text


def check_data(sweep: RagSweep, parameters: dict[str, Any]) -> None:
    """Refuse a trial whose corpus or questions are not those of its sweep.

    Raises:
        SweepConfigError: They differ.
    """
    here = {"corpus_digest": sweep.corpus.digest[:16], "questions_digest": sweep.questions.digest[:16]}
    for key, value in here.items():
        if key in parameters and parameters[key] != value:
            what = key.removesuffix("_digest")
            raise SweepConfigError(
                f"the {what} on this machine is {value}, the sweep was made for {parameters[key]}; copy the data or "
                "make the sweep again",
                file=sweep.file,
                key=what,
            )
