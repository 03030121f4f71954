"""A proof that one entry is in the ledger, which needs nothing of this package to check."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wandb_governance.registry.ledger import Ledger


def proof(ledger: Ledger, seq: int) -> dict[str, Any] | None:
    """Everything from entry ``seq`` to the head.

    Returns:
        ``record`` (the exact text that was hashed), ``hash``, ``signature`` (base64), ``key``, and ``links``: the
        records after it up to the head, whose ``previous`` leads back to ``hash``; ``head`` is the last hash. None
        without the entry.
    """
    entries = list(ledger.entries(after=seq - 1))
    if not entries or entries[0].seq != seq:
        return None
    first, last = entries[0], entries[-1]
    return {
        "ledger": ledger.id,
        "record": first.record.decode(),
        "hash": first.hash,
        "signature": base64.b64encode(first.signature).decode(),
        "key": first.key_id,
        "links": [entry.record.decode() for entry in entries[1:]],
        "head": last.hash,
        "head_signature": base64.b64encode(last.signature).decode(),
    }


def holds(value: dict[str, Any]) -> bool:
    """Whether a proof's links lead from its entry to its head; signatures are for ``openssl`` or ``VerifyKey``."""
    digest = hashlib.sha256(value["record"].encode()).hexdigest()
    if digest != value["hash"]:
        return False
    for record in value["links"]:
        if f'"previous":"{digest}"' not in record:
            return False
        digest = hashlib.sha256(record.encode()).hexdigest()
    return bool(digest == value["head"])
