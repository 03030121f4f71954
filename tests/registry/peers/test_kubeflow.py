"""The Kubeflow component, executed for real by ``kfp.local`` against the embedded server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from registry.processes import seed
from registry.real_world import build

if TYPE_CHECKING:
    from pathlib import Path

kfp = pytest.importorskip("kfp", reason="runs in tox -e registry-peers")


def test_a_pipeline_step_promotes_and_a_refused_version_fails_it(
    wandb_env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first version is let in; a worse one fails its step and moves nothing."""
    from kfp import local

    from wandb_governance.registry.orchestration.kubeflow import promote

    world = build(tmp_path, "kfpbot")
    good, worse = world.train(1), world.train(2, wrong=20)
    monkeypatch.setenv("WANDB_GOVERNANCE_SIGNING_KEY", seed(world))  # type: ignore[arg-type]
    monkeypatch.chdir(tmp_path)
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "root"), raise_on_error=True)
    # The package under test is installed already; a cluster would install the released one.
    promote.component_spec.implementation.container.command[2] = 'exec "$0" "$@"'
    task = promote(config=str(world.file), thing="support-bot", version=good, stage="staging")
    assert task.output == "committed"
    with pytest.raises(RuntimeError):
        promote(config=str(world.file), thing="support-bot", version=worse, stage="staging")
    assert world.holder("staging") == good
