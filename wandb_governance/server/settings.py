"""Settings of the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""Addresses that only this machine reaches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How one server runs."""

    data_dir: Path
    """Holds the store, the blobs, the key and the log."""

    host: str = "127.0.0.1"
    """Address to bind."""

    port: int = 8080
    """Port to bind; 0 takes a free one."""

    username: str = "local"
    """The first user and its entity."""

    organization: str = "local-org"
    """The organisation; its entity, which holds the registries, is named ``<organization>-registries``."""

    crash_after_seconds: float = 300.0
    """A running run without a heartbeat for that long is marked as crashed; the SDK sends one every 30 s."""

    max_body_bytes: int = 96 * 1024 * 1024
    """Largest body of a GraphQL or file-stream request; the SDK sends up to 64 MB."""

    max_upload_bytes: int = 64 * 1024**3
    """Largest single upload."""

    threads: int = 12
    """Requests that are worked on at the same time."""
