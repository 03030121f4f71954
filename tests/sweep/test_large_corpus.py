"""A corpus of a million chunks, streamed."""

import resource
import time
from pathlib import Path

import pytest

from wandb_governance.sweep.build import IndexSpec, obtain_index
from wandb_governance.sweep.cache import MemoryStore
from wandb_governance.sweep.corpus import Document, make_corpus
from wandb_governance.sweep.index import open_index
from wandb_governance.sweep.retrieve import Search

GIB = 1 << 30
ROWS = 1_000_000


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_million_chunks_index_and_search_within_24_gib(tmp_path: Path) -> None:
    """Rows are written as they come; the vectors are read from the disk block by block."""
    lines = 1000
    documents = [
        Document(
            id=f"doc-{number}",
            text="\n\n".join(f"Item {number * lines + line} costs {line * 7 % 997} coins." for line in range(lines)),
        )
        for number in range(ROWS // lines)
    ]
    corpus = make_corpus(documents)
    spec = IndexSpec(splitter="recursive", tokenizer="characters", chunk_size=36, chunk_overlap=0, embedding="static")
    done: list[int] = []
    begun = time.process_time()
    store = MemoryStore()
    index = obtain_index(corpus, spec, store, progress=done.append)
    built_s = time.process_time() - begun
    assert index.rows == sum(done) >= ROWS
    begun = time.process_time()
    checked = open_index(index.folder)
    opened_s = time.process_time() - begun
    search = Search(index=checked, retriever="dense", embedder=spec.embedder(), store=store)
    begun = time.process_time()
    (found,) = search.found([checked.chunks[777_777].text], 5)
    searched_s = time.process_time() - begun
    assert found.hits[0][0] == 777_777
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{index.rows} chunks, {peak / GIB:.1f} GiB")
    print(f"CPU s: build {built_s:.0f}, open {opened_s:.1f}, search {searched_s:.1f}")
    assert peak < 24 * GIB
