"""Hard cases 1 to 13: one tree, one row for each step, whatever the mode and however it ends."""

from __future__ import annotations

import asyncio
import copy
import gc
import logging
import os
import pickle
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_core.runnables.config import ContextThreadPoolExecutor

from tests.integrations.langchain.conftest import ANSWER, Recorded, ScriptedModel, chain_of
from wandb_governance.testing.doubles import MemoryRun
from wandb_governance.tracing.guard import fault_counts
from wandb_governance_langchain import GovernanceCallbackHandler

if TYPE_CHECKING:
    from collections.abc import Callable

QUESTION = {"question": "What is the capital of France?"}
TREE = {"": ["RunnableSequence"], "RunnableSequence": ["ChatPromptTemplate", "ScriptedModel", "StrOutputParser"]}


async def _consume(stream: Any) -> list[Any]:
    return [item async for item in stream]


MODES: dict[str, Callable[[Any, Any], Any]] = {
    "invoke": lambda chain, config: chain.invoke(QUESTION, config),
    "ainvoke": lambda chain, config: asyncio.run(chain.ainvoke(QUESTION, config)),
    "stream": lambda chain, config: "".join(chain.stream(QUESTION, config)),
    "astream": lambda chain, config: "".join(asyncio.run(_consume(chain.astream(QUESTION, config)))),
    "batch": lambda chain, config: chain.batch([QUESTION], config)[0],
    "abatch": lambda chain, config: asyncio.run(chain.abatch([QUESTION], config))[0],
    "transform": lambda chain, config: "".join(chain.transform(iter([QUESTION]), config)),
    "events_v1": lambda chain, config: asyncio.run(_consume(chain.astream_events(QUESTION, config, version="v1"))),
    "events_v2": lambda chain, config: asyncio.run(_consume(chain.astream_events(QUESTION, config, version="v2"))),
}


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
@pytest.mark.parametrize("mode", MODES)
def test_01_every_mode_gives_the_same_rows_and_tree(mode: str, record: Recorded, model: ScriptedModel) -> None:
    """The way a chain is called shows in no row but in ``streaming``."""
    answer = MODES[mode](chain_of(model), record.config)
    assert ANSWER in str(answer) or mode.startswith("events")
    assert record.tree() == TREE
    assert {row["status"] for row in record.traces} == {"ok"}
    row = record.call
    assert (row["input_tokens"], row["output_tokens"], row["usage_source"]) == (1000, 10, "provider")
    assert (row["request_model"], row["response_model"]) == ("gpt-4o", "gpt-4o-2024-08-06")
    root = record.named("RunnableSequence")
    assert root["output"] == ANSWER
    assert QUESTION["question"] in root["input"]


def test_01_sync_code_inside_a_running_loop(record: Recorded, model: ScriptedModel) -> None:
    """``invoke`` in a coroutine is recorded as anywhere else."""

    async def main() -> str:
        return chain_of(model).invoke(QUESTION, record.config)

    assert asyncio.run(main()) == ANSWER
    assert record.tree() == TREE


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_01_v3_stream_of_a_model(record: Recorded, model: ScriptedModel) -> None:
    """A model's v3 stream is one row with usage, as any other call."""
    if not hasattr(model, "stream_events"):
        pytest.skip("this langchain-core has no v3 streams")
    stream = model.stream_events("hello", record.config, version="v3")
    assert "".join(stream.text) == ANSWER
    assert record.call["input_tokens"] == 1000
    assert record.call["streaming"]


async def test_02_fifty_calls_at_once_do_not_mix(record: Recorded) -> None:
    """Each of fifty interleaved chains has its own trace, question and answer."""

    async def echo(messages: Any) -> AIMessage:
        await asyncio.sleep(0.001)
        return AIMessage(messages.to_messages()[-1].content)

    chain = chain_of(RunnableLambda(echo, name="echo"))
    questions = [{"question": f"number {number}"} for number in range(50)]
    answers = await chain.abatch(questions, record.config)
    assert answers == [f"number {number}" for number in range(50)]
    roots = [row for row in record.traces if not row["parent_id"]]
    assert {row["output"] for row in roots} == set(answers)
    assert len({row["trace_id"] for row in roots}) == 50
    for root in roots:
        steps = [row for row in record.traces if row["trace_id"] == root["trace_id"] and row["parent_id"]]
        assert len(steps) == 3
        assert all(root["output"] in row["input"] for row in steps)


def test_02_one_handler_in_two_places_gives_one_row(record: Recorded) -> None:
    """A handler in the model's constructor and in the config is the same handler."""
    model = ScriptedModel(callbacks=[record.handler])
    chain_of(model).invoke(QUESTION, record.config)
    assert record.tree() == TREE


def test_02_two_chains_share_a_handler(record: Recorded, model: ScriptedModel) -> None:
    """Two chains in two threads are two traces."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: chain_of(model).invoke(QUESTION, record.config), range(2)))
    assert len({row["trace_id"] for row in record.traces}) == 2
    assert len(record.calls) == 2


def test_03_chain_stream_closed_early_keeps_the_whole_call(record: Recorded, model: ScriptedModel) -> None:
    """LangChain ends the root first and lets the model go on: the call is billed, and so it is recorded."""
    stream = chain_of(model).stream(QUESTION, record.config)
    next(stream)
    stream.close()
    gc.collect()
    assert record.call["input_tokens"] == 1000
    assert record.call["status"] == "ok"
    assert "completed_after_close" in record.named("ScriptedModel")["attributes"]
    assert record.tree() == TREE


@pytest.mark.parametrize("end", ["close", "collect", "break"])
def test_04_bare_stream_ended_early_is_cancelled_with_what_came(
    end: str, record: Recorded, model: ScriptedModel
) -> None:
    """A stream that its reader leaves is no error; text and an estimate of tokens are kept."""
    stream = model.stream("hello", record.config)
    for _ in range(4):
        next(stream)
    if end == "close":
        stream.close()
    del stream
    gc.collect()
    row = record.call
    assert row["status"] == "cancelled"
    assert row["usage_estimated"]
    assert row["output_tokens"] >= 1
    assert record.traces[0]["output"] == "Paris is "


async def test_04_async_stream_closed_early_is_cancelled(record: Recorded, model: ScriptedModel) -> None:
    """The same with ``aclose`` on a chain."""
    stream = chain_of(model).astream(QUESTION, record.config)
    await anext(stream)
    await stream.aclose()
    await asyncio.sleep(0.05)  # LangChain reports these ends from tasks of their own.
    assert {row["name"]: row["status"] for row in record.traces} == {
        "RunnableSequence": "cancelled",
        "ChatPromptTemplate": "ok",
        "ScriptedModel": "cancelled",
        "StrOutputParser": "cancelled",
    }


async def test_05_cancelled_task_closes_the_model_call(record: Recorded) -> None:
    """LangChain never ends a model call whose task is cancelled; the root's end does."""

    class Slow(ScriptedModel):
        async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(60)

    task = asyncio.create_task(chain_of(Slow()).ainvoke(QUESTION, record.config))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert record.handler.open_runs == 0
    assert record.call["status"] == "cancelled"
    assert record.named("RunnableSequence")["status"] == "cancelled"


def test_06_generate_with_one_failure_closes_all_three(record: Recorded) -> None:
    """``generate`` reports only the call that failed; the others are swept at the next flush."""

    class SecondFails(ScriptedModel):
        def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
            if messages[0].content == "bad":
                raise ValueError("no")
            return super()._generate(messages, *args, **kwargs)

    with pytest.raises(ValueError, match="no"):
        SecondFails().generate([[HumanMessage(text)] for text in ("one", "bad", "two")], callbacks=[record.handler])
    assert sorted(row["status"] for row in record.calls) == ["abandoned", "abandoned", "error"]
    assert record.handler.open_runs == 0


async def test_06_agenerate_ends_all_three_itself(record: Recorded) -> None:
    """The async twin reports every end, and the sweep adds nothing."""

    class SecondFails(ScriptedModel):
        def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
            if messages[0].content == "bad":
                raise ValueError("no")
            return super()._generate(messages, *args, **kwargs)

    with pytest.raises(ValueError, match="no"):
        await SecondFails().agenerate(
            [[HumanMessage(text)] for text in ("one", "bad", "two")], callbacks=[record.handler]
        )
    assert sorted(row["status"] for row in record.calls) == ["error", "ok", "ok"]


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_07_v3_stream_dropped_after_one_event_is_abandoned(record: Recorded, model: ScriptedModel) -> None:
    """LangChain says nothing when a v3 stream is dropped; a flush does."""
    if not hasattr(model, "stream_events"):
        pytest.skip("this langchain-core has no v3 streams")
    stream = model.stream_events("hello", record.config, version="v3")
    next(iter(stream))
    del stream
    gc.collect()
    assert record.call["status"] == "abandoned"
    assert record.handler.open_runs == 0


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_07_v3_stream_never_read_gives_no_row(record: Recorded, model: ScriptedModel) -> None:
    """A v3 stream starts when it is read."""
    if not hasattr(model, "stream_events"):
        pytest.skip("this langchain-core has no v3 streams")
    model.stream_events("hello", record.config, version="v3")
    assert record.calls == []


def test_07_old_runs_are_abandoned_after_their_time(recorded: Any, settings: Any, model: ScriptedModel) -> None:
    """What started long ago and never ended is closed by the export thread, without a flush."""
    record = recorded()
    record.handler.on_chain_start(None, {"x": 1}, run_id=uuid.uuid4(), name="lost")
    record.handler.governance.settings = type(settings)(home=settings.home, abandon_after_s=0.01)
    for _ in range(200):
        if not record.handler.open_runs:
            break
        time.sleep(0.02)
    assert record.named("lost")["status"] == "abandoned"


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
def test_08_fallback_attempts_are_numbered_children_of_one_trace(mode: str, record: Recorded) -> None:
    """LangChain gives a fallback's attempts the wrong parent (issue 36072); they still hang under it."""
    first = ScriptedModel(failures=[ConnectionError("down")], model_name="gpt-4o")
    second = ScriptedModel(model_name="gpt-4o-mini")
    chain = chain_of(first.with_fallbacks([second]))
    assert MODES[mode](chain, record.config) == ANSWER
    assert len({row["trace_id"] for row in record.traces}) == 1
    assert record.tree()["RunnableWithFallbacks"] == ["ScriptedModel", "ScriptedModel"]
    rows = {row["request_model"]: row for row in record.calls}
    assert (rows["gpt-4o"]["attempt"], rows["gpt-4o"]["status"]) == (1, "error")
    assert (rows["gpt-4o-mini"]["attempt"], rows["gpt-4o-mini"]["status"]) == (2, "ok")


def test_08_fallback_at_the_top_is_one_trace(record: Recorded) -> None:
    """Without a chain around it LangChain reports no parent at all."""
    model = ScriptedModel(failures=[ConnectionError("down")]).with_fallbacks([ScriptedModel()])
    model.invoke("hello", record.config)
    assert record.tree() == {"": ["RunnableWithFallbacks"], "RunnableWithFallbacks": ["ScriptedModel"] * 2}


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
def test_08_retries_are_numbered_and_a_failed_one_keeps_its_cost(mode: str, record: Recorded) -> None:
    """A retried call was sent twice, and both may be billed."""
    model = ScriptedModel(failures=[ConnectionError("down")])
    chain = chain_of(model.with_retry(stop_after_attempt=3, wait_exponential_jitter=False))
    assert MODES[mode](chain, record.config) == ANSWER
    rows = sorted(record.calls, key=lambda row: row["attempt"])
    assert [(row["attempt"], row["status"]) for row in rows] == [(1, "error"), (2, "ok")]
    assert len({row["trace_id"] for row in record.traces}) == 1


def test_08_a_stream_that_breaks_keeps_the_usage_it_reported(record: Recorded) -> None:
    """A failed attempt is billed for what it sent; Anthropic reports the input with the first chunk."""
    model = ScriptedModel(break_after=4)
    with pytest.raises(ConnectionError):
        list(model.stream("hello", record.config))
    row = record.call
    assert row["status"] == "error"
    assert row["output_tokens"] >= 1
    assert row["error_type"] == "ConnectionError"


def test_09_ends_without_starts_are_ignored(record: Recorded, caplog: pytest.LogCaptureFixture) -> None:
    """An inline handler beside a plain one makes LangChain report ends without starts (issue 39633)."""
    handler, stranger = record.handler, uuid.uuid4()
    result = LLMResult(generations=[[ChatGeneration(message=AIMessage("x"))]])
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            handler.on_llm_end(result, run_id=stranger)
            handler.on_chain_end({}, run_id=stranger)
            handler.on_chain_error(ValueError("x"), run_id=stranger)
            handler.on_tool_end("x", run_id=stranger)
            handler.on_retriever_end([], run_id=stranger)
            handler.on_llm_error(ValueError("x"), run_id=stranger)
            handler.on_llm_new_token("x", run_id=stranger)
            handler.on_custom_event("note", {"x": 1}, run_id=stranger)
    assert not caplog.records
    assert [row["kind"] for row in record.traces] == ["event"] * 3


def test_09_a_second_end_or_start_changes_nothing(record: Recorded) -> None:
    """The first end of a run counts, and the first start."""
    handler, run_id = record.handler, uuid.uuid4()
    handler.on_chain_start(None, {"question": 1}, run_id=run_id, name="once")
    handler.on_chain_start(None, {"question": 2}, run_id=run_id, name="twice")
    handler.on_chain_end({"answer": 1}, run_id=run_id)
    handler.on_chain_error(ValueError("late"), run_id=run_id)
    row = record.named("once")
    assert (row["status"], row["output"]) == ("ok", '{"answer":1}')
    assert len(record.traces) == 1


async def test_11_consecutive_calls_in_one_task_are_two_traces(record: Recorded, model: ScriptedModel) -> None:
    """Handlers that push context variables nest the second call under the first; this one pushes none."""
    chain = chain_of(model)
    await chain.ainvoke(QUESTION, record.config)
    await chain.ainvoke(QUESTION, record.config)
    roots = [row for row in record.traces if not row["parent_id"]]
    assert len(roots) == len({row["trace_id"] for row in roots}) == 2


async def test_11_gather_inside_a_step_keeps_its_parent(record: Recorded, model: ScriptedModel) -> None:
    """Calls that a step fans out belong to the step."""

    async def fan_out(text: str) -> list[Any]:
        return await asyncio.gather(*(model.ainvoke(text) for _ in range(3)))

    await RunnableLambda(fan_out, name="fan_out").ainvoke("hello", record.config)
    assert record.tree() == {"": ["fan_out"], "fan_out": ["ScriptedModel"] * 3}


def test_11_context_pool_keeps_parents_and_a_bare_pool_reports_nothing(record: Recorded, model: ScriptedModel) -> None:
    """LangChain's own pool copies the context; a bare pool hides the call from every handler."""

    def work(text: str) -> None:
        with ContextThreadPoolExecutor(max_workers=2) as pool:
            list(pool.map(model.invoke, [text, text]))
        with ThreadPoolExecutor(2) as pool:
            pool.submit(model.invoke, text).result()

    RunnableLambda(work, name="work").invoke("hello", record.config)
    assert record.tree() == {"": ["work"], "work": ["ScriptedModel"] * 2}


def test_11_parallel_branches_are_children_of_their_step(record: Recorded, model: ScriptedModel) -> None:
    """Branches run in threads and keep their parent."""
    RunnableParallel(left=chain_of(model), right=chain_of(model)).invoke(QUESTION, record.config)
    assert record.tree()["RunnableParallel<left,right>"] == ["RunnableSequence"] * 2
    assert len({row["trace_id"] for row in record.traces}) == 1


def test_12_copies_are_the_handler_itself(record: Recorded, model: ScriptedModel) -> None:
    """Frameworks copy and pickle configs; state must not be copied with them."""
    handler = record.handler
    assert copy.copy(handler) is handler
    assert copy.deepcopy(record.config)["callbacks"][0] is handler
    assert pickle.loads(pickle.dumps(handler)) is handler
    chain_of(model).with_config(copy.deepcopy(record.config)).invoke(QUESTION)
    assert record.tree() == TREE


def test_13_other_handlers_and_their_faults_change_nothing(record: Recorded, model: ScriptedModel) -> None:
    """A plain, an async and a broken handler beside ours: the same answer and the same rows."""

    class Broken(BaseCallbackHandler):
        def __getattribute__(self, name: str) -> Any:
            if name.startswith("on_"):
                raise RuntimeError("broken")
            return super().__getattribute__(name)

    config = {"callbacks": [Broken(), BaseCallbackHandler(), record.handler, AsyncCallbackHandler()]}
    assert chain_of(model).invoke(QUESTION, config) == ANSWER
    assert asyncio.run(chain_of(model).ainvoke(QUESTION, config)) == ANSWER
    assert len(record.calls) == 2


def test_13_our_own_fault_never_reaches_the_chain(settings: Any, model: ScriptedModel) -> None:
    """A disk that takes nothing any more costs rows, not answers."""
    handler = GovernanceCallbackHandler(MemoryRun("broken"), settings=settings)
    os.close(handler.governance.session.journal._fd)
    before = fault_counts().get("runtime.write: OSError", 0)
    assert chain_of(model).invoke(QUESTION, {"callbacks": [handler]}) == ANSWER
    assert fault_counts()["runtime.write: OSError"] > before
    assert handler.open_runs == 0
    handler.governance.session.worker.stop()
