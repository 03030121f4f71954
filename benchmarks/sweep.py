"""What sharing work saves: the 48-trial grid over Chroma's public corpora, shared and alone.

    python benchmarks/sweep.py [--corpus FOLDER --questions FILE] [--alone 12] [--json]

CPU seconds of this process are measured, so another load on the machine matters little. ``--alone`` trials are run from
nothing, one of each index, and their cost is scaled to all 48.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from wandb_governance.sweep.build import embed_texts
from wandb_governance.sweep.cache import DiskStore, MemoryStore
from wandb_governance.sweep.config import load_sweep
from wandb_governance.sweep.embedder import make_embedder
from wandb_governance.sweep.metrics import precision_omega, span_scores
from wandb_governance.sweep.ranking import dense_hits
from wandb_governance.sweep.records import ResultsFile
from wandb_governance.sweep.runner import Runner
from wandb_governance.sweep.screening import halve
from wandb_governance.sweep.splitter import make_splitter, split_corpus

DATA = Path(__file__).parents[1].parent / "shared" / "data" / "chroma_chunking"
RAG = """name: benchmark
corpus: {{path: {corpus}}}
questions: {{path: {questions}, holdout: 0}}
space:
  chunk_size: [128, 256, 400, 512]
  chunk_overlap: [0, 12.5%, 50%]
  top_k: [1, 3, 5, 10]
  embedding: static
metric: {{name: recall}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, default=DATA / "corpora")
    parser.add_argument("--questions", type=Path, default=DATA / "questions_df.csv")
    parser.add_argument("--alone", type=int, default=12, help="trials to run from nothing")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(Path(scratch), arguments.corpus.resolve(), arguments.questions.resolve(), arguments.alone)
    if arguments.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:38} {value}")


def measure(folder: Path, corpus: Path, questions: Path, alone: int) -> dict[str, Any]:
    (folder / "rag.yaml").write_text(RAG.format(corpus=corpus, questions=questions))
    sweep = load_sweep(folder / "rag.yaml")
    unique_s, texts = unique_work(sweep)

    store = DiskStore(folder / "store")
    clear_counts()
    runner = Runner(sweep=sweep, store=store, results=ResultsFile(folder / "shared"))
    configurations = runner.planned()
    begun = time.process_time()
    records = runner.run().records
    shared_s = time.process_time() - begun

    apart = [c for c in configurations if c.top_k == 5][:alone]
    begun = time.process_time()
    for number, configuration in enumerate(apart):
        clear_counts()
        single = Runner(sweep=sweep, store=MemoryStore(), results=ResultsFile(folder / f"alone-{number}"))
        (record,) = single.run([configuration]).records
        same = next(one for one in records if one.configuration == configuration)
        assert record.scores == same.scores
    alone_s = (time.process_time() - begun) * len(configurations) / len(apart)

    scores = {record.configuration.key: record.scores for record in records}
    screening = halve(
        configurations,
        runner.questions,
        lambda c, asked: [scores[c.key][q.id] for q in asked],
        first=30,
        factor=3,
    )
    means = {key: sum(found.values()) / len(found) for key, found in scores.items()}
    return {
        "trials": len(records),
        "load average": f"{os.getloadavg()[0]:.1f}",
        "chunk embeddings alone": 4 * texts[0],
        "chunk embeddings with shared indexes": texts[0],
        "distinct chunk texts embedded": store.counts["embedding.computed"] - len(runner.questions),
        "distinct chunk texts": texts[1],
        "unique work, CPU s": round(unique_s, 2),
        "48 trials shared, CPU s": round(shared_s, 2),
        f"48 trials alone, CPU s ({len(apart)} measured)": round(alone_s, 2),
        "shared / unique": round(shared_s / unique_s, 2),
        "alone / shared": round(alone_s / shared_s, 1),
        "screening: fewer evaluations": round(screening.exhaustive / screening.evaluations, 2),
        "screening: regret, points": round(
            100 * (max(means.values()) - max(means[c.key] for c in screening.survivors)), 3
        ),
    }


def unique_work(sweep: Any) -> tuple[float, tuple[int, int]]:
    """CPU seconds of every unit of work once, and how many chunk texts there are.

    Units: cut each chunking, embed each distinct text, search each index at the largest k, score each trial.
    """
    clear_counts()
    embedder, store = make_embedder("static"), MemoryStore()
    questions = [question.text for question in sweep.questions.questions]
    gold = [[(g.doc, g.start, g.end) for g in question.gold] for question in sweep.questions.questions]
    begun = time.process_time()
    cut = []
    for size, overlap in sweep.space.pairs():
        splitter = make_splitter("recursive", size=size, overlap=overlap, tokenizer="cl100k_base")
        cut.append(list(split_corpus(sweep.corpus, splitter)))
    distinct = list(dict.fromkeys(chunk.text for chunks in cut for chunk in chunks))
    rows = {text: row for row, text in enumerate(distinct)}
    vectors = embed_texts(distinct, embedder, store)
    asked = embed_texts(questions, embedder, store)
    for chunks in cut:
        found = dense_hits(vectors[[rows[chunk.text] for chunk in chunks]], asked, sweep.largest_k)
        spans = {d.id: np.array([(c.start, c.end) for c in chunks if c.doc == d.id]).T for d in sweep.corpus.documents}
        places = {doc: (pair[0], pair[1]) for doc, pair in spans.items()}
        for excerpts in gold:
            precision_omega(excerpts, places)
        for k in sweep.space.top_k:
            for excerpts, hits in zip(gold, found, strict=True):
                span_scores(excerpts, [(chunks[row].doc, chunks[row].start, chunks[row].end) for row, _ in hits[:k]])
    return time.process_time() - begun, (sum(map(len, cut)), len(distinct))


def clear_counts() -> None:
    """Forget counted pieces, so that no measurement lives on another's."""
    from wandb_governance.sweep.tokens import tokenizer

    tokenizer.cache_clear()


if __name__ == "__main__":
    main()
