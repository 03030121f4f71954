"""The whole way: a LangChain chain into the tables of a real, offline W&B run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import wandb

from tests.integrations.langchain.conftest import ANSWER, ScriptedModel, chain_of
from wandb_governance_langchain import GovernanceCallbackHandler

if TYPE_CHECKING:
    from pathlib import Path


def _rows(folder: Path) -> list[dict[str, Any]]:
    """Rows of every table file that W&B would upload."""
    files = [json.loads(path.read_text()) for path in folder.rglob("files/media/table/*.table.json")]
    return [dict(zip(file["columns"], row, strict=True)) for file in files for row in file["data"]]


def test_leaving_the_run_puts_every_row_into_its_tables(tmp_path: Path, policy: Path) -> None:
    """Nobody calls ``flush``: ``with wandb.init()`` is enough."""
    with wandb.init(project="tests", dir=str(tmp_path)) as run:
        handler = GovernanceCallbackHandler(run, policy=policy)
        chain_of(ScriptedModel()).invoke({"question": "capital of France?"}, {"callbacks": [handler]})
        list(chain_of(ScriptedModel()).stream({"question": "capital of France?"}, {"callbacks": [handler]}))
    rows = _rows(tmp_path)
    calls = [row for row in rows if "cost_usd" in row]
    assert [(row["input_tokens"], row["status"]) for row in calls] == [(1000, "ok")] * 2
    spans = [row for row in rows if "duration_s" in row and "cost_usd" not in row]
    assert len(spans) == 8
    assert [row["output"] for row in spans if not row["parent_id"]] == [ANSWER] * 2
    assert {row["policy"] for row in rows if "policy_digest" in row} == {"secrets", "pii-detector"}
