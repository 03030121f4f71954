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
# # Trace a LangChain chain into W&B
#
# At the end you will have one W&B run whose tables tell of every call what it was, what it cost and whether it was allowed.
#
# Needs `pip install "wandb-governance[langchain]"`. No account, no key, no network. About 10 seconds.

# %%
import os

os.environ.setdefault("WANDB_MODE", "offline")

# %% [markdown]
# To write to your own project instead, log in with `wandb login` and leave the cell above out.
#
# ## A chain
#
# The model answers from a list, so that this page always shows the same. Put `ChatOpenAI(model="gpt-4o")` in its place.

# %%
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate


def answer(text, tokens_in, tokens_out):
    usage = {"input_tokens": tokens_in, "output_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
    return AIMessage(text, usage_metadata=usage, response_metadata={"model_name": "gpt-4o-2024-08-06"})


answers = [answer("Paris.", 21, 2), answer("Write to anna@example.org.", 24, 8), answer("Rome.", 20, 2)]
model = GenericFakeChatModel(messages=iter(answers), metadata={"ls_provider": "openai", "ls_model_name": "gpt-4o"})

# %% [markdown]
# ## One handler
#
# Attach it and call the chain as before.

# %%
import wandb
from wandb_governance_langchain import GovernanceCallbackHandler

run = wandb.init(project="cookbook")
handler = GovernanceCallbackHandler(run)
chain = ChatPromptTemplate.from_template("Answer in one word: {question}") | model | StrOutputParser()
config = {"callbacks": [handler], "metadata": {"user_id": "alice", "prompt_name": "one-word", "prompt_version": "v2"}}
chain.invoke({"question": "Capital of France?"}, config)

# %% [markdown]
# ## What was recorded
#
# Records are in a journal on disk when the call returns. The rows are made from it, here as in W&B.

# %%
from wandb_governance.export.reading import read_tables
from wandb_governance.pipeline import Enricher
from wandb_governance.pricing.book import PriceBook


def tables():
    handler.flush()
    return read_tables([handler.governance.session.journal.folder], Enricher(PriceBook()))[0]


rows = tables()
for row in rows["traces"]:
    print(f"{row['kind']:8} {row['name']:24} {row['status']:8} {row['output']}")

# %% [markdown]
# One row in `llm_calls` joins usage, cost, price and prompt. The user's id is there as a pseudonym only.

# %%
call = rows["llm_calls"][0]
print(call["response_model"], call["input_tokens"], call["output_tokens"], call["usage_source"])
print(f"{call['cost_usd']:.6f} USD, prompt {call['prompt_name']} {call['prompt_version']}")
print("alice" in str(rows))

# %% [markdown]
# ## A policy
#
# `secrets` stops calls, `pii-detector` hides addresses. `govern` puts both around the model.

# %%
from pathlib import Path

from wandb_governance_langchain import govern

POLICY = """
pack: {name: cookbook, version: 1.0.0}
policies:
  chain: [secrets, pii-detector]
  policy:
    secrets: {action: block}
    pii-detector: {action: redact, entities: [EMAIL_ADDRESS], phases: [input, output]}
"""
file = Path("policy.yaml")
file.write_text(POLICY)
guard = GovernanceCallbackHandler(run, policy=file)
governed = ChatPromptTemplate.from_template("{question}") | govern(model, guard) | StrOutputParser()
governed.invoke({"question": "Whom do I ask?"})

# %% [markdown]
# A call with a credential never reaches the model.

# %%
from wandb_governance.errors import PolicyViolation

try:
    governed.invoke({"question": "Why is the key AKIAQ3EGRTFYSXWHBL5N refused?"})
except PolicyViolation as violation:
    print(violation.policy, violation.scope)

# %% [markdown]
# Streams are checked before they leave, too.

# %%
print(list(governed.stream({"question": "Capital of Italy?"})))

# %%
rows = tables()
for row in rows["llm_calls"]:
    print(row["status"], row["verdict"], row["output_tokens"], row["cost_usd"])

# %% [markdown]
# ## Close the run
#
# Leaving the run brings everything to W&B, in the tables `traces`, `llm_calls` and `verdicts`.

# %%
run.finish()
assert [row["status"] for row in rows["llm_calls"]] == ["ok", "ok", "blocked", "ok"]
assert "anna@example.org" not in str(rows)
assert "AKIAQ3EGRTFYSXWHBL5N" not in str(rows)

# %% [markdown]
# Next: `02_trace_llama_index`, `03_cost_and_prices`.
