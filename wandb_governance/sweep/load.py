"""The winner, loaded: an index artifact by its registry name, checked, and searched as its sweep searched it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wandb_governance.errors import IndexIntegrityError, SweepError
from wandb_governance.sweep.cache import MemoryStore
from wandb_governance.sweep.embedder import EMBEDDERS, make_embedder
from wandb_governance.sweep.index import open_index
from wandb_governance.sweep.retrieve import Search

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wandb_governance.sweep.embedder import Embedder, FloatArray
    from wandb_governance.sweep.index import VectorIndex
    from wandb_governance.sweep.retrieve import Retriever
    from wandb_governance.sweep.splitter import Chunk

_DEFAULT_K = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One chunk that a query found."""

    chunk: Chunk
    score: float
    rank: int
    """From 0."""


@dataclass(frozen=True, kw_only=True)
class LoadedIndex:
    """A checked index, ready to be searched."""

    index: VectorIndex
    version: str
    """Resolved version such as ``support-index:v3``, or ``sha256:...`` for a folder; never an alias alone."""
    search: Search
    k: int
    """Chunks for a query where the caller does not say."""

    def find(self, query: str, k: int | None = None) -> list[Hit]:
        """Chunks for a query, best first."""
        (found,) = self.search.found([query], k or self.k)
        return [
            Hit(chunk=self.index.chunks[row], score=score, rank=rank) for rank, (row, score) in enumerate(found.hits)
        ]

    def vector_of(self, text: str) -> FloatArray:
        """Vector of a query, shape (dimensions,).

        Raises:
            SweepError: The index is searched by words alone.
        """
        if self.search.embedder is None:
            raise SweepError("this index has no vectors; it is searched by words alone")
        vector: FloatArray = self.search.embedder.embed([text])[0]
        return vector


def load_index(
    path: str,
    *,
    k: int | None = None,
    retriever: Retriever | None = None,
    embedder: Embedder | None = None,
    root: Path | None = None,
) -> LoadedIndex:
    """Load an index and check every byte of it before use; nothing in it is ever unpickled.

    Args:
        path: ``wandb-registry-<registry>/<collection>:<alias>``, ``entity/project/name:alias``, or a folder.
        k: Chunks for a query; what won the sweep without it, or 5.
        retriever: How to search; what won the sweep without it.
        embedder: The model for queries, where it is not one that comes with this package.
        root: Folder to download to.

    Raises:
        IndexIntegrityError: The index is not what its manifest says, or the model here has other weights than the one
            that it was made with.
        BackendError: There is no such artifact, or W&B can't be reached.
    """
    folder = Path(path)
    metadata: Mapping[str, Any] = {}
    version = None
    if not folder.is_dir():
        from wandb_governance.backend.sweeps import download_index

        downloaded = download_index(path, root=root)
        folder, version, metadata = downloaded.folder, downloaded.version, downloaded.metadata
    index = open_index(folder)
    won = metadata.get("configuration", {})
    model = embedder or _embedder_of(index)
    if model is not None and model.digest != index.recipe.embedding_digest:
        raise IndexIntegrityError(
            f"made with {index.recipe.embedding} {index.recipe.embedding_digest}, but here is {model.digest}: "
            "queries and chunks would not be comparable; install the same weights or rebuild the index"
        )
    way = retriever or won.get("retriever") or ("dense" if model is not None else "bm25")
    reranker = "bm25" if won.get("reranker") == "bm25" else "none"
    search = Search(index=index, retriever=way, embedder=model, store=MemoryStore(), reranker=reranker)
    return LoadedIndex(
        index=index,
        version=version or f"sha256:{index.digest[:16]}",
        search=search,
        k=k or int(won.get("top_k", _DEFAULT_K)),
    )


def as_dense(loaded: LoadedIndex) -> LoadedIndex:
    """The same index searched by vectors alone, as a vector store searches it."""
    return replace(loaded, search=replace(loaded.search, retriever="dense", reranker="none"))


def _embedder_of(index: VectorIndex) -> Embedder | None:
    name = index.recipe.embedding
    if name is None:
        return None
    if name not in EMBEDDERS:
        raise SweepError(f"the index was made with {name!r}, which does not come with this package; give 'embedder'")
    return make_embedder(name)
