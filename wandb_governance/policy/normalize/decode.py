"""Encodings that hide text in plain sight, undone with a map back to the source."""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from wandb_governance.policy.normalize.text import NormalizedText

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MAX_VIEWS = 24
_MIN_DECODED = 6
_PRINTABLE_SHARE = 0.95


class Encoding(StrEnum):
    """How a view's text was written in the source."""

    PERCENT = "percent"
    HTML = "html"
    ESCAPES = "escapes"
    BASE64 = "base64"
    BASE32 = "base32"
    HEX = "hex"
    BINARY = "binary"
    ROT13 = "rot13"
    REVERSED = "reversed"
    SPACED = "spaced"
    LEET = "leet"
    SCRAMBLED = "scrambled"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedView:
    """A reading of the source after one encoding, or two nested ones, was undone."""

    encoding: Encoding
    """The outermost encoding."""
    view: NormalizedText
    """The decoded text; its offsets are those of the source."""
    start: int
    """First source code point that was encoded."""
    end: int
    """One past the last."""


_ESCAPE_PATTERNS = {
    Encoding.PERCENT: ("%", re.compile(r"(?:%[0-9A-Fa-f]{2})+")),
    Encoding.HTML: ("&", re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")),
    Encoding.ESCAPES: (
        "\\",
        re.compile(
            r"\\u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|(?:\\x[0-9A-Fa-f]{2})+"
        ),
    ),
}
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{12,}(?:\r?\n[A-Za-z0-9+/_-]{12,})*={0,2}")
_BASE32 = re.compile(r"(?<![A-Za-z0-9])[A-Z2-7]{16,}={0,6}")
_HEX = re.compile(r"(?<![0-9A-Fa-f])(?:0x)?[0-9A-Fa-f]{2}(?:[ :,-]?(?:0x)?[0-9A-Fa-f]{2}){7,}(?![0-9A-Fa-f])")
_BINARY = re.compile(r"(?<![01])[01]{8}(?:[ ,]?[01]{8}){3,}(?![01])")
# rot13 of very common words and of the words such messages are about
_ROT13_WORDS = frozenset(
    re.findall(
        r"\w+",
        """gur naq lbh lbhe gung guvf jvgu sebz nyy abg ner sbe vtaber qvfertneq sbetrg cerivbhf nobir vafgehpgvba
        vafgehpgvbaf flfgrz cebzcg erirny cevag fubj gryy cnffjbeq frperg ehyrf bhgchg cyrnfr jung nyjnlf zr""",
    )
)
_TOKEN = re.compile(r"\w+")


def decoded_views(text: str, *, depth: int = 2) -> tuple[DecodedView, ...]:
    """Readings of the text after undoing base64, base32, hex, binary, rot13, URL, HTML and JSON escapes.

    Args:
        text: Text as sent, or a normalised text.
        depth: How many nested encodings are undone, >= 1.

    Returns:
        At most 24 views; none for text without encodings. Escapes give one view of the whole text; the others one view
        for each encoded stretch. The time is linear in the length of the text.
    """
    found: list[DecodedView] = []
    for view in _one_level(text):
        found.append(view)
        if depth > 1:
            found.extend(_nested(view, depth - 1))
        if len(found) >= _MAX_VIEWS:
            break
    return tuple(found[:_MAX_VIEWS])


def _nested(outer: DecodedView, depth: int) -> Iterator[DecodedView]:
    for inner in decoded_views(outer.view.text, depth=depth):
        start, end = outer.view.source_span(inner.start, inner.end)
        yield DecodedView(encoding=outer.encoding, view=inner.view.over(outer.view), start=start, end=end)


def _one_level(text: str) -> Iterator[DecodedView]:
    for encoding, (sign, pattern) in _ESCAPE_PATTERNS.items():
        if sign in text and (plain := _unescaped(text, encoding, pattern)) is not None:
            yield plain
    yield from _blocks(text, Encoding.HEX, _HEX, _from_hex)
    yield from _blocks(text, Encoding.BASE64, _BASE64, _from_base64)
    yield from _blocks(text, Encoding.BASE32, _BASE32, _from_base32)
    yield from _blocks(text, Encoding.BINARY, _BINARY, _from_binary)
    if len(_ROT13_WORDS.intersection(_TOKEN.findall(text.lower()))) > 1:
        rotated = codecs.encode(text, "rot13")
        same = NormalizedText(text=rotated, starts=range(len(text)), ends=range(1, len(text) + 1))
        yield DecodedView(encoding=Encoding.ROT13, view=same, start=0, end=len(text))


def _unescaped(text: str, encoding: Encoding, pattern: re.Pattern[str]) -> DecodedView | None:
    """The whole text with its escapes replaced, or None where it has none that decode."""
    out: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at, first, last = 0, -1, -1
    for match in pattern.finditer(text):
        pieces = list(_escape_pieces(match.group(), encoding))
        if not pieces:
            continue
        begin = match.start()
        out.append(text[at:begin])
        starts.extend(range(at, begin))
        ends.extend(range(at + 1, begin + 1))
        for piece, offset, size in pieces:
            out.append(piece)
            starts.extend([begin + offset] * len(piece))
            ends.extend([begin + offset + size] * len(piece))
        first, last, at = (begin if first < 0 else first), match.end(), match.end()
    if first < 0:
        return None
    out.append(text[at:])
    starts.extend(range(at, len(text)))
    ends.extend(range(at + 1, len(text) + 1))
    view = NormalizedText(text="".join(out), starts=starts, ends=ends)
    return DecodedView(encoding=encoding, view=view, start=first, end=last)


def _escape_pieces(escape: str, encoding: Encoding) -> Iterator[tuple[str, int, int]]:
    """Decoded text, its offset in the escape and the length it takes there; nothing where it does not decode."""
    if encoding is Encoding.HTML:
        plain = html.unescape(escape)
        if plain and plain != escape:
            yield plain, 0, len(escape)
        return
    if escape.startswith("\\u"):
        units = bytes.fromhex("".join(escape.split("\\u")))
        try:
            yield units.decode("utf-16-be"), 0, len(escape)
        except UnicodeDecodeError:
            return
        return
    width = 3 if encoding is Encoding.PERCENT else 4
    raw = bytes.fromhex(escape.replace("%", "").replace("\\x", ""))
    try:
        plain = raw.decode("utf-8")
    except UnicodeDecodeError:
        if encoding is Encoding.PERCENT:
            return
        plain = raw.decode("latin-1")
        yield from ((char, index * width, width) for index, char in enumerate(plain))
        return
    offset = 0
    for char in plain:
        size = len(char.encode()) * width
        yield char, offset, size
        offset += size


def _blocks(
    text: str, encoding: Encoding, pattern: re.Pattern[str], decode: Callable[[str], bytes]
) -> Iterator[DecodedView]:
    """One view for each stretch that decodes to readable text; each of its code points maps to the whole stretch."""
    for match in pattern.finditer(text):
        try:
            plain = decode(match.group()).decode("utf-8")
        except (ValueError, binascii.Error):
            continue
        if not _readable(plain):
            continue
        start, end = match.span()
        view = NormalizedText(text=plain, starts=[start] * len(plain), ends=[end] * len(plain))
        yield DecodedView(encoding=encoding, view=view, start=start, end=end)


def _readable(text: str) -> bool:
    if len(text) < _MIN_DECODED:
        return False
    good = sum(char.isprintable() or char in "\n\r\t" for char in text)
    letters = sum(char.isalpha() or char == " " for char in text)
    return good >= _PRINTABLE_SHARE * len(text) and letters * 2 >= len(text)


def _from_base64(block: str) -> bytes:
    body = "".join(block.split()).rstrip("=").replace("-", "+").replace("_", "/")
    body = body[: len(body) - (len(body) % 4 == 1)]
    return base64.b64decode(body + "=" * (-len(body) % 4))


def _from_base32(block: str) -> bytes:
    body = block.rstrip("=")
    return base64.b32decode(body + "=" * (-len(body) % 8))


def _from_hex(block: str) -> bytes:
    return bytes.fromhex(re.sub(r"0x|[ :,-]", "", block))


def _from_binary(block: str) -> bytes:
    bits = re.sub(r"[ ,]", "", block)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits) - 7, 8))
