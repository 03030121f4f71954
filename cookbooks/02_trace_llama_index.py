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
# # Trace a LlamaIndex query engine
#
# You will have every query of an engine in W&B tables: one trace per query, each model call once, with tokens, cost and
# the documents that were retrieved for it. Needs `wandb-governance[llama-index]`; takes about ten seconds. The model here
# is LlamaIndex's `MockLLM`, so that no key is needed.

# %%
import asyncio

import wandb
from llama_index.core import Document, Settings, VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.llms import MockLLM

from wandb_governance_llama_index import instrument

# %% [markdown]
# A small index. `instrument` comes after it, so that building the index is not recorded.

# %%
Settings.llm, Settings.embed_model = MockLLM(max_tokens=5), MockEmbedding(embed_dim=8)
cities = {"paris": "Paris is the capital of France.", "rome": "Rome is the capital of Italy."}
index = VectorStoreIndex.from_documents([Document(text=text, id_=name) for name, text in cities.items()])

# %% [markdown]
# ## Attach
# Without an active W&B run the records would wait on disk for the next one.

# %%
run = wandb.init(project="cookbooks")
instrumentation = instrument(run=run)

# %% [markdown]
# ## Ask in every way
# A streaming query returns before the model is asked: LlamaIndex asks when the stream is read. It is one trace all the
# same.

# %%
index.as_query_engine(similarity_top_k=1).query("What is the capital of France?")
stream = index.as_query_engine(similarity_top_k=1, streaming=True).query("And of Italy?")
print("".join(stream.response_gen))


# %%
async def both():
    engine = index.as_query_engine(similarity_top_k=2)
    await asyncio.gather(engine.aquery("one"), engine.aquery("two"))


await both()

# %% [markdown]
# ## Look
# `flush` brings everything to W&B. The same rows can be read from the journal on this machine.

# %%
instrumentation.flush()
from wandb_governance.export.reading import read_tables
from wandb_governance.pipeline import Enricher
from wandb_governance.pricing.book import PriceBook

folder = instrumentation.governance.session.journal.folder
tables, totals = read_tables([folder], Enricher(PriceBook()))
print({name: len(rows) for name, rows in sorted(tables.items())})

# %%
calls = [row for row in tables["llm_calls"] if row["kind"] == "llm"]
for call in calls:
    print(call["status"], call["streaming"], call["output_tokens"], call["usage_source"], call["cost_usd"])

# %% [markdown]
# `MockLLM` reports no usage, so the counts are marked as estimates; and a price that is not known is null, with a reason,
# never 0.

# %%
print(calls[0]["cost_reason"])
print(len({call["trace_id"] for call in calls}), "traces of", len(calls), "calls")

# %%
run.finish()
instrumentation.uninstall()
assert len(calls) == len({call["trace_id"] for call in calls}) == 4
assert all(call["document_ids"] for call in calls)

# %% [markdown]
# To log to hosted W&B, log in with `wandb login` and change nothing. Next: `03_cost_and_prices`.
