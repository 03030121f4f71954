"""The public face as a user writes it. Checked by mypy strict; never run."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_type

import wandb
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from llama_index.core.llms import MockLLM
from openai import OpenAI

from wandb_governance.errors import PolicyViolation
from wandb_governance.runtime import Governance
from wandb_governance.settings import Settings
from wandb_governance.tracing.context import call_context
from wandb_governance_langchain import GovernanceCallbackHandler
from wandb_governance_langchain import govern as govern_chat_model
from wandb_governance_llama_index import Instrumentation, instrument
from wandb_governance_openai import govern

if TYPE_CHECKING:
    from wandb_governance_llama_index.enforce import GovernedLLM

with wandb.init(project="support-bot") as run:
    handler = GovernanceCallbackHandler(run=run, policy="policy-config.yaml", prices="prices.yaml")
    assert_type(handler.governance, Governance)
    chat = govern_chat_model(FakeListChatModel(responses=["yes"]), handler)
    with call_context(user="jane", session="1", tags=("beta",), versions={"index": "docs:v3"}):
        try:
            chat.invoke("hi", config={"callbacks": [handler]})
        except PolicyViolation as violation:
            assert_type(violation.policy, str)

    instrumentation = instrument(run=run, settings=Settings.from_env())
    assert_type(instrumentation, Instrumentation)
    llm: GovernedLLM = instrumentation.govern(MockLLM())
    llm.complete("hi")

    client = govern(OpenAI(), run=run)
    client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
    assert_type(handler.governance.flush(5.0), bool)
