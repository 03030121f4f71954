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
# # Cost and prices
#
# You will know what a call costs to the last digit, at the price of its day, with your own contract prices on top, and
# what the same month would have cost on another model. Needs `wandb-governance` alone: no key, no network; takes about
# three seconds.

# %%
from datetime import UTC, datetime
from pathlib import Path

from wandb_governance.pricing.book import PriceBook
from wandb_governance.pricing.charge import charge
from wandb_governance.pricing.row import PriceRow
from wandb_governance.pricing.usage_shapes import normalize_usage


def on(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 10**9


# %% [markdown]
# ## One call, three ways to count it
# OpenAI's input holds the cached tokens, Anthropic's does not, Gemini's output leaves the thoughts out. All become the
# same kind of counts, with inclusive totals.

# %%
openai = {"prompt_tokens": 2006, "completion_tokens": 300, "prompt_tokens_details": {"cached_tokens": 1920}}
anthropic = {"input_tokens": 86, "cache_read_input_tokens": 1920, "output_tokens": 300}
gemini = {
    "promptTokenCount": 2006,
    "cachedContentTokenCount": 1920,
    "candidatesTokenCount": 250,
    "thoughtsTokenCount": 50,
}
for raw in (openai, anthropic, gemini):
    usage = normalize_usage(raw)
    print(usage.input_tokens, usage.cache_read_tokens, usage.output_tokens)

# %% [markdown]
# ## What it costs, and why
# The catalogue is the `genai-prices` package, read offline. The row that was used comes with the cost; in W&B it stands
# beside it in `llm_calls`, so that anyone can check the sum.

# %%
book = PriceBook()
usage = normalize_usage(openai)
call = {"usage": usage, "provider": "openai", "response_model": None, "at_ns": on("2026-11-01")}
cost = book.price(request_model="gpt-4o", **call)
print(cost.usd, cost.row.to_json()["per_mtok"])

# %% [markdown]
# Prices change. A call is priced at its own day, not at today's.

# %%
for day in ("2025-06-09", "2025-06-10"):
    print(day, book.price(request_model="o3", **{**call, "at_ns": on(day)}).usd)

# %% [markdown]
# Batch, flex and priority have their own prices. What the standard tier would have cost is kept next to it.

# %%
batch = book.price(request_model="gpt-4o", service_tier="batch", **call)
print(batch.usd, "instead of", batch.list_usd)

# %% [markdown]
# ## What is not known is not 0
# An answer from a cache costs 0. A model that nobody has a price for costs `None`, with the reason.

# %%
hit = book.price(request_model="gpt-4o", cache_hit=True, **call)
unknown = book.price(request_model="our-own-model", **call)
print(hit.usd, "-", hit.reason)
print(unknown.usd, "-", unknown.reason)

# %% [markdown]
# ## Your own prices
# A YAML file comes before the catalogue: contract prices with their dates, your own models, names of deployments, and
# gateways in front of a provider. Check it with `wandb-governance prices check prices.yaml`.

# %%
Path("prices.yaml").write_text("""\
version: 1
currencies: {EUR: 1.08}
aliases: {support-bot-prod: gpt-4o-2024-08-06}
providers: {llm.example.com: openai}
prices:
  - glob: "gpt-4o*"
    provider: openai
    valid_from: 2026-10-01
    per_mtok: {input: 2.2, cache_read: 1.1, output: 8.8}
  - model: our-own-model
    currency: EUR
    per_mtok: {input: 0.4, output: 0.9}
""")
ours = PriceBook.load("prices.yaml")
for model in ("gpt-4o", "our-own-model", "support-bot-prod"):
    print(model, ours.price(request_model=model, **call).usd)

# %% [markdown]
# A gateway's host works like the provider it stands for.

# %%
print(ours.price(request_model="gpt-4o", **{**call, "provider": "https://llm.example.com/v1"}).usd)

# %% [markdown]
# Every handler takes the file: `GovernanceCallbackHandler(run=run, prices="prices.yaml")`, `instrument(run=run,
# prices="prices.yaml")`, `govern(client, prices="prices.yaml")`. A mistake is named with file, line and key.

# %%
from wandb_governance.errors import PriceTableError

Path("wrong.yaml").write_text("version: 1\nprices:\n  - model: gpt-4o\n    per_mtok: {input: 2.5, outptu: 10}\n")
try:
    PriceBook.load("wrong.yaml")
except PriceTableError as error:
    print(error)

# %% [markdown]
# ## What would it have cost?
# A stored price row is enough to compute a cost again, and the usage is enough to price the month on another model.

# %%
stored = cost.row.to_json()
assert charge(PriceRow.from_json(stored), usage) == cost.usd
month = [normalize_usage({**openai, "completion_tokens": tokens}) for tokens in range(100, 1100, 100)]
for model in ("gpt-4o", "gpt-4o-mini", "gpt-4.1"):
    total = sum(book.price(request_model=model, **{**call, "usage": one}).usd for one in month)
    print(f"{model:12} {total}")

# %%
assert str(cost.usd) == "0.005615"
assert batch.usd < batch.list_usd == cost.usd
assert unknown.usd is None
assert hit.usd == 0

# %% [markdown]
# Next: `wandb-governance prices show gpt-5.5` prints a price on the command line.
