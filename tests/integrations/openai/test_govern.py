"""Every way to call a model through the openai client leaves one row, and changes nothing for the application."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from typing import TYPE_CHECKING, Any

import openai
import pytest
from openai import AsyncOpenAI, AzureOpenAI, OpenAI
from pydantic import BaseModel

from wandb_governance.errors import ConfigError
from wandb_governance_openai import govern, governance_of

if TYPE_CHECKING:
    from pathlib import Path

ASK: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Which city?"}]}
ASK_RESPONSES: dict[str, Any] = {"model": "gpt-4o", "input": "Which city?"}
ANSWER = "Paris is the capital of France."


class City(BaseModel):
    """A structured answer."""

    name: str


def test_a_chat_call_is_one_row_with_usage_and_the_sdks_own_answer(recorded: Any) -> None:
    """The row knows who, what and how much."""
    made = recorded()
    answer = made.client.chat.completions.create(**ASK, temperature=0.2)
    assert type(answer).__name__ == "ChatCompletion"
    assert answer.choices[0].message.content == ANSWER
    row, trace = made.call, made.trace
    assert (row["request_model"], row["response_model"]) == ("gpt-4o", "gpt-4o-2024-08-06")
    assert (row["input_tokens"], row["output_tokens"], row["cache_read_tokens"]) == (1000, 10, 200)
    assert (row["usage_source"], row["finish_reason"]) == ("provider", "stop")
    assert json.loads(row["params"]) == {"temperature": 0.2}
    assert row["time_to_first_token_s"] is None
    assert (trace["status"], trace["name"], trace["output"]) == ("ok", "chat gpt-4o", ANSWER)
    assert json.loads(trace["input"]) == [{"role": "user", "content": "Which city?"}]


def test_the_host_decides_the_price(recorded: Any, tmp_path: Path) -> None:
    """A server on loopback has no public price; with the gateway named in the price table it has one."""
    made = recorded()
    made.client.chat.completions.create(**ASK)
    host = made.client.base_url.netloc.decode()
    assert (made.call["cost_usd"], made.call["provider"]) == (None, host)
    assert host in made.call["cost_reason"]
    prices = tmp_path / "prices.yaml"
    prices.write_text(f"version: 1\nproviders: {{'{host}': openai}}\n")
    priced = recorded(prices=prices)
    priced.client.chat.completions.create(**ASK)
    # 800 x 2.50 + 200 x 1.25 + 10 x 10 millionths
    assert priced.call["cost_usd"] == pytest.approx(0.00235)


@pytest.mark.parametrize("consume", ["all", "next", "with"])
def test_a_stream_is_one_row_however_it_is_read(recorded: Any, consume: str) -> None:
    """The object is the SDK's own stream, and its pieces are the server's."""
    made = recorded()
    stream = made.client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True})
    assert isinstance(stream, openai.Stream)
    if consume == "next":
        pieces = [next(stream)]
        pieces.extend(stream)
    elif consume == "with":
        with stream as inner:
            pieces = list(inner)
    else:
        pieces = list(stream)
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    assert text == ANSWER
    assert pieces[-1].usage.prompt_tokens == 1000
    row = made.call
    assert (row["status"], row["streaming"], row["input_tokens"], row["finish_reason"]) == ("ok", True, 1000, "stop")
    assert row["time_to_first_token_s"] > 0
    assert made.trace["output"] == ANSWER


async def test_async_calls_and_streams_are_rows_too(recorded: Any) -> None:
    """Several at once, each in a trace of its own."""
    made = recorded(AsyncOpenAI)

    async def streamed() -> str:
        stream = await made.client.chat.completions.create(**ASK, stream=True)
        return "".join([piece.choices[0].delta.content or "" async for piece in stream])

    async def plain() -> str:
        answer = await made.client.chat.completions.create(**ASK)
        return str(answer.choices[0].message.content)

    texts = await asyncio.gather(streamed(), plain(), streamed(), plain())
    assert list(texts) == [ANSWER] * 4
    rows = made.calls
    assert [row["status"] for row in rows] == ["ok"] * 4
    assert len({row["trace_id"] for row in rows}) == 4
    assert sorted(row["streaming"] for row in rows) == [False, False, True, True]


def test_the_stream_helper_is_one_row(recorded: Any) -> None:
    """``chat.completions.stream`` with its events and final completion."""
    made = recorded()
    helper = getattr(made.client.chat.completions, "stream", None) or made.client.beta.chat.completions.stream
    with helper(**ASK) as stream:
        kinds = {str(event.type) for event in stream}
        final = stream.get_final_completion()
    assert "content.delta" in kinds
    assert final.choices[0].message.content == ANSWER
    assert made.call["status"] == "ok"
    assert made.trace["output"] == ANSWER


async def test_the_async_stream_helper_is_one_row(recorded: Any) -> None:
    """The same for the async client."""
    made = recorded(AsyncOpenAI)
    helper = getattr(made.client.chat.completions, "stream", None) or made.client.beta.chat.completions.stream
    async with helper(**ASK) as stream:
        async for _ in stream:
            pass
        final = await stream.get_final_completion()
    assert final.choices[0].message.content == ANSWER
    assert made.call["status"] == "ok"


def test_a_stream_helper_that_is_left_ends_its_call(recorded: Any) -> None:
    """The helper closes the response, not the stream."""
    made = recorded()
    helper = getattr(made.client.chat.completions, "stream", None) or made.client.beta.chat.completions.stream
    with helper(**ASK) as stream:
        for event in stream:
            if event.type == "content.delta" and event.delta:
                break
    assert made.call["status"] == "cancelled"
    assert made.trace["output"]
    assert ANSWER.startswith(made.trace["output"])


def test_a_parsed_answer_is_one_row(recorded: Any, server: Any) -> None:
    """``parse`` gives the structure, and the trace the text."""
    server.script.answer = '{"name": "Paris"}'
    made = recorded()
    completions = made.client.chat.completions
    parse = getattr(completions, "parse", None) or made.client.beta.chat.completions.parse
    answer = parse(**ASK, response_format=City)
    assert answer.choices[0].message.parsed == City(name="Paris")
    assert made.trace["output"] == '{"name": "Paris"}'
    assert made.call["input_tokens"] == 1000


def test_responses_are_rows(recorded: Any) -> None:
    """Plain, streamed and with the helper."""
    made = recorded()
    assert made.client.responses.create(**ASK_RESPONSES).output_text == ANSWER
    events = list(made.client.responses.create(**ASK_RESPONSES, stream=True))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == ANSWER
    with made.client.responses.stream(**ASK_RESPONSES) as stream:
        for _ in stream:
            pass
        assert stream.get_final_response().output_text == ANSWER
    rows = made.calls
    assert [row["status"] for row in rows] == ["ok"] * 3
    assert {(row["input_tokens"], row["reasoning_tokens"], row["finish_reason"]) for row in rows} == {
        (1000, 4, "completed")
    }
    assert {trace["output"] for trace in made.rows("traces")} == {ANSWER}
    assert [row["time_to_first_token_s"] is None for row in rows] == [True, False, False]


def test_parsed_responses_are_rows(recorded: Any, server: Any) -> None:
    """``responses.parse``."""
    server.script.answer = '{"name": "Paris"}'
    made = recorded()
    assert made.client.responses.parse(**ASK_RESPONSES, text_format=City).output_parsed == City(name="Paris")
    assert made.call["output_tokens"] == 10


async def test_async_responses_are_rows(recorded: Any) -> None:
    """Plain and streamed."""
    made = recorded(AsyncOpenAI)
    assert (await made.client.responses.create(**ASK_RESPONSES)).output_text == ANSWER
    stream = await made.client.responses.create(**ASK_RESPONSES, stream=True)
    assert [event.type async for event in stream][-1] == "response.completed"
    assert [row["status"] for row in made.calls] == ["ok", "ok"]


def test_embeddings_are_rows(recorded: Any) -> None:
    """Vectors are counted, not written."""
    made = recorded()
    answer = made.client.embeddings.create(model="text-embedding-3-small", input=["one", "two"])
    assert answer.data[0].embedding == [1.0, 2.0]
    row = made.call
    assert (row["kind"], row["input_tokens"], row["output_tokens"]) == ("embedding", 8, 0)
    assert made.trace["output"] == "<2 embeddings>"


def test_text_completions_are_rows(recorded: Any) -> None:
    """The oldest endpoint."""
    made = recorded()
    answer = made.client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Which city?")
    assert answer.choices[0].text == ANSWER
    assert (made.trace["input"], made.trace["output"]) == ("Which city?", ANSWER)


def test_raw_responses_are_rows(recorded: Any) -> None:
    """Headers first, then the answer; LangChain calls the client this way."""
    made = recorded()
    raw = made.client.chat.completions.with_raw_response.create(**ASK)
    assert raw.headers["content-type"] == "application/json"
    assert raw.parse().choices[0].message.content == ANSWER
    streamed = made.client.chat.completions.with_raw_response.create(**ASK, stream=True)
    assert len(list(streamed.parse())) > 2
    with made.client.chat.completions.with_streaming_response.create(**ASK) as response:
        assert ANSWER in "".join(response.iter_text())
    assert [(row["status"], row["output_tokens"]) for row in made.calls][0::2] == [("ok", 10)] * 2
    assert made.calls[1]["status"] == "ok"


def test_raw_lines_of_a_stream_are_read_along(recorded: Any) -> None:
    """An application that reads server-sent events itself has a row with output and usage too."""
    made = recorded()
    more = {"stream": True, "stream_options": {"include_usage": True}}
    with made.client.chat.completions.with_streaming_response.create(**ASK, **more) as response:
        assert "data: [DONE]" in list(response.iter_lines())
    row = made.call
    assert (row["status"], row["input_tokens"], row["streaming"]) == ("ok", 1000, True)
    assert row["time_to_first_token_s"] > 0
    assert made.trace["output"] == ANSWER


def test_a_raw_stream_that_is_left_is_cancelled(recorded: Any) -> None:
    """Without one line read."""
    made = recorded()
    with made.client.chat.completions.with_streaming_response.create(**ASK, stream=True):
        pass
    assert made.call["status"] == "cancelled"


async def test_async_raw_responses_are_rows(recorded: Any) -> None:
    """The same for the async client."""
    made = recorded(AsyncOpenAI)
    raw = await made.client.chat.completions.with_raw_response.create(**ASK)
    assert raw.parse().choices[0].message.content == ANSWER
    async with made.client.chat.completions.with_streaming_response.create(**ASK) as response:
        answer = await response.parse()
        assert answer.choices[0].message.content == ANSWER
    async with made.client.chat.completions.with_streaming_response.create(**ASK, stream=True) as response:
        stream = await response.parse()
        assert "".join([piece.choices[0].delta.content or "" async for piece in stream]) == ANSWER
    assert [row["status"] for row in made.calls] == ["ok"] * 3


def test_copies_of_the_client_are_governed(recorded: Any) -> None:
    """``with_options`` makes another client."""
    made = recorded()
    copy = made.client.with_options(timeout=5).with_options(max_retries=0)
    copy.chat.completions.create(**ASK)
    copy.copy().embeddings.create(model="e", input="x")
    assert len(made.calls) == 2


def test_resources_that_exist_already_are_governed(server: Any, settings: Any, recorded: Any) -> None:
    """A framework may have taken ``client.chat.completions`` before."""
    made = recorded()
    client = OpenAI(api_key="test", base_url=server.url)
    completions, embeddings, responses = client.chat.completions, client.embeddings, client.responses
    raw = completions.with_raw_response
    govern(client, run=made.run, settings=settings)
    completions.create(**ASK)
    raw.create(**ASK)
    embeddings.create(model="e", input="x")
    responses.create(**ASK_RESPONSES)
    client.post("/chat/completions", cast_to=object, body=ASK)
    governance_of(client).flush(20)
    assert len(made.run.tables["llm_calls"]) == 5


def test_governing_twice_counts_once(recorded: Any, settings: Any) -> None:
    """The second one replaces the first."""
    made = recorded()
    govern(made.client, run=made.run, settings=settings)
    made.client.chat.completions.create(**ASK)
    assert len(made.calls) == 1


def test_an_error_is_the_sdks_own_and_a_row(recorded: Any, server: Any) -> None:
    """Retries are the SDK's; what it raises at last is what the application sees."""
    server.script.failures = [429, 500]
    made = recorded(max_retries=1)
    with pytest.raises(openai.InternalServerError):
        made.client.chat.completions.create(**ASK)
    assert len(server.script.requests) == 2
    row = made.call
    assert (row["status"], row["error_type"], row["cost_usd"]) == ("error", "InternalServerError", None)


def test_a_retry_that_succeeds_is_one_call(recorded: Any, server: Any) -> None:
    """One row, with the usage of the answer."""
    server.script.failures = [429]
    made = recorded()
    made.client.chat.completions.create(**ASK)
    assert (made.call["status"], made.call["input_tokens"]) == ("ok", 1000)


def test_a_stream_that_breaks_keeps_what_came(recorded: Any, server: Any) -> None:
    """The error is the SDK's; output and an estimate stay."""
    server.script.break_after = 2
    made = recorded()
    with pytest.raises(openai.APIError, match="went away"):
        for _ in made.client.chat.completions.create(**ASK, stream=True):
            pass
    assert (made.call["status"], made.trace["output"]) == ("error", ANSWER[:8])


async def test_a_cancelled_task_is_a_cancelled_call(recorded: Any, server: Any) -> None:
    """Before the answer, and within a stream."""
    server.script.pause_s = 5
    made = recorded(AsyncOpenAI)

    async def read() -> None:
        async for _ in await made.client.chat.completions.create(**ASK, stream=True):
            pass

    task = asyncio.create_task(read())
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert made.call["status"] == "cancelled"


@pytest.mark.parametrize("way", ["break", "close", "with", "collected"])
def test_a_stream_that_is_left_ends_once(recorded: Any, way: str) -> None:
    """However the application walks away, the call is closed with what had come."""
    made = recorded()
    stream = made.client.chat.completions.create(**ASK, stream=True)
    next(stream), next(stream)
    if way == "close":
        stream.close()
        stream.close()
    elif way == "with":
        with stream:
            pass
    else:
        for _ in stream:
            break
    del stream
    gc.collect()
    governance_of(made.client).sweep(final=False)
    row = made.call
    assert row["status"] == "cancelled"
    assert row["usage_source"] != "provider"
    assert ANSWER.startswith(made.trace["output"])


def test_a_stream_may_be_collected_while_the_journal_is_locked(recorded: Any) -> None:
    """Garbage collection runs anywhere, also inside our own code: the end of the call is written later, not never."""
    made = recorded()

    def collect() -> None:
        stream = made.client.chat.completions.create(**ASK, stream=True)
        next(stream), next(stream)
        gc.disable()
        try:
            del stream
            with governance_of(made.client).session._lock:
                gc.collect()
        finally:
            gc.enable()

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    thread.join(timeout=20)
    assert not thread.is_alive(), "the collection waits for a lock of its own thread"
    governance_of(made.client).sweep(final=False)
    assert made.call["status"] == "cancelled"


async def test_an_async_stream_that_is_left_ends_once(recorded: Any) -> None:
    """``close`` of the async stream."""
    made = recorded(AsyncOpenAI)
    stream = await made.client.chat.completions.create(**ASK, stream=True)
    async for _ in stream:
        break
    await stream.close()
    assert made.call["status"] == "cancelled"


def test_a_stream_that_is_never_read_is_not_lost(recorded: Any) -> None:
    """It was sent and is billed: the end of the run closes it."""
    made = recorded()
    stream = made.client.chat.completions.create(**ASK, stream=True)
    governance_of(made.client).sweep(final=True)
    assert made.call["status"] == "abandoned"
    stream.close()
    assert len(made.calls) == 1


def test_what_goes_in_and_comes_out_is_untouched_without_a_policy(recorded: Any, server: Any) -> None:
    """The server sees the request as the plain client would send it."""
    made = recorded()
    messages: Any = [{"role": "user", "content": "mail a.b@example.com"}]
    made.client.chat.completions.create(model="gpt-4o", messages=messages, extra_body={"top_k": 3})
    plain = OpenAI(api_key="test", base_url=server.url)
    plain.chat.completions.create(model="gpt-4o", messages=messages, extra_body={"top_k": 3})
    assert server.script.requests[0] == server.script.requests[1]


def test_an_image_is_recorded_by_digest(recorded: Any) -> None:
    """A picture in a message does not fill the trace."""
    picture = "data:image/png;base64," + "A" * 100_000
    content = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": picture}}]
    made = recorded()
    made.client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": content}])
    assert "image/png;base64, 100022 characters, sha256" in made.trace["input"]
    assert len(made.trace["input"]) < 1000


def test_an_azure_client_is_priced_as_azure(server: Any, settings: Any, recorded: Any) -> None:
    """The deployment says nothing; the model that answered does."""
    made = recorded(
        AzureOpenAI,
        base_url=None,
        azure_endpoint=server.url.removesuffix("/v1"),
        api_version="2024-10-21",
    )
    made.client.chat.completions.create(**{**ASK, "model": "gpt-4o"})
    row = made.call
    assert server.script.requests[0]["path"] == "/openai/deployments/gpt-4o/chat/completions"
    assert (row["provider"], row["cost_usd"]) == ("azure", pytest.approx(0.00235))


def test_something_else_than_a_client_is_refused() -> None:
    """With what to pass instead."""
    with pytest.raises(ConfigError, match="OpenAI"):
        govern("sk-...")  # type: ignore[type-var]
    with pytest.raises(ConfigError, match="not governed"):
        governance_of(OpenAI(api_key="x"))
