# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Sweep a RAG pipeline
#
# At the end you will know which chunk size, overlap, retriever and top-k to take for a small public corpus, how sure that
# is, and where the index is.
#
# Needs `pip install "wandb-governance[sweep]"`. No account, no key, no network. About 20 seconds.

# %%
import tempfile
from pathlib import Path

from wandb_governance.sweep.cache import DiskStore
from wandb_governance.sweep.choice import Trials, choose_from, publish
from wandb_governance.sweep.config import load_sweep
from wandb_governance.sweep.overview import overview
from wandb_governance.sweep.records import ResultsFile
from wandb_governance.sweep.runner import Runner

# %% [markdown]
# ## The file
#
# `wandb-governance sweep init --example rag.yaml` writes this file with its corpus and questions.

# %%
from importlib import resources

example = Path(str(resources.files("wandb_governance.sweep"))) / "example"
print((example / "rag.yaml").read_text())

# %% [markdown]
# What does it mean, before anything is run? Pairs whose overlap is as large as the size never become trials.

# %%
sweep = load_sweep(example / "rag.yaml")
facts = overview(sweep)
for name in ("trials", "indexes", "impossible_pairs", "documents", "searched_with", "held_out", "gold_repaired"):
    print(f"{name:18} {facts[name]}")

# %% [markdown]
# ## Run it
#
# This is `wandb-governance sweep run rag.yaml`. On W&B, hosted or embedded, it is `wandb-governance sweep config rag.yaml -o
# sweep.yaml`, `wandb sweep sweep.yaml` and as many `wandb agent` as you have machines: the same trials, the same numbers.

# %%
folder = Path(tempfile.mkdtemp())
store = DiskStore(folder / "store")
outcome = Runner(sweep=sweep, store=store, results=ResultsFile(folder / "results")).run()
for record in sorted(outcome.records, key=lambda record: -record.metrics["score"])[:5]:
    print(f"{record.configuration.label:42} recall {record.metrics['score']:.4f}")

# %% [markdown]
# Trials share their work: a text is embedded once, an index is built once, and retrieval runs once at the largest k.

# %%
chunks = sum(record.metrics["score"] > 0 for record in outcome.records)
print("trials          ", chunks)
print("indexes built   ", store.counts["index.computed"])
print("texts embedded  ", store.counts["embedding.computed"])

# %% [markdown]
# ## Choose
#
# The questions are resampled 10,000 times, all candidates at once. Below a probability of 0.9 nothing is called the best: the
# cheapest of those that can't be told apart is taken, and held-out questions that no trial saw check it.

# %%
selection = choose_from(Trials(records=outcome.records), sweep, store, holdout=True)
print(selection.sentence)
print(f"P(best) {selection.choice.p_best:.2f} of {len(selection.candidates)} candidates")
print(f"held-out questions: {selection.confirmation.mean:.4f}, confirmed: {selection.confirmation.confirmed}")

# %%
for name, share in list(selection.importance.items())[:4]:
    print(f"{name:14} explains {share:.0%} of the spread by itself")

# %% [markdown]
# ## The index
#
# Three files: vectors, chunks and a manifest with their digests. The same file, corpus and seed give the same bytes, so W&B
# makes a new version only where something changed.

# %%
published = publish(selection, Trials(records=outcome.records), sweep, store, in_wandb=False)
print(sorted(file.name for file in published.folder.iterdir()))
print("SHA-256 of the manifest:", published.digest[:16])

# %%
assert selection.claim == "cheapest of the confident set"
assert selection.confirmation.confirmed
assert store.counts["index.computed"] == facts["indexes"]

# %% [markdown]
# Next: [load the winner](load_the_winner.ipynb) in LangChain and LlamaIndex.
