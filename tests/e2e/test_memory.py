"""Memory of a process that makes a hundred thousand calls."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import gc, sys
import wandb
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from wandb_governance_langchain import GovernanceCallbackHandler

def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

run = wandb.init(project="memory", settings=wandb.Settings(silent=True, console="off", x_disable_stats=True))
handler = GovernanceCallbackHandler(run=run)
model = FakeListChatModel(responses=["yes"])

def call(times):
    for number in range(times):
        model.invoke(f"question {number}", config={"callbacks": [handler]})
    handler.governance.flush(600)
    gc.collect()
    return resident_mb()

first, total = int(sys.argv[1]), int(sys.argv[2])
before = call(first)
print(before, call(total - first))
"""


@pytest.mark.soak
@pytest.mark.timeout(3_600)
def test_25_memory_is_flat_over_a_hundred_thousand_calls(tmp_path: Path) -> None:
    """After the first shards have filled, the process does not grow any more."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "30000", "100000"],
        cwd=tmp_path,
        env={**os.environ, "WANDB_DIR": str(tmp_path), "WANDB_GOVERNANCE_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=True,
    )
    before, after = map(float, done.stdout.split()[-2:])
    assert after - before < 40, f"{before:.0f} MB after 30,000 calls, {after:.0f} MB after 100,000"
