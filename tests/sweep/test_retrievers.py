"""Loading an index as a LangChain or LlamaIndex retriever."""

import asyncio
import shutil
from pathlib import Path

import pytest
from langchain_core.documents import Document

from wandb_governance.errors import IndexIntegrityError, SweepError
from wandb_governance.sweep.build import IndexSpec, obtain_index
from wandb_governance.sweep.cache import MemoryStore
from wandb_governance.sweep.corpus import Document as Source
from wandb_governance.sweep.corpus import make_corpus
from wandb_governance.sweep.load import load_index
from wandb_governance_langchain.retriever import load_retriever as langchain_retriever
from wandb_governance_llama_index.retriever import load_retriever as llama_index_retriever

TEXT = (
    "The capital of France is Paris.\n\nThe river Rhine flows through Basel.\n\n"
    "A kilogram of gold is worth more than a kilogram of iron.\n\nWhales are mammals that live in the sea.\n\n"
)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = IndexSpec(splitter="recursive", tokenizer="cl100k_base", chunk_size=20, chunk_overlap=0, embedding="static")
    corpus = make_corpus([Source(id="facts", text=TEXT)])
    target: Path = tmp_path_factory.mktemp("index") / "index"
    shutil.copytree(obtain_index(corpus, spec, MemoryStore()).folder, target)
    return target


def test_langchain_gets_documents_with_place_and_version(folder: Path) -> None:
    """Every document says which chunk of which index it is, so that an answer can be traced to it."""
    retriever = langchain_retriever(str(folder), k=2)
    documents = retriever.invoke("Which city is the capital of France?")
    assert isinstance(documents[0], Document)
    assert "Paris" in documents[0].page_content
    facts = documents[0].metadata
    assert TEXT[facts["start"] : facts["end"]] == documents[0].page_content
    assert facts["source"] == "facts"
    assert facts["index_version"].startswith("sha256:")
    assert len(documents) == 2
    assert asyncio.run(retriever.ainvoke("capital of France"))[0].id == documents[0].id


def test_llama_index_gets_nodes_with_place_and_version(folder: Path) -> None:
    """The same chunks in the same order as LangChain gets."""
    nodes = llama_index_retriever(str(folder), k=3).retrieve("Do whales live in the sea?")
    assert "Whales" in nodes[0].node.get_content()
    assert nodes[0].score is not None
    assert nodes[0].node.metadata["index_version"].startswith("sha256:")
    documents = langchain_retriever(str(folder), k=3).invoke("Do whales live in the sea?")
    assert [n.node.metadata["chunk"] for n in nodes] == [d.metadata["chunk"] for d in documents]


@pytest.mark.parametrize("retriever", ["dense", "bm25", "hybrid"])
def test_the_way_of_searching_can_be_chosen(folder: Path, retriever: str) -> None:
    """All three find the sentence."""
    found = langchain_retriever(str(folder), k=1, retriever=retriever).invoke("gold and iron")  # type: ignore[arg-type]
    assert "gold" in found[0].page_content


def test_more_chunks_than_there_are_give_them_all(folder: Path) -> None:
    """A k above the number of chunks is no error."""
    loaded = load_index(str(folder))
    assert len(loaded.find("whales", 50)) == loaded.index.rows


@pytest.mark.parametrize("load", [langchain_retriever, llama_index_retriever])
def test_a_tampered_index_is_refused_before_use(folder: Path, tmp_path: Path, load: object) -> None:
    """One changed byte of a text."""
    shutil.copytree(folder, tmp_path / "copy")
    file = tmp_path / "copy" / "chunks.jsonl"
    file.write_bytes(file.read_bytes().replace(b"Paris", b"Lyons"))
    with pytest.raises(IndexIntegrityError):
        load(str(tmp_path / "copy"))  # type: ignore[operator]


def test_other_weights_for_queries_are_refused(folder: Path) -> None:
    """A model swapped under the same name gives vectors that can't be compared."""
    from wandb_governance.sweep.embedder import StaticEmbedder

    other = StaticEmbedder()
    other.digest = "swapped"
    with pytest.raises(IndexIntegrityError, match="made with"):
        load_index(str(folder), embedder=other)


def test_an_index_without_vectors_is_searched_by_words(tmp_path: Path) -> None:
    """No embedding, no vector of a query."""
    spec = IndexSpec(splitter="sentence", tokenizer="characters", chunk_size=60, chunk_overlap=0, embedding=None)
    index = obtain_index(make_corpus([Source(id="facts", text=TEXT)]), spec, MemoryStore())
    loaded = load_index(str(index.folder))
    assert "Rhine" in loaded.find("river Rhine")[0].chunk.text
    with pytest.raises(SweepError, match="words alone"):
        loaded.vector_of("river")
