"""Any value a framework hands over, as bounded, redacted text.

Odd data never breaks a call: cycles, bytes, NaN, lone surrogates and unknown objects get a readable stand-in, and what
is longer than the limit is cut, with its length and SHA-256.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import cast

import orjson

from wandb_governance.tracing.span import Content

Redact = Callable[[str], str]
"""Text to the same text with what may not be written hidden."""

Convert = Callable[[object], object]
"""A framework's object to plain data; returns its argument where it does not know it."""

_MAX_DEPTH = 24
_MAX_ITEMS = 1_000
_MARGIN_CHARS = 4_096
"""Read past the limit before redacting, so that a value that straddles the cut is recognised as a whole."""
_NODE_COST = 8
"""What a number or a container takes from the budget: without it a cycle would unfold for ever."""
_MAX_INT = 2**63 - 1
_SHORT_INT = 10**8
_CACHED_CHARS = 2_048
_CACHE_ENTRIES = 1_024


class ContentEncoder:
    """Turns values into ``Content``. Safe from any thread.

    Args:
        limit_chars: Longest text kept, in code points.
        redact: Applied to every string before anything else sees it.
        convert: Knows the framework's own classes.
    """

    __slots__ = ("_cache", "_contents", "_convert", "_limit", "_redact")

    def __init__(self, *, limit_chars: int, redact: Redact | None = None, convert: Convert | None = None) -> None:
        self._limit = limit_chars
        self._redact = redact
        self._convert = convert
        self._cache: dict[str, str] = {}
        self._contents: dict[str, Content] = {}

    def with_convert(self, convert: Convert) -> ContentEncoder:
        """The same encoder for another framework."""
        return ContentEncoder(limit_chars=self._limit, redact=self._redact, convert=convert)

    def text(self, value: str) -> str:
        """``value`` redacted and cut to the limit, without length or digest."""
        return self._string(value)

    def plain(self, value: object) -> object:
        """``value`` as redacted plain data: dicts, lists, strings, numbers."""
        return self._plain(value, _MAX_DEPTH, [self._limit * 4])

    def encode(self, value: object) -> Content:
        """``value`` as text: a string as itself, anything else as JSON."""
        if type(value) is str:
            known = self._contents.get(value)
            if known is not None:
                return known
            if len(value) <= self._limit:
                text = self._string(value)
                content = Content(text=text, length=len(text))
                if len(value) <= _CACHED_CHARS:
                    if len(self._contents) >= _CACHE_ENTRIES:
                        self._contents.clear()
                    self._contents[value] = content
                return content
            digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
            return Content(text=self._string(value), length=len(value), sha256=digest)
        plain = self.plain(value)
        return self.bounded(plain if isinstance(plain, str) else orjson.dumps(plain).decode())

    def bounded(self, text: str) -> Content:
        """``text``, which is redacted already, cut to the limit."""
        if len(text) <= self._limit:
            return Content(text=text, length=len(text))
        return Content(text=text[: self._limit], length=len(text), sha256=hashlib.sha256(text.encode()).hexdigest())

    def _string(self, value: str) -> str:
        if len(value) > self._limit:
            head = value[: self._limit + _MARGIN_CHARS]
            clean = self._clean(head)
            # What is left of the margin may end in the middle of a value.
            end = len(clean) - _MARGIN_CHARS if len(value) > len(head) else len(clean)
            return clean[: max(min(end, self._limit), 0)]
        if len(value) > _CACHED_CHARS:
            return self._clean(value)
        known = self._cache.get(value)
        if known is None:
            known = self._clean(value)
            if len(self._cache) >= _CACHE_ENTRIES:
                self._cache.clear()
            self._cache[value] = known
        return known

    def _cut(self, value: str) -> str:
        """The head of a string inside other data, which tells what it was cut from."""
        digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{self._string(value)[: self._limit // 2]}… [{len(value)} characters, sha256 {digest}]"

    def _clean(self, value: str) -> str:
        if not value.isascii():
            value = value.encode("utf-8", "replace").decode("utf-8")
        return value if self._redact is None else self._redact(value)

    def _plain(self, value: object, depth: int, budget: list[int]) -> object:
        kind = type(value)
        if kind is str:
            return self._string(value) if len(value) <= self._limit else self._cut(value)  # type: ignore[arg-type]
        if value is None or kind is bool:
            return value
        if kind is int:
            return self._integer(value)  # type: ignore[arg-type]
        if kind is float:
            return value if math.isfinite(value) else str(value)  # type: ignore[arg-type]
        if depth <= 0:
            return "<nested too deep>"
        if kind is dict:
            return self._mapping(value, depth, budget)  # type: ignore[arg-type]
        if kind is list or kind is tuple:
            return self._sequence(value, depth, budget)  # type: ignore[arg-type]
        return self._object(value, depth, budget)

    def _integer(self, value: int) -> int | str:
        """A number, or its redacted text where it is long enough for a card or an account."""
        if -_SHORT_INT < value < _SHORT_INT:
            return value
        text = str(value)
        clean = self._string(text)
        return value if clean == text and -_MAX_INT <= value <= _MAX_INT else clean

    def _mapping(self, value: Mapping[object, object], depth: int, budget: list[int]) -> dict[str, object]:
        plain: dict[str, object] = {}
        for count, (key, item) in enumerate(list(value.items())):
            if count >= _MAX_ITEMS or budget[0] <= 0:
                plain["…"] = f"{len(value) - count} more"
                break
            made = self._plain(item, depth - 1, budget)
            budget[0] -= len(made) if type(made) is str else _NODE_COST
            plain[self._string(key if type(key) is str else str(key))] = made
        return plain

    def _sequence(self, value: Sequence[object], depth: int, budget: list[int]) -> list[object]:
        plain: list[object] = []
        for count, item in enumerate(value):
            if count >= _MAX_ITEMS or budget[0] <= 0:
                plain.append(f"… {len(value) - count} more")
                break
            made = self._plain(item, depth - 1, budget)
            budget[0] -= len(made) if type(made) is str else _NODE_COST
            plain.append(made)
        return plain

    def _object(self, value: object, depth: int, budget: list[int]) -> object:
        if self._convert is not None:
            made = self._convert(value)
            if made is not value:
                return self._plain(made, depth - 1, budget)
        if isinstance(value, (bytes, bytearray, memoryview)):
            data = bytes(value)
            return f"<{len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}>"
        if isinstance(value, Enum):
            return self._plain(value.value, depth - 1, budget)
        if isinstance(value, str):
            return self._string(str(value))
        if isinstance(value, BaseException):
            return self._string(f"{type(value).__name__}: {value}")
        if isinstance(value, Mapping):
            return self._mapping(value, depth, budget)
        if isinstance(value, (list, tuple, AbstractSet, deque)):
            return self._sequence(list(value), depth, budget)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [item.name for item in dataclasses.fields(value) if item.repr]
            return self._mapping(
                cast("dict[object, object]", {name: getattr(value, name, None) for name in names}), depth, budget
            )
        if hasattr(type(value), "model_fields"):
            return self._mapping(cast("dict[object, object]", dict(value.__dict__)), depth, budget)
        # No repr of what is not known: it may hold keys, and it may be huge.
        return f"<{type(value).__module__}.{type(value).__qualname__}>"
