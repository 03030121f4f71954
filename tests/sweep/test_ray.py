"""The Ray executor on a real local Ray with two workers."""

from pathlib import Path

import pytest

pytest.importorskip("ray", reason="needs the extra 'ray': tox -e ray")

from wandb_governance.sweep.build import IndexSpec, obtain_index
from wandb_governance.sweep.cache import DiskStore
from wandb_governance.sweep.corpus import load_corpus
from wandb_governance.sweep.ray_executor import RayExecutor

EXAMPLE = Path(__file__).parents[2] / "wandb_governance" / "sweep" / "example" / "corpus"


@pytest.mark.timeout(280)
@pytest.mark.parametrize("embedding", ["static", "minilm"])
def test_workers_build_the_same_bytes_as_one_process(embedding: str, tmp_path: Path) -> None:
    """Two workers cut and embed; the index has the digest of the single-process build, and each text is sent once."""
    import ray

    size = 200 if embedding == "static" else 400
    spec = IndexSpec(
        splitter="recursive", tokenizer="cl100k_base", chunk_size=size, chunk_overlap=50, embedding=embedding
    )
    corpus = load_corpus(EXAMPLE)
    alone = obtain_index(corpus, spec, DiskStore(tmp_path / "alone"))
    store = DiskStore(tmp_path / "ray")
    done: list[int] = []
    spread = obtain_index(corpus, spec, store, executor=RayExecutor(workers=2), progress=done.append)
    assert int(ray.cluster_resources()["CPU"]) == 2
    assert spread.digest == alone.digest
    assert sum(done) == spread.rows
    assert store.counts["embedding.computed"] == len({chunk.text for chunk in spread.chunks})
