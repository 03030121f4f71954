"""Patterns on a linear-time engine: one RE2 set says which patterns occur, RE2 then finds where.

Ordinary text hits no pattern, so it costs one pass of one automaton. Matching is done on UTF-8 bytes and the offsets of
the few hits are turned into code points: encoding and counting for each pattern would cost more than the search.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from wandb_governance.errors import DetectorError, PolicyDocumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# A set that runs out of memory answers "no hit", so it gets room that the shipped catalogue never comes near.
_SET_MEMORY_BYTES = 256 << 20
_USER_PATTERN_MEMORY_BYTES = 8 << 20
_USER_PATTERN_MAX_LENGTH = 2_000
# What a user's pattern may cost: RE2 is linear for one match, yet a pattern may look far ahead for each match.
_BUDGET_FLOOR_NS = 50_000_000
_BUDGET_NS_PER_CHARACTER = 200
_BUDGET_CHECK_EVERY = 16

_LOOK_AROUND = re.compile(r"\(\?(?:<?[=!])")
_BACK_REFERENCE = re.compile(r"(?<!\\)(?:\\\\)*(?:\\[1-9]|\(\?P=)")


class Span(NamedTuple):
    """A piece of a text, in code points, with the confidence that it is what the pattern looks for."""

    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """One thing to look for."""

    rule: str
    """Id, such as ``pii.email``."""
    entity: str
    """What a hit is, such as ``EMAIL_ADDRESS``."""
    regex: str
    """RE2 syntax: no look-around and no back-references."""
    score: float = 0.85
    """Confidence of a hit that passed ``judge``, in [0, 1]."""
    group: int = 0
    """The capturing group that is the value; 0 is the whole match."""
    judge: Callable[[str, int, int], Iterator[Span] | Sequence[Span]] | None = None
    """Turns a raw hit ``(text, start, end)`` into the spans that really count: checksums, ranges, neighbours."""
    explanation: str = ""
    """Why a hit counts, without the value."""
    user_defined: bool = False
    """Written by a user: watched against quadratic cost."""


class Hit(NamedTuple):
    """A pattern and where it was found."""

    pattern: Pattern
    span: Span


def _options(max_mem: int) -> Any:
    import re2

    options = re2.Options()
    options.max_mem = max_mem
    options.log_errors = False
    return options


def _compile(pattern: Pattern) -> Any:
    import re2

    try:
        return re2.compile(
            pattern.regex.encode(), _options(_USER_PATTERN_MEMORY_BYTES if pattern.user_defined else 64 << 20)
        )
    except re2.error as error:
        raise PolicyDocumentError(_explain(pattern.regex, error), key=pattern.rule) from error


def _explain(regex: str, error: Exception) -> str:
    if _LOOK_AROUND.search(regex):
        return (
            "look-ahead and look-behind are not supported: patterns run on a linear-time engine. "
            "Put what surrounds the value into the pattern and the value into a group"
        )
    if _BACK_REFERENCE.search(regex):
        return "back-references are not supported: patterns run on a linear-time engine"
    reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
    return f"not a valid RE2 pattern: {reason}"


def user_pattern(regex: str, *, rule: str, entity: str, score: float = 0.85, key: str | None = None) -> Pattern:
    """A pattern that a user wrote, checked.

    Args:
        regex: RE2 syntax. With exactly one capturing group, the group is the value; else the whole match is.
        rule: Id of the pattern in findings.
        entity: Entity of its findings.
        score: Confidence of a hit, in [0, 1].
        key: Dotted key in the policy document, for the error message.

    Raises:
        PolicyDocumentError: The pattern is invalid, matches the empty text, or needs look-around or back-references.
    """
    if len(regex) > _USER_PATTERN_MAX_LENGTH:
        raise PolicyDocumentError(f"the pattern is longer than {_USER_PATTERN_MAX_LENGTH} characters", key=key or rule)
    pattern = Pattern(rule=rule, entity=entity, regex=regex, score=score, user_defined=True, explanation="user pattern")
    try:
        compiled = _compile(pattern)
    except PolicyDocumentError as error:
        raise PolicyDocumentError(error.message, key=key or rule) from error
    if compiled.search(b"") is not None:
        raise PolicyDocumentError("the pattern matches the empty text: it would match everywhere", key=key or rule)
    group = 1 if compiled.groups == 1 else 0
    return Pattern(
        rule=rule,
        entity=entity,
        regex=regex,
        score=score,
        group=group,
        user_defined=True,
        explanation="matches a pattern of the policy document",
    )


@dataclass(frozen=True)
class PatternSet:
    """Patterns that are searched together. Immutable; safe from any thread; compiled on first use."""

    patterns: tuple[Pattern, ...]
    _compiled: dict[int, Any] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def _set(self) -> Any:
        import re2

        matcher = re2.Set.SearchSet(_options(_SET_MEMORY_BYTES))
        for pattern in self.patterns:
            try:
                matcher.Add(pattern.regex.encode())
            except re2.error as error:
                raise PolicyDocumentError(_explain(pattern.regex, error), key=pattern.rule) from error
        matcher.Compile()
        return matcher

    def occurring(self, data: bytes) -> list[int]:
        """Indices of the patterns that match somewhere in UTF-8 ``data``: the gate before any search."""
        if not self.patterns:
            return []
        return sorted(self._set.Match(data) or ())

    def find(self, text: str) -> list[Hit]:
        """All hits, by start; hits of different patterns may overlap.

        Raises:
            DetectorError: A user's pattern costs more than linear time on this text.
        """
        data = text.encode("utf-8", "replace")
        indices = self.occurring(data)
        if not indices:
            return []
        ascii_only = len(data) == len(text)
        hits: list[Hit] = []
        for index in indices:
            pattern = self.patterns[index]
            raw = self._raw(index, data)
            if not ascii_only:
                raw = code_points(data, raw)
            hits.extend(_judged(pattern, text, raw))
        hits.sort(key=lambda hit: (hit.span.start, -hit.span.end))
        return hits

    def _raw(self, index: int, data: bytes) -> list[tuple[int, int]]:
        pattern = self.patterns[index]
        compiled = self._compiled.get(index)
        if compiled is None:
            compiled = self._compiled.setdefault(index, _compile(pattern))
        spans: list[tuple[int, int]] = []
        allowed_ns = _BUDGET_FLOOR_NS + _BUDGET_NS_PER_CHARACTER * len(data)
        began_ns = time.thread_time_ns()
        for count, match in enumerate(compiled.finditer(data)):
            start, end = match.span(pattern.group)
            if end > start >= 0:
                spans.append((start, end))
            if (
                pattern.user_defined
                and count % _BUDGET_CHECK_EVERY == 0
                and time.thread_time_ns() - began_ns > allowed_ns
            ):
                raise DetectorError("the pattern looks too far ahead for each match on this text", rule=pattern.rule)
        return spans


def _judged(pattern: Pattern, text: str, raw: Sequence[tuple[int, int]]) -> Iterator[Hit]:
    for start, end in raw:
        if pattern.judge is None:
            yield Hit(pattern, Span(start, end, pattern.score))
        else:
            for span in pattern.judge(text, start, end):
                yield Hit(pattern, span)


def code_points(data: bytes, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Byte spans of UTF-8 ``data``, ordered by start, as code-point spans; one pass over ``data``."""
    converted: list[tuple[int, int]] = []
    at_byte = at_point = 0
    for start, end in spans:
        at_point += _points(data[at_byte:start])
        length = _points(data[start:end])
        converted.append((at_point, at_point + length))
        at_byte = start
    return converted


def _points(piece: bytes) -> int:
    return len(piece) if piece.isascii() else len(piece.decode("utf-8", "ignore"))
