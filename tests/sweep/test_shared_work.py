"""Work that is shared: the 48-trial grid of the note, counted."""

import itertools
import os
from collections import Counter
from pathlib import Path

import pytest

from wandb_governance.sweep.build import IndexSpec, embed_texts, obtain_index
from wandb_governance.sweep.cache import DiskStore, MemoryStore
from wandb_governance.sweep.config import RagSweep, load_sweep
from wandb_governance.sweep.corpus import Corpus
from wandb_governance.sweep.embedder import MiniLmEmbedder, make_embedder
from wandb_governance.sweep.records import ResultsFile
from wandb_governance.sweep.retrieve import Search
from wandb_governance.sweep.runner import Runner
from wandb_governance.sweep.splitter import make_splitter, split_corpus

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "chroma_chunking"

GRID = """name: grid
corpus: {path: CORPUS}
questions: {path: QUESTIONS, holdout: 0}
space:
  chunk_size: [SIZES]
  chunk_overlap: [0, 12.5%, 50%]
  top_k: [1, 3, 5, 10]
  embedding: static
metric: {name: recall}
"""


def grid(folder: Path, *, sizes: str = "128, 256, 400, 512") -> RagSweep:
    text = GRID.replace("CORPUS", os.fspath(DATA / "corpora")).replace(
        "QUESTIONS", os.fspath(DATA / "questions_df.csv")
    )
    folder.mkdir(exist_ok=True)
    (folder / "rag.yaml").write_text(text.replace("SIZES", sizes))
    return load_sweep(folder / "rag.yaml")


def test_a_grid_embeds_each_distinct_text_once(chroma_corpus: Corpus) -> None:
    """4 sizes x 3 overlaps x 4 top-k: 98,832 chunk embeddings alone, 24,708 with index reuse, 10,044 distinct."""
    texts: Counter[str] = Counter()
    for size, share in itertools.product((128, 256, 400, 512), (0, 0.125, 0.5)):
        splitter = make_splitter("recursive", size=size, overlap=int(size * share), tokenizer="cl100k_base")
        texts.update(chunk.text for chunk in split_corpus(chroma_corpus, splitter))
    assert texts.total() == 24_708
    assert 4 * texts.total() == 98_832
    assert len(texts) == 10_044


@pytest.mark.timeout(600)
def test_the_sweep_does_only_the_distinct_work_and_a_new_size_pays_for_itself(tmp_path: Path) -> None:
    """48 trials embed 10,044 chunk texts and 472 questions; adding one size embeds only what is new."""
    store = DiskStore(tmp_path / "store")
    first = Runner(sweep=grid(tmp_path / "a"), store=store, results=ResultsFile(tmp_path / "a")).run()
    assert len(first.records) == 48
    assert store.counts["embedding.computed"] == 10_044 + 472
    assert store.counts["index.computed"] == 12
    assert store.counts["retrieval.computed"] == 12 * 472
    before = store.counts["embedding.computed"]
    wider = grid(tmp_path / "b", sizes="128, 256, 400, 512, 640")
    second = Runner(sweep=wider, store=store, results=ResultsFile(tmp_path / "b")).run()
    assert len(second.records) == 60
    assert store.counts["index.computed"] == 15
    assert 0 < store.counts["embedding.computed"] - before < 2_000


def test_scores_without_a_store_are_the_same(tmp_path: Path) -> None:
    """Three trials alone, each from nothing, equal those of the shared sweep to the last bit."""
    sweep = grid(tmp_path, sizes="400")
    configurations = [c for c in sweep.space.grid() if c.chunk_overlap == 50][:3]
    shared = Runner(sweep=sweep, store=DiskStore(tmp_path / "store"), results=ResultsFile(tmp_path / "shared"))
    together = shared.run(configurations).records
    for record in together:
        alone = Runner(sweep=sweep, store=MemoryStore(), results=ResultsFile(tmp_path / record.run))
        (again,) = alone.run([record.configuration]).records
        assert again.scores == record.scores


@pytest.mark.parametrize("retriever", ["dense", "bm25", "hybrid"])
@pytest.mark.parametrize("reranker", ["none", "bm25"])
def test_a_slice_is_what_the_smaller_k_retrieves(retriever: str, reranker: str, chroma_corpus: Corpus) -> None:
    """Retrieved once at the largest k and cut, or retrieved at k: the same rows, ties and duplicates included."""
    doubled = chroma_corpus.documents[0].text + "\n\n" + chroma_corpus.documents[0].text
    from wandb_governance.sweep.corpus import Document, make_corpus

    corpus = make_corpus([Document(id="twice", text=doubled), *chroma_corpus.documents[3:]])
    spec = IndexSpec(splitter="token", tokenizer="cl100k_base", chunk_size=128, chunk_overlap=0, embedding="static")
    store = MemoryStore()
    index = obtain_index(corpus, spec, store)
    search = Search(
        index=index,
        retriever=retriever,  # type: ignore[arg-type]
        embedder=spec.embedder(),
        store=store,
        reranker=reranker,
    )
    queries = ["late fees of credit cards", "a trip to Italy", "", "zzz qqq"]
    largest = search.found(queries, 50)
    for k in (1, 3, 7, 50):
        assert [one.hits for one in search.found(queries, k)] == [one.hits[:k] for one in largest]
    one_by_one = [search.found([query], 50)[0].hits for query in queries]
    assert one_by_one == [one.hits for one in largest]


def test_a_vector_does_not_depend_on_what_is_embedded_with_it(chroma_corpus: Corpus) -> None:
    """The same bits alone, in a batch, and in another order: why two agents build the same index."""
    texts = [chroma_corpus.documents[0].text[at : at + 400] for at in range(0, 4800, 400)]
    embedder = make_embedder("minilm")
    together = embedder.embed(texts)
    backwards = embedder.embed(texts[::-1])[::-1]
    alone = [embedder.embed([text])[0] for text in texts]
    assert together.tobytes() == backwards.tobytes() == b"".join(vector.tobytes() for vector in alone)


def test_texts_over_the_models_window_are_counted() -> None:
    """MiniLM reads 256 word pieces: longer texts are told."""
    embedder = MiniLmEmbedder()
    assert embedder.truncated(["word " * 100, "word " * 254, "word " * 255, "word " * 5000]) == 2


def test_a_model_swapped_under_the_same_name_gives_no_stale_vector(tmp_path: Path) -> None:
    """The digest of the weights is in the key."""

    class Swapped:
        name = "static"
        dimensions = 2
        max_tokens = None

        def __init__(self, digest: str, value: float) -> None:
            self.digest = digest
            self._value = value

        def embed(self, texts: object) -> object:
            import numpy as np

            return np.full((len(texts), 2), self._value, dtype=np.float32)  # type: ignore[arg-type]

        def truncated(self, texts: object) -> int:
            return 0

    store = DiskStore(tmp_path)
    first = embed_texts(["text"], Swapped("a", 1.0), store)  # type: ignore[arg-type]
    second = embed_texts(["text"], Swapped("b", 2.0), store)  # type: ignore[arg-type]
    assert first.tolist() != second.tolist()
