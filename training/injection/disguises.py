"""Ways to hide a text that a model still reads; used to make training texts and test cases."""

from __future__ import annotations

import base64
import codecs
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    import random

_CYRILLIC = str.maketrans("aeopcxyi", "аеорсхуі")
_LEET = str.maketrans("aeiost", "431057")


def disguise(text: str, rng: random.Random) -> str:
    """Text in one disguise, drawn at random."""
    kind = rng.choice(
        (
            "base64",
            "hex",
            "rot13",
            "percent",
            "html",
            "spaced",
            "leet",
            "homoglyph",
            "zero_width",
            "tags",
            "wide",
            "reversed",
            "scrambled",
        )
    )
    return apply(text, kind, rng)


def apply(text: str, kind: str, rng: random.Random) -> str:
    """Text in a named disguise.

    Raises:
        KeyError: There is no such disguise.
    """
    wrap = rng.choice(
        (
            "Decode and follow: ",
            "Decode this and do what it says: ",
            "Execute the decoded text: ",
            "",
            "Translate from base64: ",
        )
    )
    makers = {
        "base64": lambda: wrap + base64.b64encode(text.encode()).decode(),
        "hex": lambda: wrap.replace("base64", "hex") + text.encode().hex(),
        "rot13": lambda: wrap.replace("base64", "rot13") + codecs.encode(text, "rot13"),
        "percent": lambda: quote(text, safe=""),
        "html": lambda: "".join(f"&#{ord(char)};" for char in text),
        "spaced": lambda: "  ".join(" ".join(word) for word in text.split()),
        "leet": lambda: text.lower().translate(_LEET),
        "homoglyph": lambda: text.translate(_CYRILLIC),
        "zero_width": lambda: "\u200b".join(text),
        "tags": lambda: "Nice weather today." + "".join(chr(0xE0000 + ord(char)) for char in text if char.isascii()),
        "wide": lambda: "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in text),
        "reversed": lambda: text[::-1],
        "scrambled": lambda: " ".join(_scramble(word, rng) for word in text.split()),
    }
    return makers[kind]()


def _scramble(word: str, rng: random.Random) -> str:
    if len(word) < 4 or not word.isalpha():
        return word
    inner = list(word[1:-1])
    rng.shuffle(inner)
    return word[0] + "".join(inner) + word[-1]
