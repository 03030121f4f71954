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
# # Trace a prediction back to everything behind it
#
# One answer of your application, and from it: the exact model version, the dataset, the evaluation, the promotion and the
# people who approved it; then a bundle of evidence that a reviewer verifies without us.
#
# Needs `pip install "wandb-governance[server,langchain]"`. No account, no key, no network. About a minute.

# %%
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

folder = Path(tempfile.mkdtemp())
os.chdir(folder)
command = [sys.executable, "-m", "wandb_governance"]
arguments = ["server", "--background", "--json", "--port", "0", "--data-dir", "data"]
server = json.loads(subprocess.run([*command, *arguments], capture_output=True, text=True, check=True).stdout)
os.environ |= {
    "WANDB_BASE_URL": server["url"],
    "WANDB_API_KEY": server["api_key"],
    "WANDB_DIR": str(folder),
    "WANDB_SILENT": "true",
}
os.environ.pop("WANDB_MODE", None)

# %% [markdown]
# To use your own W&B, log in with `wandb login` and leave the server out.
#
# ## A model in production
#
# The same steps as in `promote_with_gates`, through the Python face: log, evaluate, promote, approve.

# %%
from wandb_governance.registry.keys import SigningKey

writer, evaluator, ben = (SigningKey.generate() for _ in range(3))
Path("governance.yaml").write_text(f"""
version: 1
trust: {{ledger: ["{writer.public.text}"], evaluators: ["{evaluator.public.text}"]}}
people:
  - {{id: ana, accounts: {{wandb: [local]}}}}
  - {{id: ben, roles: [ml-lead], keys: ["{ben.public.text}"]}}
governed:
  order-bot:
    kind: adapter
    collection: wandb-registry-model/order-bot
    owner: ana
    licence: apache-2.0
    risk: limited
    intended_use: answers questions of customers about their orders
stages:
  production:
    alias: production
    gates: [{{metric: {{metric: correctness, at_least: 0.8}}}}, {{lineage_complete: {{require: [producer, dataset]}}}}]
    approvals: {{count: 1, roles: {{ml-lead: 1}}}}
""")
(folder / "writer.pem").touch(mode=0o600)
(folder / "writer.pem").write_bytes(writer.pem())
os.environ["WANDB_GOVERNANCE_SIGNING_KEY_FILE"] = str(folder / "writer.pem")

# %%
import wandb

quiet = wandb.Settings(silent=True, console="off")
rows = [{"example_id": str(i), "question": f"{i} + 1?", "answer": str(i + 1)} for i in range(40)]


def log(name, type, text, uses=()):
    with wandb.init(project="orders", job_type="train" if uses else "ingest", settings=quiet) as run:
        for used in uses:
            run.use_artifact(used)
        artifact = wandb.Artifact(name, type=type)
        with artifact.new_file(f"{name}.jsonl") as stream:
            stream.write(text)
        run.log_artifact(artifact).wait()
        return artifact.qualified_name


golden = log("golden", "dataset", "\n".join(json.dumps(row) for row in rows))
model = log("adapter", "model", '{"rank": 8}', uses=[golden])

# %%
from wandb_governance.clock import SystemClock
from wandb_governance.registry.approval import Choice, Vote
from wandb_governance.registry.ballot import binding_of
from wandb_governance.registry.session import open_session
from wandb_governance.registry.suite import Answer, Suite, evaluate

clock, hour_ns = SystemClock(), 3_600_000_000_000
suite = Suite(scorers={"correctness": lambda example, answer: float(answer.text == example["answer"])})
with open_session(Path("governance.yaml"), write=True) as session:
    where = {"registry": session.registry, "project": "local/orders", "key": evaluator, "clock": clock}
    evaluate(suite, candidate=model, dataset=golden, predict=lambda e: Answer(text=e["answer"]), **where)
    waiting = session.promoter.promote("order-bot", model, "production")
    now = clock.now_ns()
    vote = Vote(
        promotion=waiting.id,
        choice=Choice.APPROVE,
        person="ben",
        binding=binding_of(waiting),
        issued_at_ns=now,
        expires_at_ns=now + 24 * hour_ns,
    )
    session.promoter.ballot.cast(waiting, vote.sealed(ben))
    print(session.promoter.advance(waiting.id).state)

# %% [markdown]
# ## The application answers a user
#
# It resolves the alias once, when it starts, and says which exact version it uses: a later move of the alias can't rewrite
# what answered. The model answers from a list, so that this page always shows the same.

# %%
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from wandb_governance.tracing.context import call_context
from wandb_governance_langchain import GovernanceCallbackHandler

serving = wandb.Api().artifact("wandb-registry-model/order-bot:production").source_qualified_name
chat = GenericFakeChatModel(messages=iter([AIMessage("Your order left the house on Monday.")]))
with wandb.init(project="orders", job_type="app", settings=quiet) as run:
    handler = GovernanceCallbackHandler(run=run)
    with call_context(versions={"model": serving}):
        print(chat.invoke("Where is my order?", config={"callbacks": [handler]}).content)
    application = run.path

# %% [markdown]
# A user complains. Support finds the id of the call in the table `llm_calls`.

# %%
table = next(item for item in wandb.Api().run(application).logged_artifacts() if "llm_calls" in item.name).get(
    "llm_calls"
)
prediction = dict(zip(table.columns, table.data[0], strict=True))["span_id"]

# %% [markdown]
# ## What is behind it
#
# `wandb-governance lineage ID --project local/orders` prints a tree; `--html`, `--svg`, `--openlineage` and `--json` write
# it for others. Here are its edges, without the ids that change from run to run.

# %%
found = subprocess.run(
    [*command, "lineage", prediction, "--project", "local/orders", "--json", "--html", "lineage.html"],
    capture_output=True,
    text=True,
    check=True,
)
graph = json.loads(found.stdout)
kinds = {node["id"]: node["kind"] for node in graph["nodes"]}
shown = {node["id"]: node["label"] if node["kind"] in ("artifact", "approval") else "" for node in graph["nodes"]}
for edge in graph["edges"]:
    left, right = (f"{kinds[edge[end]]} {shown[edge[end]]}".strip() for end in ("source", "target"))
    print(f"{left} -- {edge['relation']} --> {right}")

# %% [markdown]
# ## Evidence for a reviewer
#
# The bundle says which controls have evidence and which have none. It never says "compliant". `verify.py` inside needs
# Python's standard library and openssl only.

# %%
bundle = subprocess.run(
    [*command, "evidence", "--framework", "nist-ai-rmf", "--out", "bundle"], capture_output=True, text=True, check=True
)
print(bundle.stdout.split("wrote")[0])
verified = subprocess.run([sys.executable, "-I", "bundle/verify.py"], capture_output=True, text=True, check=False)
print(verified.stdout.split("keys")[0])

# %%
assert verified.returncode == 0
assert f"artifact:{model}" in kinds
assert {"run", "promotion", "approval"} <= set(kinds.values())
stopped = subprocess.run([*command, "server", "stop", "--data-dir", "data"], capture_output=True, check=True)

# %% [markdown]
# Next: `docs/integrations` tells how Jira, ServiceNow, GitHub, Credo AI, SageMaker, vLLM, Airflow and Kubeflow are connected.
