"""Reading and rewriting requests and answers, without a client."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionMessage

from wandb_governance.policy.verdict import Scope
from wandb_governance_openai import convert

_text = st.text(min_size=1, max_size=12)
_parts = st.lists(
    st.one_of(
        st.builds(lambda text: {"type": "text", "text": text}, _text),
        st.just({"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}),
        st.builds(lambda text: {"type": "refusal", "refusal": text}, _text),
        st.builds(lambda text: {"text": text}, _text),
        _text,
    ),
    max_size=3,
)
_messages = st.lists(
    st.one_of(
        st.builds(
            lambda role, content: {"role": role, "content": content},
            st.sampled_from(["user", "system"]),
            _text | _parts,
        ),
        st.builds(lambda text: ChatCompletionMessage(role="assistant", content=text), _text),
        st.builds(lambda text: {"role": "tool", "tool_call_id": "c1", "content": text}, _text),
        st.builds(
            lambda text: {
                "role": "assistant",
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "find", "arguments": text}}],
            },
            _text,
        ),
    ),
    max_size=5,
)
CHAT = convert.ENDPOINTS["/chat/completions"]


@given(_messages)
def test_every_text_can_be_replaced_and_nothing_else_changes(messages: list[Any]) -> None:
    """The rewritten body has the new texts at the same places; the caller's objects are as they were."""
    body = {"model": "m", "messages": messages}
    before = copy.deepcopy(body)
    slots = convert.input_slots(CHAT, body)
    made = convert.replaced(body, {slot.path: f"<{slot.text}>" for slot in slots})
    assert body == before
    again = convert.input_slots(CHAT, made)
    assert [slot.text for slot in again] == [f"<{slot.text}>" for slot in slots]
    assert [(slot.path, slot.scope, slot.tool) for slot in again] == [
        (slot.path, slot.scope, slot.tool) for slot in slots
    ]
    back = convert.replaced(made, {slot.path: slot.text for slot in slots})
    assert back == before


def test_a_tool_result_knows_its_tool() -> None:
    """Policies on tools go by its name."""
    call = {"id": "c9", "type": "function", "function": {"name": "lookup", "arguments": "{}"}}
    messages = [{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c9", "content": "found"}]
    slots = convert.input_slots(CHAT, {"messages": messages})
    assert [(slot.text, slot.scope, slot.tool) for slot in slots] == [
        ("{}", Scope.INPUT, None),
        ("found", Scope.TOOL_RESULT, "lookup"),
    ]


def test_every_text_of_a_responses_request_is_seen() -> None:
    """Instructions, variables of a stored prompt, items of every kind."""
    body = {
        "instructions": "a",
        "prompt": {"id": "p", "variables": {"x": "b", "y": {"type": "input_text", "text": "c"}}},
        "input": [
            {"role": "user", "content": "d"},
            {
                "role": "user",
                "content": [{"type": "input_text", "text": "e"}, {"type": "input_image", "image_url": "u"}],
            },
            {"type": "function_call", "call_id": "1", "name": "find", "arguments": "f"},
            {"type": "function_call_output", "call_id": "1", "output": "g"},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "h"}]},
        ],
    }
    slots = convert.input_slots(convert.ENDPOINTS["/responses"], body)
    assert "".join(slot.text for slot in slots) == "abcdefgh"
    assert [slot.tool for slot in slots if slot.scope is Scope.TOOL_RESULT] == ["find"]


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("/chat/completions", "chat"),
        ("/openai/deployments/d/chat/completions", "chat"),
        ("/v1/completions", "text_completion"),
        ("/v1/responses", "responses"),
        ("/v1/embeddings?x=1", "embeddings"),
        ("/v1/responses/resp_1/cancel", None),
        ("/v1/files", None),
        ("/v1/chat/completions/c1", None),
    ],
)
def test_paths_that_call_a_model_are_known(path: str, operation: str | None) -> None:
    """And others are let by."""
    endpoint = convert.endpoint_of(path)
    assert (endpoint and endpoint.operation) == operation


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | _text, lambda x: st.lists(x) | st.dictionaries(_text, x))
)
def test_nothing_but_media_is_shortened_for_the_record(value: Any) -> None:
    """Ordinary data passes unchanged."""
    assert convert.without_media(value) == value or "data:" in repr(value)
