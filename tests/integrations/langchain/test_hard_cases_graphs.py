"""Hard case 10 (interrupts, resume, fan-out, subgraphs, failed tools) and 21 for agents, on real LangGraph."""

from __future__ import annotations

import importlib.util
import json
import operator
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool

from tests.integrations.langchain.conftest import ANSWER, KEY, Recorded, ScriptedModel
from wandb_governance.errors import PolicyViolation

pytest.importorskip("langgraph")
from langchain.agents import create_agent
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, Send, interrupt

if TYPE_CHECKING:
    from pathlib import Path

TELLS_OF_CHECKPOINTS = importlib.util.find_spec("langgraph.callbacks") is not None
"""LangGraph since 1.1 tells handlers of interrupts and resumes, and marks agents."""


class Note(TypedDict, total=False):
    text: str
    answers: Annotated[list[str], operator.add]


def _asking_graph() -> Any:
    def ask(state: Note) -> Note:
        return {"text": interrupt({"question": "may I?"})}

    graph = StateGraph(Note)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    return graph.compile(checkpointer=InMemorySaver())


def test_10_interrupt_is_no_error_and_resume_is_linked(record: Recorded) -> None:
    """A pause carries its payload and checkpoint; the resumed trace names the checkpoint and the same session."""
    graph = _asking_graph()
    config = {**record.config, "configurable": {"thread_id": "conversation-7"}}
    graph.invoke({"text": ""}, config)
    assert graph.invoke(Command(resume="yes"), config)["text"] == "yes"
    first, second = [row for row in record.traces if not row["parent_id"]]
    assert {row["status"] for row in record.traces} == {"interrupted", "ok"}
    assert (first["status"], second["status"]) == ("interrupted", "ok")
    paused, resumed = json.loads(first["attributes"]), json.loads(second["attributes"] or "{}")
    assert paused["interrupts"][0]["value"] == {"question": "may I?"}
    if TELLS_OF_CHECKPOINTS:
        assert paused["checkpoint_id"] == resumed["resumed_checkpoint_id"]
    assert first["session"] == second["session"] is not None
    assert "conversation-7" not in json.dumps(record.traces)


async def test_10_interrupt_in_async_code(record: Recorded) -> None:
    """The same through ``ainvoke``."""
    config = {**record.config, "configurable": {"thread_id": "1"}}
    await _asking_graph().ainvoke({"text": ""}, config)
    assert {row["status"] for row in record.traces} == {"interrupted"}


def test_10_hand_over_to_the_parent_graph_is_no_error(record: Recorded) -> None:
    """``Command(graph=PARENT)`` leaves a subgraph by an exception that is control flow."""

    def leave(state: Note) -> Command[Any]:
        return Command(graph=Command.PARENT, goto="after", update={"text": "left"})

    inner = StateGraph(Note)
    inner.add_node("leave", leave)
    inner.add_edge(START, "leave")
    outer = StateGraph(Note)
    outer.add_node("inner", inner.compile())
    outer.add_node("after", lambda state: {"answers": [state["text"]]})
    outer.add_edge(START, "inner")
    outer.add_edge("after", END)
    assert outer.compile().invoke({"text": ""}, record.config)["answers"] == ["left"]
    assert "error" not in {row["status"] for row in record.traces}
    assert record.named("leave")["status"] == "interrupted"


def test_10_send_fans_out_within_one_trace(record: Recorded, model: ScriptedModel) -> None:
    """Nodes that ``Send`` starts are children of the graph, and their calls are theirs."""

    def answer(state: Note) -> Note:
        return {"answers": [model.invoke(state["text"]).text]}

    graph = StateGraph(Note)
    graph.add_node("answer", answer)
    graph.add_conditional_edges(START, lambda state: [Send("answer", {"text": str(n)}) for n in range(3)], ["answer"])
    graph.add_edge("answer", END)
    graph.compile().invoke({"text": ""}, record.config)
    tree = record.tree()
    assert tree["LangGraph"].count("answer") == 3
    assert tree["answer"] == ["ScriptedModel"] * 3
    assert len({row["trace_id"] for row in record.traces}) == 1


def test_10_subgraph_is_a_child_of_its_node(record: Recorded, model: ScriptedModel) -> None:
    """A graph as a node of a graph stays in the trace."""
    inner = StateGraph(MessagesState)
    inner.add_node("call", lambda state: {"messages": [model.invoke(state["messages"])]})
    inner.add_edge(START, "call")
    outer = StateGraph(MessagesState)
    outer.add_node("inner", inner.compile())
    outer.add_edge(START, "inner")
    outer.compile().invoke({"messages": [HumanMessage("hello")]}, record.config)
    assert record.tree()["call"] == ["ScriptedModel"]
    assert len({row["trace_id"] for row in record.traces}) == 1
    attributes = json.loads(next(row for row in record.traces if row["name"] == "call")["attributes"])
    assert attributes["langgraph_node"] == "call"


@tool
def capital(country: str) -> str:
    """Capital of a country."""
    if country == "Atlantis":
        raise ValueError("no such country")
    return f"Paris is the capital of {country}"


def _call(country: str) -> list[dict[str, Any]]:
    return [{"name": "capital", "args": {"country": country}, "id": "call-1", "type": "tool_call"}]


def test_10_failed_tool_message_is_an_error_row(record: Recorded) -> None:
    """A tool node turns an exception into a message with status ``error``; the row says error."""
    graph = StateGraph(MessagesState)
    graph.add_node("tools", ToolNode([capital], handle_tool_errors=True))
    graph.add_edge(START, "tools")
    state = graph.compile().invoke({"messages": [AIMessage("", tool_calls=_call("Atlantis"))]}, record.config)
    assert state["messages"][-1].status == "error"
    row = record.named("capital")
    assert (row["kind"], row["status"]) == ("tool", "error")


def test_10_tool_that_returns_an_error_message(record: Recorded) -> None:
    """A tool may return the failed message itself."""

    @tool
    def broken(x: str) -> ToolMessage:
        """Always fails."""
        return ToolMessage("it broke", tool_call_id="call-1", status="error")

    broken.invoke({"name": "broken", "args": {"x": "1"}, "id": "call-1", "type": "tool_call"}, record.config)
    assert record.named("broken")["status"] == "error"


def test_10_agent_run_has_its_steps(record: Recorded) -> None:
    """An agent is a row of kind agent, with model calls, tool calls and their ids under it."""
    model = ScriptedModel(tool_calls=[_call("France")])
    agent = create_agent(model, [capital])
    state = agent.invoke({"messages": [HumanMessage("capital of France?")]}, record.config)
    assert state["messages"][-1].text == ANSWER
    kinds = {row["kind"] for row in record.traces}
    assert {"llm", "tool"} <= kinds
    assert len([row for row in record.traces if row["kind"] == "agent"]) == TELLS_OF_CHECKPOINTS
    assert len(record.calls) == 2
    row = record.named("capital")
    assert json.loads(row["attributes"])["tool_call_id"] == "call-1"
    assert row["output"].find("Paris is the capital of France") >= 0


async def test_10_agent_streams_messages(record: Recorded) -> None:
    """``stream_mode="messages"`` turns calls inside nodes into streams; usage stays."""
    agent = create_agent(ScriptedModel(), [capital])
    chunks = [
        item async for item in agent.astream({"messages": [HumanMessage("hi")]}, record.config, stream_mode="messages")
    ]
    assert chunks
    assert record.call["input_tokens"] == 1000
    assert record.call["streaming"]


def test_12_handler_in_a_config_with_a_checkpointer(record: Recorded) -> None:
    """A checkpointer that serializes what it is given is no trouble."""
    graph = _asking_graph()
    config = {**record.config, "configurable": {"thread_id": "2"}}
    graph.invoke({"text": ""}, config)
    assert graph.get_state({"configurable": {"thread_id": "2"}}).next == ("ask",)
    assert len(record.traces) == 2


def test_21_blocked_tool_arguments_stop_the_agent(recorded: Any, policy: Path) -> None:
    """A callback that raises at a tool's start keeps the tool from running and ends the graph as blocked."""
    record = recorded(policy=policy)
    ran = []

    @tool
    def send(text: str) -> str:
        """Send a text."""
        ran.append(text)
        return "sent"

    call = [{"name": "send", "args": {"text": f"key {KEY}"}, "id": "call-1", "type": "tool_call"}]
    agent = create_agent(ScriptedModel(tool_calls=[call]), [send])
    with pytest.raises(PolicyViolation) as caught:
        agent.invoke({"messages": [HumanMessage("send it")]}, record.config)
    assert caught.value.scope == "tool_args"
    assert not ran
    assert record.named("send")["status"] == "blocked"
    assert "error" not in {row["status"] for row in record.traces}
    assert KEY not in json.dumps([record.traces, record.calls, record.verdicts])
