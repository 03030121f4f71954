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
# # Govern a chain with one YAML file
#
# At the end you will have a policy file, its tests, and a chain whose input and streamed output follow it.
#
# Needs `pip install wandb-governance`. No account, no key, no network. About 5 seconds.

# %%
from pathlib import Path
from tempfile import mkdtemp

folder = Path(mkdtemp())
policy_file = folder / "policy-config.yaml"
policy_file.write_text(
    """
pack: {name: support-bot, version: 1.0.0}
policies:
  chain: [pii-detector, secrets, topic]
  policy:
    pii-detector: {action: redact, entities: [EMAIL_ADDRESS, PHONE_NUMBER, CREDIT_CARD]}
    secrets: {action: block}
    topic: {deny: [project bluebird], action: block, response: {message: "this project is confidential"}}
"""
)

# %% [markdown]
# A key that can't be enforced is an error, with file, line and key.

# %%
from wandb_governance.errors import PolicyDocumentError
from wandb_governance.policy.engine import PolicyEngine

wrong = folder / "wrong.yaml"
wrong.write_text(policy_file.read_text().replace("entities:", "entites:"))
try:
    PolicyEngine.from_file(wrong)
except PolicyDocumentError as error:
    print(error.line, error.key, "-", error.message.split(";")[0])

# %% [markdown]
# ## What does it say of a text?

# %%
from wandb_governance.policy.rule import RuleContext
from wandb_governance.policy.verdict import Scope

engine = PolicyEngine.from_file(policy_file)
decision = engine.evaluate("Write to maria@example.com about 4111 1111 1111 1111.", RuleContext(scope=Scope.INPUT))
print(decision.action, "|", decision.text)
for verdict in decision.verdicts:
    for found in verdict.findings:
        print(
            f"  {verdict.policy}: {found.entity} at {found.start}-{found.end}, score {found.score}: {found.explanation}"
        )

# %%
blocked = engine.evaluate("What is new in Project Bluebird?", RuleContext(scope=Scope.INPUT))
print(blocked.action, "by", blocked.blocking.policy)

# %% [markdown]
# ## Streams
#
# A model answers in pieces. What goes out, joined, is what redaction of the whole answer would give.

# %%
from wandb_governance.policy.stream import StreamRedactor

answer = "You can reach maria@example.com.au or +1 415 555 2671, says the page."
redactor = StreamRedactor(engine, RuleContext(scope=Scope.OUTPUT))
pieces = [redactor.feed(character) for character in answer] + [redactor.finish()]
print([piece for piece in pieces if piece])

# %%
assert "".join(pieces) == engine.evaluate(answer, RuleContext(scope=Scope.OUTPUT)).text

# %% [markdown]
# ## Tests for the policy
#
# The same file runs in CI: `wandb-governance policy test cases.yaml --junit report.xml`.

# %%
cases_file = folder / "cases.yaml"
cases_file.write_text(
    """
cases:
  - name: mail is hidden, also in a stream
    text: write to maria@example.com
    stream: true
    expect: {action: redact, text: "write to [EMAIL_ADDRESS]", by: pii-detector}
  - name: the project is not discussed
    text: tell me about project bluebird
    expect: {action: block, by: topic}
"""
)

# %%
from wandb_governance.policy.cases import load_cases, run_case

results = [run_case(engine, case) for case in load_cases(cases_file)]
for result in results:
    print("ok" if result.passed else "FAIL", result.name)
assert all(result.passed for result in results)

# %% [markdown]
# Give the same file to a handler, `GovernanceCallbackHandler(policy="policy-config.yaml")`, or put it in front of every
# client: next, `run_the_gateway`.
