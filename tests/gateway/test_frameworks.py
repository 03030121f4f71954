"""LangChain's and LlamaIndex's own clients work through the gateway unchanged; calls land in W&B's tables."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

MAIL = "maria@example.com"


def test_langchain_whole_streamed_batch_async_and_tools(gateway: Any, provider: Any) -> None:
    """ChatOpenAI with nothing but another base_url."""
    openai = pytest.importorskip("langchain_openai")
    model = openai.ChatOpenAI(model="gpt-4o", base_url=gateway.url, api_key="any", max_retries=0)
    provider.default = {"text": f"to {MAIL}", "deltas": ["to maria@exam", "ple.com"]}
    expected = "to [EMAIL_ADDRESS]"
    assert model.invoke(f"I am {MAIL}").content == expected
    assert MAIL not in str(provider.requests)
    assert "".join(str(chunk.content) for chunk in model.stream("hi")) == expected
    assert [answer.content for answer in model.batch(["a", "b"])] == [expected] * 2

    async def many() -> tuple[str, str]:
        whole = str((await model.ainvoke("hi")).content)
        return whole, "".join([str(chunk.content) async for chunk in model.astream("hi")])

    assert asyncio.run(many()) == (expected, expected)

    def send(to: str) -> str:
        """Send a mail."""
        return to

    provider.default = {"tool_args": json.dumps({"to": MAIL})}
    assert model.bind_tools([send]).invoke("hi").tool_calls[0]["args"] == {"to": "[EMAIL_ADDRESS]"}


def test_langchain_gets_a_typed_error_for_a_block(gateway: Any) -> None:
    """The policy and the reason are in it."""
    openai = pytest.importorskip("langchain_openai")
    model = openai.ChatOpenAI(model="gpt-4o", base_url=gateway.url, api_key="any", max_retries=0)
    with pytest.raises(Exception, match="blocked by policy 'secrets'"):
        model.invoke("the key is sk-proj-Zx8Kq2Wm7Rt5Yb3Nc9Vd1Fg4Hj6Lp0QsT2uV")


def test_langchain_embeddings(gateway: Any, provider: Any) -> None:
    """As text: token ids can't be looked into."""
    openai = pytest.importorskip("langchain_openai")
    sdk = openai.OpenAIEmbeddings(
        model="text-embedding-3-small", base_url=gateway.url, api_key="any", check_embedding_ctx_length=False
    )
    assert len(sdk.embed_documents(["a text", f"of {MAIL}"])) == 2
    assert provider.requests[0]["body"]["input"][1] == "of [EMAIL_ADDRESS]"


def test_llama_index_whole_streamed_and_async(gateway: Any, provider: Any) -> None:
    """The OpenAI LLM with nothing but another api_base."""
    openai = pytest.importorskip("llama_index.llms.openai")
    model = openai.OpenAI(model="gpt-4o", api_base=gateway.url, api_key="any", max_retries=0)
    provider.default = {"text": f"to {MAIL}", "deltas": ["to maria@exam", "ple.com"]}
    expected = "to [EMAIL_ADDRESS]"
    assert model.complete(f"I am {MAIL}").text == expected
    assert MAIL not in str(provider.requests)
    assert list(model.stream_complete("hi"))[-1].text == expected

    async def many() -> tuple[str, str]:
        whole = (await model.acomplete("hi")).text
        return whole, [chunk async for chunk in await model.astream_complete("hi")][-1].text

    assert asyncio.run(many()) == (expected, expected)


def test_every_call_lands_in_the_tables(gateway_of: Any, provider: Any, tmp_path: Any, monkeypatch: Any) -> None:
    """Traces, llm_calls and verdicts of an offline run, as of any other adapter."""
    import httpx
    import wandb

    from wandb_governance.runtime import Governance
    from wandb_governance.settings import Settings

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    run = wandb.init(project="gateway", dir=str(tmp_path), mode="offline")
    governance = Governance(run=run, settings=Settings(home=tmp_path / "home"))
    gateway = gateway_of(governance=governance)
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": f"I am {MAIL}"}]}
    httpx.post(f"{gateway.url}/chat/completions", json=body)
    httpx.post(f"{gateway.url}/chat/completions", json={**body, "stream": True})
    blocked = "the key is sk-proj-Zx8Kq2Wm7Rt5Yb3Nc9Vd1Fg4Hj6Lp0QsT2uV"
    httpx.post(f"{gateway.url}/chat/completions", json={**body, "messages": [{"role": "user", "content": blocked}]})
    gateway.wait_for_records(3)
    gateway.stop()
    anchored = [key for key in run.summary.keys() if "checkpoint" in key]  # noqa: SIM118
    run.finish()
    tables = {path.name.split("_")[0]: json.loads(path.read_text()) for path in sorted(tmp_path.rglob("*.table.json"))}
    text = json.dumps(tables)
    assert MAIL not in text
    assert "sk-proj-Zx8K" not in text
    calls = next(table for name, table in tables.items() if "finish_reason" in str(table["columns"]))
    statuses = next(table for table in tables.values() if "status" in table["columns"])
    assert len(calls["data"]) == 3
    column = statuses["columns"].index("status")
    assert sorted(row[column] for row in statuses["data"]) == ["blocked", "ok", "ok"]
    assert "[EMAIL_ADDRESS]" in text
    assert anchored == ["audit/log-0/checkpoint"]
