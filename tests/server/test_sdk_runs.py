"""Resume, rewind, stop, console, files, offline runs: what the SDK does with a run over its life."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.server.conftest import SdkScript, sdk_env

if TYPE_CHECKING:
    from wandb_governance.server.process import RunningServer


def test_a_run_is_resumed_and_rewound(sdk: SdkScript) -> None:
    """Resuming goes on at the next step with the summary it had; rewinding cuts rows away and goes on from there."""
    out = sdk(
        """
        import json, wandb
        with wandb.init(project="life", id="lived", config={"a": 1}, tags=["t"]) as run:
            for i in range(5):
                run.log({"x": i})
        with wandb.init(project="life", id="lived", resume="must", config={"b": 2}) as run:
            start, seen = run.starting_step, run.summary["x"]
            for i in range(3):
                run.log({"x": 100 + i})
        first = [row["x"] for row in wandb.Api().run("life/lived").scan_history(keys=["x"])]
        with wandb.init(project="life", resume_from="lived?_step=2") as run:
            run.log({"x": 1000})
        read = wandb.Api().run("life/lived")
        second = [row["x"] for row in read.scan_history(keys=["x"])]
        print(json.dumps({"start": start, "seen": seen, "first": first, "second": second, "config": read.config,
                          "tags": read.tags, "state": read.state}))
        """
    )
    found = json.loads(out.splitlines()[-1])
    assert (found["start"], found["seen"]) == (5, 4)
    assert found["first"] == [0, 1, 2, 3, 4, 100, 101, 102]
    assert found["second"] == [0, 1, 2, 1000]
    assert found["config"] == {"a": 1, "b": 2}
    assert found["tags"] == ["t"]
    assert found["state"] == "finished"


def test_a_run_that_must_not_exist_is_refused_at_once(sdk: SdkScript) -> None:
    """``resume="must"`` without a run fails with a clear error and does not wait for retries."""
    out = sdk(
        """
        import time, wandb
        started = time.monotonic()
        try:
            wandb.init(project="life", id="never", resume="must")
        except wandb.errors.UsageError as error:
            print("refused", "never" in str(error), time.monotonic() - started < 15)
        """
    )
    assert out.splitlines()[-1] == "refused True True"


def test_stopping_a_run_reaches_the_users_code(sdk: SdkScript) -> None:
    """``Api().run().stop()`` interrupts the process that logs, and the run counts as killed or failed."""
    out = sdk(
        """
        import time, wandb
        run = wandb.init(project="life", id="stopped")
        run.log({"x": 1})
        time.sleep(2)
        wandb.Api().run("life/stopped").stop()
        try:
            for _ in range(40):
                time.sleep(0.5)
                run.log({"x": 2})
            print("never heard")
        except KeyboardInterrupt:
            print("interrupted")
        run.finish(exit_code=255)
        print(wandb.Api().run("life/stopped").state)
        """
    )
    assert out.splitlines()[-2:] == ["interrupted", "killed"]


def test_console_alerts_and_saved_files_are_kept(sdk: SdkScript) -> None:
    """What a script prints, saves and uploads is read back."""
    out = sdk(
        """
        import json, pathlib, wandb
        pathlib.Path("notes with space.txt").write_text("saved")
        with wandb.init(project="life", settings=wandb.Settings(console="wrap")) as run:
            print("a line on the console")
            run.save("notes with space.txt", policy="now")
            run.alert("title", "text")
        read = wandb.Api().run(run.path)
        pathlib.Path("later.txt").write_text("later")
        read.upload_file("later.txt")
        names = [f.name for f in read.files()]
        lines = [line.content for line in read.console_logs()]
        text = read.file("notes with space.txt").download(root="down", replace=True).read()
        read.tags.append("new")
        read.config["added"] = 5
        read.summary["extra"] = 7
        read.update()
        again = wandb.Api().run(run.path)
        print(json.dumps({"names": names, "lines": lines, "text": text, "tags": again.tags,
                          "added": again.config["added"],
                          "extra": again.summary["extra"]}))
        """
    )
    found = json.loads(out.splitlines()[-1])
    assert {"notes with space.txt", "later.txt", "output.log"} <= set(found["names"])
    assert any("a line on the console" in line for line in found["lines"])
    assert found["text"] == "saved"
    assert (found["tags"], found["added"], found["extra"]) == (["new"], 5, 7)


def test_an_offline_run_arrives_by_wandb_sync(wandb_server: RunningServer, tmp_path: Path) -> None:
    """Metrics, tables and artifacts of an offline run are on the server after ``wandb sync``."""
    script = tmp_path / "offline.py"
    script.write_text(
        "import pathlib, wandb\n"
        "pathlib.Path('f.txt').write_text('bytes')\n"
        "with wandb.init(project='synced', id='off1', mode='offline') as run:\n"
        "    for i in range(10):\n"
        "        run.log({'x': i})\n"
        "    run.log({'t': wandb.Table(columns=['a'], data=[[1]])})\n"
        "    artifact = wandb.Artifact('offline-set', 'dataset')\n"
        "    artifact.add_file('f.txt')\n"
        "    run.log_artifact(artifact)\n"
    )
    env = sdk_env(wandb_server.env, tmp_path)
    subprocess.run([sys.executable, str(script)], env=env, cwd=tmp_path, check=True, timeout=120)
    folder = next(path for path in (tmp_path / "wandb").iterdir() if path.name.startswith("offline-run"))
    command = Path(sys.executable).parent / "wandb"
    subprocess.run([str(command), "sync", str(folder)], env=env, cwd=tmp_path, check=True, timeout=120)
    script.write_text(
        "import wandb\n"
        "api = wandb.Api()\n"
        "run = api.run('synced/off1')\n"
        "print([row['x'] for row in run.scan_history(keys=['x'])])\n"
        "print(run.state, sorted(a.name for a in run.logged_artifacts()))\n"
        "print(open(api.artifact('synced/offline-set:latest').download('down') + '/f.txt').read())\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], env=env, cwd=tmp_path, check=True, timeout=120, capture_output=True, text=True
    )
    lines = done.stdout.splitlines()
    assert lines[0] == str(list(range(10)))
    assert lines[1] == "finished ['offline-set:v0', 'run-off1-t:v0']"
    assert lines[2] == "bytes"
    assert os.path.exists(folder)
