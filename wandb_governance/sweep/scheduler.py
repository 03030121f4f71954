"""The space of a sweep for the optuna engine of the SDK's ``wandb sweep-scheduler``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_governance.errors import MissingExtraError

if TYPE_CHECKING:
    import optuna

    from wandb_governance.sweep.config import RagSweep

SOURCE_NAME = "rag_space.py"


def suggest(trial: optuna.Trial, sweep: RagSweep) -> dict[str, Any]:
    """Ask optuna for a value of every axis that has more than one; no combination is impossible.

    Args:
        trial: The trial that optuna is about to start.
        sweep: The sweep file.

    Returns:
        W&B parameters, the fixed ones included.
    """
    chosen: dict[str, Any] = {}
    for name, axis in sweep.space.parameters().items():
        if "value" in axis:
            chosen[name] = axis["value"]
        elif "values" in axis:
            chosen[name] = trial.suggest_categorical(name, axis["values"])
        elif axis["distribution"] == "int_uniform":
            chosen[name] = trial.suggest_int(name, axis["min"], axis["max"])
        else:
            chosen[name] = trial.suggest_float(name, axis["min"], axis["max"])
    return chosen


def study(sweep: RagSweep) -> optuna.Study:
    """A study that the sweep's seed decides, so that the same file asks for the same first trials.

    Raises:
        MissingExtraError: optuna is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError("optuna", extra="sweep") from error
    sampler = optuna.samplers.TPESampler(seed=sweep.spec.search.seed, multivariate=True, constant_liar=True)
    return optuna.create_study(direction="maximize", sampler=sampler)


def source_text(sweep: RagSweep) -> str:
    """The Python file that ``scheduler.source`` names."""
    return f'''"""Search space and study of {sweep.spec.name}, for: wandb sweep-scheduler SWEEP_ID"""

from pathlib import Path

from wandb_governance.sweep.config import load_sweep
from wandb_governance.sweep.scheduler import study, suggest

SWEEP = load_sweep(Path(__file__).with_name({sweep.file.name!r}))


def search_space(trial):
    """Ask for one configuration."""
    return suggest(trial, SWEEP)


def optimizer(sweep):
    """The study that chooses."""
    return study(SWEEP)
'''
