"""Hard case 25, the long part: memory stays flat over 100,000 calls, in a real offline run."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
import wandb
from langchain_core.language_models.fake_chat_models import FakeListChatModel

from tests.integrations.langchain.conftest import ANSWER, chain_of
from wandb_governance_langchain import GovernanceCallbackHandler


def _resident_mb() -> float:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_25_memory_is_flat_over_100_000_calls() -> None:
    """Between the 20,000th call and the 100,000th the process does not grow by more than 30 MB."""
    run = wandb.init(project="soak")
    handler = GovernanceCallbackHandler(run)
    chain = chain_of(FakeListChatModel(responses=[ANSWER]))
    sizes = []
    for number in range(100_000):
        chain.invoke({"question": f"What is the capital of country {number}?"}, {"callbacks": [handler]})
        if number % 10_000 == 9_999:
            handler.flush(300)
            sizes.append(_resident_mb())
            print(number + 1, round(sizes[-1]), "MB", flush=True)
    run.finish()
    assert handler.open_runs == 0
    assert max(sizes[2:]) - sizes[1] < 30, sizes
