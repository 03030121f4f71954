"""The hard cases that concern LlamaIndex; numbers as in the list of known faults of handlers in the field."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.llms import ChatMessage
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.tools import FunctionTool

from wandb_governance.errors import PolicyViolation
from wandb_governance_llama_index import Instrumentation, instrument

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import OpenAIShaped
    from llama_index.core import VectorStoreIndex

    from wandb_governance.settings import Settings
    from wandb_governance.testing.doubles import MemoryRun

Rows = list[dict[str, Any]]


def rows(instrumentation: Instrumentation, run: MemoryRun, table: str = "llm_calls") -> Rows:
    """The model calls (or the rows of another table) recorded so far."""
    assert instrumentation.flush(10)
    found = run.tables.get(table, [])
    return [row for row in found if table != "llm_calls" or row["kind"] == "llm"]


def one_trace(instrumentation: Instrumentation, run: MemoryRun) -> Rows:
    """All spans, which must be one tree with one root."""
    spans = rows(instrumentation, run, "traces")
    assert len({span["trace_id"] for span in spans}) == 1
    assert sum(span["parent_id"] is None for span in spans) == 1
    known = {span["span_id"] for span in spans}
    assert all(span["parent_id"] in known for span in spans if span["parent_id"] is not None)
    return spans


CALLS: dict[str, Callable[[OpenAIShaped], Any]] = {
    "complete": lambda llm: llm.complete("hi"),
    "chat": lambda llm: llm.chat([ChatMessage(content="hi")]),
    "stream_complete": lambda llm: list(llm.stream_complete("hi")),
    "stream_chat": lambda llm: list(llm.stream_chat([ChatMessage(content="hi")])),
    "acomplete": lambda llm: asyncio.run(llm.acomplete("hi")),
    "achat": lambda llm: asyncio.run(llm.achat([ChatMessage(content="hi")])),
    "astream_complete": lambda llm: asyncio.run(_drain(llm.astream_complete("hi"))),
    "astream_chat": lambda llm: asyncio.run(_drain(llm.astream_chat([ChatMessage(content="hi")]))),
}


async def _drain(stream: Any) -> list[Any]:
    return [item async for item in await stream]


@pytest.mark.parametrize("call", CALLS)
def test_19_nested_llm_events_count_once(
    instrumentation: Instrumentation, run: MemoryRun, llm: OpenAIShaped, call: str
) -> None:
    """``achat`` by ``chat`` by ``complete`` is one call of 1000 and 10 tokens, in one trace, however it is made."""
    CALLS[call](llm)
    (row,) = rows(instrumentation, run)
    assert (row["input_tokens"], row["output_tokens"], row["usage_source"]) == (1000, 10, "provider")
    assert row["cost_usd"] == pytest.approx((1000 * 2.5 + 10 * 10) / 1e6)
    assert (row["provider"], row["response_model"], row["status"]) == ("openai", "gpt-4o-2024-08-06", "ok")
    assert row["streaming"] == ("stream" in call)
    one_trace(instrumentation, run)
    assert len(instrumentation.tracker) == 0


def test_19_a_query_is_one_trace_with_its_documents(
    instrumentation: Instrumentation, run: MemoryRun, index: VectorStoreIndex, llm: OpenAIShaped
) -> None:
    """Query, retrieval, embedding and call hang together; the call names what was retrieved, with scores."""
    index.as_query_engine(llm=llm, similarity_top_k=2).query("Which city is the capital?")
    spans = one_trace(instrumentation, run)
    assert {"chain", "retriever", "embedding", "llm"} <= {span["kind"] for span in spans}
    (retrieval,) = rows(instrumentation, run, "retrievals")
    assert retrieval["documents"] == 2
    assert retrieval["query"] == "Which city is the capital?"
    (call,) = rows(instrumentation, run)
    assert call["document_ids"] == retrieval["document_ids"]


def test_19_sync_streaming_stays_in_one_trace(
    instrumentation: Instrumentation, run: MemoryRun, index: VectorStoreIndex, llm: OpenAIShaped
) -> None:
    """The model is asked when the caller reads, after the query returned; the call is still inside the query."""
    response = index.as_query_engine(llm=llm, streaming=True).query("Which city?")
    assert "".join(response.response_gen) == llm.answer
    spans = one_trace(instrumentation, run)
    root = next(span for span in spans if span["parent_id"] is None)
    assert (root["output"], root["status"]) == (llm.answer, "ok")
    assert root["time_to_first_token_s"] > 0
    (call,) = rows(instrumentation, run)
    assert call["time_to_first_token_s"] <= root["time_to_first_token_s"]


async def test_19_async_streaming_stays_in_one_trace(
    instrumentation: Instrumentation, run: MemoryRun, index: VectorStoreIndex, llm: OpenAIShaped
) -> None:
    """The same for an asynchronous stream."""
    response = await index.as_query_engine(llm=llm, streaming=True).aquery("Which city?")
    assert "".join([piece async for piece in response.response_gen]) == llm.answer
    assert len(one_trace(instrumentation, run)) > 4
    assert len(rows(instrumentation, run)) == 1


@pytest.mark.parametrize("how", ["close", "garbage"])
def test_19_a_stream_left_early_is_cancelled(
    instrumentation: Instrumentation, run: MemoryRun, index: VectorStoreIndex, llm: OpenAIShaped, how: str
) -> None:
    """Closed or dropped after a word: everything is ended as cancelled, with what had come; nothing stays open."""
    response = index.as_query_engine(llm=llm, streaming=True).query("Which city?")
    while not next(response.response_gen):
        pass
    if how == "close":
        response.response_gen.close()
    del response
    gc.collect()
    spans = one_trace(instrumentation, run)
    root = next(span for span in spans if span["parent_id"] is None)
    assert (root["status"], root["output"]) == ("cancelled", "Paris")
    (call,) = rows(instrumentation, run)
    assert call["status"] == "cancelled"
    assert len(instrumentation.tracker) == 0


def test_19_a_stream_never_read_leaves_nothing_open(
    instrumentation: Instrumentation, run: MemoryRun, index: VectorStoreIndex, llm: OpenAIShaped
) -> None:
    """No call has an answer, and the query is ended as cancelled."""
    response = index.as_query_engine(llm=llm, streaming=True).query("Which city?")
    del response
    gc.collect()
    spans = one_trace(instrumentation, run)
    assert {span["status"] for span in spans if span["parent_id"] is None} == {"cancelled"}
    # Versions before 0.14.25 or so ask the model at once: then there is a call that nobody read.
    assert {row["status"] for row in rows(instrumentation, run)} <= {"abandoned"}
    assert len(instrumentation.tracker) == 0


def test_19_a_streaming_chat_engine_is_one_trace(
    instrumentation: Instrumentation, run: MemoryRun, index: VectorStoreIndex, llm: OpenAIShaped
) -> None:
    """The chat engine writes its answer from a thread of its own, after it returned."""
    chat = index.as_chat_engine(chat_mode="context", llm=llm)
    assert "".join(chat.stream_chat("Which city?").response_gen) == llm.answer
    end = time.monotonic() + 5
    while len(instrumentation.tracker) and time.monotonic() < end:
        time.sleep(0.01)
    spans = one_trace(instrumentation, run)
    root = next(span for span in spans if span["parent_id"] is None)
    assert root["output"] == llm.answer


def test_19_a_failing_call_is_an_error_everywhere_above(
    instrumentation: Instrumentation, run: MemoryRun, index: VectorStoreIndex, llm: OpenAIShaped
) -> None:
    """LlamaIndex reports a failed call only by dropping its span; the row is there, and no cost is invented."""
    llm.fails = True
    with pytest.raises(RuntimeError, match="provider is down"):
        index.as_query_engine(llm=llm).query("Which city?")
    (call,) = rows(instrumentation, run)
    assert (call["status"], call["error_type"], call["cost_usd"]) == ("error", "RuntimeError", None)
    assert len(instrumentation.tracker) == 0


def test_19_postprocessors_show_what_is_left(
    instrumentation: Instrumentation, run: MemoryRun, index: VectorStoreIndex, llm: OpenAIShaped
) -> None:
    """Ids and scores before and after a postprocessor; the call names those after it."""
    cut = SimilarityPostprocessor(similarity_cutoff=2.0)
    index.as_query_engine(llm=llm, similarity_top_k=3, node_postprocessors=[cut]).query("Which city?")
    kinds = {row["kind"]: row["documents"] for row in rows(instrumentation, run, "retrievals")}
    assert kinds == {"retriever": 3, "reranker": 0}


@pytest.fixture
def calling_llm() -> Any:
    """A model that calls tools; LlamaIndex brings one since some 0.14."""
    mock = pytest.importorskip("llama_index.core.llms.mock")
    if not hasattr(mock, "MockFunctionCallingLLM"):
        pytest.skip("this version has no mock of a model that calls tools")
    return mock.MockFunctionCallingLLM()


async def test_19_an_agent_with_a_tool_is_one_trace(
    instrumentation: Instrumentation, run: MemoryRun, calling_llm: Any
) -> None:
    """A workflow agent: the run, its tool call and its model calls hang together."""

    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    agent = FunctionAgent(tools=[FunctionTool.from_defaults(add)], llm=calling_llm)
    await agent.run("What is 1 + 2?")
    await asyncio.sleep(0.1)
    spans = rows(instrumentation, run, "traces")
    assert len({span["trace_id"] for span in spans}) == 1
    assert "agent" in {span["kind"] for span in spans}
    assert "input_summary" not in str(spans)
    assert rows(instrumentation, run)
    assert len(instrumentation.tracker) == 0


async def test_19_a_cancelled_workflow_leaves_nothing_open(
    instrumentation: Instrumentation, run: MemoryRun, calling_llm: Any
) -> None:
    """Cancelling an agent's run ends its spans."""

    async def wait() -> str:
        """Wait for ever."""
        await asyncio.sleep(60)
        return ""

    agent = FunctionAgent(tools=[FunctionTool.from_defaults(async_fn=wait)], llm=calling_llm)
    handler = agent.run("Wait.")
    await asyncio.sleep(0.05)
    await handler.cancel_run()
    with contextlib.suppress(BaseException):
        await handler
    await asyncio.sleep(0.1)
    instrumentation.tracker.sweep()
    assert len(instrumentation.tracker) == 0


async def test_11_concurrent_calls_keep_their_traces(
    instrumentation: Instrumentation, run: MemoryRun, index: VectorStoreIndex, llm: OpenAIShaped
) -> None:
    """Twenty queries at once are twenty traces of the same shape; two after another are two."""
    engine = index.as_query_engine(llm=llm)
    await asyncio.gather(*(engine.aquery(f"question {n}") for n in range(20)))
    await engine.aquery("one")
    await engine.aquery("two")
    calls = rows(instrumentation, run)
    assert len(calls) == len({call["trace_id"] for call in calls}) == 22


def test_20_time_to_first_token_is_the_first_content(
    instrumentation: Instrumentation, run: MemoryRun, llm: OpenAIShaped
) -> None:
    """The empty first piece of a stream does not count; an answer that is not streamed has none."""
    stream = llm.stream_chat([ChatMessage(content="hi")])
    next(stream)
    time.sleep(0.05)
    list(stream)
    llm.chat([ChatMessage(content="hi")])
    streamed, whole = rows(instrumentation, run)
    assert streamed["time_to_first_token_s"] >= 0.05
    assert whole["time_to_first_token_s"] is None


POLICY = """
pack: {name: test, version: 1.0.0, enabled: true}
policies:
  chain: [no-cards, pii-detector]
  policy:
    no-cards: {kind: pii-detector, entities: [CREDIT_CARD], action: block}
    pii-detector: {action: redact, entities: [EMAIL_ADDRESS]}
"""


@pytest.fixture
def governed(run: MemoryRun, settings: Settings, tmp_path: Path, index: VectorStoreIndex) -> Any:
    """Instrumented with a policy that blocks card numbers and redacts e-mail addresses."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    made = instrument(run, path, settings=settings)
    yield made
    made.uninstall()
    made.governance.close()


BLOCKED: dict[str, Callable[[Any], Any]] = {
    "complete": lambda llm: llm.complete("pay with 4111 1111 1111 1111"),
    "chat": lambda llm: llm.chat([ChatMessage(content="pay with 4111 1111 1111 1111")]),
    "stream_chat": lambda llm: list(llm.stream_chat([ChatMessage(content="pay with 4111 1111 1111 1111")])),
    "achat": lambda llm: asyncio.run(llm.achat([ChatMessage(content="pay with 4111 1111 1111 1111")])),
    "astream_chat": lambda llm: asyncio.run(
        _drain(llm.astream_chat([ChatMessage(content="pay with 4111 1111 1111 1111")]))
    ),
}


@pytest.mark.parametrize("call", BLOCKED)
def test_21_a_governed_model_blocks_in_every_mode(
    governed: Instrumentation, run: MemoryRun, llm: OpenAIShaped, call: str
) -> None:
    """The model is never asked; the row says blocked, costs nothing, and its verdict was written before the raise."""
    with pytest.raises(PolicyViolation) as caught:
        BLOCKED[call](governed.govern(llm))
    assert llm.prompts == []
    (row,) = rows(governed, run)
    assert (row["status"], row["verdict"], row["cost_usd"]) == ("blocked", "block", 0)
    verdicts = {verdict["verdict_id"]: verdict for verdict in rows(governed, run, "verdicts")}
    assert verdicts[caught.value.verdict_id]["action"] == "block"


def test_21_the_query_engine_path_is_blocked_too(
    governed: Instrumentation, run: MemoryRun, index: VectorStoreIndex, llm: OpenAIShaped
) -> None:
    """A query engine can't go round the wrapped model; everything above the call is blocked, not failed."""
    with pytest.raises(PolicyViolation):
        index.as_query_engine(llm=governed.govern(llm)).query("Pay with 4111 1111 1111 1111")
    assert llm.prompts == []
    assert {span["status"] for span in rows(governed, run, "traces") if span["parent_id"] is None} == {"blocked"}


def test_22_the_model_gets_redacted_text_and_the_caller_keeps_its_own(
    governed: Instrumentation, run: MemoryRun, llm: OpenAIShaped
) -> None:
    """Redaction reaches the model; the caller's message object is unchanged; no table holds the address."""
    message = ChatMessage(content="Write to jane.roe@acme-corp.com please")
    governed.govern(llm).chat([message])
    assert "jane.roe" not in llm.prompts[0]
    assert "[EMAIL_ADDRESS]" in llm.prompts[0]
    assert message.content == "Write to jane.roe@acme-corp.com please"
    assert rows(governed, run)[0]["verdict"] == "redact"
    assert "jane.roe" not in str(run.tables)
    assert all(
        b"jane.roe" not in path.read_bytes() for path in governed.governance.session.journal.folder.glob("*.jsonl")
    )


def test_22_retrieved_text_is_redacted_before_the_model(
    governed: Instrumentation, index: VectorStoreIndex, llm: OpenAIShaped
) -> None:
    """The postprocessor hides an address in a document from the model; the index keeps its text."""
    engine = index.as_query_engine(llm=llm, similarity_top_k=3, node_postprocessors=[governed.node_postprocessor()])
    engine.query("Who is the mayor?")
    assert "mayor@lyon-mairie.fr" not in llm.prompts[0]
    assert any("mayor@lyon-mairie.fr" in node.get_content() for node in index.docstore.docs.values())


def test_23_no_address_leaves_a_stream(governed: Instrumentation, run: MemoryRun, llm: OpenAIShaped) -> None:
    """A streamed answer is redacted as the whole would be: what was released, joined, holds no part of the address."""
    llm.answer = "Ask jane.roe@acme-corp.com or the front desk about it"
    pieces = list(governed.govern(llm).stream_chat([ChatMessage(content="who?")]))
    assert "".join(piece.delta or "" for piece in pieces) == "Ask [EMAIL_ADDRESS] or the front desk about it"
    assert pieces[-1].message.content == "Ask [EMAIL_ADDRESS] or the front desk about it"
    assert all("jane" not in str(piece.message.content) for piece in pieces)
    assert "jane.roe" not in str(rows(governed, run, "traces"))


def test_21_a_tool_is_blocked_and_redacted(governed: Instrumentation) -> None:
    """A tool under policy is not run with forbidden arguments, and its result is redacted."""
    asked: list[str] = []

    def look_up(question: str) -> str:
        """Look something up."""
        asked.append(question)
        return "Ask jane.roe@acme-corp.com"

    tool = governed.govern_tool(FunctionTool.from_defaults(look_up))
    assert tool.call(question="who?").content == "Ask [EMAIL_ADDRESS]"
    with pytest.raises(PolicyViolation):
        tool.call(question="pay with 4111 1111 1111 1111")
    assert asked == ["who?"]


def test_25_embeddings_are_not_written_and_odd_input_does_no_harm(
    instrumentation: Instrumentation, run: MemoryRun, llm: OpenAIShaped
) -> None:
    """Vectors stay out of the tables; a huge prompt with lone surrogates is cut, with its length."""
    MockEmbedding(512).get_text_embedding("some text")
    llm.complete("x\ud800" * 100_000)
    (call,) = rows(instrumentation, run)
    assert call["status"] == "ok"
    span = next(span for span in rows(instrumentation, run, "traces") if span["span_id"] == call["span_id"])
    assert (len(span["input"]), span["input_length"]) == (32_768, 200_000)
    embedding = next(span for span in run.tables["traces"] if span["kind"] == "embedding")
    assert not embedding["output"]


def test_installing_twice_counts_once_and_uninstalling_stops(
    instrumentation: Instrumentation, run: MemoryRun, llm: OpenAIShaped
) -> None:
    """``instrument`` again replaces what was there; after ``uninstall`` nothing is recorded."""
    again = instrument(governance=instrumentation.governance)
    llm.complete("hi")
    assert len(rows(again, run)) == 1
    again.uninstall()
    llm.complete("hi")
    assert len(rows(again, run)) == 1
