"""Where the demo's run goes: the embedded W&B server, or an offline run."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING

from wandb_governance.backend.wandb_sdk import WandbRun, start_run
from wandb_governance.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROJECT = "wandb-governance-demo"


@contextlib.contextmanager
def _finished(run: WandbRun) -> Iterator[WandbRun]:
    """The run, finished after the block, while its server still lives."""
    try:
        yield run
    finally:
        run.finish()


@contextlib.contextmanager
def demo_run(home: Path, *, offline: bool) -> Iterator[WandbRun]:
    """A W&B run on an embedded server that lives as long as the block, or offline.

    Args:
        home: The server keeps its data in ``server`` under it.
        offline: Use no server.
    """
    home.mkdir(parents=True, exist_ok=True)
    if offline:
        with _finished(start_run(project=PROJECT, mode="offline", directory=home)) as run:
            yield run
        return
    command = [sys.executable, "-m", "wandb_governance", "server"]
    data = ["--data-dir", str(home / "server")]
    started = subprocess.run(
        [*command, "--background", "--json", "--port", "0", *data], check=False, capture_output=True, text=True
    )
    if started.returncode:
        reason = started.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise ServerError(f"the embedded server did not start ({reason[0]}); --offline does without it")
    server = json.loads(started.stdout)
    try:
        started_run = start_run(
            project=PROJECT, mode="online", directory=home, base_url=server["url"], api_key=server["api_key"]
        )
        with _finished(started_run) as run:
            yield run
    finally:
        subprocess.run([*command, "stop", *data], check=False, capture_output=True)
