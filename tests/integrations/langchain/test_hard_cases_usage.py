"""Hard cases 14 to 18, 20, 25 and 26: token counts, cost, first tokens, odd data."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.documents import Document
from langchain_core.language_models.llms import LLM, BaseLLM
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult, Generation, LLMResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda

from tests.integrations.langchain.conftest import ANSWER, Recorded, ScriptedModel, chain_of
from wandb_governance.tracing.context import call_context

if TYPE_CHECKING:
    from collections.abc import Callable

QUESTION = {"question": "What is the capital of France?"}


def test_14_two_choices_are_counted_once(record: Recorded) -> None:
    """LangChain repeats the usage on every choice."""
    ScriptedModel(choices=2).invoke("hello", record.config)
    row = record.call
    assert (row["input_tokens"], row["output_tokens"]) == (1000, 10)


def test_14_batch_is_counted_per_call(record: Recorded, model: ScriptedModel) -> None:
    """Three inputs are three calls, each with its own usage."""
    model.batch(["a", "b", "c"], record.config)
    assert [row["input_tokens"] for row in record.calls] == [1000] * 3


def test_14_usage_of_a_text_models_batch_is_counted_once(record: Recorded) -> None:
    """A plain LLM reports the usage of a whole batch, and LangChain puts it at the first prompt."""

    class Completion(BaseLLM):
        @property
        def _llm_type(self) -> str:
            return "openai"

        def _generate(self, prompts: list[str], *args: Any, **kwargs: Any) -> LLMResult:
            usage = {"prompt_tokens": 30, "completion_tokens": 6, "total_tokens": 36}
            return LLMResult(generations=[[Generation(text="x")] for _ in prompts], llm_output={"token_usage": usage})

    Completion().generate(["a", "b", "c"], callbacks=[record.handler])
    assert sorted((row["input_tokens"], row["output_tokens"]) for row in record.calls) == [(0, 0), (0, 0), (30, 6)]


def test_15_cache_hit_keeps_usage_and_costs_nothing(record: Recorded) -> None:
    """The second answer comes from LangChain's cache: tokens are kept, the bill is zero."""
    model = ScriptedModel(cache=InMemoryCache())
    model.invoke("hello", record.config)
    model.invoke("hello", record.config)
    paid, hit = record.calls
    assert not paid["cache_hit"]
    assert paid["cost_usd"] == pytest.approx((1000 * 2.5 + 10 * 10) / 1e6)
    assert hit["cache_hit"]
    assert (hit["input_tokens"], hit["cost_usd"]) == (1000, 0)
    assert hit["list_cost_usd"] == paid["cost_usd"]


def test_15_cache_hit_without_token_counts(record: Recorded) -> None:
    """A cached answer without usage carries only ``{"total_cost": 0}``."""
    model = ScriptedModel(cache=InMemoryCache(), usage=None)
    model.invoke("hello", record.config)
    model.invoke("hello", record.config)
    row = record.calls[1]
    assert row["cache_hit"]
    assert row["cost_usd"] == 0


def test_16_stream_without_usage_is_estimated_and_says_so(record: Recorded) -> None:
    """OpenAI-compatible servers stream no usage: an estimate is made, marked, and never called the provider's."""
    list(ScriptedModel(usage=None).stream("What is the capital of France?", record.config))
    row = record.call
    assert row["usage_estimated"]
    assert row["usage_source"] in {"tokenizer", "heuristic"}
    assert 4 <= row["output_tokens"] <= 12


def test_16_usage_of_a_broken_stream_is_kept(record: Recorded) -> None:
    """What a chunk reported before the error is the best there is."""

    class Anthropic(ScriptedModel):
        def _stream(self, *args: Any, **kwargs: Any) -> Any:
            first = True
            for chunk in super()._stream(*args, **kwargs):
                if first:
                    chunk.message.usage_metadata = {"input_tokens": 77, "output_tokens": 1, "total_tokens": 78}
                    first = False
                yield chunk

    with pytest.raises(ConnectionError):
        list(Anthropic(break_after=4).stream("hello", record.config))
    row = record.call
    assert (row["status"], row["input_tokens"], row["usage_source"]) == ("error", 77, "provider")


USAGE_CASES = {
    "openai cached and reasoning": (
        {"input_tokens": 2006, "output_tokens": 300, "total_tokens": 2306,
         "input_token_details": {"cache_read": 1920, "audio": 0}, "output_token_details": {"reasoning": 128}},
        {"input_tokens": 2006, "output_tokens": 300, "cache_read_tokens": 1920, "reasoning_tokens": 128},
    ),
    "anthropic with both lifetimes": (
        {"input_tokens": 12307, "output_tokens": 550, "total_tokens": 12857,
         "input_token_details": {"cache_read": 0, "cache_creation": 0, "ephemeral_5m_input_tokens": 304,
                                 "ephemeral_1h_input_tokens": 12000}},
        {"input_tokens": 12307, "output_tokens": 550, "cache_write_tokens": 12304},
    ),
    "gemini with audio": (
        {"input_tokens": 500, "output_tokens": 60, "total_tokens": 560, "input_token_details": {"audio": 200},
         "output_token_details": {"reasoning": 20}},
        {"input_tokens": 500, "audio_input_tokens": 200, "reasoning_tokens": 20},
    ),
    "cache above input": (
        {"input_tokens": 10, "output_tokens": 1, "total_tokens": 11, "input_token_details": {"cache_read": 50}},
        {"input_tokens": 10, "cache_read_tokens": 10, "usage_inconsistent": True},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", USAGE_CASES)
def test_17_langchains_usage_of_every_provider(case: str, record: Recorded) -> None:
    """Totals hold the cached and reasoning tokens; nothing is negative or above its total."""
    usage, expected = USAGE_CASES[case]
    ScriptedModel(usage=usage).invoke("hello", record.config)
    row = record.call
    assert {name: row[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("response_metadata", {"usage": {"inputTokens": 40, "outputTokens": 8, "totalTokens": 48}}),
        ("response_metadata", {"prompt_eval_count": 40, "eval_count": 8, "model": "llama3.2"}),
        ("response_metadata", {"token_usage": {"prompt_tokens": 40, "completion_tokens": 8, "total_tokens": 48}}),
        ("llm_output", {"token_usage": {"prompt_tokens": 40, "completion_tokens": 8, "total_tokens": 48}}),
        ("llm_output", {"usage": {"input_tokens": 40, "output_tokens": 8}}),
        ("generation_info", {"usage_metadata": {"prompt_token_count": 40, "candidates_token_count": 8}}),
    ],
)
def test_17_usage_is_found_where_integrations_put_it(place: str, value: dict[str, Any], record: Recorded) -> None:
    """Without ``usage_metadata`` the provider's own object is read where integrations leave it."""

    class Raw(ScriptedModel):
        def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
            extra = value if place == "response_metadata" else {}
            info = value if place == "generation_info" else None
            generation = ChatGeneration(message=AIMessage("x", response_metadata=extra), generation_info=info)
            return ChatResult(generations=[generation], llm_output=value if place == "llm_output" else None)

    Raw().invoke("hello", record.config)
    row = record.call
    assert (row["input_tokens"], row["output_tokens"], row["usage_source"]) == (40, 8, "provider")


def test_18_reasoning_is_not_added_and_tiers_are_priced(record: Recorded) -> None:
    """Reasoning is part of the output; a flex call costs what flex costs."""

    class Tiered(ScriptedModel):
        def _message(self) -> AIMessage:
            message = super()._message()
            message.response_metadata["service_tier"] = "flex"
            return message

    usage = {
        "input_tokens": 1000,
        "output_tokens": 500,
        "total_tokens": 1500,
        "output_token_details": {"reasoning": 400},
    }
    Tiered(model_name="o3", usage=usage).invoke("hello", record.config)
    row = record.call
    assert (row["output_tokens"], row["reasoning_tokens"], row["service_tier"]) == (500, 400, "flex")
    assert row["cost_usd"] == pytest.approx((1000 * 1.0 + 500 * 4.0) / 1e6)


def test_18_unknown_model_has_no_cost_and_a_reason(record: Recorded) -> None:
    """Unknown is null, never zero."""
    ScriptedModel(model_name="house-model-7").invoke("hello", record.config)
    row = record.call
    assert row["cost_usd"] is None
    assert row["cost_reason"]


def test_20_first_token_is_the_first_content(record: Recorded) -> None:
    """The empty first chunk of a stream is no token; a call that is not streamed has none."""
    model = ScriptedModel(pause_s=0.15)
    list(model.stream("hello", record.config))
    model.invoke("hello", record.config)
    streamed, whole = record.calls
    assert 0.14 <= streamed["time_to_first_token_s"] <= streamed["duration_s"]
    assert whole["time_to_first_token_s"] is None


def test_20_a_tool_call_counts_as_first_content(record: Recorded) -> None:
    """An answer may begin with a tool call instead of text."""
    call = [{"name": "f", "args": {"x": 1}, "id": "1", "type": "tool_call"}]
    list(ScriptedModel(tool_calls=[call]).stream("hello", record.config))
    assert record.call["time_to_first_token_s"] is not None
    assert json.loads(record.traces[0]["output"])["tool_calls"][0]["name"] == "f"


class _Search(BaseRetriever):
    documents: list[Document]

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return self.documents


def test_20_retrieved_documents_are_in_the_row_of_the_call(record: Recorded, model: ScriptedModel) -> None:
    """Ids, scores and ranks of what was found; a document without an id gets the digest of its text."""
    documents = [
        Document("Paris is the capital of France.", id="doc-1", metadata={"score": 0.9, "source": "atlas"}),
        Document("Lyon is a city."),
    ]
    search = _Search(documents=documents)
    chain = (
        {"question": lambda x: x, "context": search} | ChatPromptTemplate.from_template("{context} {question}") | model
    )
    with call_context(versions={"index": "atlas:v3"}):
        chain.invoke("capital?", record.config)
    digest = "sha256:" + hashlib.sha256(b"Lyon is a city.").hexdigest()[:16]
    (found,) = record.rows("retrievals")
    assert json.loads(found["document_ids"]) == ["doc-1", digest]
    assert json.loads(found["scores"]) == [0.9, None]
    assert found["index_version"] == record.call["index_version"] == "atlas:v3"
    assert json.loads(record.call["document_ids"]) == ["doc-1", digest]


def test_20_who_called_and_with_which_prompt(record: Recorded, model: ScriptedModel) -> None:
    """User and session become pseudonyms, on every row of the trace; prompt and tags are kept."""
    metadata = {"user_id": "alice", "session_id": "s-1", "prompt_name": "qa", "prompt_version": "v7", "team": "search"}
    chain_of(model).invoke(QUESTION, {**record.config, "metadata": metadata, "tags": ["beta"]})
    row = record.call
    assert (row["prompt_name"], row["prompt_version"], row["tags"]) == ("qa", "v7", '["beta"]')
    assert len({row["user"] for row in record.traces}) == len({row["session"] for row in record.traces}) == 1
    assert "alice" not in json.dumps(record.traces)
    assert json.loads(record.named("RunnableSequence")["attributes"]) == {"team": "search"}


def test_20_a_named_template_is_named_in_the_row_of_the_call(record: Recorded, model: ScriptedModel) -> None:
    """Name and version in a template's own metadata, as LangChain's hub leaves them, reach the model call."""
    hub = {"lc_hub_owner": "me", "lc_hub_repo": "qa", "lc_hub_commit_hash": "abc123"}
    prompt = ChatPromptTemplate.from_template("{question}")
    prompt.metadata = hub
    (prompt | model).invoke(QUESTION, record.config)
    assert (record.call["prompt_name"], record.call["prompt_version"]) == ("qa", "abc123")


def _cycle() -> dict[str, Any]:
    loop: dict[str, Any] = {"name": "cycle"}
    loop["self"] = loop
    return loop


class _Hostile:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("don't look")


ODD: dict[str, Callable[[], Any]] = {
    "cycle": _cycle,
    "bytes": lambda: {"x": b"\xff\x00" * 10},
    "nan": lambda: {"x": float("nan"), "y": float("inf")},
    "surrogate": lambda: {"x": "lone \ud800 surrogate"},
    "hostile": lambda: {"x": _Hostile()},
    "nothing": lambda: None,
    "set": lambda: {1, 2},
    "deep": lambda: json.loads("[" * 200 + "]" * 200),
    "int": lambda: {"x": 10**40},
}


@pytest.mark.parametrize("case", ODD)
def test_25_odd_values_go_through_and_give_a_row(case: str, record: Recorded) -> None:
    """The chain gets its value untouched; the row gets a readable stand-in."""
    value = ODD[case]()
    assert RunnableLambda(lambda x: x, name="same").invoke(value, record.config) is value
    row = record.named("same")
    assert row["status"] == "ok"
    assert row["input"] is not None


def test_25_ten_megabytes_are_cut_with_length_and_digest(record: Recorded, model: ScriptedModel) -> None:
    """A huge prompt leaves a short row that still tells how long it was, and no time is wasted on it."""
    text = "word " * 2_000_000
    started = time.perf_counter()
    assert model.invoke(text, record.config).text == ANSWER
    assert time.perf_counter() - started < 5
    row = record.traces[0]
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert len(row["input"]) < 40_000
    assert f"[{len(text)} characters, sha256 {digest}]" in row["input"]
    RunnableLambda(lambda x: len(x), name="length").invoke(text, record.config)
    row = record.named("length")
    assert row["input_length"] == len(text)
    assert row["input_sha256"] == digest


def test_25_images_leave_type_size_and_digest(record: Recorded, model: ScriptedModel) -> None:
    """The bytes of an image are in no row."""
    data = "iVBORw0KGgo" * 5000
    content = [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        {"type": "image", "base64": data, "mime_type": "image/png"},
    ]
    model.invoke([HumanMessage(content)], record.config)
    row = record.traces[0]
    assert len(row["input"]) < 1000
    assert hashlib.sha256(data.encode()).hexdigest() in row["input"]
    assert "image/png" in row["input"]


def test_25_secrets_and_serialized_models_are_in_no_row(record: Recorded) -> None:
    """What LangChain calls ``serialized`` may hold keys; it is never written. Secrets in texts are hidden."""

    class Keyed(LLM):
        api_key: str = "sk-this-is-a-very-secret-field"

        @property
        def _llm_type(self) -> str:
            return "keyed"

        @property
        def _identifying_params(self) -> dict[str, Any]:
            return {"api_key": self.api_key}

        def _call(self, prompt: str, *args: Any, **kwargs: Any) -> str:
            raise ValueError(f"could not answer {prompt}")

    with pytest.raises(ValueError, match="could not"):
        Keyed().invoke("mail bob@example.com the key AKIAQ3EGRTFYSXWHBL5N", record.config)
    written = b"".join(path.read_bytes() for path in record.handler.governance.session.journal.folder.glob("*.jsonl"))
    assert record.call["status"] == "error"
    for secret in ("very-secret", "bob@example.com", "AKIAQ3EGRTFYSXWHBL5N"):
        assert secret.encode() not in written
        assert secret not in json.dumps([record.traces, record.calls])


def test_26_neither_import_nor_first_call_opens_a_connection(tmp_path: Any) -> None:
    """In a process that may open no socket everything works, and what is not needed is not imported."""
    code = f"""
import socket, sys
from pathlib import Path
def refuse(*args, **kwargs): raise AssertionError("a connection was opened")
socket.socket.connect = refuse
from wandb_governance_langchain import GovernanceCallbackHandler
for name in ("wandb", "langgraph", "langchain", "llama_index", "openai", "tiktoken"):
    assert name not in sys.modules, name
from wandb_governance.settings import Settings
from wandb_governance.testing.doubles import MemoryRun
from langchain_core.language_models.fake_chat_models import FakeListChatModel
run = MemoryRun("x")
handler = GovernanceCallbackHandler(run, settings=Settings(home=Path({str(tmp_path)!r})))
FakeListChatModel(responses=["hi"]).invoke("hello", {{"callbacks": [handler]}})
assert handler.flush(20)
print(len(run.tables["llm_calls"]))
handler.governance.close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "1", done.stderr
