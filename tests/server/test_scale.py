"""Many rows, many clients: memory, streaming, hand-outs that never repeat, backup under load."""

from __future__ import annotations

import json
import os
import sqlite3
import tarfile
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.server.client import Api, open_api
from wandb_governance.errors import ServerError
from wandb_governance.server.process import find, start_in_background, stop
from wandb_governance.server.settings import ServerSettings
from wandb_governance.server.store.backup import backup, restore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wandb_governance.server.process import RunningServer

MEMORY_LIMIT_KB = 300 * 1024


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    """A server process of this test's own."""
    data_dir = tmp_path / "data"
    yield start_in_background(
        ServerSettings(data_dir=data_dir, port=0), ["--port", "0", "--data-dir", str(data_dir)]
    )  # fmt: skip
    stop(data_dir)


def _post(server: RunningServer, path: str, body: Any) -> Any:
    answer = httpx.post(server.url + path, json=body, auth=("api", server.api_key), timeout=120, trust_env=False)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _peak_kb(pid: int) -> int:
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def _fill(server: RunningServer, run: str, rows: int, chunk: int = 10_000) -> None:
    given = {"name": run, "modelName": "big", "entityName": "local"}
    _post(
        server,
        "/graphql",
        {"query": "mutation M($i: X) { upsertBucket(input: $i) { inserted } }", "variables": {"i": given}},
    )
    for offset in range(0, rows, chunk):
        lines = [
            f'{{"_step": {i}, "loss": {i / 7}, "acc": {i % 100}}}' for i in range(offset, min(rows, offset + chunk))
        ]
        body = {"files": {"wandb-history.jsonl": {"offset": offset, "content": lines}}}
        _post(server, f"/files/local/big/{run}/file_stream", body)


def _scan(server: RunningServer, run: str, last_step: int, page: int = 1000) -> Iterator[dict[str, Any]]:
    query = (
        'query Q($r: String!, $a: Int, $b: Int, $n: Int) { project(name: "big") { run(name: $r) '
        "{ history(minStep: $a, maxStep: $b, samples: $n) } } }"
    )
    for low in range(0, last_step, page):
        variables = {"r": run, "a": low, "b": low + page, "n": page}
        data = _post(server, "/graphql", {"query": query, "variables": variables})["data"]
        yield from map(json.loads, data["project"]["run"]["history"])


def test_pages_of_a_long_run_come_whole_and_in_order(server: RunningServer) -> None:
    """20,000 rows by pages of 1,000: every step once; sampling answers from the same rows."""
    _fill(server, "r", 20_000)
    assert [row["_step"] for row in _scan(server, "r", 20_000)] == list(range(20_000))
    query = 'query Q($s: [X]) { project(name: "big") { run(name: "r") { sampledHistory(specs: $s) } } }'
    spec = json.dumps({"keys": ["_step", "loss"], "samples": 100})
    sampled = _post(server, "/graphql", {"query": query, "variables": {"s": [spec]}})["data"]["project"]["run"]
    steps = [row["_step"] for row in sampled["sampledHistory"][0]]
    assert len(steps) == 100
    assert steps == sorted(steps)
    assert steps[0] == 0


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads the peak memory from /proc")
def test_memory_stays_low_with_a_million_rows(server: RunningServer) -> None:
    """One million stored rows, a scan of 100,000 of them and samples of all stay below 300 MB at the peak."""
    _fill(server, "million", 1_000_000)
    count = sum(1 for _ in _scan(server, "million", 100_000))
    assert count == 100_000
    query = (
        'query Q($s: [X]) { project(name: "big") { run(name: "million") { historyKeys sampledHistory(specs: $s) } } }'
    )
    spec = json.dumps({"keys": ["_step", "loss"], "samples": 1000})
    found = _post(server, "/graphql", {"query": query, "variables": {"s": [spec]}})["data"]["project"]["run"]
    assert found["historyKeys"]["keys"]["loss"]["typeCounts"] == [{"type": "number", "count": 1_000_000}]
    assert len(found["sampledHistory"][0]) == 1000
    peak = _peak_kb(server.pid)
    print({"peak_mb": peak // 1024})
    assert peak < MEMORY_LIMIT_KB


def _agent(api: Api, sweep: str, points: list[str], lock: threading.Lock) -> None:
    where = {"entityName": "local", "projectName": "p", "sweep": sweep, "host": "h"}
    made = api.ask("mutation M($i: X) { createAgent(input: $i) { agent { id } } }", i=where)
    agent = made["createAgent"]["agent"]["id"]
    beat = "mutation M($i: X) { agentHeartbeat(input: $i) { commands } }"
    while True:
        answer = api.ask(beat, i={"id": agent, "runState": "{}"})
        for command in json.loads(answer["agentHeartbeat"]["commands"]):
            if command["type"] == "exit":
                return
            with lock:
                points.append(json.dumps(command["args"], sort_keys=True))
            api.run(command["run_id"], sweep=sweep)
            api.ask(beat, i={"id": agent, "runState": json.dumps({command["run_id"]: True})})
            api.stream(command["run_id"], {"complete": True, "exitcode": 0})


def test_agents_that_ask_at_once_never_get_the_same_point(tmp_path: Path) -> None:
    """Six agents on a grid of 30 try each point exactly once, and the sweep ends."""
    api = open_api(tmp_path / "data")
    config = f"method: grid\nparameters: {{a: {{values: {list(range(10))}}}, b: {{values: [1, 2, 3]}}}}\n"
    sweep = api.ask(
        "mutation M($i: X) { upsertSweep(input: $i) { sweep { name } } }",
        i={"entityName": "local", "projectName": "p", "config": config},
    )["upsertSweep"]["sweep"]["name"]
    points: list[str] = []
    lock = threading.Lock()
    threads = [threading.Thread(target=_agent, args=(api, sweep, points, lock)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert len(points) == 30
    assert len(set(points)) == 30
    state = api.ask(f'{{ project(name: "p") {{ sweep(sweepName: "{sweep}") {{ state }} }} }}')
    assert state["project"]["sweep"]["state"] == "FINISHED"


def test_a_lost_answer_is_given_again_and_not_replaced(tmp_path: Path) -> None:
    """An agent whose heartbeat was answered into the void gets the same run, until it says that it runs it."""
    api = open_api(tmp_path / "data")
    sweep = api.ask(
        "mutation M($i: X) { upsertSweep(input: $i) { sweep { name } } }",
        i={"entityName": "local", "projectName": "p", "config": "method: grid\nparameters: {a: {values: [1, 2]}}\n"},
    )["upsertSweep"]["sweep"]["name"]
    where = {"entityName": "local", "projectName": "p", "sweep": sweep, "host": "h"}
    made = api.ask("mutation M($i: X) { createAgent(input: $i) { agent { id } } }", i=where)
    agent = made["createAgent"]["agent"]["id"]

    def beat(**live: bool) -> Any:
        query = "mutation M($i: X) { agentHeartbeat(input: $i) { commands } }"
        answer = api.ask(query, i={"id": agent, "runState": json.dumps(live)})
        return json.loads(answer["agentHeartbeat"]["commands"])

    first = beat()
    assert beat() == first
    assert beat(**{first[0]["run_id"]: True}) == []
    api.run(first[0]["run_id"], sweep=sweep)
    second = beat()
    assert second[0]["args"] != first[0]["args"]


def test_a_running_server_is_backed_up_and_restored(server: RunningServer, tmp_path: Path) -> None:
    """A copy taken while clients write opens as a server with one consistent state and the same key."""
    _fill(server, "before", 1000)
    stopper = threading.Event()

    def write() -> None:
        number = 0
        while not stopper.is_set():
            _fill(server, f"during-{number}", 200)
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    from pathlib import Path as RealPath

    summary = backup(RealPath(server.data_dir), tmp_path / "copy.tar.gz")
    stopper.set()
    writer.join()
    assert summary.size_bytes > 0
    restore(tmp_path / "copy.tar.gz", tmp_path / "restored")
    store = sqlite3.connect(tmp_path / "restored" / "store.sqlite3")
    assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    counts = store.execute(
        "SELECT run.name, history_lines, count(history.line) FROM run "
        "LEFT JOIN history ON run_id = run.id GROUP BY run.id"
    ).fetchall()
    store.close()
    assert ("before", 1000, 1000) in counts
    assert all(claimed == found for _, claimed, found in counts)
    data_dir = tmp_path / "restored"
    again = start_in_background(
        ServerSettings(data_dir=data_dir, port=0), ["--port", "0", "--data-dir", str(data_dir)]
    )  # fmt: skip
    assert again.api_key == server.api_key
    assert len(list(_scan(again, "before", 1000))) == 1000
    stop(data_dir)
    assert find(data_dir) is None


def test_a_damaged_backup_is_refused(tmp_path: Path) -> None:
    """Bytes that do not have their hash, or no backup at all, leave no data directory behind."""
    api = open_api(tmp_path / "data")
    api.run()
    api.artifact({"f": b"some bytes"})
    backup(tmp_path / "data", tmp_path / "good.tar.gz")
    with tarfile.open(tmp_path / "good.tar.gz") as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    blob = next(path for path in (tmp_path / "unpacked" / "blobs").rglob("*") if path.is_file())
    blob.write_bytes(b"other")
    with tarfile.open(tmp_path / "bad.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "unpacked", ".")
    (tmp_path / "none.tar.gz").write_bytes(b"not a tar")
    for name in ("bad.tar.gz", "none.tar.gz", "missing.tar.gz"):
        with pytest.raises(ServerError):
            restore(tmp_path / name, tmp_path / "new")
        assert not (tmp_path / "new").exists()
    with pytest.raises(ServerError, match="not empty"):
        restore(tmp_path / "good.tar.gz", tmp_path / "data")
