"""Reversible pseudonyms: by session, keyed, collision-safe, expiring, encrypted at rest."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import re
import sqlite3
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from wandb_governance.clock import Clock, SystemClock
from wandb_governance.policy.redaction import Markers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

PLACEHOLDER = re.compile(r"\[[A-Z][A-Z_]*_[a-z]{8,40}\]")
MAX_PLACEHOLDER = 96
"""Longest placeholder; a stream that restores holds back no more than this."""
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_NONCE = 12
_SESSIONS_KEPT = 4096
_SCHEMA = """CREATE TABLE IF NOT EXISTS kept (session BLOB, code TEXT, sealed BLOB NOT NULL, until_ns INTEGER NOT NULL,
  PRIMARY KEY (session, code)) WITHOUT ROWID"""


class Vault:
    """Values behind placeholders, in one SQLite file. Safe from any thread and any process of the machine.

    The same value has the same placeholder in a session and another in every other session. Without the master key
    neither a value nor a session can be told from the file; a placeholder tells nothing about its value.

    Args:
        path: The file.
        master_key: At least 32 bytes.
        clock: Time.
    """

    def __init__(self, path: Path, master_key: bytes, *, clock: Clock | None = None) -> None:
        if len(master_key) < 32:
            raise ValueError("a master key of at least 32 bytes is needed")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = path
        self._master = master_key
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._keys: OrderedDict[str, tuple[bytes, bytes, AESGCM]] = OrderedDict()
        self._pid = -1
        self._db: sqlite3.Connection | None = None

    @classmethod
    def open(cls, home: Path) -> Vault:
        """The vault of an installation; its key is made at first use, or is ``WANDB_GOVERNANCE_VAULT_KEY`` (hex)."""
        given = os.environ.get("WANDB_GOVERNANCE_VAULT_KEY")
        if given:
            return cls(home / "vault.sqlite", bytes.fromhex(given))
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = home / "vault.key"
        with (
            contextlib.suppress(FileExistsError),
            os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
        ):
            file.write(os.urandom(32))
        return cls(home / "vault.sqlite", key.read_bytes())

    def issue(self, session: str, entity: str, value: str, *, ttl_s: int) -> str:
        """The placeholder of ``value`` in ``session``; it can be turned back for ``ttl_s`` seconds from now."""
        tag, mac_key, cipher = self._session(session)
        code = _letters(
            hmac.new(mac_key, f"{entity}\0{value}".encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
        )
        until = self._clock.now_ns() + ttl_s * 10**9
        with self._lock:
            db = self._connection()
            for length in (8, 12, 16, 40):
                name = f"[{entity}_{code[:length]}]"
                kept = self._read(db, tag, name, cipher)
                if kept is None or kept == value:
                    nonce = os.urandom(_NONCE)
                    sealed = nonce + cipher.encrypt(nonce, value.encode("utf-8", "surrogatepass"), name.encode())
                    db.execute("INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)", (tag, name, sealed, until))
                    return name
        raise AssertionError("40 letters of HMAC-SHA-256 collided")

    def lookup(self, session: str, placeholder: str) -> str | None:
        """The value behind a placeholder of the session; None where there is none, or it has expired."""
        tag, _, cipher = self._session(session)
        with self._lock:
            return self._read(self._connection(), tag, placeholder, cipher)

    def restore(self, session: str, text: str, *, only: Collection[str] | None = None, in_json: bool = False) -> str:
        """``text`` with the session's placeholders turned back.

        Args:
            session: Whose placeholders.
            text: The text.
            only: Turn back none but these.
            in_json: The text stands inside a JSON string: escape what is put in.
        """

        def back(match: re.Match[str]) -> str:
            name = match.group()
            value = self.lookup(session, name) if only is None or name in only else None
            if value is None:
                return name
            return json.dumps(value)[1:-1] if in_json else value

        return PLACEHOLDER.sub(back, text)

    def purge(self) -> int:
        """Delete what has expired; returns how many values that were."""
        with self._lock:
            db = self._connection()
            count = db.execute("DELETE FROM kept WHERE until_ns <= ?", (self._clock.now_ns(),)).rowcount
            if count:
                # Deleted rows stay in the file until it is written anew.
                db.execute("VACUUM")
            return count

    def _read(self, db: sqlite3.Connection, tag: bytes, name: str, cipher: AESGCM) -> str | None:
        row = db.execute("SELECT sealed, until_ns FROM kept WHERE session = ? AND code = ?", (tag, name)).fetchone()
        if row is None or row[1] <= self._clock.now_ns():
            return None
        try:
            return cipher.decrypt(row[0][:_NONCE], row[0][_NONCE:], name.encode()).decode("utf-8", "surrogatepass")
        except InvalidTag:
            return None

    def _session(self, session: str) -> tuple[bytes, bytes, AESGCM]:
        found = self._keys.get(session)
        if found is None:
            info = b"wandb-governance vault\0" + session.encode("utf-8", "surrogatepass")
            derived = HKDF(algorithm=SHA256(), length=80, salt=None, info=info).derive(self._master)
            found = derived[:16], derived[16:48], AESGCM(derived[48:])
            if len(self._keys) >= _SESSIONS_KEPT:
                with contextlib.suppress(KeyError):
                    self._keys.popitem(last=False)
            self._keys[session] = found
        return found

    def _connection(self) -> sqlite3.Connection:
        if self._db is None or self._pid != os.getpid():
            self._pid = os.getpid()
            self._db = sqlite3.connect(self._path, timeout=10, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA secure_delete=ON")
            self._db.execute(_SCHEMA)
            self._path.chmod(0o600)
        return self._db


class VaultReplacer(Markers):
    """Plain markers that leave placeholders alone, and placeholders where there is a session to turn them back in."""

    vault: Vault
    ttl_s: int

    @classmethod
    def over(cls, vault: Vault, ttl_s: int, markers: Markers) -> VaultReplacer:
        """A replacer with the format of ``markers`` where nothing can be turned back."""
        made = cls(marker_format=markers.marker_format, custom=markers.custom)
        made.__dict__.update(vault=vault, ttl_s=ttl_s)
        return made

    def placed(self, text: str) -> Iterable[tuple[int, int]]:
        """Spans of markers and of placeholders."""
        yield from super().placed(text)
        yield from (match.span() for match in PLACEHOLDER.finditer(text))

    def in_session(self, session: str) -> SessionReplacer:
        """The replacer of one session."""
        return SessionReplacer(self, session)


class SessionReplacer:
    """Placeholders of one session."""

    def __init__(self, owner: VaultReplacer, session: str) -> None:
        self._owner = owner
        self._session = session

    def replace(self, entity: str, value: str) -> str:
        """The placeholder of ``value``."""
        return self._owner.vault.issue(self._session, entity, value, ttl_s=self._owner.ttl_s)

    def placed(self, text: str) -> Iterable[tuple[int, int]]:
        """Spans of markers and of placeholders."""
        return self._owner.placed(text)


class RestoreStream:
    """Turns placeholders back in a text that arrives in pieces.

    Args:
        vault: Where the values are.
        session: Whose placeholders.
        only: Turn back none but these.
        in_json: The text is JSON.
    """

    def __init__(self, vault: Vault, session: str, *, only: Collection[str], in_json: bool = False) -> None:
        self._vault = vault
        self._session = session
        self._only = only
        self._in_json = in_json
        self._rest = ""

    def feed(self, text: str) -> str:
        """What may go out now."""
        self._rest += text
        opening = self._rest.rfind("[")
        whole = len(self._rest)
        if opening >= 0 and whole - opening < MAX_PLACEHOLDER and "]" not in self._rest[opening:]:
            whole = opening
        ready, self._rest = self._rest[:whole], self._rest[whole:]
        return self._restored(ready)

    def finish(self) -> str:
        """The rest."""
        ready, self._rest = self._rest, ""
        return self._restored(ready)

    def _restored(self, text: str) -> str:
        if "[" not in text or not self._only:
            return text
        return self._vault.restore(self._session, text, only=self._only, in_json=self._in_json)


def _letters(digest: bytes) -> str:
    number = int.from_bytes(digest, "big")
    letters = []
    for _ in range(40):
        number, rest = divmod(number, 26)
        letters.append(_LETTERS[rest])
    return "".join(letters)
