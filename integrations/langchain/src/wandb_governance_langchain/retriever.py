"""A versioned index as a LangChain retriever, and into any LangChain vector store."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever

from wandb_governance.sweep.load import load_index

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.callbacks import CallbackManagerForRetrieverRun
    from langchain_core.vectorstores import VectorStore

    from wandb_governance.sweep.load import LoadedIndex
    from wandb_governance.sweep.retrieve import Retriever
    from wandb_governance.sweep.splitter import Chunk

_ROWS_AT_ONCE = 500
_IDS = uuid.UUID("6d4f2c5e-0f0c-5b7a-9a55-0d2f7f5e8c11")


class IndexRetriever(BaseRetriever):
    """Chunks of a versioned index; every document carries its id, place, score and the version of the index."""

    loaded: Any
    """A ``LoadedIndex``; pydantic is not to look into it."""
    k: int
    """Documents for a query."""

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return [
            _document(hit.chunk, index_version=self.loaded.version, score=hit.score)
            for hit in self.loaded.find(query, self.k)
        ]


class IndexEmbeddings(Embeddings):
    """Vectors of an index for its own chunks, so that a store that is filled from it computes none again.

    Args:
        loaded: The index.
    """

    def __init__(self, loaded: LoadedIndex) -> None:
        self._loaded = loaded
        self._row_of = {chunk.text: row for row, chunk in enumerate(loaded.index.chunks)}

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Vectors of chunks; a text that is not in the index is embedded by its model."""
        vectors = self._loaded.index.vectors
        return [
            vectors[self._row_of[text]].tolist() if text in self._row_of else self.embed_query(text) for text in texts
        ]

    def embed_query(self, text: str) -> list[float]:
        """Vector of a query."""
        vector: list[float] = self._loaded.vector_of(text).tolist()
        return vector


def load_retriever(path: str, *, k: int | None = None, retriever: Retriever | None = None) -> IndexRetriever:
    """Load an index artifact and check every byte of it before use.

    Args:
        path: ``wandb-registry-<registry>/<collection>:<alias>``, ``entity/project/name:alias``, or a folder.
        k: Documents for a query; what won the sweep without it.
        retriever: ``dense``, ``bm25`` or ``hybrid``; what won the sweep without it.

    Raises:
        IndexIntegrityError: The artifact is not what its manifest says.
        BackendError: There is no such artifact, or W&B can't be reached.
    """
    loaded = load_index(path, k=k, retriever=retriever)
    return IndexRetriever(loaded=loaded, k=loaded.k)


def fill_store(loaded: LoadedIndex, make_store: Callable[[Embeddings], VectorStore]) -> VectorStore:
    """Write an index into a vector store that you already have, without embedding anything again.

    Args:
        loaded: What ``wandb_governance.sweep.load.load_index`` gave.
        make_store: Makes the empty store around the embeddings it is given.
    """
    store = make_store(IndexEmbeddings(loaded))
    chunks = loaded.index.chunks
    for first in range(0, len(chunks), _ROWS_AT_ONCE):
        part = chunks[first : first + _ROWS_AT_ONCE]
        documents = [_document(chunk, index_version=loaded.version) for chunk in part]
        store.add_documents(documents, ids=[id_of(chunk.id) for chunk in part])
    return store


def id_of(chunk: str) -> str:
    """Id of a chunk in a store: a UUID, because some stores take nothing else."""
    return str(uuid.uuid5(_IDS, chunk))


def _document(chunk: Chunk, **facts: Any) -> Document:
    metadata = {"chunk": chunk.id, "source": chunk.doc, "start": chunk.start, "end": chunk.end, **facts}
    return Document(page_content=chunk.text, metadata=metadata, id=chunk.id)
