"""The demo on real input, as a new user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def _demo(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB_", "OPENAI_"))}
    return subprocess.run(
        [sys.executable, "-m", "wandb_governance", "demo", *options],
        cwd=folder,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def _report(folder: Path, *options: str) -> dict[str, Any]:
    done = _demo(folder, "--json", *options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def _check(report: dict[str, Any]) -> None:
    assert report["calls"] == 9
    assert report["blocked"] == 1
    assert report["redacted"] == 1
    assert report["errors"] == report["unpriced_calls"] == 0
    assert report["cost_usd"] > 0
    assert report["input_tokens"] > report["output_tokens"] > 0
    assert set(report["tables"]) == {"traces", "llm_calls", "verdicts", "retrievals"}
    assert {row["framework"] for row in report["rows"]} == {"langchain", "llama_index"}
    assert {row["streaming"] for row in report["rows"]} == {True, False}
    assert all(row["document_ids"] for row in report["rows"])


def test_the_demo_runs_offline_and_hides_personal_data(tmp_path: Path) -> None:
    """An offline run with every table; the address of the question is in no file but the answers' recording."""
    report = _report(tmp_path, "--offline")
    _check(report)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"jane.roe" not in path.read_bytes(), path


def test_the_demo_runs_on_the_embedded_server(tmp_path: Path) -> None:
    """The same on the server, which keeps what was logged."""
    report = _report(tmp_path)
    _check(report)
    assert report["wandb"]["url"].startswith("http://127.0.0.1:")
    assert (tmp_path / ".wandb-governance" / "server").is_dir()


def test_live_without_a_key_says_what_to_do(tmp_path: Path) -> None:
    """Wrong usage, exit code 2, and the way out in the message."""
    done = _demo(tmp_path, "--live")
    assert done.returncode == 2
    assert "OPENAI_API_KEY" in done.stderr


@pytest.mark.parametrize("options", [["--offline"]])
def test_people_see_a_table_totals_and_where_the_data_lies(tmp_path: Path, options: list[str]) -> None:
    """What is printed without ``--json``."""
    done = _demo(tmp_path, *options)
    assert done.returncode == 0, done.stderr
    for text in ("Model calls", "recorded answers", "9 calls", "1 blocked", "1 redacted", "offline run lies in"):
        assert text in done.stdout
