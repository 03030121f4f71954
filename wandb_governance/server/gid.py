"""Global ids: base64 of ``Type:<row id>``, the form the SDK decodes for references, registries and members."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from wandb_governance.server.problem import NotFound

_MAX_ROW_ID = 2**63 - 1


def encode(kind: str, row_id: int | str) -> str:
    """The global id of a row, such as ``QXJ0aWZhY3Q6MTcw`` for ``Artifact:170``."""
    return base64.b64encode(f"{kind}:{row_id}".encode()).decode()


def decode(value: Any, *kinds: str) -> int:
    """The row id in a global id.

    Args:
        value: What a client sent.
        kinds: The types that are allowed here.

    Raises:
        NotFound: The id is not one of this server or is of another type.
    """
    try:
        kind, _, number = base64.b64decode(str(value), validate=True).decode("ascii").partition(":")
        row_id = int(number)
    except (ValueError, binascii.Error):
        raise NotFound(f"no {' or '.join(kinds)} has the id {str(value)[:80]!r}") from None
    if kind not in kinds or not 0 <= row_id <= _MAX_ROW_ID:
        raise NotFound(f"no {' or '.join(kinds)} has the id {str(value)[:80]!r}")
    return row_id
