"""Beginnings and ends of real processes with the real W&B SDK."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from wandb_governance.export.delivery import statuses

if TYPE_CHECKING:
    from pathlib import Path

PRELUDE = """
import os, signal, sys, time
import wandb
from wandb_governance.runtime import Governance
from wandb_governance.tracing.span import LlmCall, SpanKind

def start_run():
    return wandb.init(project="lifecycle", settings=wandb.Settings(silent=True, console="off", x_disable_stats=True))

def call(governance, name="model"):
    span = governance.recorder.start(SpanKind.LLM, name)
    span.llm = LlmCall(provider="openai", request_model="gpt-4o", usage={"prompt_tokens": 1, "completion_tokens": 1})
    span.end()
"""


def start(folder: Path, body: str, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(body)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "WANDB_DIR": str(folder), "WANDB_GOVERNANCE_HOME": str(folder / "home"), **environment},
    )


def finish(process: subprocess.Popen[bytes], code: int = 0) -> tuple[str, str]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err.decode()
    return out.decode(), err.decode()


def names(folder: Path, run: str = "") -> list[str]:
    """Names of the calls in the traces table of a run's newest version."""
    paths = sorted(folder.glob(f"wandb/offline-run-*{run}/files/media/table/traces_*.table.json"), key=os.path.getmtime)
    table = json.loads(paths[-1].read_text())
    at = table["columns"].index("name")
    return sorted(row[at] for row in table["data"])


def test_24_a_script_that_just_ends_delivers_everything(tmp_path: Path) -> None:
    """No finish, no flush: the interpreter's exit is enough."""
    finish(start(tmp_path, "start_run()\ncall(Governance(), 'one')"))
    assert names(tmp_path) == ["one"]
    assert [status.pending for status in statuses(tmp_path / "home")] == [0]


def test_24_leaving_the_run_first_delivers_everything(tmp_path: Path) -> None:
    """``with wandb.init()`` ends before the handler does."""
    finish(
        start(tmp_path, "with start_run() as run:\n    g = Governance(run=run)\n    call(g, 'one')\nprint(g.flush(1))")
    )
    assert names(tmp_path) == ["one"]


def test_24_an_exception_in_the_run_delivers_everything(tmp_path: Path) -> None:
    """A script that fails inside its run has its rows in W&B."""
    finish(start(tmp_path, "with start_run():\n    call(Governance(), 'one')\n    raise SystemExit(3)"), code=3)
    assert names(tmp_path) == ["one"]


def test_24_sigterm_delivers_everything(tmp_path: Path) -> None:
    """A container that is told to stop leaves as a script that ends."""
    process = start(tmp_path, "start_run()\ncall(Governance(), 'one')\nprint('ready', flush=True)\ntime.sleep(60)")
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    finish(process, code=128 + signal.SIGTERM)
    assert names(tmp_path) == ["one"]


def test_24_an_application_that_handles_sigterm_keeps_its_handler(tmp_path: Path) -> None:
    """Somebody else's handler is not replaced."""
    body = """
    signal.signal(signal.SIGTERM, lambda *_: print("mine", flush=True))
    start_run()
    call(Governance(), "one")
    os.kill(os.getpid(), signal.SIGTERM)
    """
    out, _ = finish(start(tmp_path, body))
    assert "mine" in out


def test_24_two_runs_at_once_keep_their_rows_apart(tmp_path: Path) -> None:
    """Each handler's calls are in its own run."""
    body = """
    settings = wandb.Settings(silent=True, console="off", x_disable_stats=True)
    runs = [wandb.init(project="two", settings=settings, reinit="create_new") for _ in range(2)]
    for number, run in enumerate(runs):
        call(Governance(run=run), f"run {number}")
    print(",".join(run.id for run in runs))
    for run in runs:
        run.finish()
    """
    out, _ = finish(start(tmp_path, body))
    first, second = out.strip().splitlines()[-1].split(",")
    assert (names(tmp_path, first), names(tmp_path, second)) == (["run 0"], ["run 1"])


def test_24_one_run_after_another_each_gets_its_own(tmp_path: Path) -> None:
    """A handler without a run follows the active one; what came in between waits for the next."""
    body = """
    governance = Governance()
    with start_run() as run:
        call(governance, "first")
        ids = run.id
    call(governance, "between")
    with start_run() as run:
        call(governance, "second")
        governance.flush(20)
        print(ids, run.id)
    """
    out, _ = finish(start(tmp_path, body))
    first, second = out.strip().splitlines()[-1].split()
    assert (names(tmp_path, first), names(tmp_path, second)) == (["first"], ["between", "second"])


def test_24_no_run_at_all_says_where_the_records_are(tmp_path: Path) -> None:
    """Nothing is lost and nothing breaks; ``status`` says what waits, ``recover --project`` makes a run of it."""
    finish(start(tmp_path, "call(Governance(), 'one')\nGovernance().flush(1)"))
    (status,) = statuses(tmp_path / "home")
    assert (status.run, status.records, status.live) == (None, 1, False)
    environment = {**os.environ, "WANDB_DIR": str(tmp_path), "WANDB_GOVERNANCE_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "wandb_governance"]
    left = subprocess.run([*command, "status"], cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert left.returncode == 1
    subprocess.run([*command, "recover", "--project", "later"], cwd=tmp_path, env=environment, check=True)
    assert names(tmp_path) == ["one"]
    left = subprocess.run([*command, "status"], cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert left.returncode == 0


def test_24_a_forked_child_writes_too(tmp_path: Path) -> None:
    """Rows of a forked worker are in the parent's run, once."""
    body = """
    start_run()
    governance = Governance()
    call(governance, "parent")
    pid = os.fork()
    if pid == 0:
        call(governance, "child")
        os._exit(0)
    os.waitpid(pid, 0)
    """
    finish(start(tmp_path, body))
    assert names(tmp_path) == ["child", "parent"]


@pytest.mark.parametrize("home", ["/proc/nowhere", "/dev/null/home"])
def test_24_a_journal_that_cannot_be_written_does_not_break_calls(tmp_path: Path, home: str) -> None:
    """The disk refuses: making the handler says so, and a call that runs already goes on."""
    body = """
    from wandb_governance.errors import GovernanceError
    try:
        Governance()
    except (GovernanceError, OSError) as error:
        print("refused", type(error).__name__)
    """
    out, _ = finish(start(tmp_path, body, WANDB_GOVERNANCE_HOME=home))
    assert out.startswith("refused")


def test_a_full_disk_later_does_not_break_calls(tmp_path: Path) -> None:
    """The journal stops taking records in mid-run: the call goes on, the fault is counted."""
    body = """
    from wandb_governance.tracing.guard import fault_counts
    start_run()
    governance = Governance()
    call(governance, "before")
    journal = governance.session.journal
    os.close(journal._fd)
    call(governance, "after")
    print(sorted(fault_counts()))
    journal._fd = os.open("/dev/null", os.O_WRONLY)
    """
    out, _ = finish(start(tmp_path, body))
    assert "runtime.write: OSError" in out
