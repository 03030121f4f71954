"""The store: work once over many processes, nothing torn, nothing lost to kill -9."""

import multiprocessing
import os
import signal
import sqlite3
import time
from pathlib import Path

from wandb_governance.sweep.cache import DiskStore, MemoryStore


def worker(folder: str, log: str, count: int, pause_s: float, ready: object = None) -> None:
    """Compute ``count`` keys and append a line for each that was really produced here."""
    store = DiskStore(Path(folder))
    keys = [f"text-{number}" for number in range(count)]

    def produce(positions: list[int]) -> list[bytes]:
        time.sleep(pause_s)
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, b"".join(b"%s\n" % keys[p].encode() for p in positions))
        os.close(descriptor)
        return [f"value of {keys[position]}".encode() for position in positions]

    values = store.compute("embedding", keys, produce, batch=8)
    assert values == [f"value of {key}".encode() for key in keys]
    store.close()


def test_two_processes_on_a_cold_store_do_everything_once(tmp_path: Path) -> None:
    """Two agents that start together share the work and never repeat it."""
    context = multiprocessing.get_context("spawn")
    log = tmp_path / "produced"
    processes = [context.Process(target=worker, args=(str(tmp_path / "store"), str(log), 200, 0.01)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    produced = log.read_text().split()
    assert len(produced) == 200
    assert set(produced) == {f"text-{number}" for number in range(200)}


def test_work_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    """Kill -9 in the middle loses at most one batch, and its claims are free at once."""
    context = multiprocessing.get_context("spawn")
    log = tmp_path / "produced"
    victim = context.Process(target=worker, args=(str(tmp_path / "store"), str(log), 200, 0.05))
    victim.start()
    deadline = time.monotonic() + 30
    while not (log.exists() and log.stat().st_size > 200) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    victim.join(10)
    begun = time.monotonic()
    worker(str(tmp_path / "store"), str(log), 200, 0.0)
    assert time.monotonic() - begun < 10
    produced = log.read_text().split()
    assert set(produced) == {f"text-{number}" for number in range(200)}
    assert len(produced) <= 200 + 8


def test_a_wrong_value_is_noticed_and_produced_again(tmp_path: Path) -> None:
    """Bytes that don't fit their digest never come back."""
    store = DiskStore(tmp_path)
    assert store.compute("embedding", ["k"], lambda _: [b"right"]) == [b"right"]
    with sqlite3.connect(tmp_path / "cache.sqlite") as db:
        db.execute("UPDATE entries SET value = ?", (b"wrong",))
    assert store.compute("embedding", ["k"], lambda _: [b"right"]) == [b"right"]
    assert store.counts["embedding.torn"] == 1


def test_a_file_that_is_no_database_any_more_is_put_aside(tmp_path: Path) -> None:
    """A torn store file costs the work, never the sweep."""
    DiskStore(tmp_path).close()
    (tmp_path / "cache.sqlite").write_bytes(b"\x00torn" * 1000)
    store = DiskStore(tmp_path)
    assert store.compute("answer", ["k"], lambda _: [b"new"]) == [b"new"]
    assert store.counts["file.torn"] == 1
    assert list(tmp_path.glob("cache.corrupt-*"))


def test_a_failed_production_keeps_nothing(tmp_path: Path) -> None:
    """An error is not kept, and its claim is given back."""
    store = DiskStore(tmp_path)

    def broken(_: list[int]) -> list[bytes]:
        raise ValueError("the model is down")

    for _ in range(2):
        try:
            store.compute("answer", ["k"], broken)
        except ValueError:
            continue
    assert store.compute("answer", ["k"], lambda _: [b"up again"]) == [b"up again"]


def test_repeated_keys_are_produced_once_in_either_store(tmp_path: Path) -> None:
    """The order of the keys is kept."""
    for store in (MemoryStore(), DiskStore(tmp_path)):
        calls: list[int] = []

        def produce(positions: list[int], calls: list[int] = calls) -> list[bytes]:
            calls.extend(positions)
            return [str(position).encode() for position in positions]

        assert store.compute("embedding", ["a", "b", "a", "c"], produce) == [b"0", b"1", b"0", b"3"]
        assert sorted(calls) == [0, 1, 3]
