"""The unchanged ``wandb`` command line on a RAG sweep, against the embedded server."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from wandb_governance.errors import IndexIntegrityError
from wandb_governance.sweep.index import open_index

BIN = Path(sys.executable).parent

RAG = """name: flow
project: rag-flow
corpus: {path: corpus}
questions: {path: questions.jsonl, holdout: 0.25}
space:
  chunk_size: [128, 256]
  chunk_overlap: [0]
  top_k: [3, 5]
  retriever: [bm25]
metric: {name: recall}
artifact: {name: flow-index, registry: wandb-registry-index/flow, aliases: [best]}
"""


class Flow:
    """A folder with a sweep file, and commands run in it as a user runs them."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder = folder
        self.env = {
            **os.environ,
            **env,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "XDG_CACHE_HOME": str(folder / "xdg"),
            "WANDB_SILENT": "false",
        }

    def call(self, *command: str, timeout_s: float = 180) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr if command[0] == "wandb" else done.stdout

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def make_sweep(self) -> str:
        self.call("wandb-governance", "sweep", "config", "rag.yaml", "-o", "sweep.yaml")
        printed = self.call("wandb", "sweep", "sweep.yaml")
        return printed.rsplit("wandb agent ", 1)[1].split()[0]


@pytest.fixture
def flow(tmp_path: Path, wandb_env: dict[str, str]) -> Flow:
    flow = Flow(tmp_path, wandb_env)
    flow.call("wandb-governance", "sweep", "init", "--example", "rag.yaml")
    (tmp_path / "rag.yaml").write_text(RAG)
    return flow


def runs_of(sweep: str) -> list[Any]:
    import wandb

    return list(wandb.Api().sweep(sweep).runs)


@pytest.mark.timeout(900)
def test_two_agents_select_and_load_the_winner(flow: Flow) -> None:
    """init, config, wandb sweep, two wandb agents at once, select: winner, lineage, registry, retriever."""
    import wandb

    wandb.Api().create_registry("index", visibility="organization", artifact_types=["vector-index"])
    sweep = flow.make_sweep()
    agents = [flow.start("wandb", "agent", sweep) for _ in range(2)]
    for agent in agents:
        agent.wait(200)
    found = runs_of(sweep)
    assert sorted(run.config["chunk_size"] * 10 + run.config["top_k"] for run in found) == [1283, 1285, 2563, 2565]
    assert {run.state for run in found} == {"finished"}

    selected = json.loads(flow.call("wandb-governance", "sweep", "select", sweep, "--json"))
    assert {"winner", "metric", "confidence", "index_artifact"} <= set(selected)
    assert selected["metric"]["name"] == "recall"
    api = wandb.Api()
    artifact = api.artifact(selected["index_artifact"])
    assert artifact.type == "vector-index"
    assert {"best", f"sweep-{sweep.split('/')[-1]}"} <= set(artifact.aliases)
    assert artifact.metadata["configuration"] == selected["choice"]["configuration"]
    assert selected["choice"]["run"] in {run.id for run in artifact.used_by()}
    maker = artifact.logged_by()
    assert [used.type for used in maker.used_artifacts()] == ["corpus"]

    again = json.loads(flow.call("wandb-governance", "sweep", "select", sweep, "--json"))
    assert again["index_artifact"] == selected["index_artifact"]
    assert again["index_digest"] == selected["index_digest"]

    linked = api.artifact("wandb-registry-index/flow:best")
    folder = Path(linked.download(root=str(flow.folder / "downloaded")))
    assert open_index(folder).digest == selected["index_digest"]
    (folder / "chunks.jsonl").write_text("")
    with pytest.raises(IndexIntegrityError):
        open_index(folder)


@pytest.mark.timeout(900)
def test_a_killed_agent_costs_no_configuration(flow: Flow) -> None:
    """A kill -9 while a trial runs; another agent completes the grid, each configuration counted once."""
    sweep = flow.make_sweep()
    agent = flow.start("wandb", "agent", sweep)
    deadline = time.monotonic() + 90
    while not any(run.state == "running" for run in runs_of(sweep)) and time.monotonic() < deadline:
        time.sleep(0.2)
    os.killpg(agent.pid, signal.SIGKILL)
    agent.wait(10)
    killed = [run.id for run in runs_of(sweep) if run.state == "running"]
    assert killed
    flow.call("wandb-governance", "sweep", "agent", sweep, "rag.yaml", "--dead-after", "3")
    finished = [run for run in runs_of(sweep) if run.state == "finished"]
    points = sorted(run.config["chunk_size"] * 10 + run.config["top_k"] for run in finished)
    assert points == [1283, 1285, 2563, 2565]
    selected = json.loads(flow.call("wandb-governance", "sweep", "select", sweep, "--no-artifact", "--json"))
    assert selected["confidence"]["candidates"] + len(selected["excluded"]) == 4
    local = flow.folder / "local"
    flow.call("wandb-governance", "sweep", "run", "rag.yaml", "--results", str(local), "--no-cache", "--json")
    alone = json.loads(flow.call("wandb-governance", "sweep", "select", str(local), "--json"))
    assert alone["choice"]["configuration"] == selected["choice"]["configuration"]
    assert alone["metric"]["value"] == pytest.approx(selected["metric"]["value"], abs=1e-12)


def test_a_failing_trial_says_why_and_does_not_end_the_sweep(flow: Flow) -> None:
    """The run is failed with the reason; the program itself returns normally, so W&B's agent goes on."""
    sweep = flow.make_sweep()
    shutil.copyfile(flow.folder / "corpus" / "chatlogs.md", flow.folder / "corpus" / "another.md")
    flow.call("wandb-governance", "sweep", "agent", sweep, "rag.yaml", "--count", "1")
    (run,) = runs_of(sweep)
    assert run.state == "failed"
    assert "corpus" in run.summary["rag_error"]
