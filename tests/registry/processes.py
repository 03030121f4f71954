"""Starts real processes that drive promotions."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .conftest import World

DRIVER = Path(__file__).with_name("driver.py")


def seed(world: World) -> str:
    """The ledger key as the environment holds it."""
    return base64.b64encode(world.writer.private.private_bytes_raw()).decode()


def start(world: World, do: list[list[str]], *, registry: str | None = None, **options: Any) -> subprocess.Popen[str]:
    """A process that promotes; see ``driver.py``."""
    wanted = {"config": str(world.file), "registry": registry or f"folder:{world.registry.folder}", "do": do, **options}
    environ = {**os.environ, "WANDB_GOVERNANCE_SIGNING_KEY": seed(world)}
    return subprocess.Popen(
        [sys.executable, str(DRIVER), json.dumps(wanted)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    )


def finish(process: subprocess.Popen[str], *, timeout_s: float = 120) -> list[Any]:
    """What the process printed."""
    out, err = process.communicate(timeout=timeout_s)
    assert process.returncode in (0, -9), err
    return [json.loads(line) for line in out.splitlines()]
