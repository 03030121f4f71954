"""Several processes that share one run of a real server."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import sys
import wandb
from wandb_governance.runtime import Governance
from wandb_governance.tracing.span import LlmCall, SpanKind

run_id, rank, calls = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
settings = wandb.Settings(mode="shared", x_primary=rank == 0, x_label=f"rank-{rank}", silent=True, console="off",
                          x_update_finish_state=rank == 0, x_disable_stats=True)
run = wandb.init(project="shared", id=run_id, settings=settings)
governance = Governance(run=run)
for number in range(calls):
    span = governance.recorder.start(SpanKind.LLM, f"rank {rank} call {number}")
    span.llm = LlmCall(provider="openai", request_model="gpt-4o", usage={"prompt_tokens": 1, "completion_tokens": 1})
    span.end()
run.finish()
"""


def test_24_processes_that_share_a_run_lose_and_repeat_nothing(tmp_path: Path, wandb_server: Any) -> None:
    """Three processes write into one run at once; each row is in W&B once, the primary's under the plain name."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    environment |= {
        **wandb_server.env,
        "WANDB_DIR": str(tmp_path),
        "WANDB_GOVERNANCE_HOME": str(tmp_path / "home"),
        "WANDB_GOVERNANCE_FLUSH_TIMEOUT_S": "150",
    }
    processes = [
        subprocess.Popen([sys.executable, "-c", SCRIPT, "shared1", str(rank), "40"], cwd=tmp_path, env=environment)
        for rank in range(3)
    ]
    assert [process.wait(timeout=180) for process in processes] == [0, 0, 0]
    read = subprocess.run(
        [sys.executable, "-c", READ, "shared/shared1"], env=environment, check=True, capture_output=True, text=True
    )
    names = read.stdout.split("\n")[:-1]
    assert len(names) == len(set(names)) == 120


READ = """
import sys
import wandb

api = wandb.Api()
run = api.run(sys.argv[1])
for artifact in run.logged_artifacts():
    if "llm_calls" in artifact.name and "incr" not in artifact.name and "latest" in artifact.aliases:
        for key in artifact.manifest.entries:
            table = artifact.get(key)
            at = table.columns.index("span_id")
            for row in table.data:
                print(row[at])
"""
