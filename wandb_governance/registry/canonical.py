"""One byte form per value, so that a digest of it means something."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from wandb_governance.errors import RegistryError


def canonical(value: object) -> bytes:
    """JSON with sorted keys, no spaces, shortest numbers, UTF-8.

    Equal to RFC 8785 for what this package writes: ASCII keys, integers below 2**53 and finite floats.

    Raises:
        RegistryError: The value holds NaN, an infinity or something JSON has no form for.
    """
    _refuse_non_finite(value)
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise RegistryError(f"a value has no JSON form: {error}") from error


def digest_of(value: object) -> str:
    """SHA-256 (hex) of the canonical form."""
    return hashlib.sha256(canonical(value)).hexdigest()


def parse(raw: bytes | str) -> Any:
    """The value behind JSON text.

    Raises:
        RegistryError: The text is not JSON.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RegistryError(f"not JSON: {error}") from error


def _refuse_non_finite(value: object) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise RegistryError("NaN and infinities have no JSON form; record null and a reason")
    if isinstance(value, Mapping):
        for item in value.values():
            _refuse_non_finite(item)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for item in value:
            _refuse_non_finite(item)
