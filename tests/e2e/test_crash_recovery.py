"""Real processes killed for real, at random moments: what had returned to the user is in W&B exactly once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from wandb_governance.export.delivery import statuses
from wandb_governance.journal.journal import repair, verify

HERE = Path(__file__).parent


def _call_and_kill(folder: Path, after_s: float, threads: int) -> tuple[str, list[str]]:
    """Start the process, kill it ``after_s`` seconds after its first call returned; its run and returned calls."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / "calling_process.py"), str(threads)],
        stdout=subprocess.PIPE,
        cwd=folder,
        env={**os.environ, "WANDB_DIR": str(folder), "WANDB_GOVERNANCE_HOME": str(folder / "governance")},
    )
    assert process.stdout is not None
    try:
        lines = [process.stdout.readline(), process.stdout.readline()]
        time.sleep(after_s)
    finally:
        process.send_signal(signal.SIGKILL)
    lines += process.stdout.read().splitlines(keepends=True)
    process.stdout.close()
    process.wait()
    whole = [line.decode().strip() for line in lines if line.endswith(b"\n")]
    return whole[0].removeprefix("run "), whole[1:]


def _rows(folder: Path, run_id: str) -> Counter[str]:
    """Span ids of the run's ``llm_calls`` tables in what recovery wrote for W&B, each shard in its newest version."""
    newest: dict[str, Path] = {}
    for path in sorted(
        folder.glob(f"wandb/offline-run-*-{run_id}/files/media/table/llm_calls*.table.json"),
        key=lambda item: item.stat().st_mtime_ns,
    ):
        newest[path.name.rsplit("_", 2)[0]] = path
    rows: Counter[str] = Counter()
    for path in newest.values():
        table = json.loads(path.read_text())
        at = table["columns"].index("span_id")
        rows.update(row[at] for row in table["data"])
    return rows


def _kill_repeatedly(folder: Path, times: int, seed: int) -> None:
    chance = random.Random(seed)
    runs = [_call_and_kill(folder, chance.uniform(0, 0.4), chance.choice([1, 4])) for _ in range(times)]
    environment = {**os.environ, "WANDB_GOVERNANCE_HOME": str(folder / "governance")}
    command = [sys.executable, "-m", "wandb_governance", "recover", "--json"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
    assert len(json.loads(done.stdout)["runs"]) == times
    for status in statuses(folder / "governance"):
        assert repair(status.folder) == 0
        assert verify(status.folder).records == status.delivered
    for run_id, returned in runs:
        rows = _rows(folder, run_id)
        assert set(returned) <= set(rows), f"{run_id} lost {len(set(returned) - set(rows))} calls"
        assert max(rows.values()) == 1


def test_kill_9_at_random_moments(tmp_path: Path) -> None:
    """A few processes, one or four threads each."""
    _kill_repeatedly(tmp_path, times=4, seed=time.time_ns())


@pytest.mark.soak
@pytest.mark.timeout(3_600)
def test_kill_9_at_fifty_random_moments(tmp_path: Path) -> None:
    """Fifty processes."""
    _kill_repeatedly(tmp_path, times=50, seed=time.time_ns())
