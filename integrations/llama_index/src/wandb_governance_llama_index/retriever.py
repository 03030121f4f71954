"""A versioned index as a LlamaIndex retriever, and into any LlamaIndex vector store."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import NodeRelationship, NodeWithScore, RelatedNodeInfo, TextNode

from wandb_governance.sweep.load import LoadedIndex, load_index

if TYPE_CHECKING:
    from llama_index.core.schema import QueryBundle
    from llama_index.core.vector_stores.types import BasePydanticVectorStore

    from wandb_governance.sweep.retrieve import Retriever
    from wandb_governance.sweep.splitter import Chunk

_ROWS_AT_ONCE = 500
_NODE_IDS = uuid.UUID("6d4f2c5e-0f0c-5b7a-9a55-0d2f7f5e8c11")


class IndexRetriever(BaseRetriever):
    """Chunks of a versioned index; every node carries its id, place and the version of the index.

    Args:
        loaded: The index.
        k: Nodes for a query.
    """

    def __init__(self, loaded: LoadedIndex, k: int) -> None:
        self._loaded = loaded
        self._k = k
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [
            NodeWithScore(node=_node(hit.chunk, index_version=self._loaded.version), score=hit.score)
            for hit in self._loaded.find(query_bundle.query_str, self._k)
        ]


class IndexEmbedding(BaseEmbedding):
    """The embedding model of an index, for queries against a store that was filled from it.

    Args:
        loaded: The index.
    """

    _loaded: LoadedIndex = PrivateAttr()

    def __init__(self, loaded: LoadedIndex, **options: Any) -> None:
        super().__init__(model_name=loaded.index.recipe.embedding or "none", **options)
        self._loaded = loaded

    def _get_query_embedding(self, query: str) -> list[float]:
        vector: list[float] = self._loaded.vector_of(query).tolist()
        return vector

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_query_embedding(text)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)


def load_retriever(path: str, *, k: int | None = None, retriever: Retriever | None = None) -> IndexRetriever:
    """Load an index artifact and check every byte of it before use.

    Args:
        path: ``wandb-registry-<registry>/<collection>:<alias>``, ``entity/project/name:alias``, or a folder.
        k: Nodes for a query; what won the sweep without it.
        retriever: ``dense``, ``bm25`` or ``hybrid``; what won the sweep without it.

    Raises:
        IndexIntegrityError: The artifact is not what its manifest says.
        BackendError: There is no such artifact, or W&B can't be reached.
    """
    loaded = load_index(path, k=k, retriever=retriever)
    return IndexRetriever(loaded, loaded.k)


def fill_store(loaded: LoadedIndex, store: BasePydanticVectorStore) -> None:
    """Write an index with its vectors into a vector store that you already have.

    Args:
        loaded: What ``wandb_governance.sweep.load.load_index`` gave.
        store: An empty store, or one whose nodes this index replaces by id.
    """
    chunks, vectors = loaded.index.chunks, loaded.index.vectors
    for first in range(0, len(chunks), _ROWS_AT_ONCE):
        nodes = []
        for row in range(first, min(first + _ROWS_AT_ONCE, len(chunks))):
            node = _node(chunks[row], index_version=loaded.version)
            node.embedding = vectors[row].tolist()
            nodes.append(node)
        store.add(nodes)


def id_of(chunk: str) -> str:
    """Id of the node of a chunk: a UUID, because some stores take nothing else."""
    return str(uuid.uuid5(_NODE_IDS, chunk))


def _node(chunk: Chunk, **facts: Any) -> TextNode:
    metadata = {"chunk": chunk.id, "source": chunk.doc, "start": chunk.start, "end": chunk.end, **facts}
    node = TextNode(id_=id_of(chunk.id), text=chunk.text, metadata=metadata)
    node.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id=chunk.doc)
    return node
