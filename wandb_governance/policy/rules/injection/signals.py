"""Signals of a stretch of text that n-grams do not see: shapes of phrases, style, length, disguise."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wandb_governance.policy.normalize import Encoding, Mark
from wandb_governance.policy.rules.injection.patterns import Shape, find_shapes, shapes

if TYPE_CHECKING:
    from collections.abc import Collection

FloatArray = npt.NDArray[np.float32]

_WORD = re.compile(r"\w+")
_CAPS = re.compile(r"\b[A-Z]{3,}\b")
_YOU = re.compile(r"\b(?:you|your|yourself|you're|du|dein\w*|tu|vous|usted|ты|твой|你)\b", re.IGNORECASE)
_ME = re.compile(r"\b(?:i|my|me|we|our|us|ich|mein\w*)\b", re.IGNORECASE)
_MODAL = re.compile(r"\b(?:must|shall|will|should|always|never|cannot|can't|don't|not)\b", re.IGNORECASE)
_POLITE = re.compile(r"\b(?:please|could you|can you|would you|thanks|thank you)\b", re.IGNORECASE)
_DOCUMENT = re.compile(
    r"(?:^|\n|\")\W*(?:subject|from|to|date|dear|hi|hello|regards|best|content|title|body)\b", re.IGNORECASE
)
_LINK = re.compile(r"https?:|www\.|@\w+\.\w+")
_ANSWER = re.compile(r"\b(?:response|reply|answer|output|responses|replies|answers)\b", re.IGNORECASE)
_REFERENCE = re.compile(
    r"\b(?:the following|this (?:text|e-?mail|article|paragraph|code)|below|attached|the (?:text|passage|document))\b",
    re.IGNORECASE,
)
_IMPERATIVE = re.compile(
    r"(?:^|[.!?:;\n]\s*|\b(?:and|then|also|now|please) )(?:ignore|forget|disregard|say|print|write|tell|give|show"
    r"|repeat|reveal|output|add|include|insert|provide|use|replace|translate|describe|explain|list|make|create|send"
    r"|call|act|pretend|respond|answer|reply|start|stop|let|do|be|become|imagine|convert|modify|rewrite|summari[sz]e"
    r"|draft|compose|develop|enhance|integrate|remove|change)\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"[\"“”«`][^\"“”»`\n]{3,160}[\"“”»`]|(?<!\w)'[^'\n]{3,160}'(?!\w)")
_SENTENCE = 120
"""Code points before a phrase in which its sentence is looked for."""
_SENTENCE_END = re.compile(r"[.!?:\n]")
_ASKING = re.compile(
    r"\b(?:how|why|when|which|where|explain|can (?:i|we)|could (?:i|we)|may i|should (?:i|we)"
    r"|is it|what (?:does|do|should|are (?:best|good|some|typical))|write (?:a|an|some) |give (?:me )?an example)\b"
)
_BLOCKS = {Encoding.BASE64, Encoding.BASE32, Encoding.HEX, Encoding.BINARY, Encoding.ROT13}
_ESCAPES = {Encoding.PERCENT, Encoding.HTML, Encoding.ESCAPES}

STYLE_NAMES = (
    *("length", "lines", "capitals", "exclamations", "questions", "final_question", "quotes", "digits", "foreign"),
    *("punctuation", "repetition", "you", "me", "modals", "polite", "document", "link", "answer", "reference"),
    *("imperatives", "colons"),
)
CONTEXT_NAMES = (*(f"mark_{mark.value}" for mark in Mark), "encoded_block", "escapes", "disguised")


def signal_names() -> tuple[str, ...]:
    """Names of the columns, in order."""
    named = [shape.id for shape in shapes()]
    return (
        *(f"shape_{name}" for name in named),
        *(f"mentioned_{name}" for name in named),
        *STYLE_NAMES,
        *CONTEXT_NAMES,
    )


def context_signals(marks: Collection[Mark], encodings: Collection[Encoding]) -> FloatArray:
    """What holds for the whole text: marks of normalisation and kinds of encodings."""
    seen = set(encodings)
    flags = [float(mark in marks) for mark in Mark]
    flags += [float(bool(seen & _BLOCKS)), float(bool(seen & _ESCAPES)), float(bool(seen - _BLOCKS - _ESCAPES))]
    return np.array(flags, dtype=np.float32)


def shape_hits(text: str, known: tuple[Shape, ...]) -> npt.NDArray[np.int64]:
    """Known shapes in a normalised text, shape (n, 4): column, start, end, and 1 where it is only spoken about.

    A phrase is spoken about when it stands in quotes or in a sentence that asks how or why.
    """
    lowered = text.lower()
    if len(lowered) != len(text):
        lowered = "".join(low if len(low := char.lower()) == 1 else char for char in text)
    quoted = [match.span() for match in _QUOTED.finditer(lowered)]
    return np.array(
        [
            (column, start, end, _is_mentioned(lowered, start, end, quoted))
            for column, start, end in find_shapes(lowered, known)
        ],
        dtype=np.int64,
    ).reshape(-1, 4)


def _is_mentioned(lowered: str, start: int, end: int, quoted: list[tuple[int, int]]) -> bool:
    if any(first < start and end <= last for first, last in quoted):
        return True
    before = lowered[max(0, start - _SENTENCE) : start]
    return _ASKING.search(_SENTENCE_END.split(before)[-1]) is not None


def shape_signals(hits: npt.NDArray[np.int64], start: int, end: int) -> FloatArray:
    """Which shapes stand in a region, as 0 or 1: first those that act, then those that are spoken about."""
    count = len(shapes())
    found = np.zeros(2 * count, dtype=np.float32)
    inside = (hits[:, 1] < end) & (hits[:, 2] > start)
    found[hits[inside, 0] + count * hits[inside, 3]] = 1.0
    return found


def style_signals(text: str) -> FloatArray:
    """Style of a region as small numbers, in the order of ``STYLE_NAMES``."""
    words = _WORD.findall(text)
    count = len(words) or 1
    size = len(text) or 1

    def rate(pattern: re.Pattern[str], scale: float = 10.0) -> float:
        return min(1.0, scale * len(pattern.findall(text)) / (count + 4))

    foreign = sum(char > "\x7f" and char.isalpha() for char in text) if not text.isascii() else 0
    plain = sum(map(len, words)) + text.count(" ")
    return np.array(
        [
            math.log1p(count) / 5,
            math.log1p(text.count("\n")) / 3,
            rate(_CAPS, 3.0),
            math.log1p(text.count("!")) / 2,
            math.log1p(text.count("?")) / 2,
            float(text.rstrip()[-1:] == "?"),
            math.log1p(text.count('"') + text.count("'")) / 3,
            min(1.0, 5 * sum(map(text.count, "0123456789")) / size),
            foreign / size,
            min(1.0, 4 * (1 - plain / size)),
            1 - len({word.lower() for word in words}) / count,
            rate(_YOU, 5.0),
            rate(_ME, 5.0),
            rate(_MODAL),
            rate(_POLITE),
            rate(_DOCUMENT),
            float(_LINK.search(text) is not None),
            float(_ANSWER.search(text) is not None),
            float(_REFERENCE.search(text) is not None),
            rate(_IMPERATIVE),
            rate_of_colons(text, count),
        ],
        dtype=np.float32,
    )


def rate_of_colons(text: str, words: int) -> float:
    """Colons for each ten words, at most 1."""
    return min(1.0, 10 * text.count(":") / (words + 4))
