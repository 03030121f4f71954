r"""One record of the journal: a line that carries its hash. Pure.

A line is ``{"chain":"<hex>","record":<json>}\\n``. ``chain`` is SHA-256 over the previous record's chain value and the
bytes of this record; the first record of a journal follows on 32 zero bytes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

GENESIS = bytes(32)
"""What the first record of a journal follows on."""

SCHEMA_VERSION = 1
"""Version of the records; every version ever written stays readable."""

_HEAD = b'{"chain":"'
_MIDDLE = b'","record":'
_TAIL = b"}\n"
_HEX = 64
_PAYLOAD_AT = len(_HEAD) + _HEX + len(_MIDDLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A decoded line."""

    chain: bytes
    """32 bytes."""
    payload: bytes
    """The record's JSON."""


def encode(previous: bytes, payload: bytes) -> tuple[bytes, bytes]:
    """The line for ``payload`` and its chain value, given the chain value before it."""
    chain = hashlib.sha256(previous + payload).digest()
    return b"".join((_HEAD, chain.hex().encode(), _MIDDLE, payload, _TAIL)), chain


def decode(line: bytes) -> Frame | None:
    """The frame of one line, newline included; None where the line is not a whole frame."""
    if not (line.startswith(_HEAD) and line.endswith(_TAIL) and line[len(_HEAD) + _HEX : _PAYLOAD_AT] == _MIDDLE):
        return None
    try:
        chain = bytes.fromhex(line[len(_HEAD) : len(_HEAD) + _HEX].decode("ascii"))
    except ValueError:
        return None
    if chain.hex().encode() != line[len(_HEAD) : len(_HEAD) + _HEX]:
        return None  # Upper case, which this module never writes.
    return Frame(chain=chain, payload=line[_PAYLOAD_AT : -len(_TAIL)])


def follows(frame: Frame, previous: bytes) -> bool:
    """Whether ``frame`` is the record after the one whose chain value is ``previous``."""
    return hashlib.sha256(previous + frame.payload).digest() == frame.chain
