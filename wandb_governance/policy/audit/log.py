"""The audit log: append-only segments, a Merkle tree over them, signed checkpoints.

    <folder>/signing.key                 Ed25519, 0600; the same for every log of the folder
    <folder>/log-0/segment-00000001.jsonl   one leaf a line
    <folder>/log-0/checkpoints              signed notes, one after the other
    <folder>/log-0/payload/<day>.payload    ciphertext; <day>.key is destroyed by retention

Each writing process has a log of its own, so that no append waits for another process.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import os
import threading
from typing import TYPE_CHECKING, Any

import orjson

from wandb_governance.clock import Clock, IdGenerator, RandomIds, SystemClock
from wandb_governance.errors import AuditError
from wandb_governance.policy.audit.checkpoint import Checkpoint, Signer
from wandb_governance.policy.audit.merkle import Frontier, leaf_hash
from wandb_governance.policy.audit.payload import PayloadStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from io import FileIO
    from pathlib import Path

SEGMENT_RECORDS = 100_000
_MAX_LOGS = 1024
_DAY_NS = 86_400 * 10**9


class AuditLog:
    """One writer's log. Safe from any thread.

    Args:
        folder: Folder of all logs of this installation.
        clock: Time.
        ids: Ids of records.
        checkpoint_every: Records between two checkpoints; ``checkpoint`` writes one at once.
        fsync: Force the disk at each checkpoint.

    Raises:
        AuditError: The folder can't be written, or what is in it does not fit together.
    """

    def __init__(
        self,
        folder: Path,
        *,
        clock: Clock | None = None,
        ids: IdGenerator | None = None,
        checkpoint_every: int = 100,
        fsync: bool = True,
    ) -> None:
        self._clock = clock or SystemClock()
        self._ids = ids or RandomIds()
        self._every = checkpoint_every
        self._fsync = fsync
        self._lock = threading.Lock()
        self._signing = threading.Lock()
        self._signer = Signer.open(folder / "signing.key")
        (folder / "signing.pub").write_bytes(self._signer.public)
        self.folder, self._guard = _claim(folder)
        self.origin = f"wandb-governance/{self._signer.public.hex()[:16]}/{self.folder.name}"
        self._payloads = PayloadStore(self.folder / "payload")
        self._tree = Frontier()
        self._segment: FileIO | None = None
        self._day, self._day_ends_ns = "", 0
        self._closed = False
        self._checkpointed = 0
        self._resume()
        # What the last process left unsigned is signed with the next records.
        self._checkpointed = _last_signed(self.folder)

    @property
    def size(self) -> int:
        """Number of records."""
        return self._tree.size

    def append(self, kind: str, facts: Mapping[str, Any], payload: Mapping[str, Any] | None = None) -> str:
        """Add a record.

        Args:
            kind: What happened, such as ``call``.
            facts: What may be kept for ever: ids, times, counts, digests. Never a text.
            payload: What retention destroys: redacted texts, reasons.

        Returns:
            Id of the record.

        Raises:
            AuditError: The log is closed or can't be written.
        """
        now = self._clock.now_ns()
        event = self._ids.span_id()
        with self._lock:
            if self._closed:
                raise AuditError("the audit log is closed")
            if now >= self._day_ends_ns or now < self._day_ends_ns - _DAY_NS:
                self._turn_day(now)
            try:
                record: dict[str, Any] = {
                    "event": event,
                    "facts": facts,
                    "kind": kind,
                    "seq": self._tree.size,
                    "ts": now,
                }
                if payload is not None:
                    record["day"] = self._day
                    record["payload"] = self._payloads.put(self._day, self._tree.size, payload)
                self._write(orjson.dumps(record, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS))
            except OSError as error:
                raise AuditError(f"the audit log can't be written: {error.strerror}") from error
            due = self._tree.size - self._checkpointed >= self._every
        if due:
            self.checkpoint()
        return event

    def checkpoint(self) -> str:
        """Sign the log as it is now, and return the note. Appends of other threads do not wait for the disk."""
        with self._signing:
            with self._lock:
                taken = Checkpoint(origin=self.origin, size=self._tree.size, root=self._tree.root())
                files = [os.dup(number) for number in self._open_files()] if self._fsync else []
            for number in files:
                os.fsync(number)
                os.close(number)
            return self._sign(taken)

    def enforce_retention(self, retention_days: int, *, legal_hold_days: int = 0) -> list[str]:
        """Destroy payloads older than both limits, and say so in the log.

        Returns:
            The days that were destroyed.
        """
        keep_days = max(retention_days, legal_hold_days)
        oldest = _day(self._clock.now_ns() - keep_days * _DAY_NS)
        destroyed = [day for day in self._payloads.days() if day < oldest]
        for day in destroyed:
            facts = {"day": day, "retention_days": retention_days, "legal_hold_days": legal_hold_days}
            signature = self._signer.sign(b"tombstone\n" + orjson.dumps(facts, option=orjson.OPT_SORT_KEYS))
            # The tombstone stands in the log before the day is gone: a crash between leaves a day to destroy again.
            self.append("tombstone", {**facts, "signature": signature.hex()})
            self._payloads.destroy(day)
        if destroyed:
            self.checkpoint()
        return destroyed

    def close(self) -> None:
        """Sign what is there and close the files."""
        if not self._closed and self._tree.size != self._checkpointed:
            self.checkpoint()
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._payloads.close()
            if self._segment is not None:
                self._segment.close()
            os.close(self._guard)

    def _write(self, line: bytes) -> None:
        if self._segment is None or self._tree.size % SEGMENT_RECORDS == 0:
            self._next_segment()
        assert self._segment is not None
        self._segment.write(line + b"\n")
        self._tree.append(leaf_hash(line))

    def _next_segment(self) -> None:
        if self._segment is not None:
            self._segment.close()
        number = self._tree.size // SEGMENT_RECORDS + 1
        self._segment = (self.folder / f"segment-{number:08d}.jsonl").open("ab", buffering=0)

    def _open_files(self) -> list[int]:
        segment = [] if self._segment is None else [self._segment.fileno()]
        return segment + self._payloads.open_files()

    def _sign(self, taken: Checkpoint) -> str:
        note = self._signer.note(taken)
        with (self.folder / "checkpoints").open("a", encoding="utf-8") as file:
            file.write(note + "\n")
        self._checkpointed = max(self._checkpointed, taken.size)
        return note

    def _turn_day(self, now_ns: int) -> None:
        self._day = _day(now_ns)
        self._day_ends_ns = (now_ns // _DAY_NS + 1) * _DAY_NS

    def _resume(self) -> None:
        """Read what is there; a line that a crash left unfinished is cut off and told in the log."""
        torn = 0
        for path in segments(self.folder):
            data = path.read_bytes()
            whole = data[: data.rfind(b"\n") + 1]
            if len(whole) < len(data):
                torn += len(data) - len(whole)
                with path.open("r+b") as file:
                    file.truncate(len(whole))
            for line in whole.splitlines():
                self._tree.append(leaf_hash(line))
        if torn:
            self.append("repaired", {"torn_bytes": torn})


def segments(folder: Path) -> list[Path]:
    """Segment files of one log, in order."""
    return sorted(folder.glob("segment-*.jsonl"))


def logs(folder: Path) -> list[Path]:
    """Every log of an installation."""
    return sorted((path for path in folder.glob("log-*") if path.is_dir()), key=lambda path: int(path.name[4:]))


def read_records(folder: Path, *, payloads: bool = True) -> Iterator[dict[str, Any]]:
    """Records of every log under ``folder``, log by log; with what is left of their payloads under ``payload``."""
    for log in logs(folder):
        store = PayloadStore(log / "payload")
        kept: dict[int, dict[str, Any]] = {}
        if payloads:
            kept = {seq: payload for day in store.days() for seq, _, payload in store.read(day)}
        for path in segments(log):
            for line in path.read_bytes().splitlines():
                record = orjson.loads(line)
                record["log"] = log.name
                record["payload"] = kept.get(record["seq"])
                yield record


def _claim(folder: Path) -> tuple[Path, int]:
    """The first log that no living process writes."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for number in range(_MAX_LOGS):
        log = folder / f"log-{number}"
        log.mkdir(exist_ok=True, mode=0o700)
        guard = os.open(log / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(guard)
            continue
        return log, guard
    raise AuditError(f"{_MAX_LOGS} processes write to {folder} already")


def _last_signed(log: Path) -> int:
    """Size that the last checkpoint of a log names."""
    try:
        lines = (log / "checkpoints").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return 0
    return max((int(line) for line in lines if line.isdigit()), default=0)


def _day(now_ns: int) -> str:
    return dt.datetime.fromtimestamp(max(now_ns, 0) // 10**9, tz=dt.UTC).strftime("%Y-%m-%d")
