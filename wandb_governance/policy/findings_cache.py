"""What was found, by hash of the text: a conversation sends its history again with every call."""

from __future__ import annotations

import threading
from collections import OrderedDict
from hashlib import blake2b
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from wandb_governance.policy.rule import RuleContext

_Kept = TypeVar("_Kept")
_Key = tuple[str, str, str | None, bytes]


class FindingsCache(Generic[_Kept]):
    """A bounded map, least recently used out first. Its entries hold hashes and what was found, never a text.

    Args:
        entries: Size; 0 keeps nothing.
    """

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._kept: OrderedDict[_Key, tuple[_Kept, ...]] = OrderedDict()
        self._lock = threading.Lock()
        self._digest: tuple[str, bytes] = ("", blake2b(b"", digest_size=16).digest())

    def key(self, policy: str, text: str, context: RuleContext) -> _Key:
        """Key of a text under one policy."""
        last_text, digest = self._digest
        # Every policy of a chain asks for the same string object in turn.
        if last_text is not text:
            digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            self._digest = (text, digest)
        return policy, context.scope, context.role, digest

    def get(self, key: _Key) -> tuple[_Kept, ...] | None:
        """Findings kept under ``key``, or None."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def holds(self, policy: str, text: str, context: RuleContext) -> bool:
        """Whether findings of ``text`` are kept."""
        return self.key(policy, text, context) in self._kept

    def put(self, key: _Key, found: tuple[_Kept, ...]) -> None:
        """Keep ``found``."""
        if not self._entries:
            return
        with self._lock:
            self._kept[key] = found
            self._kept.move_to_end(key)
            while len(self._kept) > self._entries:
                self._kept.popitem(last=False)

    def __len__(self) -> int:
        return len(self._kept)
