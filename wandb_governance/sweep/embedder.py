"""Texts to vectors: MiniLM through ONNX, static word vectors, or an OpenAI-compatible endpoint."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from wandb_governance.errors import MissingExtraError, SweepConfigError, SweepError
from wandb_governance.sweep.endpoint import post_json
from wandb_governance.sweep.minilm import GRAPH_VERSION, minilm_graph
from wandb_governance.sweep.safetensors import file_digest, read_tensors
from wandb_governance.sweep.tokens import minilm_folder, package_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

FloatArray = npt.NDArray[np.float32]


class Embedder(Protocol):
    """Turns texts into vectors of length 1.

    A text's vector depends on that text alone, never on what else is in the call: the same bits come back from any
    batch, process or machine of one kind, which is what makes index digests comparable.
    """

    @property
    def name(self) -> str:
        """Name in ``rag.yaml``, such as ``minilm``."""
        ...

    @property
    def digest(self) -> str:
        """Digest of weights, tokenizer, pooling and limits; a model swapped under the same name changes it."""
        ...

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        ...

    @property
    def max_tokens(self) -> int | None:
        """Tokens of a text that are read; the rest is cut off. None where there is no such limit."""
        ...

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of length 1, shape (n_texts, dimensions)."""
        ...

    def truncated(self, texts: Sequence[str]) -> int:
        """How many texts are longer than what the model reads."""
        ...


class MiniLmEmbedder:
    """all-MiniLM-L6-v2 (384 dimensions, reads 256 word pieces) on one core.

    Each text runs alone: padding to a batch would change the last bits of its vector with its neighbours.

    Args:
        cache: Folder for the ONNX graph, which is written once from the package's weights.
    """

    name = "minilm"
    dimensions = 384
    max_tokens: int | None = 256

    def __init__(self, cache: Path | None = None) -> None:
        try:
            import onnxruntime
            from tokenizers import Tokenizer
        except ImportError as error:
            raise MissingExtraError(error.name or "onnxruntime", extra="sweep") from error
        folder = minilm_folder()
        weights = folder / "model.safetensors"
        self._tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(256)
        weights_digest = _digest_of(weights)
        self.digest = _short(f"minilm:{GRAPH_VERSION}:{weights_digest}:{_digest_of(folder / 'tokenizer.json')}:256")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        graph = _written_graph(weights, cache or default_cache_folder(), f"{GRAPH_VERSION}-{weights_digest[:16]}")
        self._session: Any = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of length 1, shape (n_texts, 384)."""
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        for row, text in enumerate(texts):
            ids = np.array([self._tokenizer.encode(text).ids], dtype=np.int64)
            vectors[row] = self._session.run(["vector"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0]
        return vectors

    def truncated(self, texts: Sequence[str]) -> int:
        """How many texts have more than 256 word pieces, the two special ones included."""
        return sum(bool(encoding.overflowing) for encoding in self._tokenizer.encode_batch(list(texts)))


class StaticEmbedder:
    """Mean of static word-piece vectors (WordLlama, 256 dimensions): a hundred times faster, a few points worse."""

    name = "static"
    dimensions = 256
    max_tokens: int | None = None

    def __init__(self) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise MissingExtraError("tokenizers", extra="sweep") from error
        folder = package_folder("wordllama")
        weights = folder / "weights" / "l2_supercat_256.safetensors"
        tokenizer = folder / "tokenizers" / "l2_supercat_tokenizer_config.json"
        self._tokenizer: Any = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._table = read_tensors(weights)["embedding.weight"].astype(np.float32)
        self.digest = _short(f"static:1:{_digest_of(weights)}:{_digest_of(tokenizer)}")

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of length 1, shape (n_texts, 256); a text without a known piece gets the zero vector."""
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for row, encoding in enumerate(self._tokenizer.encode_batch(list(texts), add_special_tokens=False)):
            if encoding.ids:
                vectors[row] = self._table[encoding.ids].mean(axis=0)
        return _unit(vectors)

    def truncated(self, texts: Sequence[str]) -> int:
        """None ever is."""
        return 0 * len(texts)


class EndpointEmbedder:
    """Vectors from an OpenAI-compatible ``/embeddings`` endpoint.

    Args:
        model: Name of the model as the endpoint knows it.
        base_url: Such as ``https://api.openai.com/v1``.
        api_key_env: Environment variable that holds the key; empty for none.
        revision: What tells two states of the same name apart; part of every cache key.
        batch: Texts in one request.
    """

    max_tokens: int | None = None

    def __init__(
        self, model: str, *, base_url: str, api_key_env: str = "", revision: str = "", batch: int = 64
    ) -> None:
        self.name = model
        self.digest = _short(f"endpoint:{base_url}:{model}:{revision}")
        self._url = f"{base_url.rstrip('/')}/embeddings"
        self._key = os.environ.get(api_key_env, "") if api_key_env else ""
        self._model = model
        self._batch = batch
        self._dimensions: int | None = None

    @property
    def dimensions(self) -> int:
        """Length of a vector; the endpoint is asked once."""
        if self._dimensions is None:
            self._dimensions = int(self.embed(["dimension"]).shape[1])
        return self._dimensions

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of length 1, in the order of the texts.

        Raises:
            SweepError: The endpoint refused, or gave another number of vectors.
        """
        rows: list[list[float]] = []
        for first in range(0, len(texts), self._batch):
            batch = list(texts[first : first + self._batch])
            answer = post_json(self._url, {"model": self._model, "input": batch}, api_key=self._key)
            data = sorted(answer.get("data", []), key=lambda entry: entry["index"])
            if len(data) != len(batch):
                raise SweepError(f"{self._url} gave {len(data)} vectors for {len(batch)} texts")
            rows.extend(entry["embedding"] for entry in data)
        return _unit(np.array(rows, dtype=np.float32).reshape(len(texts), -1))

    def truncated(self, texts: Sequence[str]) -> int:
        """Not known here: the endpoint says nothing of it."""
        return 0 * len(texts)


EMBEDDERS = ("minilm", "static")


def make_embedder(name: str, options: str = "{}") -> Embedder:
    """The embedder of this name; one per process.

    Args:
        name: ``minilm``, ``static``, or the model name of an endpoint.
        options: JSON of the endpoint: ``base_url`` and any of ``api_key_env``, ``revision``, ``batch``.

    Raises:
        SweepConfigError: Not a built-in and no endpoint is given.
    """
    return _made(name, options)


@cache
def _made(name: str, options: str) -> Embedder:
    if name == "minilm":
        return MiniLmEmbedder()
    if name == "static":
        return StaticEmbedder()
    settings = json.loads(options)
    if "base_url" not in settings:
        raise SweepConfigError(
            f"no embedding model {name!r}; there are {', '.join(EMBEDDERS)}, or give endpoints.embedding.base_url",
            key="embedding",
        )
    return EndpointEmbedder(name, **settings)


def default_cache_folder() -> Path:
    """``$XDG_CACHE_HOME/wandb-governance`` or ``~/.cache/wandb-governance``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wandb-governance"


def _written_graph(weights: Path, cache: Path, version: str) -> Path:
    file = cache / "models" / f"minilm-{version}.onnx"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as stream:
            stream.write(minilm_graph(weights))
        Path(stream.name).replace(file)
    return file


@cache
def _digest_of(file: Path) -> str:
    return file_digest(file)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _unit(vectors: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)
