"""The Airflow sensor in a real DAG, by ``airflow dags test`` against the embedded server."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from registry.processes import seed
from registry.real_world import build

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("airflow", reason="runs in tox -e registry-airflow")

DAG = """
from airflow.sdk import DAG
from wandb_governance.registry.orchestration.airflow import PromotionSensor

with DAG("promote", schedule=None):
    PromotionSensor(task_id="staging", config={config!r}, thing="support-bot", version={version!r}, stage="staging",
                    poke_interval=1, timeout=60)
"""


@pytest.mark.timeout(600)
def test_a_dag_promotes_a_version(wandb_env: dict[str, str], tmp_path: Path) -> None:
    """Database, serialisation and run are Airflow's own."""
    world = build(tmp_path, "airbot")
    source = world.train(1)
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "promote.py").write_text(DAG.format(config=str(world.file), version=source))
    environ = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "WANDB_GOVERNANCE_SIGNING_KEY": seed(world),  # type: ignore[arg-type]
    }
    for command in (["db", "migrate"], ["dags", "reserialize"], ["dags", "test", "promote"]):
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *command],
            env=environ,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert world.holder("staging") == source
