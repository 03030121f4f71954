"""Work that is done once: a content-addressed store that many processes share."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import os
import sqlite3
import threading
import time
import uuid
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (kind TEXT, key TEXT, value BLOB, sha BLOB, PRIMARY KEY (kind, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims (kind TEXT, key TEXT, owner TEXT, PRIMARY KEY (kind, key)) WITHOUT ROWID;
"""
_IN_LIST = 500  # keys in one statement; SQLite's default allows 999
_POLL_S = 0.03  # how often a process looks whether another one has finished a text


class Store(Protocol):
    """Where shared work is kept."""

    @property
    def counts(self) -> Counter[str]:
        """Per kind: ``<kind>.computed`` here, ``<kind>.found`` already there, ``<kind>.torn`` thrown away."""
        ...

    @property
    def folder(self) -> Path | None:
        """Folder for entries that are files, or None where nothing is kept."""
        ...

    def compute(
        self, kind: str, keys: Sequence[str], produce: Callable[[list[int]], list[bytes]], *, batch: int = 64
    ) -> list[bytes]:
        """Values of the keys, in order; what is not there is produced exactly once over all processes.

        Args:
            kind: Name space, such as ``embedding``.
            keys: Content addresses; repeats are produced once.
            produce: Positions in ``keys`` to values, called with at most ``batch`` positions.
            batch: Largest piece of work that is lost when a process is killed.
        """
        ...

    def lock(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Exclusive over all processes; freed by the kernel when the holder dies."""
        ...


class MemoryStore:
    """Keeps nothing (``--no-cache``): work repeats, numbers don't change."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.folder: Path | None = None

    def compute(
        self, kind: str, keys: Sequence[str], produce: Callable[[list[int]], list[bytes]], *, batch: int = 64
    ) -> list[bytes]:
        """Produce every key of this call once."""
        first = {key: position for position, key in reversed(list(enumerate(keys)))}
        positions = sorted(first.values())
        found: dict[str, bytes] = {}
        for start in range(0, len(positions), batch):
            part = positions[start : start + batch]
            found.update(zip((keys[position] for position in part), produce(part), strict=True))
        self.counts[f"{kind}.computed"] += len(positions)
        return [found[key] for key in keys]

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Nothing to exclude."""
        yield


class DiskStore:
    """One SQLite file (WAL) and lock files in a folder on a local disk.

    Every value is kept with a digest that is checked on every read; a value that does not fit is thrown away and
    produced again. A claim marks work in progress; its owner holds a file lock for as long as it lives, so the claims
    of a killed process are free at once.

    Args:
        folder: Made where it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder: Path | None = folder
        self.counts: Counter[str] = Counter()
        self._root = folder
        self._owner = uuid.uuid4().hex
        self._guard = threading.RLock()
        for part in ("locks", "owners"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        self._life = os.open(folder / "owners" / self._owner, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._life, fcntl.LOCK_EX)
        self._db = self._open()

    def close(self) -> None:
        """Give claims back and close."""
        with self._guard:
            self._db.execute("DELETE FROM claims WHERE owner = ?", (self._owner,))
            self._db.close()
            (self._root / "owners" / self._owner).unlink(missing_ok=True)
            os.close(self._life)

    def compute(
        self, kind: str, keys: Sequence[str], produce: Callable[[list[int]], list[bytes]], *, batch: int = 64
    ) -> list[bytes]:
        """Values of the keys; what is missing is claimed, produced and kept batch by batch."""
        first = {key: position for position, key in reversed(list(enumerate(keys)))}
        with self._guard:
            found = self._read(kind, list(first))
            self.counts[f"{kind}.found"] += len(found)
            while missing := [key for key in sorted(first, key=first.__getitem__) if key not in found]:
                mine = self._claim(kind, missing, batch)
                if mine:
                    found.update(self._produce(kind, mine, produce, first))
                    continue
                taken = self._read(kind, missing)
                self.counts[f"{kind}.found"] += len(taken)
                found.update(taken)
                if not taken:
                    time.sleep(_POLL_S)
        return [found[key] for key in keys]

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Exclusive over all processes that use this folder."""
        with (self._root / "locks" / hashlib.sha256(name.encode()).hexdigest()[:32]).open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def _produce(
        self, kind: str, mine: list[str], produce: Callable[[list[int]], list[bytes]], first: dict[str, int]
    ) -> dict[str, bytes]:
        try:
            values = dict(zip(mine, produce([first[key] for key in mine]), strict=True))
            with self._write() as db:
                db.executemany(
                    "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)",
                    [(kind, key, value, entry_digest(key, value)) for key, value in values.items()],
                )
        finally:
            with self._write() as db:
                db.executemany("DELETE FROM claims WHERE kind = ? AND key = ?", [(kind, key) for key in mine])
        self.counts[f"{kind}.computed"] += len(values)
        return values

    def _read(self, kind: str, keys: Sequence[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        torn = []
        for start in range(0, len(keys), _IN_LIST):
            part = keys[start : start + _IN_LIST]
            marks = ",".join("?" * len(part))
            query = f"SELECT key, value, sha FROM entries WHERE kind = ? AND key IN ({marks})"  # noqa: S608 - marks only
            for key, value, sha in self._db.execute(query, (kind, *part)):
                if entry_digest(key, value) == sha:
                    found[key] = value
                else:
                    torn.append(key)
        if torn:
            self.counts[f"{kind}.torn"] += len(torn)
            with self._write() as db:
                db.executemany("DELETE FROM entries WHERE kind = ? AND key = ?", [(kind, key) for key in torn])
        return found

    def _claim(self, kind: str, keys: Sequence[str], limit: int) -> list[str]:
        """Mark at most ``limit`` keys as this process's, leaving those that a living process has or that are done."""
        alive = cache(self._alive)
        with self._write() as db:
            held = dict(db.execute("SELECT key, owner FROM claims WHERE kind = ?", (kind,)).fetchall())
            free = (key for key in keys if held.get(key, self._owner) == self._owner or not alive(held[key]))
            mine = list(itertools.islice(free, limit))
            done: set[str] = set()
            for start in range(0, len(mine), _IN_LIST):
                part = mine[start : start + _IN_LIST]
                marks = ",".join("?" * len(part))
                query = f"SELECT key FROM entries WHERE kind = ? AND key IN ({marks})"  # noqa: S608 - marks only
                done.update(key for (key,) in db.execute(query, (kind, *part)))
            mine = [key for key in mine if key not in done]
            rows = [(kind, key, self._owner) for key in mine]
            db.executemany("INSERT OR REPLACE INTO claims VALUES (?, ?, ?)", rows)
        return mine

    def _alive(self, owner: str) -> bool:
        file = self._root / "owners" / owner
        try:
            with file.open("r+") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        file.unlink(missing_ok=True)
        return False

    @contextlib.contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _open(self) -> sqlite3.Connection:
        """Open the file; one that is not a database any more is put aside and a new one begun."""
        file = self._root / "cache.sqlite"
        with self.lock("open"):
            try:
                return _connect(file)
            except sqlite3.DatabaseError:
                self.counts["file.torn"] += 1
                aside = file.with_name(f"cache.corrupt-{os.getpid()}-{time.time_ns()}.sqlite")
                file.rename(aside)
                for suffix in ("-wal", "-shm"):
                    file.with_name(file.name + suffix).unlink(missing_ok=True)
                return _connect(file)


def _connect(file: Path) -> sqlite3.Connection:
    db = sqlite3.connect(file, timeout=120, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(_SCHEMA)
        if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("quick_check failed")
    except sqlite3.DatabaseError:
        db.close()
        raise
    return db


def entry_digest(key: str, value: bytes) -> bytes:
    """What is kept beside a value and checked on every read."""
    return hashlib.sha256(key.encode() + b"\0" + value).digest()[:16]
