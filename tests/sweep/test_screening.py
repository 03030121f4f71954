"""Screening: a third of the questions, nearly the same winner."""

import os
from pathlib import Path

import numpy as np
import pytest

from wandb_governance.sweep.cache import DiskStore
from wandb_governance.sweep.config import load_sweep
from wandb_governance.sweep.holdout import shuffled
from wandb_governance.sweep.records import ResultsFile
from wandb_governance.sweep.runner import Runner
from wandb_governance.sweep.screening import halve, screened

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "chroma_chunking"

RAG = """name: screen
corpus: {path: CORPUS}
questions: {path: QUESTIONS, holdout: 0}
space:
  chunk_size: [128, 256, 400, 512]
  chunk_overlap: [0, 25%]
  top_k: [1, 3, 5, 10]
  embedding: static
  retriever: [dense, bm25, hybrid]
metric: {name: iou}
"""
RAG_TEXT = RAG.replace("CORPUS", os.fspath(DATA / "corpora")).replace("QUESTIONS", os.fspath(DATA / "questions_df.csv"))


@pytest.mark.timeout(600)
def test_halving_asks_a_third_and_loses_less_than_half_a_point(tmp_path: Path) -> None:
    """48 configurations, 472 public questions in 50 orders: at least 3x fewer evaluations, regret below 0.5 points."""
    (tmp_path / "rag.yaml").write_text(RAG_TEXT.replace("[0, 25%]", "[0]"))
    sweep = load_sweep(tmp_path / "rag.yaml")
    records = Runner(sweep=sweep, store=DiskStore(tmp_path / "store"), results=ResultsFile(tmp_path)).run().records
    scores = {record.configuration.key: record.scores for record in records}
    means = {key: float(np.mean(list(found.values()))) for key, found in scores.items()}
    configurations = [record.configuration for record in records]
    regrets = []
    for seed in range(50):
        questions = shuffled(sweep.questions.questions, seed=seed)
        found = halve(
            configurations,
            questions,
            lambda c, asked: [scores[c.key][q.id] for q in asked],
            first=30,
            factor=3,
        )
        assert found.exhaustive / found.evaluations >= 3
        regrets.append(max(means.values()) - max(means[c.key] for c in found.survivors))
    assert max(regrets) < 0.005


def test_a_screened_sweep_compares_its_survivors_on_all_questions(tmp_path: Path) -> None:
    """The runner's results hold whole trials only; what screening saw never becomes a score."""
    text = RAG_TEXT.replace("[128, 256, 400, 512]", "[400]").replace("[1, 3, 5, 10]", "[1, 5]").replace(", hybrid", "")
    (tmp_path / "rag.yaml").write_text(text + "screening: {first_questions: 50, factor: 2}\n")
    sweep = load_sweep(tmp_path / "rag.yaml")
    runner = Runner(sweep=sweep, store=DiskStore(tmp_path / "store"), results=ResultsFile(tmp_path))
    outcome = screened(runner)
    assert outcome.screening is not None
    assert outcome.screening.rungs[0] == (8, 50)
    assert len(outcome.records) == outcome.screening.rungs[-1][0] < 8
    assert all(len(record.scores) == len(runner.questions) for record in outcome.records)
