"""The name model: a four-layer token classifier on ONNX Runtime, one thread, eight-bit weights."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
MAX_TOKENS = 192
# Passages of like length share a call: little padding, bounded memory.
_TOKENS_PER_CALL = 1_024
_PAD, _CLS, _SEP = 0, 2, 3
_LOWER, _TITLE, _UPPER = 0, 1, 2
# Thai, Chinese, Japanese and Korean write names and what follows without a space.
_FIRST_THAI, _LAST_THAI, _FIRST_EAST_ASIAN = "\u0e00", "\u0e7f", "\u2e80"


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says of one passage."""

    words: list[tuple[int, int]]
    """Word spans in code points of the passage."""
    probabilities: NDArray[np.float32]
    """Shape (n_words, 5), in the order of ``LABELS``; the mean over the pieces of a word."""


@dataclass(frozen=True, slots=True)
class _Encoded:
    ids: list[int]
    case: list[int]
    owners: list[int]
    """Index into ``words`` of each piece."""
    words: list[tuple[int, int]]


class NameModel:
    """Weights and vocabulary, loaded on construction; ``predict`` is safe from any thread."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        weights = (folder / "names.int8.onnx").read_bytes()
        self._session: Any = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
        self._tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._weights_digest = hashlib.sha256(weights).hexdigest()

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the weights."""
        return self._weights_digest

    def predict(self, passages: Sequence[str]) -> list[Prediction]:
        """Label the words of each passage."""
        windows: list[_Encoded] = []
        spread: list[range] = []
        for text in passages:
            first = len(windows)
            windows.extend(self._encode(text))
            spread.append(range(first, len(windows)))
        rows = self._batched(windows)
        return [_by_word([windows[i] for i in part], [rows[i] for i in part]) for part in spread]

    def _batched(self, windows: Sequence[_Encoded]) -> dict[int, NDArray[np.float32]]:
        rows: dict[int, NDArray[np.float32]] = {}
        batch: list[int] = []
        for index in sorted(range(len(windows)), key=lambda i: len(windows[i].ids)):
            if batch and (len(batch) + 1) * len(windows[index].ids) > _TOKENS_PER_CALL:
                rows.update(zip(batch, self._run([windows[i] for i in batch]), strict=True))
                batch = []
            batch.append(index)
        if batch:
            rows.update(zip(batch, self._run([windows[i] for i in batch]), strict=True))
        return rows

    def _encode(self, text: str) -> list[_Encoded]:
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        pieces = list(zip(encoding.ids, encoding.word_ids, encoding.offsets, strict=True))
        # A passage is short, but a script of one piece a character can still outgrow the model.
        return [_window(text, pieces[at : at + MAX_TOKENS]) for at in range(0, len(pieces), MAX_TOKENS)]

    def _run(self, batch: Sequence[_Encoded]) -> NDArray[np.float32]:
        ids = np.full((len(batch), max(len(one.ids) for one in batch)), _PAD, dtype=np.int64)
        case = np.zeros_like(ids)
        for row, one in enumerate(batch):
            ids[row, : len(one.ids)] = one.ids
            case[row, : len(one.case)] = one.case
        feeds = {"input_ids": ids, "attention_mask": (ids != _PAD).astype(np.int64), "token_type_ids": case}
        logits: NDArray[np.float32] = self._session.run(None, feeds)[0]
        exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
        probabilities: NDArray[np.float32] = exponentials / exponentials.sum(axis=-1, keepdims=True)
        return probabilities


def _shape(word: str) -> int:
    if len(word) > 1 and word.isupper():
        return _UPPER
    return _TITLE if word[:1].isupper() else _LOWER


def _window(text: str, pieces: Sequence[tuple[int, int, tuple[int, int]]]) -> _Encoded:
    words: list[tuple[int, int]] = []
    owners: list[int] = []
    last: tuple[int, int] | None = None
    for _, word, (start, end) in pieces:
        unit = (word, _script(text[start : start + 1], start))
        if unit != last:
            words.append((start, end))
            last = unit
        else:
            words[-1] = (words[-1][0], max(words[-1][1], end))
        owners.append(len(words) - 1)
    shapes = _shapes(text, pieces)
    return _Encoded(
        ids=[_CLS, *(piece for piece, _, _ in pieces), _SEP],
        case=[_LOWER, *shapes, _LOWER],
        owners=owners,
        words=words,
    )


def _shapes(text: str, pieces: Sequence[tuple[int, int, tuple[int, int]]]) -> list[int]:
    """Case of the whole word that each piece belongs to, as in training."""
    bounds: dict[int, tuple[int, int]] = {}
    for _, word, (start, end) in pieces:
        first, last = bounds.get(word, (start, end))
        bounds[word] = (min(first, start), max(last, end))
    shapes = {word: _shape(text[start:end]) for word, (start, end) in bounds.items()}
    return [shapes[word] for _, word, _ in pieces]


def _script(character: str, offset: int) -> int:
    """What ties pieces to one unit: -1 for scripts that put space between words, else the character alone."""
    if _FIRST_THAI <= character <= _LAST_THAI or character >= _FIRST_EAST_ASIAN:
        return offset
    return -1


def _by_word(windows: Sequence[_Encoded], rows: Sequence[NDArray[np.float32]]) -> Prediction:
    words: list[tuple[int, int]] = []
    means: list[NDArray[np.float32]] = [np.zeros((0, len(LABELS)), dtype=np.float32)]
    for one, probabilities in zip(windows, rows, strict=True):
        owners = np.asarray(one.owners, dtype=np.intp)
        sums = np.zeros((len(one.words), len(LABELS)), dtype=np.float32)
        np.add.at(sums, owners, probabilities[1 : 1 + len(owners)])
        means.append(sums / np.bincount(owners, minlength=len(one.words)).astype(np.float32)[:, None])
        words.extend(one.words)
    return Prediction(words=words, probabilities=np.concatenate(means))
