"""The last line: requests that reach the HTTP client without having passed ``client.post``."""

from __future__ import annotations

from typing import Any


def guard(client: Any, state: Any) -> None:
    """Stand in front of a client's transport."""
    del client, state
