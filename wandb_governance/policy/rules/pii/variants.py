"""Other spellings of the same text, each with a map back to the source.

``fold`` undoes what a reader does not see (zero-width characters, full-width digits, odd dashes); ``unescape`` undoes
what a format did (JSON, URL and HTML escapes, "(at)"); ``blobs`` decodes base64 and hex runs. None of them changes the
text that goes on: a finding is always reported where it stands in the source.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_NON_ASCII = re.compile(r"[^\x00-\x7f]+")
_DASHES = frozenset("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u02d7\u2043\ufe58\ufe63\uff0d")
_ESCAPE = re.compile(
    r"(?P<percent>(?:%[0-9A-Fa-f]{2})+)"
    r"|(?P<entity>&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|commat|period|nbsp|amp|lt|gt|quot|apos|plus|lowbar|hyphen|dash);)"
    r"|(?P<unicode>\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2})"
    r"|(?P<control>\\[nrtbf\"\\/])"
    r"|(?P<at>[ ]?[\[({<][ ]?(?:at|AT|At|@|arroba|ät)[ ]?[\])}>][ ]?)"
    r"|(?P<dot>[ ]?[\[({<][ ]?(?:dot|DOT|Dot|punkt|punto|ponto|\.)[ ]?[\])}>][ ]?)"
)
_MAY_ESCAPE = re.compile(r"[%&\\]|[\[({<][ ]?(?i:at|@|dot|arroba|ät|punkt|punto|ponto|\.)[ ]?[\])}>]")
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{16,}={0,2}")
_HEX = re.compile(r"(?<![0-9A-Za-z])(?:[0-9A-Fa-f]{2}){8,}(?![0-9A-Za-z])")
_PRINTABLE_SHARE = 0.95
_BLOB_MAX_LENGTH = 1 << 20


@dataclass(frozen=True, slots=True)
class Mapped:
    """A text and, for each of its characters, the source characters that it stands for."""

    text: str
    starts: list[int] | None = None
    """Source offset of the first code point behind each character; None when the text is the source."""
    ends: list[int] | None = None
    """One past the last source code point behind each character."""

    def source(self, start: int, end: int) -> tuple[int, int]:
        """The span of the source behind ``text[start:end]``; ``start < end``."""
        if self.starts is None or self.ends is None:
            return start, end
        return self.starts[start], self.ends[end - 1]


class Blob(NamedTuple):
    """An encoded run of the source and what it decodes to."""

    start: int
    end: int
    text: str


@lru_cache(maxsize=4096)
def _folded(character: str) -> str:
    if character in _DASHES:
        return "-"
    category = unicodedata.category(character)
    # Variation selectors and the combining grapheme joiner are marks, yet as invisible as format characters.
    if category == "Cf" or "\ufe00" <= character <= "\ufe0f" or character in "\u034f\u115f\u1160\u3164\uffa0":
        return ""
    if category == "Zs":
        return " "
    return unicodedata.normalize("NFKC", character)


def fold(text: str) -> Mapped:
    """``text`` without invisible characters, with compatibility forms and dashes made plain."""
    if text.isascii():
        return Mapped(text)
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    changed = False
    at = 0
    for match in _NON_ASCII.finditer(text):
        begin, stop = match.span()
        pieces.append(text[at:begin])
        starts.extend(range(at, begin))
        ends.extend(range(at + 1, begin + 1))
        for offset in range(begin, stop):
            folded = _folded(text[offset])
            changed = changed or folded != text[offset]
            pieces.append(folded)
            starts.extend([offset] * len(folded))
            ends.extend([offset + 1] * len(folded))
        at = stop
    if not changed:
        return Mapped(text)
    pieces.append(text[at:])
    starts.extend(range(at, len(text)))
    ends.extend(range(at + 1, len(text) + 1))
    return Mapped("".join(pieces), starts, ends)


def unescape(source: Mapped) -> Mapped | None:
    """``source`` with escapes decoded, or None where there are none."""
    text = source.text
    if _MAY_ESCAPE.search(text) is None:
        return None
    pieces: list[str] = []
    spans: list[tuple[int, int]] = []
    at = 0
    for match in _ESCAPE.finditer(text):
        begin, stop = match.span()
        pieces.append(text[at:begin])
        spans.extend((offset, offset + 1) for offset in range(at, begin))
        for piece, first, last in _decoded(match):
            pieces.append(piece)
            spans.extend([(first, last)] * len(piece))
        at = stop
    if at == 0:
        return None
    pieces.append(text[at:])
    spans.extend((offset, offset + 1) for offset in range(at, len(text)))
    mapped = [source.source(first, last) for first, last in spans]
    return Mapped("".join(pieces), [first for first, _ in mapped], [last for _, last in mapped])


def _decoded(match: re.Match[str]) -> Iterator[tuple[str, int, int]]:
    begin, stop = match.span()
    raw = match.group()
    kind = match.lastgroup
    if kind == "percent":
        yield from _percent(raw, begin)
    elif kind == "entity":
        yield html.unescape(raw), begin, stop
    elif kind == "unicode":
        digits = raw[2:]
        character = chr(int(digits, 16))
        yield ("?" if "\ud800" <= character <= "\udfff" else _folded(character)), begin, stop
    elif kind == "control":
        yield (raw[1] if raw[1] in '"\\/' else " "), begin, stop
    else:
        yield ("@" if kind == "at" else "."), begin, stop


def _percent(raw: str, begin: int) -> Iterator[tuple[str, int, int]]:
    data = bytes.fromhex(raw.replace("%", ""))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
        yield from ((character, begin + 3 * at, begin + 3 * at + 3) for at, character in enumerate(text))
        return
    at = begin
    for character in text:
        stop = at + 3 * len(character.encode())
        yield character, at, stop
        at = stop


def blobs(text: str) -> Iterator[Blob]:
    """Runs of ``text`` that decode to readable text."""
    for match in _BASE64.finditer(text):
        raw = match.group()
        if len(raw) <= _BLOB_MAX_LENGTH and not raw.isdigit():
            yield from _readable(match, _base64(raw))
    for match in _HEX.finditer(text):
        if len(match.group()) <= _BLOB_MAX_LENGTH:
            yield from _readable(match, bytes.fromhex(match.group()))


def _base64(raw: str) -> bytes:
    body = raw.rstrip("=").replace("-", "+").replace("_", "/")
    body = body[: len(body) - 1] if len(body) % 4 == 1 else body
    try:
        return base64.b64decode(body + "=" * (-len(body) % 4))
    except (binascii.Error, ValueError):
        return b""


def _readable(match: re.Match[str], data: bytes) -> Iterator[Blob]:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return
    printable = sum(character.isprintable() or character in "\r\n\t" for character in text)
    if text and printable >= _PRINTABLE_SHARE * len(text):
        yield Blob(match.start(), match.end(), text)
