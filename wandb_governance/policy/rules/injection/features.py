"""Hashed n-grams of a text, of characters, words and meanings, each with the place it stands at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

BITS = 18
"""The table of weights has 2**BITS entries."""

_PRIME = np.uint32(0x01000193)
_WORD_PRIME = np.uint32(0x85EBCA6B)
_CHAR_SIZES = (3, 4, 5)
_MAX_WORD = 48
_CLUSTER_SALT = 0x51ED2701
_CONCEPT_SALT = 0x3C6EF372
_NEAR = 4
"""Words from one concept to the next of a pair."""

IntArray = npt.NDArray[np.int64]
HashArray = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lexicon:
    """What words mean, so that a phrase and its paraphrase share features."""

    words: HashArray
    """Hashes of known words, sorted, shape (n,)."""
    concept: IntArray
    """Concept of each word, shape (n,); 0 where it has none. Words of many languages share a concept."""
    cluster: IntArray
    """Cluster of words that stand in similar sentences, shape (n,); 0 where it has none."""

    def look_up(self, words: HashArray) -> tuple[IntArray, IntArray]:
        """Concept and cluster of each word, both of shape (n_words,)."""
        if not len(self.words):
            return np.zeros(len(words), dtype=np.int64), np.zeros(len(words), dtype=np.int64)
        at = np.minimum(np.searchsorted(self.words, words), len(self.words) - 1)
        known = self.words[at] == words
        return np.where(known, self.concept[at], 0), np.where(known, self.cluster[at], 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class HashedText:
    """N-grams of one text as indices into the table of weights."""

    index: IntArray
    """Table entry of each n-gram, shape (n,), 0 <= index < 2**BITS."""
    start: IntArray
    """Code point at which each n-gram starts, shape (n,)."""
    words: IntArray
    """Start and end code points of each word, shape (n_words, 2)."""


@lru_cache(maxsize=1)
def _folded_ascii() -> HashArray:
    """ASCII folded for counting: white space is a space, digits are zeros."""
    table = np.arange(128, dtype=np.uint32)
    table[:33] = 32
    table[127] = 32
    table[48:58] = 48
    return table


@lru_cache(maxsize=1)
def _powers() -> HashArray:
    powers = [1]
    while len(powers) < _MAX_WORD:
        powers.append(powers[-1] * int(_WORD_PRIME) & 0xFFFFFFFF)
    return np.array(powers, dtype=np.uint32)


def hash_text(text: str, lexicon: Lexicon) -> HashedText:
    """N-grams of characters (3 to 5), words (1 to 3, with gaps), clusters (1 to 3) and concepts (1 to 3, nearby).

    Case is folded, digits are alike, and a run of one character counts up to three times.

    Args:
        text: Normalised text of any length.
        lexicon: What words mean.

    Returns:
        The n-grams, in no order that means anything.
    """
    codes, where = _folded(text)
    hashes, starts = _char_grams(codes, where)
    word_hashes, words = _words(codes, where)
    concepts, clusters = lexicon.look_up(word_hashes)
    for salt, tokens in ((0, word_hashes), (_CLUSTER_SALT, clusters.astype(np.uint32) + np.uint32(_CLUSTER_SALT))):
        for grams in _word_grams(tokens, gaps=salt == 0):
            hashes.append(grams)
            starts.append(words[: len(grams), 0])
    for grams, places in _concept_grams(concepts):
        hashes.append(grams)
        starts.append(words[places, 0])
    index = _mix(np.concatenate(hashes)) >> np.uint32(32 - BITS)
    return HashedText(index=index.astype(np.int64), start=np.concatenate(starts), words=words)


def word_hashes(text: str) -> HashArray:
    """Hash of each word of a text, as the lexicon stores it."""
    return _words(*_folded(text))[0]


def _folded(text: str) -> tuple[HashArray, IntArray]:
    """Folded code points between two spaces, and the place of each in the text."""
    codes = np.frombuffer(_lower(text).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    codes = np.where(codes < 128, _folded_ascii()[np.minimum(codes, 127)], codes)
    kept = np.ones(len(codes), dtype=bool)
    if len(codes) > 1:
        same = codes[1:] == codes[:-1]
        kept[1:] &= ~(same & (codes[1:] == 32))
        if len(codes) > 3:
            kept[3:] &= ~(same[2:] & same[1:-1] & same[:-2])
    places = np.flatnonzero(kept)
    padded = np.concatenate([[np.uint32(32)], codes[places], [np.uint32(32)]]).astype(np.uint32)
    return padded, np.concatenate([[0], places, [len(codes)]]).astype(np.int64)


def _lower(text: str) -> str:
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(low if len(low := char.lower()) == 1 else char for char in text)


def _char_grams(codes: HashArray, where: IntArray) -> tuple[list[HashArray], list[IntArray]]:
    hashes: list[HashArray] = []
    starts: list[IntArray] = []
    running = codes * _PRIME
    for size in range(2, max(_CHAR_SIZES) + 1):
        if len(codes) < size:
            break
        running = running[: len(codes) - size + 1] * _PRIME ^ codes[size - 1 :]
        if size in _CHAR_SIZES:
            hashes.append(running + np.uint32(size * 0x9E3779B1 & 0xFFFFFFFF))
            starts.append(where[: len(running)])
    return hashes, starts


def _words(codes: HashArray, where: IntArray) -> tuple[HashArray, IntArray]:
    """Hash and span of each word; a Chinese, Japanese or Thai character is a word of its own."""
    ideograph = ((codes >= 0x2E80) & (codes < 0xA4D0)) | ((codes >= 0x0E00) & (codes < 0x0E80))
    letter = ((codes >= 48) & (codes < 58)) | ((codes >= 97) & (codes < 123)) | (codes == 95)
    letter |= (codes >= 0xAA) & ~((codes >= 0x2000) & (codes < 0x2E80)) & ~((codes >= 0x3000) & (codes < 0x3040))
    before = np.concatenate([[False], letter[:-1]])
    alone = np.concatenate([[False], ideograph[:-1]])
    first = np.flatnonzero(letter & (~before | ideograph | alone))
    if not len(first):
        return np.zeros(0, dtype=np.uint32), np.zeros((0, 2), dtype=np.int64)
    number = np.cumsum(np.isin(np.arange(len(codes)), first, assume_unique=True)) - 1
    inside = np.minimum(np.arange(len(codes)) - first[np.maximum(number, 0)], _MAX_WORD - 1)
    share = np.where(letter, codes * _powers()[np.maximum(inside, 0)], np.uint32(0)).astype(np.uint32)
    hashes = np.add.reduceat(share, first).astype(np.uint32)
    last = np.add.reduceat(letter.astype(np.int64), first) + first - 1
    return hashes, np.stack([where[first], where[last] + 1], axis=1)


def _word_grams(words: HashArray, *, gaps: bool) -> list[HashArray]:
    """Words, pairs, triples, and pairs with one word between them."""
    one = words * np.uint32(0xC2B2AE35)
    two = (words[:-1] * np.uint32(0x27D4EB2F)) ^ (words[1:] * np.uint32(0x165667B1))
    three = (two[:-1] * np.uint32(0x9E3779B1)) ^ (words[2:] * np.uint32(0xC2B2AE3D))
    if not gaps:
        return [one, two, three]
    return [one, two, three, (words[:-2] * np.uint32(0x85EBCA77)) ^ (words[2:] * np.uint32(0x2545F491))]


def _concept_grams(concepts: IntArray) -> list[tuple[HashArray, IntArray]]:
    """Concepts, and pairs and triples of those that stand near each other; each with its first word."""
    places = np.flatnonzero(concepts)
    named = concepts[places].astype(np.uint32) + np.uint32(_CONCEPT_SALT)
    near = np.diff(places) <= _NEAR
    one = named * np.uint32(0x7FEB352D)
    two = (named[:-1] * np.uint32(0x846CA68B)) ^ (named[1:] * np.uint32(0x9E3779B1))
    three = (two[:-1] * np.uint32(0x27D4EB2F)) ^ (named[2:] * np.uint32(0x165667B1))
    both = near[:-1] & near[1:]
    return [(one, places), (two[near], places[:-1][near]), (three[both], places[:-2][both])]


def _mix(hashes: HashArray) -> HashArray:
    mixed = hashes ^ (hashes >> np.uint32(15))
    mixed = mixed * np.uint32(0x2C1B3C6D)
    mixed ^= mixed >> np.uint32(12)
    mixed = mixed * np.uint32(0x297A2D39)
    mixed ^= mixed >> np.uint32(15)
    return mixed
