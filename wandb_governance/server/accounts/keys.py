"""API keys and the first user."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from typing import TYPE_CHECKING

from wandb_governance.server.problem import Unauthorized

if TYPE_CHECKING:
    from pathlib import Path

    from wandb_governance.server.graphql.schema import Row
    from wandb_governance.server.settings import ServerSettings
    from wandb_governance.server.store.database import Transaction

DEFAULT_REGISTRIES = ("model", "dataset")
"""Registries every organisation starts with, as on W&B."""


def new_key() -> str:
    """A new key in the form the SDK accepts: at least 40 word characters behind the first dash."""
    return "local-" + secrets.token_hex(20)


def digest(key: str) -> str:
    """What the store keeps of a key."""
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def read_or_make_key(data_dir: Path) -> str:
    """The first user's key; made once, kept in ``api_key`` with mode 0600."""
    path = data_dir / "api_key"
    if not path.exists():
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(new_key() + "\n")
    return path.read_text().strip()


def add_key(tx: Transaction, user_id: int, key: str, *, description: str | None, now_ns: int) -> int:
    """Give a user another key; the row's id."""
    return tx.insert(
        "api_key", user_id=user_id, digest=digest(key), name=key[:6] + "…" + key[-4:], description=description,
        created_at=now_ns,
    )  # fmt: skip


def user_of_key(tx: Transaction, key: str) -> Row:
    """The user a key belongs to.

    Raises:
        Unauthorized: No user has it.
    """
    wanted = digest(key)
    row = tx.one(
        "SELECT user.*, api_key.digest AS key_digest FROM api_key JOIN user ON user.id = api_key.user_id "
        "WHERE api_key.digest = ? AND user.deleted_at IS NULL",
        wanted,
    )
    # the lookup is by hash, so its timing tells nothing about the key; the compare is the belt to that
    if row is None or not hmac.compare_digest(str(row["key_digest"]), wanted):
        raise Unauthorized("the API key is not one of this server")
    return row


def add_user(
    tx: Transaction, username: str, *, now_ns: int, email: str | None = None, admin: bool = False, service: bool = False
) -> Row:
    """A user with its own entity, member of the organisation."""
    organization_id = tx.scalar("SELECT id FROM organization ORDER BY id LIMIT 1")
    entity_id = tx.insert("entity", name=username, kind="user", organization_id=None, created_at=now_ns)
    user_id = tx.insert(
        "user", username=username, name=username, email=email or f"{username}@localhost", entity_id=entity_id,
        default_entity_id=entity_id, admin=int(admin), service=int(service), created_at=now_ns,
    )  # fmt: skip
    tx.insert(
        "organization_member", organization_id=organization_id, user_id=user_id, role="admin" if admin else "member"
    )
    user = tx.one("SELECT * FROM user WHERE id = ?", user_id)
    assert user is not None
    return user


def bootstrap(tx: Transaction, settings: ServerSettings, key: str, now_ns: int) -> bytes:
    """Make the organisation, the first user and its key when they are missing; the secret that signs links."""
    if tx.one("SELECT 1 AS found FROM user LIMIT 1") is None:
        organization_id = tx.insert("organization", name=settings.organization, created_at=now_ns)
        entity_id = tx.insert(
            "entity", name=f"{settings.organization}-registries", kind="org", organization_id=organization_id,
            created_at=now_ns,
        )  # fmt: skip
        user = add_user(tx, settings.username, now_ns=now_ns, admin=True)
        for name in DEFAULT_REGISTRIES:
            tx.insert(
                "project", entity_id=entity_id, name=f"wandb-registry-{name}", user_id=user["id"],
                created_at=now_ns, updated_at=now_ns,
            )  # fmt: skip
    if tx.one("SELECT 1 AS found FROM api_key WHERE digest = ?", digest(key)) is None:
        first = tx.scalar("SELECT id FROM user ORDER BY id LIMIT 1")
        add_key(tx, first, key, description="made at the first start", now_ns=now_ns)
    if tx.one("SELECT 1 AS found FROM meta WHERE key = 'link_secret'") is None:
        tx.execute("INSERT INTO meta VALUES ('link_secret', ?)", secrets.token_hex(32))
    return bytes.fromhex(tx.scalar("SELECT value FROM meta WHERE key = 'link_secret'"))
