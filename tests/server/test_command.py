"""``wandb-governance server``: start, status, stop, backup, as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wandb_governance", "server", *arguments], capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


def test_a_server_is_started_found_refused_twice_and_stopped(tmp_path: Path) -> None:
    """JSON of a background start names the server; a second on the same folder is not started; stop ends it."""
    where = ["--data-dir", str(tmp_path / "data")]
    assert _command("status", *where).returncode == 1
    started = json.loads(_command("--background", "--json", "--port", "0", *where).stdout)
    assert set(started) == {"url", "api_key", "pid", "data_dir"}
    assert len(started["api_key"].partition("-")[2]) >= 40
    status = _command("status", "--json", *where)
    assert json.loads(status.stdout) == {"running": True, **started}
    second = _command("--port", "0", *where)
    assert second.returncode == 1
    assert "serves this data directory" in second.stderr
    again = json.loads(_command("--background", "--json", "--port", "0", *where).stdout)
    assert again["pid"] == started["pid"]
    shown = _command("status", *where).stdout
    assert f"export WANDB_BASE_URL={started['url']}" in shown
    assert f"export WANDB_API_KEY={started['api_key']}" in shown
    saved = _command("backup", *where, "--json", str(tmp_path / "copy.tar.gz"))
    assert json.loads(saved.stdout)["path"] == str(tmp_path / "copy.tar.gz")
    assert json.loads(_command("stop", "--json", *where).stdout) == {"stopped": True}
    assert _command("stop", *where).returncode == 1
    restored = _command("restore", "--data-dir", str(tmp_path / "new"), str(tmp_path / "copy.tar.gz"))
    assert restored.returncode == 0
    assert (tmp_path / "new" / "store.sqlite3").exists()


def test_a_taken_port_is_told_plainly(tmp_path: Path) -> None:
    """The message names the address and says what to do."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = _command("--port", str(port), "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 1
    assert f"can't bind 127.0.0.1:{port}" in done.stderr
    assert "--port" in done.stderr
