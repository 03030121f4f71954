"""The ledger: append-only, hash-chained, signed, in one SQLite file that several processes may write.

An entry is one line of canonical JSON. Its hash covers the hash before it, so that no entry can change, vanish or
move without breaking every later one. Cutting the tail or putting an old copy back leaves a chain that fits: only a
head that was anchored elsewhere shows it (``anchor``).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_governance.errors import LedgerError
from wandb_governance.registry.canonical import canonical, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from wandb_governance.clock import Clock
    from wandb_governance.registry.keys import SigningKey, VerifyKey

_SCHEMA = """
CREATE TABLE IF NOT EXISTS ledger (id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    seq INTEGER PRIMARY KEY,
    record TEXT NOT NULL,
    hash TEXT NOT NULL,
    signature BLOB NOT NULL,
    kind TEXT GENERATED ALWAYS AS (json_extract(record, '$.kind')) VIRTUAL,
    promotion TEXT GENERATED ALWAYS AS (json_extract(record, '$.promotion')) VIRTUAL
);
CREATE INDEX IF NOT EXISTS entries_promotion ON entries (promotion, seq);
CREATE INDEX IF NOT EXISTS entries_kind ON entries (kind, seq);
CREATE TRIGGER IF NOT EXISTS entries_no_update BEFORE UPDATE ON entries
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS entries_no_delete BEFORE DELETE ON entries
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TABLE IF NOT EXISTS outbox (
    id TEXT PRIMARY KEY,
    promotion TEXT NOT NULL,
    target TEXT NOT NULL,
    event TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending',
    attempts INTEGER NOT NULL DEFAULT 0,
    next_at_ns INTEGER NOT NULL,
    last_error TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS outbox_due ON outbox (state, next_at_ns);
"""
_GENESIS = "genesis:"
BUSY_TIMEOUT_S = 30.0
"""How long a writer waits for another writer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the ledger."""

    seq: int
    """From 1, without gaps."""
    kind: str
    promotion: str
    """Id of the promotion it belongs to; empty for entries of the ledger itself."""
    at_ns: int
    body: Mapping[str, Any]
    previous: str
    """Hash of the entry before."""
    key_id: str
    hash: str
    """SHA-256 (hex) of the record."""
    signature: bytes
    record: bytes
    """The exact bytes that were hashed."""


class Ledger:
    """A ledger file.

    Args:
        path: The SQLite file; made with its folder when missing.
        clock: Where the time of an entry comes from.
        key: Signs entries; None for a reader.
        trusted: Other keys that may have signed the head; the own key is always trusted.
        busy_timeout_s: How long a write waits for another writer.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        key: SigningKey | None = None,
        trusted: Sequence[VerifyKey] = (),
        busy_timeout_s: float = BUSY_TIMEOUT_S,
    ) -> None:
        self.path = path
        self._clock = clock
        self._key = key
        self._trusted = {known.key_id: known for known in (*trusted, *((key.public,) if key else ()))}
        try:
            if key is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            elif not path.exists():
                raise LedgerError(f"there is no ledger at {path}; the first `wandb-governance promote` makes it")
            self._connection = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None)
            self._connection.execute("PRAGMA synchronous=FULL")
            if key is not None:
                self._prepare()
            self.id: str = self._connection.execute("SELECT id FROM ledger").fetchone()[0]
        except (sqlite3.Error, OSError, TypeError) as error:
            raise LedgerError(f"can't open the ledger {path}: {error}") from error

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA journal_mode=WAL")
        with self.transaction() as connection:
            for statement in _statements(_SCHEMA):
                connection.execute(statement)
            if connection.execute("SELECT count(*) FROM ledger").fetchone()[0] == 0:
                connection.execute("INSERT INTO ledger VALUES (?)", (os.urandom(16).hex(),))

    def close(self) -> None:
        """Let the file go."""
        self._connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One writer at a time; all of it is on disk at the end, or none of it.

        Raises:
            LedgerError: The file is locked, read-only or full. Nothing was written.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise LedgerError(f"can't write the ledger {self.path}: {error}") from error
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise LedgerError(f"can't write the ledger {self.path}: {error}") from error
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def append(
        self,
        kind: str,
        *,
        promotion: str = "",
        body: Mapping[str, Any],
        also: Callable[[sqlite3.Connection], None] | None = None,
    ) -> Entry:
        """Write one entry, durably.

        Args:
            kind: What happened.
            promotion: Id of the promotion.
            body: The facts, as JSON.
            also: Runs in the same transaction, before the entry is written; may refuse by raising, or add outbox rows.

        Raises:
            LedgerError: It could not be written, or this ledger was opened without a key.
        """
        if self._key is None:
            raise LedgerError("this ledger was opened for reading: a signing key is needed to write")
        with self.transaction() as connection:
            if also is not None:
                also(connection)
            seq, previous = self._next(connection)
            record = canonical(
                {
                    "seq": seq,
                    "kind": kind,
                    "promotion": promotion,
                    "at_ns": self._clock.now_ns(),
                    "body": body,
                    "previous": previous,
                    "key": self._key.public.key_id,
                }
            )
            digest = hashlib.sha256(record).hexdigest()
            signature = self._key.sign(bytes.fromhex(digest))
            connection.execute(
                "INSERT INTO entries (seq, record, hash, signature) VALUES (?, ?, ?, ?)",
                (seq, record.decode(), digest, signature),
            )
        return entry_from(record, digest, signature)

    def _next(self, connection: sqlite3.Connection) -> tuple[int, str]:
        """Sequence number and previous hash of the next entry.

        A forged head is refused here, so that no honest signature ever covers it: that is why checking the last
        signature of each key is enough in ``verify``.
        """
        row = connection.execute("SELECT record, hash, signature FROM entries ORDER BY seq DESC LIMIT 1").fetchone()
        if row is None:
            return 1, genesis(self.id)
        head = entry_from(row[0].encode(), row[1], row[2])
        key = self._trusted.get(head.key_id)
        honest = hashlib.sha256(head.record).hexdigest() == head.hash
        if key is None or not honest or not key.accepts(head.signature, bytes.fromhex(head.hash)):
            raise LedgerError(
                f"entry {head.seq} of {self.path} is not signed by a trusted key ({head.key_id}); nothing was written. "
                "Run `wandb-governance audit verify`, or add the key to trust.ledger in governance.yaml"
            )
        return head.seq + 1, head.hash

    def entries(self, *, promotion: str | None = None, kinds: Sequence[str] = (), after: int = 0) -> Iterator[Entry]:
        """Entries in order, optionally of one promotion or of some kinds."""
        where, values = ["seq > ?"], [after]
        parameters: list[object] = [*values]
        if promotion is not None:
            where.append("promotion = ?")
            parameters.append(promotion)
        if kinds:
            where.append(f"kind IN ({', '.join('?' * len(kinds))})")
            parameters.extend(kinds)
        query = f"SELECT record, hash, signature FROM entries WHERE {' AND '.join(where)} ORDER BY seq"  # noqa: S608
        for record, digest, signature in self.rows(query, parameters):
            yield entry_from(record.encode(), digest, signature)

    def rows(self, query: str, parameters: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """Rows of a reading query.

        Raises:
            LedgerError: The file can't be read.
        """
        try:
            yield from self._connection.execute(query, tuple(parameters))
        except sqlite3.Error as error:
            raise LedgerError(f"can't read the ledger {self.path}: {error}") from error

    def head(self) -> Entry | None:
        """The last entry."""
        query = "SELECT record, hash, signature FROM entries ORDER BY seq DESC LIMIT 1"
        for record, digest, signature in self.rows(query):
            return entry_from(record.encode(), digest, signature)
        return None


def genesis(ledger_id: str) -> str:
    """The hash before the first entry; binds a chain to its ledger."""
    return hashlib.sha256((_GENESIS + ledger_id).encode()).hexdigest()


def entry_from(record: bytes, digest: str, signature: bytes) -> Entry:
    """An entry from its stored form.

    Raises:
        LedgerError: The record is not what this package writes.
    """
    try:
        value = parse(record)
        return Entry(
            seq=value["seq"],
            kind=value["kind"],
            promotion=value["promotion"],
            at_ns=value["at_ns"],
            body=value["body"],
            previous=value["previous"],
            key_id=value["key"],
            hash=digest,
            signature=signature,
            record=record,
        )
    except (KeyError, TypeError) as error:
        raise LedgerError("an entry of the ledger lacks a field; run `wandb-governance audit verify`") from error


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
