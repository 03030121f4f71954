"""The journal of one writer: append-only segment files in a folder, hash-chained, with a torn tail repaired.

    <home>/journal/<run>/<writer>/
        000000.jsonl  000001.jsonl  …   segments
        lock                            held while the writer lives

A writer holds an exclusive lock on ``lock`` for its life: whoever can take it knows that the writer is gone.
"""

from __future__ import annotations

import fcntl
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from wandb_governance.errors import JournalClosedError, JournalCorruptError, JournalError
from wandb_governance.journal import record
from wandb_governance.journal.base import Cursor, Entry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from wandb_governance.settings import FsyncPolicy

_LOCK_NAME = "lock"
_BUFFER = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where the chain stands."""

    records: int
    chain: str
    """SHA-256 (hex) of the last record's chain value."""


class Journal:
    """Appends to the journal in ``folder``; one live writer a folder.

    Args:
        folder: Made where it is missing, readable only by this user.
        fsync: When data is forced to the disk.
        segment_bytes: Size from which a new segment begins.

    Raises:
        JournalError: Another process writes here.
        JournalCorruptError: What is there does not verify.
    """

    def __init__(self, folder: Path, *, fsync: FsyncPolicy = "interval", segment_bytes: int = 64 * 1024 * 1024) -> None:
        self.folder = folder
        self._fsync = fsync
        self._segment_bytes = segment_bytes
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock_fd = os.open(folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock_fd)
            raise JournalError(f"another process writes to {folder}") from None
        repair(folder)
        head, self._segment = verify(folder), max(len(segments(folder)) - 1, 0)
        self._fd = self._open_segment(self._segment)
        self._at = (bytes.fromhex(head.chain), head.records, os.fstat(self._fd).st_size)
        """Chain value, number of records, and bytes in the open segment."""
        self._dirty = False
        self._closed = False

    def append(self, payloads: Sequence[bytes]) -> None:
        """Append records, all or none; each is JSON without a newline.

        Raises:
            JournalClosedError: It was closed.
            OSError: The disk refused; nothing of this call is in the journal.
        """
        with self._lock:
            if self._closed:
                raise JournalClosedError("the journal is closed")
            (chain, records, size), lines = self._at, []
            for payload in payloads:
                line, chain = record.encode(chain, payload)
                lines.append(line)
            data = b"".join(lines)
            if size and size + len(data) > self._segment_bytes:
                self._rotate()
                size = 0
            self._dirty = True
            try:
                self._write(data)
                # One assignment: an interrupt falls before it, and the bytes are cut off again, or after it.
                self._at = (chain, records + len(payloads), size + len(data))
            except BaseException:
                os.ftruncate(self._fd, self._at[2])
                raise
            if self._fsync == "always":
                self._sync()

    def _write(self, data: bytes) -> None:
        written = 0
        while written < len(data):
            written += os.write(self._fd, data[written:] if written else data)

    def sync(self) -> None:
        """Force what was appended to the disk, unless the policy is ``never``."""
        if self._fsync == "never":
            return
        with self._lock:
            if not self._closed:
                self._sync()

    def _sync(self) -> None:
        if self._dirty:
            os.fsync(self._fd)
            self._dirty = False

    def _rotate(self) -> None:
        if self._fsync != "never":
            self._sync()
        opened = self._open_segment(self._segment + 1)
        os.close(self._fd)
        self._fd, self._segment = opened, self._segment + 1
        self._at = (self._at[0], self._at[1], 0)

    def _open_segment(self, number: int) -> int:
        path = segment_path(self.folder, number)
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @property
    def head(self) -> Head:
        """Where the chain stands."""
        with self._lock:
            return Head(records=self._at[1], chain=self._at[0].hex())

    @property
    def end(self) -> Cursor:
        """The place after the last record."""
        with self._lock:
            return Cursor(segment=self._segment, offset=self._at[2])

    def abandon(self) -> None:
        """In a forked child: let go of the parent's files without touching them."""
        self._closed = True
        os.close(self._fd)
        os.close(self._lock_fd)

    def close(self) -> None:
        """Sync and let go of the folder; a second call does nothing."""
        with self._lock:
            if self._closed:
                return
            if self._fsync != "never":
                self._sync()
            self._closed = True
            os.close(self._fd)
            os.close(self._lock_fd)


def segment_path(folder: Path, number: int) -> Path:
    """The file of segment ``number``."""
    return folder / f"{number:06d}.jsonl"


def segments(folder: Path) -> list[Path]:
    """The segment files of ``folder``, in order."""
    return sorted(folder.glob("[0-9]" * 6 + ".jsonl"))


def writer_is_alive(folder: Path) -> bool:
    """Whether a live process holds the journal in ``folder``."""
    try:
        fd = os.open(folder / _LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def read(folder: Path, after: Cursor | None = None) -> Iterator[Entry]:
    """Records after ``after``, up to the last whole one; safe while a writer goes on."""
    start = after or Cursor()
    files = segments(folder)
    for number in range(start.segment, len(files)):
        offset = start.offset if number == start.segment else 0
        with files[number].open("rb", buffering=_BUFFER) as file:
            file.seek(offset)
            for line in file:
                frame = record.decode(line)
                if frame is None:
                    break
                offset += len(line)
                yield Entry(payload=frame.payload, chain=frame.chain.hex(), after=Cursor(segment=number, offset=offset))


def verify(folder: Path) -> Head:
    """Check the hash chain of every record.

    Returns:
        Where the chain stands; a torn last line counts as not written.

    Raises:
        JournalCorruptError: A record does not follow on the one before it, or a line in the middle is damaged.
    """
    chain, count = record.GENESIS, 0
    files = segments(folder)
    for number, path in enumerate(files):
        offset = 0
        with path.open("rb", buffering=_BUFFER) as file:
            for line in file:
                frame = record.decode(line)
                if frame is None:
                    torn = number == len(files) - 1 and not line.endswith(b"\n") and not file.read(1)
                    if torn:
                        break
                    raise JournalCorruptError("the line is damaged", segment=path, offset=offset)
                if not record.follows(frame, chain):
                    raise JournalCorruptError("the hash chain is broken", segment=path, offset=offset)
                chain, count, offset = frame.chain, count + 1, offset + len(line)
    return Head(records=count, chain=chain.hex())


def repair(folder: Path) -> int:
    """Cut a torn last line, as a killed or full machine leaves it.

    Returns:
        Bytes cut.
    """
    files = segments(folder)
    if not files:
        return 0
    with files[-1].open("rb+") as file:
        data_end = file.seek(0, os.SEEK_END)
        keep = _last_newline(file, data_end) + 1
        if keep < data_end:
            file.truncate(keep)
            os.fsync(file.fileno())
        return data_end - keep


def _last_newline(file: BinaryIO, end: int) -> int:
    position = end
    while position > 0:
        size = min(_BUFFER, position)
        position -= size
        file.seek(position)
        at = file.read(size).rfind(b"\n")
        if at >= 0:
            return position + int(at)
    return -1
