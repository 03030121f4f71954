"""Dead Simple Signing Envelope: bytes, what they are, and who signed them.

Source:
    DSSE v1.0.2, https://github.com/secure-systems-lab/dsse (protocol.md), pre-authentication encoding.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from wandb_governance.errors import ApprovalError, RegistryError
from wandb_governance.registry.canonical import canonical, parse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wandb_governance.registry.keys import SigningKey, VerifyKey

IN_TOTO = "application/vnd.in-toto+json"
"""Payload type of an in-toto statement."""


def pae(payload_type: str, body: bytes) -> bytes:
    """Pre-authentication encoding: what is really signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(body), body)


def seal(value: object, *, payload_type: str, key: SigningKey) -> dict[str, Any]:
    """Sign a JSON value.

    Returns:
        The envelope as JSON: ``payload`` (base64), ``payloadType``, ``signatures`` with one ``keyid`` and ``sig``.
    """
    body = canonical(value)
    signature = key.sign(pae(payload_type, body))
    return {
        "payload": base64.b64encode(body).decode(),
        "payloadType": payload_type,
        "signatures": [{"keyid": key.public.key_id, "sig": base64.b64encode(signature).decode()}],
    }


def unseal(envelope: object, *, payload_type: str, keys: Iterable[VerifyKey]) -> tuple[Any, VerifyKey]:
    """The signed value and the key that signed it.

    Raises:
        ApprovalError: The envelope is malformed, of another type, or no given key signed it.
    """
    try:
        kind, body, signatures = _open(envelope)
    except (KeyError, TypeError, ValueError) as error:
        raise ApprovalError("this is no DSSE envelope") from error
    if kind != payload_type:
        raise ApprovalError(f"the envelope holds {kind!r}, not {payload_type!r}")
    message = pae(kind, body)
    for key in keys:
        if any(key.accepts(signature, message) for signature in signatures):
            try:
                return parse(body), key
            except RegistryError as error:
                raise ApprovalError("the signed payload is not JSON") from error
    raise ApprovalError("no trusted key signed this envelope")


def _open(envelope: Any) -> tuple[str, bytes, list[bytes]]:
    kind = envelope["payloadType"]
    if not isinstance(kind, str):
        raise TypeError(kind)
    body = base64.b64decode(envelope["payload"], validate=True)
    return kind, body, [base64.b64decode(item["sig"], validate=True) for item in envelope["signatures"]]
