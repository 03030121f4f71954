"""The openai SDK works through the gateway unchanged."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest

MAIL = "maria@example.com"


def client(gateway: Any, **more: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=gateway.url, api_key="any", max_retries=0, **more)


def ask(sdk: openai.OpenAI, text: str = "hi", **more: Any) -> Any:
    return sdk.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": text}], **more)


def test_an_answer_comes_back_as_it_was(gateway: Any, provider: Any) -> None:
    """Text, usage and model."""
    answer = ask(client(gateway))
    assert answer.choices[0].message.content == "hello"
    assert answer.usage.prompt_tokens == 11
    assert provider.requests[0]["body"]["messages"] == [{"role": "user", "content": "hi"}]


def test_personal_data_does_not_reach_the_provider_nor_come_back(gateway: Any, provider: Any) -> None:
    """Redacted in both directions, and in the record."""
    provider.default = {"text": f"write to {MAIL}"}
    answer = ask(client(gateway), f"I am {MAIL}")
    assert provider.requests[0]["body"]["messages"][0]["content"] == "I am [EMAIL_ADDRESS]"
    assert answer.choices[0].message.content == "write to [EMAIL_ADDRESS]"
    (record,) = gateway.wait_for_records(1)
    assert record["facts"]["found"] == {"EMAIL_ADDRESS": 2}
    assert MAIL not in str(record)
    assert record["facts"]["usage"]["completion_tokens"] == 7
    assert record["facts"]["cost_usd"] is not None


def test_a_blocked_request_is_a_typed_error_that_names_policy_and_reason(gateway: Any, provider: Any) -> None:
    """The provider never sees it, and the SDK does not try again."""
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client(gateway).with_options(max_retries=3), "the key is sk-proj-Zx8Kq2Wm7Rt5Yb3Nc9Vd1Fg4Hj6Lp0QsT2uV")
    body: Any = caught.value.body
    assert body["code"] == "content_filter"
    assert body["policy"] == "secrets"
    assert body["reasons"]
    assert provider.requests == []
    assert gateway.wait_for_records(1)[0]["facts"]["outcome"] == "blocked"


@pytest.mark.parametrize("deltas", [list(f"to {MAIL} now"), ["to maria@exam", "ple.com now"], [f"to {MAIL} now"]])
def test_a_stream_is_redacted_whatever_its_pieces(gateway: Any, provider: Any, deltas: list[str]) -> None:
    """The SDK's own stream, with the token counts it asked for."""
    provider.default = {"deltas": deltas}
    stream = ask(client(gateway), stream=True, stream_options={"include_usage": True})
    text, usage, reason = "", None, None
    for chunk in stream:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reason = choice.finish_reason or reason
        usage = chunk.usage or usage
    assert text == "to [EMAIL_ADDRESS] now"
    assert reason == "stop"
    assert usage is not None
    assert usage.completion_tokens == 7


def test_usage_of_a_stream_is_recorded_and_not_sent_to_who_did_not_ask(gateway: Any) -> None:
    """The gateway asks for itself."""
    chunks = list(ask(client(gateway), stream=True))
    assert all(chunk.usage is None for chunk in chunks)
    (record,) = gateway.wait_for_records(1)
    assert record["facts"]["usage"]["prompt_tokens"] == 11
    assert record["facts"]["cost_usd"] is not None


def test_several_choices_do_not_join(gateway: Any, provider: Any) -> None:
    """Each choice is a text of its own."""
    provider.default = {"deltas": ["maria@", "example.com ", "ok"]}
    texts = {0: "", 1: ""}
    for chunk in ask(client(gateway), stream=True, n=2):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == {0: "[EMAIL_ADDRESS] ok", 1: "[EMAIL_ADDRESS] ok"}


def test_tool_arguments_are_redacted_inside_their_json(gateway: Any, provider: Any) -> None:
    """Whole and streamed, escapes cut in the middle."""
    provider.default = {"tool_args": '{"to": "maria\\u0040example.com"}'}
    answer = ask(client(gateway))
    assert answer.choices[0].message.tool_calls[0].function.arguments == '{"to": "[EMAIL_ADDRESS]"}'
    provider.default = {"tool_deltas": ['{"to":"maria\\u00', '40example.com"', "}"]}
    arguments, names = "", []
    for chunk in ask(client(gateway), stream=True):
        for call in chunk.choices[0].delta.tool_calls or []:
            arguments += (call.function.arguments or "") if call.function else ""
            names += [call.function.name] if call.function and call.function.name else []
    assert arguments == '{"to":"[EMAIL_ADDRESS]"}'
    assert names == ["send"]


@pytest.mark.parametrize("field", ["refusal", "reasoning_content"])
def test_other_fields_that_carry_text_are_redacted(gateway: Any, provider: Any, field: str) -> None:
    """No field is a way around."""
    provider.default = {"field": field, "deltas": ["maria@exam", "ple.com ok"]}
    text = ""
    for chunk in ask(client(gateway), stream=True):
        text += getattr(chunk.choices[0].delta, field, None) or ""
    assert text == "[EMAIL_ADDRESS] ok"


def test_log_probabilities_do_not_carry_what_was_redacted(gateway: Any, provider: Any) -> None:
    """They repeat the text token by token."""
    tokens = {"content": [{"token": MAIL, "logprob": -0.1, "bytes": None, "top_logprobs": []}]}
    provider.default = {"text": f"to {MAIL}", "logprobs": tokens}
    assert ask(client(gateway), logprobs=True).choices[0].logprobs is None


def test_tool_results_and_history_are_looked_at(gateway: Any, provider: Any) -> None:
    """Every message, each content part, and arguments in the history."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": f'{{"a": "{MAIL}"}}'}}
    messages: list[Any] = [
        {"role": "system", "content": f"sys {MAIL}"},
        {"role": "user", "content": [{"type": "text", "text": f"part {MAIL}"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": f"result {MAIL}"},
    ]
    client(gateway).chat.completions.create(model="gpt-4o", messages=messages)
    assert MAIL not in str(provider.requests[0]["body"])
    assert str(provider.requests[0]["body"]).count("[EMAIL_ADDRESS]") == 4


def test_responses_whole_and_streamed(gateway: Any, provider: Any) -> None:
    """Deltas, the done event, the item and the final object all say the same."""
    sdk = client(gateway)
    provider.default = {"text": f"to {MAIL} now", "deltas": ["to maria@ex", "ample.com", " now"]}
    answer = sdk.responses.create(model="gpt-4o", input=f"I am {MAIL}", instructions="be brief")
    assert answer.output_text == "to [EMAIL_ADDRESS] now"
    assert MAIL not in str(provider.requests[0]["body"])
    deltas, done, final, numbers = "", "", "", []
    for event in sdk.responses.create(model="gpt-4o", input="hi", stream=True):
        numbers.append(event.sequence_number)
        if event.type == "response.output_text.delta":
            deltas += event.delta
        elif event.type == "response.output_text.done":
            done = event.text
        elif event.type == "response.completed":
            final = event.response.output_text
    assert deltas == done == final == "to [EMAIL_ADDRESS] now"
    assert numbers == list(range(len(numbers)))
    with sdk.responses.stream(model="gpt-4o", input="hi") as stream:
        assert stream.get_final_response().output_text == "to [EMAIL_ADDRESS] now"


def test_embeddings_are_made_of_redacted_text(gateway: Any, provider: Any) -> None:
    """Token ids, which no policy can read, are refused."""
    sdk = client(gateway)
    assert len(sdk.embeddings.create(model="text-embedding-3-small", input=["a", f"b {MAIL}"]).data) == 2
    assert provider.requests[0]["body"]["input"] == ["a", "b [EMAIL_ADDRESS]"]
    with pytest.raises(openai.BadRequestError, match="token ids"):
        sdk.embeddings.create(model="m", input=[[1, 2, 3]])


def test_the_async_client(gateway: Any, provider: Any) -> None:
    """Whole and streamed, many at once."""
    provider.default = {"text": f"to {MAIL}", "deltas": ["to maria@", "example.com"]}

    async def one(sdk: openai.AsyncOpenAI, stream: bool) -> str:
        messages: list[Any] = [{"role": "user", "content": "hi"}]
        if not stream:
            return (await sdk.chat.completions.create(model="m", messages=messages)).choices[0].message.content or ""
        chunks = await sdk.chat.completions.create(model="m", messages=messages, stream=True)
        return "".join([c.choices[0].delta.content or "" async for c in chunks if c.choices])

    async def many() -> list[str]:
        async with openai.AsyncOpenAI(base_url=gateway.url, api_key="any", max_retries=0) as sdk:
            return await asyncio.gather(*(one(sdk, n % 2 == 0) for n in range(40)))

    assert set(asyncio.run(many())) == {"to [EMAIL_ADDRESS]"}


def test_models_are_listed(gateway_of: Any, provider: Any) -> None:
    """Those the document names."""
    gateway = gateway_of(
        "pack: {{name: p}}\nproviders:\n  targets:\n    - "
        '{{id: a, provider: "openai:chat:gpt-4o", base_url: "{url}"}}\n'
    )
    sdk = client(gateway)
    assert [model.id for model in sdk.models.list()] == ["gpt-4o"]
    assert sdk.models.retrieve("gpt-4o").owned_by == "a"
    with pytest.raises(openai.NotFoundError):
        sdk.chat.completions.create(model="no", messages=[{"role": "user", "content": "hi"}])
