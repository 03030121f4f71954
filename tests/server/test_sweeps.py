"""Sweeps with real agents."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.server.conftest import SdkScript


def test_a_python_agent_walks_a_whole_grid(sdk: SdkScript) -> None:
    """Every point is tried once, its runs carry their parameters, and the sweep ends by itself."""
    out = sdk(
        """
        import json, wandb
        sweep_id = wandb.sweep(
            {"method": "grid", "metric": {"name": "loss", "goal": "minimize"}, "parameters": {"a": {"values": [1, 2, 3]}}},
            project="grids",
        )
        def train():
            with wandb.init() as run:
                run.log({"loss": run.config.a})
        wandb.agent(sweep_id, function=train, project="grids", count=3)
        sweep = wandb.Api().sweep(f"grids/{sweep_id}")
        print(json.dumps({
            "points": sorted(run.config["a"] for run in sweep.runs), "states": sorted({run.state for run in sweep.runs}),
            "best": sweep.best_run().config["a"], "expected": sweep.expected_run_count, "state": sweep.state,
        }))
        """
    )
    assert json.loads(out.splitlines()[-1]) == {
        "points": [1, 2, 3],
        "states": ["finished"],
        "best": 1,
        "expected": 3,
        "state": "FINISHED",
    }
