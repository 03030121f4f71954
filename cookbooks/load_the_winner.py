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
# # Load the winner
#
# At the end you will have one versioned index behind a LangChain retriever, a LlamaIndex retriever and a vector store, and
# you will have seen a changed index refused.
#
# Needs `pip install "wandb-governance[sweep,langchain,llama-index]"`. No account, no key, no network. About 20 seconds.

# %%
import shutil
import tempfile
from importlib import resources
from pathlib import Path

from wandb_governance.errors import IndexIntegrityError
from wandb_governance.sweep.build import IndexSpec, obtain_index
from wandb_governance.sweep.cache import DiskStore
from wandb_governance.sweep.corpus import load_corpus

# %% [markdown]
# ## An index
#
# A sweep publishes the index of its winner as a W&B artifact. Here we build the same kind of index in a folder. With W&B, put
# the registry name in its place: `PATH = "wandb-registry-index/support:production"`.

# %%
example = Path(str(resources.files("wandb_governance.sweep"))) / "example"
spec = IndexSpec(splitter="recursive", tokenizer="cl100k_base", chunk_size=128, chunk_overlap=32, embedding="static")
folder = Path(tempfile.mkdtemp())
index = obtain_index(load_corpus(example / "corpus"), spec, DiskStore(folder))
PATH = str(index.folder)
print(index.rows, "chunks of", len(index.manifest["documents"]), "documents")

# %% [markdown]
# ## LangChain

# %%
from wandb_governance_langchain.retriever import load_retriever as langchain_retriever

retriever = langchain_retriever(PATH, k=2, retriever="hybrid")
documents = retriever.invoke("How much will credit card late fees be cut?")
for document in documents:
    print(document.metadata["source"], document.metadata["start"], document.metadata["end"], document.page_content[:60])

# %% [markdown]
# Every document carries the version of the index, so that an answer can be traced to it.

# %%
print(documents[0].metadata["index_version"] == f"sha256:{index.digest[:16]}")

# %% [markdown]
# ## LlamaIndex

# %%
from wandb_governance_llama_index.retriever import load_retriever as llama_index_retriever

nodes = llama_index_retriever(PATH, k=2, retriever="hybrid").retrieve("How much will credit card late fees be cut?")
print([node.node.metadata["chunk"] for node in nodes])

# %% [markdown]
# ## A vector store that you already have
#
# The vectors go in as they are; nothing is embedded again. FAISS, Chroma, LanceDB, Qdrant and pgvector work the same way.

# %%
from langchain_core.vectorstores import InMemoryVectorStore
from wandb_governance_langchain.retriever import fill_store

from wandb_governance.sweep.load import load_index

store = fill_store(load_index(PATH), InMemoryVectorStore)
print(store.similarity_search("late fees of credit cards", k=1)[0].metadata["chunk"])

# %% [markdown]
# ## A changed index is refused
#
# Every byte is checked before use, and nothing is ever unpickled.

# %%
copy = folder / "copy"
shutil.copytree(PATH, copy)
(copy / "chunks.jsonl").write_bytes((copy / "chunks.jsonl").read_bytes().replace(b"$32", b"$99"))
try:
    langchain_retriever(str(copy))
except IndexIntegrityError as error:
    refused = str(error).replace(str(folder), "")
print(refused)

# %%
assert [d.metadata["chunk"] for d in documents] == [n.node.metadata["chunk"] for n in nodes]
assert "not what the manifest says" in refused

# %% [markdown]
# Next: [promote it with gates](promote_with_gates.ipynb).
