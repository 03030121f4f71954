"""From a corpus to its index, each piece of work done once."""

from __future__ import annotations

import hashlib
import itertools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from wandb_governance.errors import IndexIntegrityError, SweepError
from wandb_governance.sweep.embedder import make_embedder
from wandb_governance.sweep.index import MANIFEST, Recipe, VectorIndex, open_index, write_index
from wandb_governance.sweep.splitter import SearchedSplitter, make_splitter, split_corpus
from wandb_governance.sweep.tokens import tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wandb_governance.sweep.cache import Store
    from wandb_governance.sweep.corpus import Corpus
    from wandb_governance.sweep.embedder import Embedder
    from wandb_governance.sweep.splitter import Chunk, Splitter

FloatArray = npt.NDArray[np.float32]

_ROWS_AT_ONCE = 2048  # chunks in memory at a time; 3 MB of vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSpec:
    """The knobs that decide an index."""

    splitter: str
    tokenizer: str
    chunk_size: int
    """Tokens."""
    chunk_overlap: int
    """Tokens."""
    embedding: str | None
    """Name of the embedding model; None for words alone."""
    embedding_options: str = "{}"
    """JSON of the endpoint, where the model is not built in."""
    searched: bool = False
    """Place chunks by text search, to reproduce published numbers."""

    def make_splitter(self) -> Splitter:
        """The splitter of this index."""
        splitter = make_splitter(
            self.splitter, size=self.chunk_size, overlap=self.chunk_overlap, tokenizer=self.tokenizer
        )
        return SearchedSplitter(splitter) if self.searched else splitter

    def embedder(self) -> Embedder | None:
        """The embedding model of this index."""
        return make_embedder(self.embedding, self.embedding_options) if self.embedding else None

    def recipe(self, corpus: Corpus) -> Recipe:
        """Everything that decides the bytes of the index over this corpus."""
        splitter, embedder = self.make_splitter(), self.embedder()
        return Recipe(
            corpus=corpus.digest,
            splitter=splitter.name,
            splitter_version=splitter.version,
            chunk_size=self.chunk_size,
            chunk_overlap=self.chunk_overlap,
            tokenizer=self.tokenizer,
            tokenizer_digest=tokenizer(self.tokenizer).digest,
            embedding=embedder.name if embedder else None,
            embedding_digest=embedder.digest if embedder else None,
            dimensions=embedder.dimensions if embedder else 0,
        )


class Executor(Protocol):
    """Who cuts and embeds: this process, or the workers of a cluster."""

    def parts(
        self, corpus: Corpus, spec: IndexSpec, store: Store, progress: Callable[[int], None]
    ) -> Iterator[tuple[Sequence[Chunk], FloatArray | None]]:
        """Chunks in order of document and start, with their vectors; the same bytes from every executor."""
        ...


class LocalExecutor:
    """Cuts and embeds in this process."""

    def parts(
        self, corpus: Corpus, spec: IndexSpec, store: Store, progress: Callable[[int], None]
    ) -> Iterator[tuple[Sequence[Chunk], FloatArray | None]]:
        """Chunks in order of document and start, with their vectors."""
        embedder = spec.embedder()
        chunks = split_corpus(corpus, spec.make_splitter())
        while batch := list(itertools.islice(chunks, _ROWS_AT_ONCE)):
            vectors = embed_texts([chunk.text for chunk in batch], embedder, store) if embedder else None
            yield batch, vectors
            progress(len(batch))


def obtain_index(
    corpus: Corpus,
    spec: IndexSpec,
    store: Store,
    *,
    executor: Executor | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> VectorIndex:
    """The index of this corpus, from the store where it is there, else built; never built by two processes at once.

    Raises:
        SweepError: The corpus gives no chunk.
    """
    recipe = spec.recipe(corpus)
    folder = (store.folder or Path(tempfile.mkdtemp(prefix="wandb-governance-"))) / "indexes" / recipe.key
    with store.lock(f"index-{recipe.key}"):
        if (folder / MANIFEST).exists():
            try:
                index = open_index(folder, recipe=recipe)
            except IndexIntegrityError:
                store.counts["index.torn"] += 1
            else:
                store.counts["index.found"] += 1
                return index
        parts = (executor or LocalExecutor()).parts(corpus, spec, store, progress)
        index = write_index(folder, recipe, [(d.id, d.sha256) for d in corpus.documents], parts)
        store.counts["index.computed"] += 1
    if index.rows == 0:
        raise SweepError("the corpus gives no chunk: every document is empty")
    return index


def embed_texts(texts: Sequence[str], embedder: Embedder, store: Store, *, batch: int = 64) -> FloatArray:
    """Vectors of the texts, shape (n_texts, dimensions); each distinct text is embedded once over all processes."""

    def produce(positions: list[int]) -> list[bytes]:
        return [vector.tobytes() for vector in embedder.embed([texts[position] for position in positions])]

    keys = [f"{embedder.digest}:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}" for text in texts]
    values = store.compute("embedding", keys, produce, batch=batch)
    return np.frombuffer(b"".join(values), dtype=np.float32).reshape(len(texts), -1)


def truncated_chunks(index: VectorIndex, spec: IndexSpec) -> int:
    """How many chunks are longer than what the embedding model reads."""
    embedder = spec.embedder()
    return embedder.truncated([chunk.text for chunk in index.chunks]) if embedder else 0
