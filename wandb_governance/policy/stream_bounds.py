"""Up to where a streamed text is settled for a rule."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from wandb_governance.policy.prefix_pattern import prefix_pattern
from wandb_governance.policy.rules.patterns import PatternSet, code_points
from wandb_governance.policy.rules.pii.variants import Mapped, fold, unescape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wandb_governance.policy.rule import Rule

_LEFT_CHARS = 96
_RIGHT_CHARS = 32
# Escapes, encoded runs and the neighbours a checksum looks at all lie within one such run.
_RUN = r"[!-~]+"
_PARTIAL_BRACKET = re.compile(r"[ ]?[\[({<][ ]?(?:[^\W\d_]|[@.]){0,6}[ ]?\Z")
_PATTERN_MEMORY_BYTES = 256 << 20


class StreamBounds(Protocol):
    """What a rule must tell, so that a stream gives the same findings as the whole text."""

    @property
    def left_chars(self) -> int:
        """How far before a finding the rule looks."""
        ...

    def settled(self, text: str) -> int:
        """First code point that a continuation of ``text`` may still change; ``text[:settled]`` is final.

        No finding in ``text`` plus any continuation crosses it, and findings before it depend on nothing behind it.
        """
        ...


@dataclass(frozen=True)
class PatternBounds:
    """Bounds of a rule whose findings come from patterns over readings of the text."""

    patterns: PatternSet
    left_chars: int = _LEFT_CHARS
    right_chars: int = _RIGHT_CHARS

    def settled(self, text: str) -> int:
        """See ``StreamBounds``."""
        bound = len(text)
        for reading in _readings(text):
            bound = min(bound, self._settled_in(reading, len(text)))
        return bound

    def _settled_in(self, reading: Mapped, length: int) -> int:
        data = reading.text.encode("utf-8", "replace")
        match = self._growing.search(data)
        start = match.start() if match is not None else len(data)
        last = len(data) - self.right_chars
        for index in self.patterns.occurring(data):
            for found in self._compiled[index].finditer(data, max(0, start - 4096)):
                if found.end() > last:
                    start = min(start, found.start())
                    break
        if start >= len(data):
            return length
        point = code_points(data, [(start, start)])[0][0]
        return reading.source(point, point + 1)[0]

    @cached_property
    def _compiled(self) -> list[Any]:
        return [_compile(pattern.regex) for pattern in self.patterns.patterns]

    @cached_property
    def _growing(self) -> Any:
        growing = "|".join(prefix_pattern(pattern.regex) for pattern in self.patterns.patterns)
        return _compile(rf"(?:{_RUN}|{growing})\z" if growing else rf"(?:{_RUN})\z")


@dataclass(frozen=True)
class Unbounded:
    """Bounds of a rule that needs the whole text: nothing is settled before the end."""

    left_chars: int = 0

    def settled(self, text: str) -> int:
        """Nothing."""
        return 0


def bounds_of(rule: Rule) -> StreamBounds:
    """The bounds a rule gives, those of its patterns, or none."""
    given = getattr(rule, "stream_bounds", None)
    if given is not None:
        bounds: StreamBounds = given()
        return bounds
    patterns = getattr(rule, "_patterns", None)
    if isinstance(patterns, PatternSet) and not getattr(rule, "_wants_ner", False):
        return PatternBounds(patterns)
    return Unbounded()


def _readings(text: str) -> Iterator[Mapped]:
    folded = fold(text)
    unescaped = unescape(folded)
    for reading in (folded,) if unescaped is None else (folded, unescaped):
        yield reading
        # "maria (" may go on as "maria (at) ...": without the bracket the mailbox is seen to reach the end.
        partial = _PARTIAL_BRACKET.search(reading.text)
        if partial is not None:
            yield Mapped(reading.text[: partial.start()], reading.starts, reading.ends)
        elif reading.text.endswith(" "):
            yield Mapped(reading.text[:-1], reading.starts, reading.ends)


def _compile(regex: str) -> Any:
    import re2

    options = re2.Options()
    options.max_mem = _PATTERN_MEMORY_BYTES
    options.log_errors = False
    return re2.compile(regex.encode(), options)
