"""What a journal promises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Cursor:
    """A place between two records."""

    segment: int = 0
    """Number of the segment file, from 0."""
    offset: int = 0
    """Byte offset in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A record and the place after it."""

    payload: bytes
    chain: str
    """Chain value (hex) of this record."""
    after: Cursor


class JournalWriter(Protocol):
    """Appends records.

    When ``append`` returns, the records are with the operating system: a killed process loses none of them. They are
    in order, in one piece, and chained to all before.
    """

    def append(self, payloads: Sequence[bytes]) -> None:
        """Append records, all or none."""
        ...


class JournalReader(Protocol):
    """Reads records in the order they were appended, also while a writer goes on."""

    def read(self, after: Cursor) -> Iterator[Entry]:
        """Records after ``after``, up to the last whole one."""
        ...
