"""The published MiniLM rows through the normal sweep path: file, runner, trials (about 5 CPU minutes)."""

import os
from pathlib import Path

import pytest

from wandb_governance.sweep.cache import DiskStore
from wandb_governance.sweep.config import load_sweep
from wandb_governance.sweep.records import ResultsFile
from wandb_governance.sweep.runner import Runner

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "chroma_chunking"

RAG = """name: published
corpus: {path: CORPUS}
questions: {path: QUESTIONS, holdout: 0}
space:
  chunk_size: [200, 250]
  chunk_overlap: [0, 125]
  top_k: 5
  tokenizer: minilm+special
  embedding: minilm
metric: {name: iou, touching: true}
"""

PUBLISHED = {
    (200, 0): {"recall": 75.7, "precision": 6.5, "iou": 6.5, "precision_omega": 31.2},
    (250, 0): {"recall": 78.5, "precision": 5.4, "iou": 5.4, "precision_omega": 26.7},
    (250, 125): {"recall": 78.7, "precision": 4.9, "iou": 4.9, "precision_omega": 21.9},
}


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_recall_precision_and_iou_are_within_a_point_of_the_published_rows(tmp_path: Path) -> None:
    """Three Recursive rows of Chroma's all-MiniLM-L6-v2 table, 472 questions, 5 chunks each."""
    text = RAG.replace("CORPUS", os.fspath(DATA / "corpora")).replace("QUESTIONS", os.fspath(DATA / "questions_df.csv"))
    (tmp_path / "rag.yaml").write_text(text)
    sweep = load_sweep(tmp_path / "rag.yaml")
    store = DiskStore(tmp_path / "store")
    wanted = [c for c in sweep.space.grid() if (c.chunk_size, c.chunk_overlap) in PUBLISHED]
    outcome = Runner(sweep=sweep, store=store, results=ResultsFile(tmp_path)).run(wanted)
    assert len(outcome.records) == len(PUBLISHED)
    for record in outcome.records:
        pair = (record.configuration.chunk_size, record.configuration.chunk_overlap)
        found = {name: 100 * record.metrics[name] for name in PUBLISHED[pair]}
        deviations = {name: f"{100 * record.metrics[f'{name}_sd']:.1f}" for name in PUBLISHED[pair]}
        print(pair, {name: f"{value:.1f} ± {deviations[name]}" for name, value in found.items()})
        assert len(record.scores) == 472
        for name, published in PUBLISHED[pair].items():
            assert abs(found[name] - published) < 1.0, (pair, name)
        assert f"{found['precision_omega']:.1f}" == f"{PUBLISHED[pair]['precision_omega']:.1f}"
