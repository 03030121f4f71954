"""``wandb verify``: W&B's own check of a server."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.server.conftest import sdk_env, unresolved

if TYPE_CHECKING:
    from wandb_governance.server.process import RunningServer

WITHOUT_HTTPS = {"Checking requests to base url", "Checking requests made over signed URLs"}
"""The two checks that ask for https."""


@pytest.mark.soak
def test_wandb_verify_passes_every_functional_check(wandb_server: RunningServer, tmp_path: Path) -> None:
    """Login, signed links, large payloads, CORS, metrics, artifacts and a sweep; only https is missing."""
    command = Path(sys.executable).parent / "wandb"
    done = subprocess.run(
        [str(command), "verify", "--host", wandb_server.url],
        env=sdk_env(wandb_server.env, tmp_path) | {"WANDB_SILENT": "false"},
        cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    results = dict(re.findall(r"^(Checking [^.]+)\.+\s*(\S+)\s*$", done.stdout + done.stderr, re.MULTILINE))
    assert len(results) == 10, done.stdout + done.stderr
    assert {name for name, sign in results.items() if sign != "✅"} == WITHOUT_HTTPS
    assert unresolved(wandb_server) == {}
