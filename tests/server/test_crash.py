"""``kill -9`` at random moments, under load: what was acknowledged is there, and nothing is half done."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.server.conftest import sdk_env

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS_EVERYDAY = 3
ROUNDS_SOAK = 50


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Mortal:
    """A server process that is killed and started again on one port and data directory."""

    data_dir: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        arguments = ["server", "--port", str(self.port), "--data-dir", str(self.data_dir)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wandb_governance", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.url}/ready", timeout=2, trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError("the server did not come up")

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    @property
    def key(self) -> str:
        return (self.data_dir / "api_key").read_text().strip()


@dataclass
class Load:
    """Clients that write until told to stop, and remember what the server acknowledged."""

    server: Mortal
    stop: threading.Event = field(default_factory=threading.Event)
    lines: dict[str, int] = field(default_factory=dict)
    artifacts: list[tuple[str, str]] = field(default_factory=list)
    points: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Send until there is an answer, as the SDK does; None when stopped before one came."""
        while not self.stop.is_set():
            try:
                answer = httpx.post(
                    self.server.url + path, json=body, auth=("api", self.server.key), timeout=20, trust_env=False
                )
            except httpx.TransportError:
                time.sleep(0.05)
                continue
            if answer.status_code != 200:
                self.faults.append(f"{path} {answer.status_code} {answer.text[:300]}")
                return None
            return answer.json()
        return None

    def ask(self, query: str, **given: Any) -> Any:
        answer = self.post("/graphql", {"query": query, "variables": {"i": given}})
        return None if answer is None else answer["data"]

    def put(self, url: str, content: bytes) -> bool:
        while not self.stop.is_set():
            try:
                answer = httpx.put(url, content=content, timeout=20, trust_env=False)
            except httpx.TransportError:
                time.sleep(0.05)
                continue
            if answer.status_code != 200:
                self.faults.append(f"PUT {answer.status_code} {answer.text[:300]}")
            return answer.status_code == 200
        return False

    def log_rows(self, run: str) -> None:
        made = self.ask(
            "mutation M($i: X) { upsertBucket(input: $i) { bucket { id } } }",
            name=run, modelName="crash", entityName="local",
        )  # fmt: skip
        offset = 0
        while made and not self.stop.is_set():
            rows = [json.dumps({"_step": offset + i, "x": offset + i}) for i in range(50)]
            body = {"files": {"wandb-history.jsonl": {"offset": offset, "content": rows}}}
            if self.post(f"/files/local/crash/{run}/file_stream", body) is None:
                return
            offset += 50
            self.lines[run] = offset

    def log_artifacts(self, name: str) -> None:
        number = 0
        while not self.stop.is_set():
            data = f"{name}-{number}-{random.random()}".encode()
            if not self._artifact(name, number, data):
                return
            number += 1

    def _artifact(self, name: str, number: int, data: bytes) -> bool:
        manifest = json.dumps({"version": 1, "contents": {"f": {"digest": _md5(data), "size": len(data)}}}).encode()
        made = self.ask(
            "mutation M($i: X) { createArtifact(input: $i) { artifact { id } } }", entityName="local",
            projectName="crash", artifactTypeName="d", artifactCollectionName=name,
            digest=hashlib.md5(manifest).hexdigest(),
            clientID=f"{name}-{number}", aliases=[{"alias": "prod", "artifactCollectionName": name}],
        )  # fmt: skip
        if made is None:
            return False
        artifact = made["createArtifact"]["artifact"]["id"]
        link = self.ask(
            "mutation M($i: X) { createArtifactManifest(input: $i) { artifactManifest { file { uploadUrl } } } }",
            artifactID=artifact, name="m.json", digest=_md5(manifest), type="FULL",
        )  # fmt: skip
        files = self.ask(
            "mutation M($i: X) { createArtifactFiles(input: $i) { files { edges { node { uploadUrl } } } } }",
            artifactFiles=[{"artifactID": artifact, "name": "f", "md5": _md5(data)}],
        )
        if link is None or files is None:
            return False
        upload = files["createArtifactFiles"]["files"]["edges"][0]["node"]["uploadUrl"]
        if upload and not self.put(upload, data):
            return False
        if not self.put(link["createArtifactManifest"]["artifactManifest"]["file"]["uploadUrl"], manifest):
            return False
        done = self.ask("mutation M($i: X) { commitArtifact(input: $i) { artifact { id } } }", artifactID=artifact)
        if done is not None:
            self.artifacts.append((artifact, data.decode()))
        return done is not None

    def make_queue(self, runs: int) -> str:
        """A sweep with queued runs; hand-outs from it need no search, whose import outlives a killed server."""
        config = "method: custom\nscheduler: {engine: wandb}\nparameters: {a: {min: 0, max: 1}}\n"
        made = self.ask(
            "mutation M($i: X) { upsertSweep(input: $i) { sweep { id name } } }", entityName="local",
            projectName="crash", config=config,
        )["upsertSweep"]["sweep"]  # fmt: skip
        for number in range(runs):
            self.ask(
                "mutation M($i: X) { enqueueSweepRun(input: $i) { id } }",
                id=made["id"],
                config=json.dumps({"a": {"value": number}}),
            )
        return str(made["name"])

    def take_runs(self, sweep: str) -> None:
        made = self.ask(
            "mutation M($i: X) { createAgent(input: $i) { agent { id } } }", entityName="local", projectName="crash",
            sweep=sweep, host="h",
        )  # fmt: skip
        agent = made["createAgent"]["agent"]["id"] if made else None
        while agent and not self.stop.is_set():
            beat = self.ask("mutation M($i: X) { agentHeartbeat(input: $i) { commands } }", id=agent, runState="{}")
            for command in json.loads(beat["agentHeartbeat"]["commands"]) if beat else ():
                if command["type"] != "run":
                    return
                self.points.append(json.dumps(command["args"], sort_keys=True))
                self.ask(
                    "mutation M($i: X) { upsertBucket(input: $i) { bucket { id } } }", name=command["run_id"],
                    modelName="crash", entityName="local", sweep=sweep,
                )  # fmt: skip
                self.ask(
                    "mutation M($i: X) { agentHeartbeat(input: $i) { commands } }", id=agent,
                    runState=json.dumps({command["run_id"]: True}),
                )  # fmt: skip


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def _check_store(data_dir: Path, load: Load) -> None:
    """The invariants of a store after everything."""
    store = sqlite3.connect(data_dir / "store.sqlite3")
    assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    for run, acknowledged in load.lines.items():
        rows = store.execute(
            "SELECT line, row_json FROM history JOIN run ON run.id = run_id WHERE run.name = ? ORDER BY line", (run,)
        ).fetchall()
        assert len(rows) >= acknowledged
        assert [line for line, _ in rows] == list(range(len(rows)))
        assert all(json.loads(text)["x"] == line for line, text in rows)
    committed = store.execute("SELECT id, manifest_sha256 FROM artifact WHERE state = 'COMMITTED'").fetchall()
    known = {base64.b64encode(f"Artifact:{row_id}".encode()).decode() for row_id, _ in committed}
    assert {artifact for artifact, _ in load.artifacts} <= known
    for _, sha256 in committed:
        manifest = json.loads((data_dir / "blobs" / sha256[:2] / sha256[2:]).read_bytes())
        for entry in manifest["contents"].values():
            (blob,) = store.execute("SELECT sha256 FROM blob WHERE md5 = ?", (entry["digest"],)).fetchone()
            content = (data_dir / "blobs" / blob[:2] / blob[2:]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == blob
            assert _md5(content) == entry["digest"]
    twice = store.execute(
        "SELECT sequence_id, version_index FROM artifact WHERE state = 'COMMITTED' GROUP BY 1, 2 HAVING count(*) > 1"
    ).fetchall()
    assert twice == []
    newest = store.execute(
        "SELECT m.version_index, (SELECT max(version_index) FROM membership n WHERE n.collection_id = m.collection_id) "
        "FROM alias JOIN membership m ON m.id = membership_id WHERE alias.alias IN ('latest', 'prod')"
    ).fetchall()
    assert all(at == highest for at, highest in newest)
    store.close()


def _rounds(tmp_path: Path, rounds: int) -> Load:
    server = Mortal(data_dir=tmp_path / "data", port=_free_port())
    server.start()
    load = Load(server=server)
    sweep = load.make_queue(120)
    jobs = [(load.log_rows, "run-1"), (load.log_rows, "run-2"), (load.log_artifacts, "set-1"),
            (load.log_artifacts, "set-2"),
            (load.take_runs, sweep), (load.take_runs, sweep)]  # fmt: skip
    threads = [threading.Thread(target=job, args=(argument,), daemon=True) for job, argument in jobs]
    for thread in threads:
        thread.start()
    for _ in range(rounds):
        time.sleep(random.uniform(0.1, 1.5))
        server.kill()
        server.start()
    time.sleep(1)
    load.stop.set()
    for thread in threads:
        thread.join(timeout=30)
    server.kill()
    _check_store(tmp_path / "data", load)
    assert load.faults == []
    return load


def test_nothing_that_was_acknowledged_is_lost_by_a_kill(tmp_path: Path) -> None:
    """A few kills; the long version follows."""
    load = _rounds(tmp_path, ROUNDS_EVERYDAY)
    assert load.lines
    assert load.artifacts
    assert load.points
    assert len(load.points) == len(set(load.points))


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_fifty_kills_lose_nothing(tmp_path: Path) -> None:
    """Fifty kills under load; no queued run is given to two agents."""
    load = _rounds(tmp_path, ROUNDS_SOAK)
    assert load.points
    assert len(load.points) == len(set(load.points))
    print({"lines": load.lines, "artifacts": len(load.artifacts), "points": len(load.points)})


@pytest.mark.soak
def test_the_sdk_finishes_a_run_over_a_kill(tmp_path: Path) -> None:
    """The unmodified SDK retries while the server is away; every row and the artifact are there in the end."""
    server = Mortal(data_dir=tmp_path / "data", port=_free_port())
    server.start()
    script = tmp_path / "script.py"
    script.write_text(
        "import pathlib, time, wandb\n"
        "pathlib.Path('f.txt').write_text('bytes')\n"
        "with wandb.init(project='killed', id='k1') as run:\n"
        "    for i in range(400):\n"
        "        run.log({'x': i})\n"
        "        time.sleep(0.02)\n"
        "    artifact = wandb.Artifact('kept', 'dataset')\n"
        "    artifact.add_file('f.txt')\n"
        "    run.log_artifact(artifact)\n"
        "run = wandb.Api().run('killed/k1')\n"
        "print(len(list(run.scan_history(keys=['x']))), run.state, [a.name for a in run.logged_artifacts()])\n"
    )
    env = sdk_env({"WANDB_BASE_URL": server.url, "WANDB_API_KEY": server.key}, tmp_path)
    process = subprocess.Popen([sys.executable, str(script)], env=env, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    for _ in range(3):
        time.sleep(4)
        server.kill()
        time.sleep(0.5)
        server.start()
    said, _ = process.communicate(timeout=200)
    server.kill()
    assert said.splitlines()[-1] == "400 finished ['kept:v0']"


@pytest.mark.soak
def test_eight_processes_that_log_at_once_lose_no_line(tmp_path: Path) -> None:
    """Each of eight SDK processes finds all of its rows afterwards."""
    server = Mortal(data_dir=tmp_path / "data", port=_free_port())
    server.start()
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, wandb\n"
        "with wandb.init(project='eight', id=sys.argv[1]) as run:\n"
        "    for i in range(1000):\n"
        "        run.log({'x': i})\n"
    )
    env = sdk_env({"WANDB_BASE_URL": server.url, "WANDB_API_KEY": server.key}, tmp_path)
    command = [sys.executable, str(script)]
    processes = [subprocess.Popen([*command, f"p{i}"], env=env, cwd=tmp_path) for i in range(8)]
    assert [process.wait(timeout=280) for process in processes] == [0] * 8
    server.kill()
    store = sqlite3.connect(tmp_path / "data" / "store.sqlite3")
    found = store.execute(
        "SELECT run.name, count(*), count(DISTINCT step), state FROM history "
        "JOIN run ON run.id = run_id GROUP BY run.id"
    ).fetchall()
    assert sorted(found) == [(f"p{i}", 1000, 1000, "finished") for i in range(8)]
