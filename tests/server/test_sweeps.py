"""Sweeps with real agents."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.server.conftest import SdkScript, sdk_env

if TYPE_CHECKING:
    from wandb_governance.server.process import RunningServer


def test_a_python_agent_walks_a_whole_grid(sdk: SdkScript) -> None:
    """Every point is tried once, its runs carry their parameters, and the sweep ends by itself."""
    out = sdk(
        """
        import json, wandb
        sweep_id = wandb.sweep(
            {"method": "grid", "metric": {"name": "loss", "goal": "minimize"},
             "parameters": {"a": {"values": [1, 2, 3]}}},
            project="grids",
        )
        def train():
            with wandb.init() as run:
                run.log({"loss": run.config.a})
        wandb.agent(sweep_id, function=train, project="grids", count=3)
        sweep = wandb.Api().sweep(f"grids/{sweep_id}")
        print(json.dumps({
            "points": sorted(run.config["a"] for run in sweep.runs),
            "states": sorted({run.state for run in sweep.runs}),
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


def _program(folder: Path, name: str) -> None:
    (folder / "train.py").write_text(
        "import wandb\n"
        "with wandb.init() as run:\n"
        "    for step in range(3):\n"
        "        run.log({'score': run.config['x'] * (step + 1)})\n"
    )
    (folder / "sweep.yaml").write_text(
        f"name: {name}\nprogram: train.py\nmethod: grid\nproject: {name}\n"
        "metric: {name: score, goal: maximize}\nparameters: {x: {values: [1, 2, 3, 4]}}\n"
        f"command: ['{sys.executable}', '${{program}}']\n"
    )


def _cli(env: dict[str, str], folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = str(Path(sys.executable).parent / "wandb")
    return subprocess.Popen(
        [command, *arguments], env=env | {"WANDB_SILENT": "false"}, cwd=folder, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


@pytest.mark.soak
def test_two_command_line_agents_share_a_grid(wandb_server: RunningServer, tmp_path: Path, sdk: SdkScript) -> None:
    """``wandb sweep`` and two ``wandb agent`` processes try each point once, and both agents end by themselves."""
    env = sdk_env(wandb_server.env, tmp_path)
    _program(tmp_path, "shared")
    created, _ = _cli(env, tmp_path, "sweep", "sweep.yaml").communicate(timeout=120)
    found = re.search(r"wandb agent (\S+)", created)
    assert found is not None, created
    agents = [_cli(env, tmp_path, "agent", found[1]) for _ in range(2)]
    for agent in agents:
        said, _ = agent.communicate(timeout=240)
        assert agent.returncode == 0, said
    out = sdk(
        """
        import json, sys, wandb
        sweep = wandb.Api().sweep(sys.argv[1])
        print(json.dumps([sorted(run.config["x"] for run in sweep.runs), sweep.state, len(sweep.agents())]))
        """,
        found[1],
    )
    assert json.loads(out.splitlines()[-1]) == [[1, 2, 3, 4], "FINISHED", 2]


@pytest.mark.soak
def test_the_sdks_local_controller_drives_a_sweep(sdk: SdkScript) -> None:
    """A controller in a process of its own schedules points, an agent runs them, and both end by themselves."""
    out = sdk(
        """
        import json, os, subprocess, sys, wandb
        config = {"method": "grid", "controller": {"type": "local"}, "metric": {"name": "loss", "goal": "minimize"},
                  "parameters": {"a": {"values": [1, 2]}}}
        own = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
        sweep_id = wandb.sweep(config, project="controlled")
        drive = f"import wandb; wandb.controller({sweep_id!r}, project='controlled').run(print_status=False)"
        controller = subprocess.Popen([sys.executable, "-c", drive], env=own)
        def train():
            with wandb.init() as run:
                run.log({"loss": run.config.a})
        wandb.agent(sweep_id, function=train, project="controlled")
        ended = controller.wait(timeout=60)
        sweep = wandb.Api().sweep(f"controlled/{sweep_id}")
        print(json.dumps([sorted(run.config["a"] for run in sweep.runs), sweep.state, ended]))
        """,
        timeout=200,
    )
    assert json.loads(out.splitlines()[-1]) == [[1, 2], "FINISHED", 0]


@pytest.mark.soak
def test_the_sdks_sweep_scheduler_feeds_a_sweep(wandb_server: RunningServer, tmp_path: Path, sdk: SdkScript) -> None:
    """``wandb sweep-scheduler`` searches in its own process; the server queues what it asks for."""
    env = sdk_env(wandb_server.env, tmp_path)
    _program(tmp_path, "scheduled")
    (tmp_path / "sched.yaml").write_text(
        "name: scheduled\nprogram: train.py\nproject: scheduled\nmethod: custom\nrun_cap: 3\n"
        "metric: {name: score, goal: maximize}\nparameters: {x: {values: [1, 2, 3, 4]}}\n"
        "scheduler: {engine: wandb, optimizer: {method: random}, search_space: {x: {values: [1, 2, 3, 4]}}}\n"
        f"command: ['{sys.executable}', '${{program}}']\n"
    )
    created, _ = _cli(env, tmp_path, "sweep", "sched.yaml").communicate(timeout=120)
    found = re.search(r"wandb agent (\S+)", created)
    assert found is not None, created
    scheduler = _cli(env, tmp_path, "sweep-scheduler", "--poll-interval", "1", found[1])
    try:
        agent = _cli(env, tmp_path, "agent", found[1])
        spoken, _ = agent.communicate(timeout=240)
        assert agent.returncode == 0, spoken
    finally:
        scheduler.kill()
        said, _ = scheduler.communicate()
    out = sdk(
        """
        import json, sys, wandb
        sweep = wandb.Api().sweep(sys.argv[1])
        print(json.dumps([len(sweep.runs), sorted({run.state for run in sweep.runs})]))
        """,
        found[1],
    )
    assert json.loads(out.splitlines()[-1]) == [3, ["finished"]], said
