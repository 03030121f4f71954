"""Word lists beside the name model: words that start no name, common names, phrases that are never a person."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

DATA = Path(__file__).parents[2] / "data" / "ner"
_BETWEEN_WORDS = re.compile(r"[\s&'’.,-]+")


@lru_cache(maxsize=4)
def _lines(name: str) -> frozenset[str]:
    return frozenset((DATA / name).read_text(encoding="utf-8").split("\n")) - {""}


def plain_words() -> frozenset[str]:
    """Words, in lower case, that start no name when they are written in lower case."""
    return _lines("plain_words.txt")


def is_given_name(word: str) -> bool:
    """Whether a word, in any case, is a given name somewhere."""
    return word.lower() in _lines("given_names.txt")


def is_never_a_person(phrase: str) -> bool:
    """Whether a whole phrase is a month, a language, an assistant, a company named after people, a book's hero."""
    return _BETWEEN_WORDS.sub(" ", phrase.lower()).strip() in _lines("not_names.txt")
