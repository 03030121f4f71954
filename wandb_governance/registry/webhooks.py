"""Signed webhooks: ours go out by Standard Webhooks; incoming ones are doorbells, verified and counted once.

Source:
    Standard Webhooks 1.0.0 (standardwebhooks.com); W&B, Jira, GitHub schemes by their documentation.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from wandb_governance.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from wandb_governance.clock import Clock

TOLERANCE_S = 300
"""How far a time stamp may be off."""
MAX_BODY_BYTES = 1 << 20
_SECRET_PREFIX = "whsec_"  # noqa: S105
_MIN_SECRET_BYTES = 16

Scheme = Literal["standard", "wandb", "jira", "github"]


class WebhookRefusedError(RegistryError):
    """An incoming webhook has no effect.

    Args:
        message: Why.
        status: The HTTP status to answer: 401 not authentic, 409 seen before, 413 too large.
    """

    def __init__(self, message: str, *, status: int) -> None:
        self.status = status
        super().__init__(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doorbell:
    """A webhook that is authentic and new. Whoever gets it re-reads the sender's state; the body decides nothing."""

    scheme: Scheme
    id: str
    body: bytes


def sign(secret: str, *, message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """Headers of a Standard Webhooks delivery.

    Args:
        secret: ``whsec_`` and base64.
        message_id: The same on every retry.
        timestamp_s: Seconds since 1970 UTC of this attempt.
        body: The exact bytes that are sent.
    """
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": "v1," + _standard(secret, message_id, str(timestamp_s), body),
    }


class Inbox:
    """Verifies incoming webhooks and refuses what was seen before.

    Args:
        path: SQLite file of what was seen.
        clock: For time stamps.
        secrets: Valid secrets per scheme; two during a rotation.
    """

    def __init__(self, path: Path, *, clock: Clock, secrets: Mapping[Scheme, Sequence[str]]) -> None:
        self._clock = clock
        self._secrets = secrets
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=30, isolation_level=None)
        self._connection.execute("CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY, at_ns INTEGER NOT NULL)")

    def receive(self, scheme: Scheme, headers: Mapping[str, str], body: bytes) -> Doorbell:
        """Check one delivery.

        Raises:
            WebhookRefusedError: It is too large, not authentic, too old or was seen before.
        """
        if len(body) > MAX_BODY_BYTES:
            raise WebhookRefusedError("the body is larger than 1 MiB", status=413)
        secrets = [secret for secret in self._secrets.get(scheme, ()) if secret.strip()]
        if not secrets:
            raise WebhookRefusedError(f"no secret is configured for {scheme} webhooks", status=401)
        lower = {name.lower(): value for name, value in headers.items()}
        if not any(_authentic(scheme, secret, lower, body) for secret in secrets):
            raise WebhookRefusedError("the signature does not fit", status=401)
        if scheme == "standard":
            self._fresh(lower["webhook-timestamp"])
        bell = Doorbell(scheme=scheme, id=_delivery_id(scheme, lower, body), body=body)
        try:
            self._connection.execute("INSERT INTO seen VALUES (?, ?)", (f"{scheme}:{bell.id}", self._clock.now_ns()))
        except sqlite3.IntegrityError as error:
            raise WebhookRefusedError("this delivery was seen before", status=409) from error
        return bell

    def _fresh(self, stamp: str) -> None:
        try:
            off_s = abs(self._clock.now_ns() / 1e9 - int(stamp))
        except ValueError as error:
            raise WebhookRefusedError("the time stamp is no number", status=401) from error
        if off_s > TOLERANCE_S:
            raise WebhookRefusedError(f"the time stamp is {off_s:.0f} s off", status=401)


def secrets_from(environ: Mapping[str, str]) -> dict[Scheme, list[str]]:
    """Secrets of incoming webhooks: ``WANDB_GOVERNANCE_HOOK_SECRETS_<SCHEME>``, with commas between several."""
    found: dict[Scheme, list[str]] = {}
    for scheme in get_args(Scheme):
        text = environ.get(f"WANDB_GOVERNANCE_HOOK_SECRETS_{scheme.upper()}", "")
        found[scheme] = [secret.strip() for secret in text.split(",") if secret.strip()]
    return found


def _delivery_id(scheme: Scheme, headers: Mapping[str, str], body: bytes) -> str:
    names = {"standard": "webhook-id", "jira": "x-atlassian-webhook-identifier", "github": "x-github-delivery"}
    # W&B sends no id: the same body twice is the same event. What it rings for is re-read anyway.
    return headers.get(names.get(scheme, ""), "") or hashlib.sha256(body).hexdigest()


def _authentic(scheme: Scheme, secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    if scheme == "standard":
        given = headers.get("webhook-signature", "").split(" ")
        message_id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        wanted = "v1," + _standard(secret, message_id, stamp, body)
        return bool(message_id) and any(hmac.compare_digest(wanted, item) for item in given)
    digest = hmac.new(secret.encode(), body, hashlib.sha256)
    if scheme == "wandb":
        return _same(base64.b64encode(digest.digest()).decode(), headers.get("x-wandb-signature", ""))
    header = "x-hub-signature-256" if scheme == "github" else "x-hub-signature"
    return _same("sha256=" + digest.hexdigest(), headers.get(header, ""))


def _same(wanted: str, given: str) -> bool:
    return hmac.compare_digest(wanted.encode(), given.encode())


def _standard(secret: str, message_id: str, stamp: str, body: bytes) -> str:
    try:
        key = base64.b64decode(secret.strip().removeprefix(_SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RegistryError("a Standard Webhooks secret reads whsec_<base64>") from error
    if len(key) < _MIN_SECRET_BYTES:
        raise RegistryError(f"a webhook secret must have at least {_MIN_SECRET_BYTES} bytes")
    signed = f"{message_id}.{stamp}.".encode() + body
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
