"""Splitters that give spans, so that a chunk's place is known and never searched for."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from wandb_governance.errors import SweepConfigError
from wandb_governance.sweep.tokens import tokenizer as named_tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wandb_governance.sweep.corpus import Corpus
    from wandb_governance.sweep.tokens import Tokenizer

Span = tuple[int, int]
"""First code point and one past the last."""

DEFAULT_SEPARATORS = ("\n\n", "\n", ".", "?", "!", " ", "")
"""Paragraph, line, sentence, word, character: the order of Chroma's evaluation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of one document."""

    doc: str
    """Id of the document."""
    start: int
    """First code point in the document."""
    end: int
    """One past the last code point."""
    text: str
    """``document[start:end]``."""

    @property
    def id(self) -> str:
        """``document#start-end``."""
        return f"{self.doc}#{self.start}-{self.end}"


class Splitter(Protocol):
    """Cuts a text into spans."""

    @property
    def name(self) -> str:
        """Name in ``rag.yaml``."""
        ...

    @property
    def version(self) -> str:
        """Changes whenever spans may; part of every index key."""
        ...

    def spans(self, text: str) -> list[Span]:
        """Spans in order of start, none of them empty."""
        ...


class RecursiveSplitter:
    """Cuts at the coarsest separator that is there, and joins pieces up to the size.

    The spans equal those of LangChain's ``RecursiveCharacterTextSplitter`` with separators kept at a piece's start,
    because published chunking results use it. Two of its habits come with that: lengths of pieces are added up, so
    a chunk can be a few tokens over the size, and white space at both ends is cut off.

    Args:
        size: Largest chunk, in tokens, at least 1.
        overlap: Tokens that neighbours may share, 0 <= overlap < size.
        tokenizer: What counts.
        separators: From coarse to fine; an empty one cuts between any two characters.
    """

    name = "recursive"
    version = "1"

    def __init__(
        self, *, size: int, overlap: int, tokenizer: Tokenizer, separators: Sequence[str] = DEFAULT_SEPARATORS
    ) -> None:
        check_pair(size, overlap)
        self._size = size
        self._overlap = overlap
        self._tokenizer = tokenizer
        self._separators = tuple(separators)

    def spans(self, text: str) -> list[Span]:
        """Spans in order of start."""
        return list(self._split(text, (0, len(text)), self._separators))

    def _split(self, text: str, span: Span, separators: Sequence[str]) -> Iterator[Span]:
        separator, finer = self._coarsest(text, span, separators)
        waiting: list[tuple[Span, int]] = []
        for piece in _cut(text, span, separator):
            length = self._tokenizer.count(text[piece[0] : piece[1]])
            if length < self._size:
                waiting.append((piece, length))
                continue
            yield from self._join(text, waiting)
            waiting = []
            if finer:
                yield from self._split(text, piece, finer)
            else:
                yield piece
        yield from self._join(text, waiting)

    @staticmethod
    def _coarsest(text: str, span: Span, separators: Sequence[str]) -> tuple[str, Sequence[str]]:
        for index, separator in enumerate(separators):
            if not separator:
                return separator, ()
            if text.find(separator, *span) >= 0:
                return separator, separators[index + 1 :]
        return separators[-1], ()

    def _join(self, text: str, pieces: Sequence[tuple[Span, int]]) -> Iterator[Span]:
        gap = self._tokenizer.count("")  # not 0 where special tokens are counted with every piece
        first, total = 0, 0
        for index, (_, length) in enumerate(pieces):
            if index > first and total + length + gap > self._size:
                yield from _stripped(text, (pieces[first][0][0], pieces[index - 1][0][1]))
                while total > self._overlap or (
                    total > 0 and total + length + (gap if first < index else 0) > self._size
                ):
                    total -= pieces[first][1] + (gap if index - first > 1 else 0)
                    first += 1
            total += length + (gap if first < index else 0)
        if first < len(pieces):
            yield from _stripped(text, (pieces[first][0][0], pieces[-1][0][1]))


class TokenSplitter:
    """Windows of a fixed number of tokens.

    Args:
        size: Tokens in a window, at least 1.
        overlap: Tokens that neighbours share, 0 <= overlap < size.
        tokenizer: What counts.
    """

    name = "token"
    version = "1"

    def __init__(self, *, size: int, overlap: int, tokenizer: Tokenizer) -> None:
        check_pair(size, overlap)
        self._size = size
        self._step = size - overlap
        self._tokenizer = tokenizer

    def spans(self, text: str) -> list[Span]:
        """Spans in order of start; a window that ends inside a code point leaves it to the next one."""
        starts = self._tokenizer.starts(text)
        spans: list[Span] = []
        for first in range(0, len(starts), self._step):
            last = first + self._size
            span = (int(starts[first]), int(starts[last]) if last < len(starts) else len(text))
            if span[0] < span[1]:
                spans.append(span)
            if last >= len(starts):
                break
        return spans


class SentenceSplitter:
    """Whole sentences, joined up to the size; a sentence longer than the size stands alone.

    Args:
        size: Tokens to fill, at least 1.
        overlap: Tokens of whole sentences that neighbours share at most, 0 <= overlap < size.
        tokenizer: What counts.
    """

    name = "sentence"
    version = "1"
    _END = re.compile(r"(?<=[.!?])[\"')\]]*\s+|(?<=[。！？])|\n{2,}")

    def __init__(self, *, size: int, overlap: int, tokenizer: Tokenizer) -> None:
        check_pair(size, overlap)
        self._size = size
        self._overlap = overlap
        self._tokenizer = tokenizer

    def spans(self, text: str) -> list[Span]:
        """Spans in order of start."""
        cuts = sorted({0, len(text), *(match.end() for match in self._END.finditer(text))})
        sentences = [span for cut in itertools.pairwise(cuts) for span in _stripped(text, cut)]
        lengths = [self._tokenizer.count(text[start:end]) for start, end in sentences]
        spans: list[Span] = []
        first = 0
        while first < len(sentences):
            last, total = first + 1, lengths[first]
            while last < len(sentences) and total + lengths[last] <= self._size:
                total += lengths[last]
                last += 1
            spans.append((sentences[first][0], sentences[last - 1][1]))
            if last == len(sentences):
                break
            back, shared = last, 0
            while back - 1 > first and shared + lengths[back - 1] <= self._overlap:
                back -= 1
                shared += lengths[back]
            first = back
        return spans


def check_pair(size: int, overlap: int) -> None:
    """Refuse a pair that no splitter can cut by.

    Raises:
        SweepConfigError: size < 1, overlap < 0, or overlap >= size (then a window would never move on).
    """
    if size < 1:
        raise SweepConfigError(f"must be at least 1, is {size}", key="chunk_size")
    if overlap < 0:
        raise SweepConfigError(f"must not be negative, is {overlap}", key="chunk_overlap")
    if overlap >= size:
        raise SweepConfigError(f"must be smaller than chunk_size {size}, is {overlap}", key="chunk_overlap")


_KINDS: dict[str, type[RecursiveSplitter | TokenSplitter | SentenceSplitter]] = {
    kind.name: kind for kind in (RecursiveSplitter, TokenSplitter, SentenceSplitter)
}
SPLITTERS = tuple(_KINDS)


def make_splitter(name: str, *, size: int, overlap: int, tokenizer: str) -> Splitter:
    """The splitter of this name.

    Raises:
        SweepConfigError: No such splitter or tokenizer, or an impossible pair.
    """
    if name not in _KINDS:
        raise SweepConfigError(f"no splitter {name!r}; there are {', '.join(SPLITTERS)}", key="splitter")
    return _KINDS[name](size=size, overlap=overlap, tokenizer=named_tokenizer(tokenizer))


class SearchedSplitter:
    """Places each chunk where its text is found first, as the published evaluator of Chroma does.

    For the reproduction of published numbers only: a chunk whose text comes twice is put at the first copy.

    Args:
        splitter: What cuts.
    """

    def __init__(self, splitter: Splitter) -> None:
        self._splitter = splitter
        self.name = f"{splitter.name}+searched"
        self.version = splitter.version

    def spans(self, text: str) -> list[Span]:
        """Spans in the order of the cuts; places can repeat."""
        found = []
        for start, end in self._splitter.spans(text):
            first = text.find(text[start:end])
            found.append((first, first + end - start))
        return found


def split_corpus(corpus: Corpus, splitter: Splitter) -> Iterator[Chunk]:
    """Chunks of every document, in order of document and start."""
    for document in corpus.documents:
        for start, end in splitter.spans(document.text):
            yield Chunk(doc=document.id, start=start, end=end, text=document.text[start:end])


def _cut(text: str, span: Span, separator: str) -> Iterator[Span]:
    """Pieces of ``span``; each but the first begins with the separator."""
    begin, end = span
    if not separator:
        yield from ((at, at + 1) for at in range(begin, end))
        return
    start, found = begin, text.find(separator, begin, end)
    while found >= 0:
        if found > start:
            yield start, found
        start, found = found, text.find(separator, found + len(separator), end)
    if end > start:
        yield start, end


def _stripped(text: str, span: Span) -> Iterator[Span]:
    piece = text[span[0] : span[1]]
    body = piece.strip()
    if body:
        start = span[0] + len(piece) - len(piece.lstrip())
        yield start, start + len(body)
