"""The SQLite file: one writer at a time, readers that see a consistent snapshot.

Writes are ``BEGIN IMMEDIATE`` transactions behind one lock of the process, so a hand-out of a sweep point, an artifact
commit or an alias move is all or nothing, and after ``kill -9`` everything that was acknowledged is in the WAL.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from wandb_governance.errors import ServerError
from wandb_governance.server.problem import Overloaded, Unprocessable
from wandb_governance.server.store.migrations import migrate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from wandb_governance.server.graphql.schema import Row

_WRITE_WAIT_SECONDS = 30.0

_UNSTORABLE = (
    OverflowError, UnicodeEncodeError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError,
    sqlite3.IntegrityError,
)  # fmt: skip
"""What SQLite raises for a value of a client that does not fit a column."""


class Transaction:
    """Reads and writes of one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def one(self, sql: str, *parameters: Any) -> Row | None:
        """The first row, or None."""
        row: Row | None = self._connection.execute(sql, parameters).fetchone()
        return row

    def all(self, sql: str, *parameters: Any) -> list[Row]:
        """Every row."""
        return self._connection.execute(sql, parameters).fetchall()

    def each(self, sql: str, *parameters: Any) -> Iterator[Row]:
        """Rows one by one, for results that don't belong in memory."""
        return iter(self._connection.execute(sql, parameters))

    def scalar(self, sql: str, *parameters: Any) -> Any:
        """The first column of the first row, or None."""
        row = self.one(sql, *parameters)
        return None if row is None else next(iter(row.values()))

    def execute(self, sql: str, *parameters: Any) -> int:
        """Run a statement; the number of rows it changed."""
        return self._connection.execute(sql, parameters).rowcount

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement once for each row of parameters."""
        self._connection.executemany(sql, rows)

    def insert(self, table: str, **values: Any) -> int:
        """Insert a row; its id. Table and column names come from this package's code, never from a request."""
        names = ", ".join(values)
        marks = ", ".join("?" * len(values))
        sql = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608
        return self._connection.execute(sql, tuple(values.values())).lastrowid or 0

    def update(self, table: str, row_id: int, **values: Any) -> None:
        """Set columns of one row. Table and column names come from this package's code, never from a request."""
        if values:
            names = ", ".join(f"{name} = ?" for name in values)
            self._connection.execute(f"UPDATE {table} SET {names} WHERE id = ?", (*values.values(), row_id))  # noqa: S608


class Database:
    """The SQLite file of a data directory.

    Args:
        path: The file; made when missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._write_lock = threading.Lock()
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        connection = self._connection()
        connection.execute("PRAGMA journal_mode = WAL")
        migrate(connection)

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A snapshot for reading."""
        connection = self._connection()
        connection.execute("BEGIN")
        try:
            yield Transaction(connection)
        except _UNSTORABLE as error:
            raise Unprocessable(f"a value can't be stored: {error}") from error
        finally:
            connection.execute("ROLLBACK")

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """A transaction that commits when the block ends and leaves nothing when it raises."""
        connection = self._connection()
        if not self._write_lock.acquire(timeout=_WRITE_WAIT_SECONDS):
            raise Overloaded("the store is busy; try again")
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield Transaction(connection)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise Overloaded(f"the store can't write: {error}") from error
        except _UNSTORABLE as error:
            raise Unprocessable(f"a value can't be stored: {error}") from error
        finally:
            self._write_lock.release()

    def backup(self, target: Path) -> None:
        """Copy the file as it is at one moment, while others write."""
        destination = sqlite3.connect(target)
        try:
            self._connection().backup(destination, pages=4096)
        finally:
            destination.close()

    def close(self) -> None:
        """Close every connection; the WAL is folded into the file."""
        for connection in self._open:
            connection.close()
        self._open.clear()
        self._local = threading.local()

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            try:
                connection = sqlite3.connect(
                    self.path, isolation_level=None, check_same_thread=False, timeout=_WRITE_WAIT_SECONDS
                )
            except sqlite3.OperationalError as error:
                raise ServerError(f"{self.path}: can't open the store: {error}") from error
            connection.row_factory = _as_dict
            # NORMAL survives kill -9; only a power cut can lose the last commits, and the SDK keeps its own file
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA cache_size = -2048")
            self._local.connection = connection
            self._open.append(connection)
        return connection


def _as_dict(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> Row:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}
