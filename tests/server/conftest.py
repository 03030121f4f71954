"""Tools of the server's tests: a real server process, and the SDK in processes of their own."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import textwrap
import urllib.request
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wandb_governance.server.process import RunningServer


class SdkScript(Protocol):
    """Runs Python source that uses the unmodified SDK, in a process of its own."""

    def __call__(self, source: str, *args: str, timeout: float = 120) -> str:
        """What it printed; fails the test when it fails."""
        ...


@pytest.fixture
def sdk(wandb_server: RunningServer, tmp_path: Path) -> Iterator[SdkScript]:
    """The unmodified SDK against the session's server; fails when it asked for a field that has no resolver."""
    yield sdk_against(wandb_server.env, tmp_path)
    assert unresolved(wandb_server) == {}


def unresolved(server: RunningServer) -> dict[str, int]:
    """Fields that clients asked a server for and that no resolver knows."""
    token = base64.b64encode(f"api:{server.api_key}".encode()).decode()
    request = urllib.request.Request(f"{server.url}/api/unresolved", headers={"Authorization": f"Basic {token}"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        found: dict[str, int] = json.load(answer)["unresolved"]
    return found


def sdk_env(env: dict[str, str], folder: Path) -> dict[str, str]:
    """A process environment that points the SDK at a server and keeps its files in ``folder``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    own = {
        "WANDB_DIR": str(folder),
        "WANDB_CACHE_DIR": str(folder / "cache"),
        "WANDB_DATA_DIR": str(folder / "data"),
        "WANDB_CONFIG_DIR": str(folder / "config"),
        "WANDB_SILENT": "true",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL": "0.5",
        "PYTHONWARNINGS": "ignore",
    }
    return {**kept, **own, **env}


def sdk_against(env: dict[str, str], folder: Path) -> SdkScript:
    """The unmodified SDK against a server."""

    def run(source: str, *args: str, timeout: float = 120) -> str:
        script = folder / "script.py"
        script.write_text(textwrap.dedent(source))
        done = subprocess.run(
            [sys.executable, str(script), *args],
            env=sdk_env(env, folder),
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run
