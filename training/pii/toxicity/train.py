"""Train the toxicity weights on one half of surge_toxicity and report on the other.

python training/pii/toxicity/train.py ../shared/data wandb_governance/policy/data/toxicity
"""

from __future__ import annotations

import json
import sys
import zlib
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from wandb_governance.policy.rules.toxicity import Toxicity, features

BITS = 14
BENIGN = ("alpaca_seed_benign", "awesome_roleplay_benign", "notinject_one_two")


def rows(data: Path, name: str) -> list[dict]:
    return [json.loads(line) for line in (data / name / "data.jsonl").open(encoding="utf-8")]


def matrix(texts: list[str]) -> csr_matrix:
    indices, indptr, values = [], [0], []
    for text in texts:
        found = sorted(features(text))
        indices += found
        values += [1 / np.sqrt(len(found))] * len(found)
        indptr.append(len(indices))
    return csr_matrix((values, indices, indptr), shape=(len(texts), 1 << BITS))


def main(data: str, out: str) -> None:
    comments = rows(Path(data), "surge_toxicity")
    train = [r for r in comments if zlib.crc32(r["id"].encode()) % 2 == 0]
    test = [r for r in comments if zlib.crc32(r["id"].encode()) % 2 == 1]
    benign = [r["text"] for name in BENIGN for r in rows(Path(data), name)]
    seen, unseen = benign[::2], benign[1::2]
    x = matrix([r["text"] for r in train] + seen)
    y = np.array([r["label"] for r in train] + [0] * len(seen))
    model = LogisticRegression(C=30, max_iter=3000, class_weight="balanced")
    margins = cross_val_predict(model, x, y, cv=10, method="decision_function")
    platt = LogisticRegression(C=1e6).fit(margins[:, None], y)
    model.fit(x, y)
    slope, offset = float(platt.coef_[0, 0]), float(platt.intercept_[0])
    weights = model.coef_[0] * slope
    scale = np.abs(weights).max() / 127
    folder = Path(out)
    np.savez_compressed(
        folder / "weights.npz",
        weights=np.round(weights / scale).astype(np.int8),
        scale=np.float32(scale),
        bias=np.float32(model.intercept_[0] * slope + offset),
    )
    rule = Toxicity()
    scores = np.array([rule.probability(r["text"]) for r in test])
    labels = np.array([r["label"] for r in test])
    prompts = np.array([rule.probability(text) for text in unseen])
    report = {"held_out_comments": len(test), "auroc": round(float(roc_auc_score(labels, scores)), 3)}
    for threshold in (0.5, 0.8):
        report[f"at_{threshold}"] = {
            "true_positive_rate": round(float((scores[labels == 1] >= threshold).mean()), 3),
            "false_positive_rate": round(float((scores[labels == 0] >= threshold).mean()), 3),
            "benign_prompts_flagged": round(float((prompts >= threshold).mean()), 3),
        }
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
