"""Payloads of audit records: encrypted by day, so that destroying a day's key destroys what it hid."""

from __future__ import annotations

import base64
import contextlib
import os
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from wandb_governance.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from io import FileIO
    from pathlib import Path

_SALT = 16
_NONCE = 12


class PayloadStore:
    """One file of ciphertext and one key for each day (UTC).

    A record's leaf holds ``SHA-256(salt || payload)``. The salt lies inside the ciphertext, so once the key is gone not
    even a guessed payload can be confirmed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._day = ""
        self._cipher: AESGCM | None = None
        self._file: FileIO | None = None

    def put(self, day: str, seq: int, payload: Mapping[str, Any]) -> str:
        """Keep a payload.

        Returns:
            Its commitment, 64 hexadecimal digits.
        """
        if day != self._day or self._file is None or self._cipher is None:
            self._open(day)
        assert self._file is not None
        assert self._cipher is not None
        random = os.urandom(_SALT + _NONCE)
        salt, nonce = random[:_SALT], random[_SALT:]
        clear = salt + orjson.dumps(payload, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
        sealed = self._cipher.encrypt(nonce, clear, str(seq).encode())
        self._file.write(b"%d %s\n" % (seq, base64.b64encode(nonce + sealed)))
        return sha256(clear).hexdigest()

    def open_files(self) -> list[int]:
        """Descriptors of files that are being written."""
        return [] if self._file is None else [self._file.fileno()]

    def close(self) -> None:
        """Close the open day."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def days(self) -> list[str]:
        """Days that have payloads, oldest first."""
        return sorted(path.stem for path in self._folder.glob("*.payload"))

    def destroy(self, day: str) -> None:
        """Destroy a day: overwrite and unlink its key, then unlink its ciphertext."""
        if day == self._day:
            self.close()
            self._day, self._cipher = "", None
        key = self._folder / f"{day}.key"
        with contextlib.suppress(FileNotFoundError):
            with key.open("r+b") as file:
                file.write(bytes(32))
                file.flush()
                os.fsync(file.fileno())
            key.unlink()
        (self._folder / f"{day}.payload").unlink(missing_ok=True)

    def read(self, day: str) -> Iterator[tuple[int, str, dict[str, Any]]]:
        """Sequence number, commitment and payload of each record of a day.

        Raises:
            AuditError: A line was changed, or its key does not fit.
        """
        try:
            cipher = AESGCM((self._folder / f"{day}.key").read_bytes())
            lines = (self._folder / f"{day}.payload").read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        for line in filter(None, lines):
            number, _, body = line.partition(b" ")
            try:
                raw = base64.b64decode(body, validate=True)
                clear = cipher.decrypt(raw[:_NONCE], raw[_NONCE:], number)
                yield int(number), sha256(clear).hexdigest(), orjson.loads(clear[_SALT:])
            except (InvalidTag, ValueError) as error:
                raise AuditError(
                    f"a payload of {day} was changed (record {number.decode('ascii', 'replace')})"
                ) from error

    def _open(self, day: str) -> None:
        self.close()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = self._folder / f"{day}.key"
        if not key.exists():
            with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(AESGCM.generate_key(256))
        self._cipher = AESGCM(key.read_bytes())
        path = self._folder / f"{day}.payload"
        if path.exists():
            # A crash may have left half a line; its record was never written.
            whole = path.read_bytes()
            with path.open("r+b") as file:
                file.truncate(whole.rfind(b"\n") + 1)
        self._file = path.open("ab", buffering=0)
        self._day = day
