"""Hard cases 21 to 23: blocking in every mode, redaction that reaches the model alone, streams without a raw token."""

from __future__ import annotations

import asyncio
import gc
import json
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool
from pydantic import BaseModel

from tests.integrations.langchain.conftest import ANSWER, KEY, ScriptedModel, chain_of
from wandb_governance.errors import ConfigError, PolicyViolation
from wandb_governance_langchain import GovernedChatModel, govern

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAIL = "bob.miller@example.com"
BAD = {"question": f"my key is {KEY}"}


async def _consume(stream: Any) -> list[Any]:
    return [item async for item in stream]


def _sync_in_loop(chain: Any, value: Any, config: Any) -> Any:
    async def main() -> Any:
        return chain.invoke(value, config)

    return asyncio.run(main())


MODES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "invoke": lambda chain, value, config: chain.invoke(value, config),
    "stream": lambda chain, value, config: "".join(chain.stream(value, config)),
    "batch": lambda chain, value, config: chain.batch([value], config)[0],
    "ainvoke": lambda chain, value, config: asyncio.run(chain.ainvoke(value, config)),
    "astream": lambda chain, value, config: "".join(asyncio.run(_consume(chain.astream(value, config)))),
    "abatch": lambda chain, value, config: asyncio.run(chain.abatch([value], config))[0],
    "sync_in_loop": _sync_in_loop,
}


@pytest.fixture
def guarded(recorded: Any, policy: Path) -> Any:
    """A handler with the policy."""
    return recorded(policy=policy)


def _written(record: Any) -> str:
    """Everything that was written anywhere: tables and journal."""
    folder = record.handler.governance.session.journal.folder
    tables = json.dumps([record.traces, record.calls, record.verdicts, record.rows("retrievals")])
    return tables + "".join(path.read_text() for path in folder.glob("*.jsonl"))


@pytest.mark.parametrize("how", ["handler", "governed"])
@pytest.mark.parametrize("mode", MODES)
def test_21_input_is_blocked_in_every_mode(mode: str, how: str, guarded: Any, model: ScriptedModel) -> None:
    """The model is never asked, the verdict is written, the call costs nothing, and no status says error."""
    used = model if how == "handler" else govern(model, guarded.handler)
    with pytest.raises(PolicyViolation) as caught:
        MODES[mode](chain_of(used), BAD, guarded.config)
    assert model.seen == []
    assert (caught.value.policy, caught.value.scope) == ("secrets", "input")
    (verdict,) = [row for row in guarded.verdicts if row["action"] == "block"]
    assert verdict["verdict_id"] == caught.value.verdict_id
    assert verdict["enforced"]
    row = guarded.call
    assert (row["status"], row["verdict"], row["cost_usd"]) == ("blocked", "block", 0)
    assert {row["status"] for row in guarded.traces} == {"ok", "blocked"}
    assert KEY not in _written(guarded)


def test_21_verdict_is_in_the_journal_before_the_exception(guarded: Any, model: ScriptedModel) -> None:
    """Whoever catches the violation finds its row already on the disk."""
    with pytest.raises(PolicyViolation) as caught:
        model.invoke(BAD["question"], guarded.config)
    folder = guarded.handler.governance.session.journal.folder
    assert caught.value.verdict_id in "".join(path.read_text() for path in folder.glob("*.jsonl"))


@pytest.mark.parametrize("mode", ["invoke", "batch", "ainvoke", "abatch"])
def test_21_output_is_blocked_where_it_is_not_streamed(mode: str, guarded: Any) -> None:
    """A callback can keep a whole answer from its caller; the call itself was billed."""
    chain = chain_of(ScriptedModel(answer=f"the key is {KEY}"))
    with pytest.raises(PolicyViolation) as caught:
        MODES[mode](chain, {"question": "hello"}, guarded.config)
    assert caught.value.scope == "output"
    assert (guarded.call["status"], guarded.call["output_tokens"]) == ("blocked", 10)
    assert guarded.call["cost_usd"] > 0
    assert KEY not in _written(guarded)


def test_21_streamed_output_is_recorded_as_not_enforced_by_a_callback(
    guarded: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Text that has left can't be taken back: the row says so, and one warning tells what can."""
    model = ScriptedModel(answer=f"the key is {KEY}")
    for _ in range(2):
        assert KEY in "".join(chain_of(model).stream({"question": "hello"}, guarded.config))
    blocked = [row for row in guarded.verdicts if row["action"] == "block"]
    assert [row["enforced"] for row in blocked] == [False, False]
    assert [record.message.count("govern(model") for record in caplog.records if "taken back" in record.message] == [1]
    assert KEY not in _written(guarded)


def test_21_strict_refuses_what_a_callback_cannot_do(recorded: Any, policy: Path, tmp_path: Path) -> None:
    """``strict`` refuses a redacting policy at once, and a blockable stream before its first token."""
    with pytest.raises(ConfigError, match=r"redacts on .*govern"):
        recorded(policy=policy, strict=True)
    blocks = tmp_path / "blocks.yaml"
    blocks.write_text(policy.read_text().replace("secrets, pii-detector", "secrets").split("    pii-detector")[0])
    record = recorded(policy=blocks, strict=True)
    left: list[str] = []
    with pytest.raises(PolicyViolation, match="can't hold back streamed text"):
        left.extend(chain_of(ScriptedModel()).stream({"question": "hello"}, record.config))
    assert left == []


def test_21_retrieved_text_and_tool_results_are_blocked(recorded: Any, tmp_path: Path) -> None:
    """What a retriever or a tool brings can be stopped before the model sees it."""
    file = tmp_path / "policy.yaml"
    file.write_text(
        "pack: {name: t, version: '1'}\npolicies:\n  chain: [secrets]\n  policy:\n"
        "    secrets: {action: block, phases: [retrieval, tool]}\n"
    )
    record = recorded(policy=file)

    class Search(BaseRetriever):
        def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
            return [Document(f"the key is {KEY}", id="1")]

    @tool
    def read(name: str) -> str:
        """Read a file."""
        return f"the key is {KEY}"

    with pytest.raises(PolicyViolation):
        Search().invoke("keys", record.config)
    with pytest.raises(PolicyViolation):
        read.invoke({"name": "x"}, record.config)
    assert {row["scope"] for row in record.verdicts if row["action"] == "block"} == {"retrieval", "tool_result"}
    assert KEY not in _written(record)


@pytest.mark.parametrize("mode", MODES)
def test_22_redacted_input_reaches_the_model_and_nothing_else_changes(
    mode: str, guarded: Any, model: ScriptedModel
) -> None:
    """The model sees the marker; the caller's messages are as they were; no table holds the address."""
    question = HumanMessage(f"write to {MAIL}")
    messages = [SystemMessage("You are helpful."), question]
    answer = MODES[mode](govern(model, guarded.handler) | (lambda x: x.content), messages, guarded.config)
    assert answer == ANSWER
    assert [item.content for item in model.seen[0]] == ["You are helpful.", "write to [EMAIL_ADDRESS]"]
    assert question.content == f"write to {MAIL}"
    assert guarded.call["verdict"] == "redact"
    assert [row["enforced"] for row in guarded.verdicts if row["action"] == "redact"] == [True]
    assert MAIL not in _written(guarded)


def test_22_blocks_and_tool_calls_in_messages_are_redacted(guarded: Any, model: ScriptedModel) -> None:
    """Text blocks and tool arguments are redacted; images and ids pass untouched."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    calls = [{"name": "send", "args": {"to": [MAIL], "n": 1}, "id": "call-1", "type": "tool_call"}]
    messages = [HumanMessage([{"type": "text", "text": f"mail {MAIL}"}, image]), AIMessage("", tool_calls=calls)]
    govern(model, guarded.handler).invoke(messages, guarded.config)
    human, assistant = model.seen[0]
    assert human.content == [{"type": "text", "text": "mail [EMAIL_ADDRESS]"}, image]
    assert assistant.tool_calls[0]["args"] == {"to": ["[EMAIL_ADDRESS]"], "n": 1}
    assert assistant.tool_calls[0]["id"] == "call-1"
    assert messages[1].tool_calls[0]["args"]["to"] == [MAIL]


def test_22_a_callback_records_redaction_as_not_enforced(guarded: Any, model: ScriptedModel) -> None:
    """The handler alone leaves the call unchanged and says so, but writes no address down."""
    model.invoke(f"write to {MAIL}", guarded.config)
    assert MAIL in model.seen[0][0].content
    assert [row["enforced"] for row in guarded.verdicts if row["action"] == "redact"] == [False]
    assert MAIL not in _written(guarded)


def test_22_errors_tools_metadata_and_documents_hold_no_raw_text(guarded: Any) -> None:
    """Raw text is in no column: error message, tool arguments, metadata, tags, documents, run name."""

    class Search(BaseRetriever):
        def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
            return [Document(f"write to {MAIL}", id="doc", metadata={"owner": MAIL, "source": f"mail/{MAIL}"})]

    @tool
    def look_up(address: str) -> str:
        """Look up."""
        raise LookupError(f"nobody at {address}")

    config = {**guarded.config, "metadata": {"customer": MAIL, "user_id": MAIL}, "tags": [f"to:{MAIL}"]}
    Search().invoke(f"who is {MAIL}", config)
    with pytest.raises(LookupError):
        look_up.invoke({"address": MAIL}, config)
    with pytest.raises(ConnectionError):
        ScriptedModel(failures=[ConnectionError(f"no route to {MAIL}")]).invoke(
            "hello", {**config, "run_name": f"for {MAIL}"}
        )
    assert MAIL not in _written(guarded)


@pytest.mark.parametrize("mode", MODES)
def test_23_output_is_redacted_in_every_mode(mode: str, guarded: Any) -> None:
    """Whatever the mode, the caller gets the redacted answer, and so does every table."""
    model = ScriptedModel(answer=f"Write to {MAIL} today, or to anna@example.org.")
    answer = MODES[mode](chain_of(govern(model, guarded.handler)), {"question": "whom?"}, guarded.config)
    assert answer == "Write to [EMAIL_ADDRESS] today, or to [EMAIL_ADDRESS]."
    assert guarded.call["verdict"] == "redact"
    assert MAIL not in _written(guarded)


def test_23_no_raw_token_leaves_a_stream(guarded: Any) -> None:
    """Each piece that leaves, and each token another handler hears of, is free of the address; text flows early."""
    from langchain_core.callbacks import BaseCallbackHandler

    heard: list[str] = []

    class Listener(BaseCallbackHandler):
        def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
            heard.append(token)

    model = ScriptedModel(answer=f"{'Paris is large. ' * 20}Write to {MAIL} today. {'And so on. ' * 20}")
    config = {"callbacks": [guarded.handler, Listener()]}
    pieces = [chunk.text for chunk in govern(model, guarded.handler).stream("whom?", config)]
    whole = "".join(pieces)
    assert whole == model.answer.replace(MAIL, "[EMAIL_ADDRESS]")
    assert "".join(heard) == whole
    assert len([piece for piece in pieces if piece]) > 5
    assert not any(part in "".join(pieces) for part in ("bob", "miller", "@"))


def test_23_a_block_in_mid_stream_ends_it(guarded: Any) -> None:
    """Text before the finding may have left, the finding never does, and the violation ends the stream."""
    model = ScriptedModel(answer=f"{'Paris is large. ' * 20}The key is {KEY} and more.")
    left: list[str] = []
    with pytest.raises(PolicyViolation) as caught:
        left.extend(chunk.text for chunk in govern(model, guarded.handler).stream("the key?", guarded.config))
    assert caught.value.scope == "output"
    assert KEY[:8] not in "".join(left)
    row = guarded.call
    assert (row["status"], row["verdict"]) == ("blocked", "block")
    assert [verdict["enforced"] for verdict in guarded.verdicts if verdict["action"] == "block"] == [True]


def test_23_a_stream_that_its_reader_leaves_still_has_its_verdict(guarded: Any) -> None:
    """What was decided until then is written down."""
    model = ScriptedModel(answer=f"Write to {MAIL} today. {'And so on. ' * 40}")
    stream = govern(model, guarded.handler).stream("whom?", guarded.config)
    text = ""
    while "EMAIL" not in text:
        text += next(stream).text
    stream.close()
    del stream
    gc.collect()
    assert "redact" in {row["action"] for row in guarded.verdicts if row["scope"] == "output"}
    assert guarded.call["status"] == "cancelled"


def test_23_streamed_tool_arguments_are_redacted(guarded: Any) -> None:
    """Arguments wait until they are whole, and leave redacted and still valid."""
    calls = [{"name": "send", "args": {"to": MAIL, "n": 3}, "id": "call-1", "type": "tool_call"}]
    chunks = list(govern(ScriptedModel(tool_calls=[calls]), guarded.handler).stream("send", guarded.config))
    merged = chunks[0]
    for chunk in chunks[1:]:
        merged = merged + chunk
    assert isinstance(merged, AIMessageChunk)
    assert merged.tool_calls == [
        {"name": "send", "args": {"to": "[EMAIL_ADDRESS]", "n": 3}, "id": "call-1", "type": "tool_call"}
    ]
    assert merged.usage_metadata["input_tokens"] == 1000
    assert MAIL not in _written(guarded)


class Answer(BaseModel):
    """An answer."""

    city: str


def test_23_governed_model_keeps_tools_structure_and_binding(guarded: Any) -> None:
    """``bind_tools`` and ``with_structured_output`` lead to the governed model, not around it."""
    calls = [{"name": "Answer", "args": {"city": f"ask {MAIL}"}, "id": "call-1", "type": "tool_call"}]
    model = ScriptedModel(tool_calls=[calls, []])
    governed = govern(model, guarded.handler)
    assert isinstance(governed.bind_tools([Answer]).bound, GovernedChatModel)
    made = governed.with_structured_output(Answer).invoke(f"from {MAIL}", guarded.config)
    assert made == Answer(city="ask [EMAIL_ADDRESS]")
    assert model.seen[0][-1].content == "from [EMAIL_ADDRESS]"
    assert governed.bind(stop=["x"]).invoke("hello", guarded.config).text == ANSWER
    assert governed.model_name == "gpt-4o"


def test_23_the_cache_never_holds_nor_serves_what_policy_withholds(guarded: Any) -> None:
    """A cached answer is only for those whose question may be asked, and the cache sees redacted text alone."""
    cache = InMemoryCache()
    model = ScriptedModel(cache=cache, answer=f"write to {MAIL}")
    governed = govern(model, guarded.handler)
    first = governed.invoke(f"address of {MAIL}?", guarded.config)
    again = governed.invoke(f"address of {MAIL}?", guarded.config)
    assert first.text == again.text == "write to [EMAIL_ADDRESS]"
    assert len(model.seen) == 1
    assert MAIL not in str(cache._cache)
    with pytest.raises(PolicyViolation):
        governed.invoke(f"address of {KEY}?", guarded.config)
    assert [row["cache_hit"] for row in guarded.calls] == [False, True, False]


def test_23_governed_model_records_without_being_told(guarded: Any, model: ScriptedModel) -> None:
    """A governed model brings its own handler: a caller who names none still gets a row, and one only."""
    govern(model, guarded.handler.governance)
    governed = govern(model, guarded.handler)
    governed.invoke("hello")
    governed.invoke("hello", guarded.config)
    assert len(guarded.calls) == 2


def _agent(model: ScriptedModel, tools: list[Any], handler: Any, **options: Any) -> Any:
    agents = pytest.importorskip("langchain.agents")
    from wandb_governance_langchain import GovernanceMiddleware

    return agents.create_agent(model, tools, middleware=[GovernanceMiddleware(handler, **options)])


@tool
def send(to: str) -> str:
    """Send a letter."""
    SENT.append(to)
    return f"sent to {to}, copy to anna@example.org"


SENT: list[str] = []


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
def test_22_middleware_redacts_for_model_and_tool_and_keeps_the_state(mode: str, guarded: Any) -> None:
    """Model and tool see markers, the agent's state keeps the user's own words."""
    SENT.clear()
    calls = [{"name": "send", "args": {"to": MAIL}, "id": "call-1", "type": "tool_call"}]
    model = ScriptedModel(tool_calls=[calls])
    agent = _agent(model, [send], guarded.handler)
    given = {"messages": [HumanMessage(f"write to {MAIL}")]}
    state = (
        agent.invoke(given, guarded.config) if mode == "invoke" else asyncio.run(agent.ainvoke(given, guarded.config))
    )
    assert state["messages"][0].content == f"write to {MAIL}"
    assert model.seen[0][-1].content == "write to [EMAIL_ADDRESS]"
    assert SENT == ["[EMAIL_ADDRESS]"]
    assert model.seen[1][-1].content == "sent to [EMAIL_ADDRESS], copy to [EMAIL_ADDRESS]"
    assert all(row["enforced"] for row in guarded.verdicts)
    assert MAIL not in _written(guarded)


def test_21_middleware_blocks_or_replies(guarded: Any, model: ScriptedModel) -> None:
    """A block ends the agent, or becomes the answer where that is wanted."""
    with pytest.raises(PolicyViolation):
        _agent(model, [send], guarded.handler).invoke({"messages": [HumanMessage(f"key {KEY}")]}, guarded.config)
    agent = _agent(model, [send], guarded.handler, on_block="reply")
    state = agent.invoke({"messages": [HumanMessage(f"key {KEY}")]}, guarded.config)
    assert "blocked by policy 'secrets'" in state["messages"][-1].text
    assert model.seen == []


async def test_23_agent_streaming_messages_leaks_no_raw_token(guarded: Any) -> None:
    """With ``stream_mode="messages"`` tokens leave as they come; they leave redacted."""
    model = ScriptedModel(answer=f"Paris is large. Write to {MAIL} today, and to nobody else at all.")
    agent = _agent(model, [send], guarded.handler)
    pieces = [
        chunk.text
        async for chunk, _ in agent.astream(
            {"messages": [HumanMessage("whom?")]}, guarded.config, stream_mode="messages"
        )
    ]
    assert "".join(pieces) == model.answer.replace(MAIL, "[EMAIL_ADDRESS]")
    assert "miller" not in "".join(pieces)
