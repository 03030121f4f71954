"""Unicode normalisation that remembers where each character came from."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# Unicode UAX #15, Stream-Safe Text Format: no more than 30 combining characters in a row. It also bounds the cost of
# canonical ordering, which is quadratic in the length of such a run.
_MAX_CLUSTER = 31

_TAG_FIRST, _TAG_LAST = 0xE0000, 0xE007F
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180e\u3164\uffa0")
_VISIBLE_FORMAT = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2")
_FOLDED = dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2043\ufe58\ufe63\uff0d", "-")
_FOLDED |= dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc", "'")
_FOLDED |= dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"')
_FOLDED |= {"\u2028": "\n", "\u2029": "\n", "\u2800": " "}


class Mark(StrEnum):
    """What normalisation had to undo; each is a reason to look twice."""

    ZERO_WIDTH = "zero_width"
    """Invisible characters that are not bidi controls or tags."""
    BIDI = "bidi"
    """Controls that reorder what is shown."""
    TAGS = "tags"
    """Unicode tag characters: ASCII that nobody sees."""
    COMPATIBILITY = "compatibility"
    """Styled forms of ASCII letters and digits, such as full width or mathematical bold."""
    CONFUSABLE = "confusable"
    """Letters of another script that look like Latin ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalizedText:
    """A text derived from a source text, with the origin of each code point."""

    text: str
    starts: Sequence[int]
    """For each code point of ``text``, the first source code point it came from."""
    ends: Sequence[int]
    """For each code point of ``text``, one past the last source code point it came from."""
    marks: frozenset[Mark] = frozenset()

    @classmethod
    def identity(cls, text: str) -> NormalizedText:
        """The text as it is, at no cost."""
        size = len(text)
        return cls(text=text, starts=range(size), ends=range(1, size + 1))

    @property
    def is_identity(self) -> bool:
        """Whether nothing was changed."""
        return isinstance(self.starts, range) and self.starts == range(len(self.text))

    def source_span(self, start: int, end: int) -> tuple[int, int]:
        """Smallest source span that covers ``text[start:end]``.

        Args:
            start: First code point of ``text``, 0 <= start < end.
            end: One past the last, end <= len(text).

        Returns:
            Start and end in code points of the source.
        """
        first, last = self.starts[start], self.ends[end - 1]
        if first < last:
            return min(first, last), max(first, last)
        return min(self.starts[start:end]), max(self.ends[start:end])

    def over(self, outer: NormalizedText) -> NormalizedText:
        """This view, whose source is ``outer.text``, as a view of the source of ``outer``."""
        if outer.is_identity:
            return self
        return NormalizedText(
            text=self.text,
            starts=[outer.starts[start] for start in self.starts],
            ends=[outer.ends[end - 1] for end in self.ends],
            marks=self.marks | outer.marks,
        )


def normalize(text: str) -> NormalizedText:
    """Text after NFKC, without invisible characters, with tag characters as the ASCII they stand for.

    Dashes, quotes, spaces and the decimal digits of every script become their ASCII forms. Plain ASCII comes back as it
    is, whatever its length, in constant time; otherwise the time is linear in the length.

    Args:
        text: Any text.

    Returns:
        A view whose starts and ends never decrease.

    Source:
        Unicode UAX #15 (NFKC, stream-safe text) and UTS #39 (invisible characters).
    """
    if text.isascii():
        return NormalizedText.identity(text)
    out: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    marks: set[Mark] = set()
    size, at = len(text), 0
    while at < size:
        after = at + 1
        while after < size and after - at < _MAX_CLUSTER and text[after] >= "\u0300" and _extends(text[after]):
            after += 1
        cluster = text[at:after]
        if after - at == 1 and cluster < "\x80":
            folded = cluster
        else:
            folded, mark = _fold_cluster(cluster)
            marks.update(mark)
        out.append(folded)
        for _ in folded:
            starts.append(at)
            ends.append(after)
        at = after
    joined = "".join(out)
    if joined == text:
        return NormalizedText.identity(text)
    return NormalizedText(text=joined, starts=starts, ends=ends, marks=frozenset(marks))


@lru_cache(maxsize=16384)
def _extends(char: str) -> bool:
    """Whether a character joins the one before it when text is composed."""
    return unicodedata.combining(char) != 0 or "\u1160" <= char <= "\u11ff" or unicodedata.category(char) == "Mn"


@lru_cache(maxsize=16384)
def _fold_cluster(cluster: str) -> tuple[str, tuple[Mark, ...]]:
    """What a base character with its combining characters becomes, and what had to be undone."""
    kept: list[str] = []
    marks: list[Mark] = []
    for char in cluster:
        folded, mark = _fold_char(char)
        kept.append(folded)
        if mark is not None:
            marks.append(mark)
    text = unicodedata.normalize("NFKC", "".join(kept))
    return "".join(_fold_char(char)[0] for char in text), tuple(marks)


def _fold_char(char: str) -> tuple[str, Mark | None]:
    code = ord(char)
    if code < 0x80:
        return char, None
    if _TAG_FIRST <= code <= _TAG_LAST:
        return (chr(code - _TAG_FIRST) if 0x20 <= code - _TAG_FIRST < 0x7F else ""), Mark.TAGS
    if char in _BIDI:
        return "", Mark.BIDI
    if char in _FOLDED:
        return _FOLDED[char], None
    category = unicodedata.category(char)
    if (category == "Cf" and char not in _VISIBLE_FORMAT) or char in _INVISIBLE:
        return "", Mark.ZERO_WIDTH
    if 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF:
        return "", None
    if category == "Zs":
        return " ", None
    if category == "Nd":
        return str(unicodedata.decimal(char)), None
    compat = unicodedata.normalize("NFKC", char)
    if compat != char and compat.isascii() and compat.isalnum():
        return compat, Mark.COMPATIBILITY
    return compat, None
