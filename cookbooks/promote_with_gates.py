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
# # Promote a version through gates and approvals
#
# At the end a fine-tuned adapter carries `production` in the W&B Registry, two people have signed for it, a worse version was
# kept out, someone's move behind the gate's back was refused, and the ledger proves all of it.
#
# Needs `pip install "wandb-governance[server]"`. No account, no key, no network. About a minute.

# %%
import base64
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

folder = Path(tempfile.mkdtemp())
os.chdir(folder)
command = [sys.executable, "-m", "wandb_governance"]

# %% [markdown]
# ## Keys
#
# One key writes the ledger, one signs evaluations, and each approver has their own. Public keys stand in
# `governance.yaml`; private ones come from the environment, a file or the keyring, never from the YAML.

# %%
from wandb_governance.registry.keys import SigningKey

keys = {name: SigningKey.generate() for name in ("ledger", "evaluator", "ben", "dev")}


def secret(name):
    return base64.b64encode(keys[name].private.private_bytes_raw()).decode()


# %% [markdown]
# ## The rules, as code

# %%
rules = f"""
version: 1
project: local/governance
trust:
  ledger: ["{keys["ledger"].public.text}"]
  evaluators: ["{keys["evaluator"].public.text}"]
people:
  - {{id: ana, accounts: {{wandb: [local]}}}}
  - {{id: ben, roles: [ml-lead], keys: ["{keys["ben"].public.text}"]}}
  - {{id: dev, roles: [compliance], keys: ["{keys["dev"].public.text}"]}}
governed:
  order-bot:
    kind: adapter
    collection: wandb-registry-model/order-bot
    owner: ana
    licence: proprietary
    risk: limited
    intended_use: answers questions of customers about their orders
stages:
  staging:
    alias: staging
    gates:
      - metric: {{metric: correctness, at_least: 0.8}}
      - no_regression: {{metric: correctness, margin: 0.1}}
      - policy_clean
      - fairness: {{metric: correctness, group: locale, max_gap: 0.3}}
  production:
    alias: production
    requires: staging
    gates: [{{metric: {{metric: correctness, at_least: 0.8}}}}]
    approvals: {{count: 2, roles: {{ml-lead: 1, compliance: 1}}, expires_after: 72h}}
"""
Path("governance.yaml").write_text(rules)

# %% [markdown]
# ## A W&B server that knows the rules
#
# To use your own W&B, log in with `wandb login` and leave this cell out. The embedded server refuses governed aliases
# outright; hosted W&B can't, so there `wandb-governance watch` finds such moves and reports or repairs them.

# %%
arguments = ["server", "--background", "--json", "--port", "0", "--data-dir", "data", "--governance", "governance.yaml"]
server = json.loads(subprocess.run([*command, *arguments], capture_output=True, text=True, check=True).stdout)
environment = {"WANDB_BASE_URL": server["url"], "WANDB_API_KEY": server["api_key"], "WANDB_SILENT": "true"}
os.environ |= {**environment, "WANDB_GOVERNANCE_SIGNING_KEY": secret("ledger"), "WANDB_DIR": str(folder)}
os.environ.pop("WANDB_MODE", None)

# %% [markdown]
# ## A golden dataset and two fine-tuned adapters

# %%
import wandb


def log(name, type, file, text):
    with wandb.init(project="orders", job_type="author", settings=wandb.Settings(silent=True, console="off")) as run:
        artifact = wandb.Artifact(name, type=type)
        with artifact.new_file(file) as stream:
            stream.write(text)
        run.log_artifact(artifact).wait()
        return artifact.qualified_name


questions = [
    {"example_id": str(i), "question": f"{i} + 1?", "answer": str(i + 1), "locale": "de" if i % 2 else "en"}
    for i in range(60)
]
golden = log("golden", "dataset", "golden.jsonl", "\n".join(json.dumps(row) for row in questions))
good = log("adapter", "model", "adapter.json", '{"rank": 8, "epochs": 3}')
worse = log("adapter", "model", "adapter.json", '{"rank": 8, "epochs": 30}')

# %% [markdown]
# ## Evaluate both
#
# `predict` asks the model. Here it is a small rule, so that the page always shows the same: the worse adapter gets
# every fourth question wrong. Results become a signed artifact, linked by lineage to the adapter and the dataset.

# %%
from wandb_governance.backend.registry import WandbRegistry
from wandb_governance.clock import SystemClock
from wandb_governance.registry.suite import Answer, Suite, evaluate

registry = WandbRegistry()
suite = Suite(
    scorers={"correctness": lambda example, answer: float(answer.text == example["answer"])},
    screen=lambda text, scope: [{"policy": "pii-detector", "action": "flag" if "@" in text else "allow"}],
    groups=["locale"],
)


def model(wrong_every):
    def predict(example):
        wrong = wrong_every and int(example["example_id"]) % wrong_every == 0
        return Answer(text="it depends" if wrong else example["answer"], latency_s=0.2, cost_usd="0.0001")

    return predict


where = {
    "registry": registry,
    "dataset": golden,
    "project": "local/orders",
    "key": keys["evaluator"],
    "clock": SystemClock(),
}
for version, wrong_every in ((good, 0), (worse, 4)):
    print(evaluate(suite, candidate=version, predict=model(wrong_every), **where).source)

# %% [markdown]
# ## Check and promote to staging
#
# `--check` runs the gates and changes nothing: that is the line for CI. Exit codes: 0 pass, 1 failed, 3 waiting for
# approval, 4 undecided, 5 the registry differs from the ledger.


# %%
def governance(*arguments):
    done = subprocess.run([*command, *arguments, "--json"], capture_output=True, text=True, check=False)
    value = json.loads(done.stdout)
    for gate in value["gates"]:
        print(f"{gate['status']:5} {gate['gate']}")
    print("exit code", done.returncode)
    return value


report = governance("promote", "order-bot", good, "--to", "staging", "--check")
print(governance("promote", "order-bot", good, "--to", "staging")["state"])

# %% [markdown]
# The worse version stays out: a paired test over the same questions sees the loss.

# %%
report = governance("promote", "order-bot", worse, "--to", "staging", "--check")
print(next(gate["reason"] for gate in report["gates"] if gate["gate"].startswith("no_regression")))

# %% [markdown]
# ## Production needs two signatures

# %%
waiting = subprocess.run(
    [*command, "promote", "order-bot", good, "--to", "production", "--json"],
    capture_output=True,
    text=True,
    check=False,
)
promotion = json.loads(waiting.stdout)["id"]
for person in ("ben", "dev"):
    vote = subprocess.run(
        [*command, "approve", promotion, "--json"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "WANDB_GOVERNANCE_APPROVER_KEY": secret(person)},
    )
    answer = json.loads(vote.stdout)
    print(person, answer["state"], answer.get("missing", ""))

# %% [markdown]
# ## Behind the gate's back
#
# Someone uses the SDK to move the alias. The server refuses, and says what to do.

# %%
try:
    wandb.Api().artifact(worse).link("wandb-registry-model/order-bot", aliases=["production"])
except wandb.errors.CommError as error:
    print(error)

# %% [markdown]
# ## What the ledger says

# %%
verified = json.loads(
    subprocess.run([*command, "audit", "verify", "--json"], capture_output=True, text=True, check=True).stdout
)
print({name: verified[name] for name in ("intact", "entries", "problem")})
history = subprocess.run([*command, "audit", "log", "--json"], capture_output=True, text=True, check=True).stdout
print([json.loads(line)["kind"] for line in history.splitlines()])

# %%
live = wandb.Api().artifact("wandb-registry-model/order-bot:production")
assert live.source_qualified_name == good
assert verified["intact"]
stopped = subprocess.run([*command, "server", "stop", "--data-dir", "data"], capture_output=True, check=True)

# %% [markdown]
# Next: `trace_a_prediction` walks from one answer back to the version, its evaluation and these approvals.
