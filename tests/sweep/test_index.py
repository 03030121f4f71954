"""Index artifacts: the same bytes from the same recipe, and nothing that was tampered with is opened."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from wandb_governance.errors import IndexIntegrityError
from wandb_governance.sweep.build import IndexSpec, obtain_index
from wandb_governance.sweep.cache import DiskStore, MemoryStore
from wandb_governance.sweep.corpus import Corpus, Document, make_corpus
from wandb_governance.sweep.index import open_index
from wandb_governance.sweep.safetensors import file_digest

CORPUS = make_corpus(
    [
        Document(id="a", text="The quick brown fox.\n\nIt jumps over the lazy dog. " * 20),
        Document(id="b", text="漢字とかな。\n\nשלום עולם. " * 20),
        Document(id="empty", text=" \n"),
    ]
)


def spec(**changes: object) -> IndexSpec:
    knobs: dict[str, object] = {
        "splitter": "recursive",
        "tokenizer": "cl100k_base",
        "chunk_size": 32,
        "chunk_overlap": 8,
        "embedding": "static",
    }
    return IndexSpec(**{**knobs, **changes})  # type: ignore[arg-type]


def test_the_same_recipe_gives_the_same_bytes(tmp_path: Path) -> None:
    """Two builds in two stores, and one without a store, have the same digest."""
    digests = {
        obtain_index(CORPUS, spec(), store).digest
        for store in (DiskStore(tmp_path / "one"), DiskStore(tmp_path / "two"), MemoryStore())
    }
    assert len(digests) == 1


@pytest.mark.parametrize(
    "changed",
    [
        (make_corpus([*CORPUS.documents[:-1], Document(id="empty", text=" \t")]), spec()),
        (CORPUS, spec(chunk_overlap=9)),
        (CORPUS, spec(splitter="token")),
        (CORPUS, spec(embedding=None)),
    ],
)
def test_one_change_gives_another_digest(changed: tuple[Corpus, IndexSpec]) -> None:
    """A byte of the corpus, a knob or the splitter makes another index."""
    assert obtain_index(*changed, MemoryStore()).digest != obtain_index(CORPUS, spec(), MemoryStore()).digest


def test_a_new_splitter_version_or_new_weights_make_a_new_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Version and digest are part of the recipe, so nothing stale is found under the old name."""
    from wandb_governance.sweep.embedder import make_embedder
    from wandb_governance.sweep.splitter import RecursiveSplitter

    before = spec().recipe(CORPUS)
    monkeypatch.setattr(RecursiveSplitter, "version", "2")
    assert spec().recipe(CORPUS).key != before.key
    monkeypatch.undo()
    monkeypatch.setattr(make_embedder("static"), "digest", "other weights")
    assert spec().recipe(CORPUS).key != before.key


def test_chunks_and_vectors_come_back(tmp_path: Path) -> None:
    """What was written is read: spans, texts and unit vectors, one row each."""
    index = obtain_index(CORPUS, spec(), DiskStore(tmp_path))
    again = open_index(index.folder, recipe=spec().recipe(CORPUS))
    assert again.vectors.shape == (again.rows, 256)
    assert np.allclose(np.linalg.norm(again.vectors, axis=1), 1, atol=1e-5)
    assert all(CORPUS.texts[c.doc][c.start : c.end] == c.text for c in again.chunks)


def test_changed_vectors_are_refused(tmp_path: Path) -> None:
    """One flipped bit is enough."""
    folder = obtain_index(CORPUS, spec(), DiskStore(tmp_path)).folder
    file = folder / "vectors.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(IndexIntegrityError, match=r"vectors\.npy"):
        open_index(folder)


def test_a_file_beside_the_index_is_refused(tmp_path: Path) -> None:
    """A pickle that rides along is never touched."""
    folder = obtain_index(CORPUS, spec(), DiskStore(tmp_path)).folder
    (folder / "index.pkl").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(IndexIntegrityError, match=r"index\.pkl"):
        open_index(folder)


def test_a_pickle_inside_the_vectors_is_refused(tmp_path: Path) -> None:
    """An object array whose digest was written into the manifest is still not unpickled."""
    folder = obtain_index(CORPUS, spec(), DiskStore(tmp_path)).folder
    np.save(folder / "vectors.npy", np.array([{"run": "me"}], dtype=object), allow_pickle=True)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["vectors.npy"] = file_digest(folder / "vectors.npy")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(IndexIntegrityError, match="unpickling"):
        open_index(folder)


@pytest.mark.parametrize("content", ["", "[]", '{"format": "other"}'])
def test_a_folder_without_a_manifest_is_refused(content: str, tmp_path: Path) -> None:
    """Something else in the folder is told apart."""
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(IndexIntegrityError):
        open_index(tmp_path)


def test_a_torn_index_is_built_again(tmp_path: Path) -> None:
    """A cut-off file in the store is noticed and replaced by the same bytes."""
    store = DiskStore(tmp_path)
    index = obtain_index(CORPUS, spec(), store)
    digest = index.digest
    (index.folder / "chunks.jsonl").write_bytes((index.folder / "chunks.jsonl").read_bytes()[:100])
    assert obtain_index(CORPUS, spec(), store).digest == digest
    assert store.counts["index.torn"] == 1
    assert store.counts["index.computed"] == 2
