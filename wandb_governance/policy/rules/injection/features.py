"""Hashed character and word n-grams of a text, each with the place it stands at."""

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

IntArray = npt.NDArray[np.int64]
HashArray = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True, kw_only=True)
class HashedText:
    """N-grams of one text as indices into the table of weights."""

    index: IntArray
    """Table entry of each n-gram, shape (n,), 0 <= index < 2**BITS."""
    start: IntArray
    """Code point at which each n-gram starts, shape (n,)."""
    words: IntArray
    """Start and end code points of each word, shape (n_words, 2)."""
    kinds: IntArray
    """How many n-grams each family has, in order: characters by size, then words by order."""


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


def hash_text(text: str) -> HashedText:
    """Character n-grams of 3 to 5 and word n-grams of 1 to 3 with gaps, case folded, digits alike.

    Args:
        text: Normalised text of any length.

    Returns:
        The n-grams; none for an empty text. A run of one character counts up to three times.
    """
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
    where = np.concatenate([[0], places, [len(codes)]]).astype(np.int64)
    hashes, starts = _char_grams(padded, where)
    word_hashes, words = _words(padded, where)
    for grams in _word_grams(word_hashes):
        hashes.append(grams)
        starts.append(words[: len(grams), 0])
    kinds = np.array([len(grams) for grams in hashes], dtype=np.int64)
    index = _mix(np.concatenate(hashes)) >> np.uint32(32 - BITS)
    return HashedText(index=index.astype(np.int64), start=np.concatenate(starts), words=words, kinds=kinds)


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


def _word_grams(words: HashArray) -> list[HashArray]:
    """Words, pairs, triples, and pairs with one word between them."""
    one = words * np.uint32(0xC2B2AE35)
    two = (words[:-1] * np.uint32(0x27D4EB2F)) ^ (words[1:] * np.uint32(0x165667B1))
    three = (two[:-1] * np.uint32(0x9E3779B1)) ^ (words[2:] * np.uint32(0xC2B2AE3D))
    gap = (words[:-2] * np.uint32(0x85EBCA77)) ^ (words[2:] * np.uint32(0x2545F491))
    return [one, two, three, gap]


def _mix(hashes: HashArray) -> HashArray:
    mixed = hashes ^ (hashes >> np.uint32(15))
    mixed = mixed * np.uint32(0x2C1B3C6D)
    mixed ^= mixed >> np.uint32(12)
    mixed = mixed * np.uint32(0x297A2D39)
    return mixed ^ (mixed >> np.uint32(15))
