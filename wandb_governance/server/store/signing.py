"""Upload and download links that carry their own permission: an HMAC over method, path and expiry."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from wandb_governance.server.problem import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wandb_governance.clock import Clock

LIFETIME_SECONDS = 6 * 3600
"""How long a link works; the SDK asks for a new one for each transfer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSigner:
    """Makes and checks signed links."""

    secret: bytes
    """32 random bytes, kept in the data directory."""

    clock: Clock
    """Tells the expiry."""

    def link(self, base_url: str, method: str, path: str) -> str:
        """An absolute link under which ``method`` on ``path`` works without a key.

        Args:
            base_url: Scheme and host, no slash at the end.
            method: ``GET`` or ``PUT``.
            path: Absolute path, not percent-encoded.
        """
        expires = self.clock.now_ns() // 1_000_000_000 + LIFETIME_SECONDS
        signature = self._signature(method, path, str(expires))
        return f"{base_url}{quote(path)}?expires={expires}&signature={signature}"

    def check(self, method: str, path: str, query: Mapping[str, str]) -> None:
        """Let a request pass.

        Raises:
            Refused: The link was not made here, was made for something else, or has expired.
        """
        expires = query.get("expires", "")
        given = query.get("signature", "")
        wanted = self._signature("GET" if method == "HEAD" else method, path, expires)
        if not hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode()):
            raise Refused("the link's signature does not fit; ask for a new link")
        if int(expires) < self.clock.now_ns() // 1_000_000_000:
            raise Refused("the link has expired; ask for a new one")

    def _signature(self, method: str, path: str, expires: str) -> str:
        message = f"{method}\n{path}\n{expires}".encode("utf-8", "surrogatepass")
        return hmac.new(self.secret, message, hashlib.sha256).hexdigest()
