"""The cases that tracers and guards of the openai client get wrong, by their number in the list of hard cases."""

from __future__ import annotations

import asyncio
import copy
import importlib
import json
import pickle
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from wandb_governance.errors import PolicyViolation
from wandb_governance_openai import OpenAIPolicyViolation, govern

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IS_3 = int(openai.__version__.partition(".")[0]) >= 3
http = importlib.import_module("httpx2" if IS_3 else "httpx")

SECRET = "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"
MAIL = "ada.lovelace@example.com"
MARK = "[EMAIL_ADDRESS]"
ANSWER = "Paris is the capital of France."


def ask(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **more}


class City(BaseModel):
    name: str


class Rewritten(http.HTTPTransport):  # type: ignore[name-defined,misc]
    """Carries requests for api.openai.com to the server on loopback."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = http.URL(url)

    def handle_request(self, request: Any) -> Any:
        request.url = request.url.copy_with(scheme="http", host=self._url.host, port=self._url.port)
        return super().handle_request(request)


@pytest.fixture
def official(recorded: Any, server: Any) -> Callable[..., Any]:
    """A governed client that believes it talks to api.openai.com."""

    def make(**more: Any) -> Any:
        client = http.Client(transport=Rewritten(server.url))
        return recorded(base_url="http://api.openai.com/v1", http_client=client, **more)

    return make


def test_14_several_choices_are_one_call_with_one_usage(recorded: Any) -> None:
    """n=2 costs what the provider says, once."""
    made = recorded()
    assert len(made.client.chat.completions.create(**ask("x"), n=2).choices) == 2
    assert (made.call["input_tokens"], made.call["output_tokens"]) == (1000, 10)
    assert json.loads(made.trace["output"]) == [ANSWER, ANSWER]


def test_16_a_stream_without_usage_is_counted_and_says_so(recorded: Any, server: Any) -> None:
    """A compatible server gets the request as it is, reports nothing, and the row is marked as an estimate."""
    made = recorded()
    list(made.client.chat.completions.create(**ask("Which city?"), stream=True))
    assert "stream_options" not in server.script.requests[0]
    row = made.call
    assert row["usage_source"] in {"tokenizer", "heuristic"}
    assert row["usage_estimated"] is True
    assert row["output_tokens"] in range(6, 10)


def test_16_the_official_host_is_asked_for_usage_and_the_application_sees_no_difference(
    official: Any, server: Any
) -> None:
    """The extra chunk is hidden; the row has the provider's numbers and their price."""
    made = official()
    chunks = list(made.client.chat.completions.create(**ask("Which city?"), stream=True))
    assert server.script.requests[0]["stream_options"] == {"include_usage": True}
    assert all(chunk.choices for chunk in chunks)
    row = made.call
    assert (row["usage_source"], row["input_tokens"], row["provider"]) == ("provider", 1000, "openai")
    assert row["cost_usd"] == pytest.approx(0.00235)


@pytest.mark.parametrize("asked", [True, False])
def test_16_an_application_that_decides_about_usage_gets_what_it_decided(
    official: Any, server: Any, asked: bool
) -> None:
    """Asked for, the chunk is there; refused, nothing is asked for."""
    made = official()
    options = {"include_usage": asked}
    chunks = list(made.client.chat.completions.create(**ask("x"), stream=True, stream_options=options))
    assert server.script.requests[0]["stream_options"] == options
    assert any(not chunk.choices for chunk in chunks) is asked


def test_16_a_stream_that_breaks_is_estimated_from_what_came(recorded: Any, server: Any) -> None:
    """Tokens that were made before the error were billed."""
    server.script.answer, server.script.break_after = "word " * 40, 10
    made = recorded()
    with pytest.raises(openai.APIError):
        list(made.client.chat.completions.create(**ask("x"), stream=True))
    row = made.call
    assert row["status"] == "error"
    assert 5 <= row["output_tokens"] <= 15


def test_16_the_estimate_is_of_the_whole_text_not_of_what_was_kept_of_it(recorded: Any) -> None:
    """A prompt that is cut in the trace still counts in full, and is marked as a heuristic."""
    made = recorded()
    list(made.client.chat.completions.create(**ask("word " * 2_000_000), stream=True))
    row = made.call
    assert 1_800_000 < row["input_tokens"] < 2_700_000
    assert row["usage_source"] == "heuristic"


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_20_the_first_token_is_the_first_content(recorded: Any, server: Any, api: str) -> None:
    """An empty role chunk or a created event is not a token."""
    server.script.pause_s = 0.3
    made = recorded()
    if api == "chat":
        list(made.client.chat.completions.create(**ask("x"), stream=True))
    else:
        list(made.client.responses.create(model="gpt-4o", input="x", stream=True))
    assert made.call["time_to_first_token_s"] >= 0.3


def test_20_a_tool_call_is_content_and_a_whole_answer_has_no_first_token(recorded: Any, server: Any) -> None:
    """Null where the question makes no sense."""
    server.script.tool_arguments = '{"to": "someone"}'
    made = recorded()
    list(made.client.chat.completions.create(**ask("x"), stream=True))
    made.client.chat.completions.create(**ask("x"))
    first, second = made.calls
    assert first["time_to_first_token_s"] > 0
    assert second["time_to_first_token_s"] is None


def _ways(client: OpenAI) -> dict[str, Callable[[], object]]:
    """Every sync way to send the secret."""
    chat, question = client.chat.completions, ask(f"my token is {SECRET}")
    stream = getattr(chat, "stream", None) or client.beta.chat.completions.stream
    parse = getattr(chat, "parse", None) or client.beta.chat.completions.parse
    words = {"model": "gpt-4o", "input": question["messages"]}
    return {
        "create": lambda: chat.create(**question),
        "create streamed": lambda: chat.create(**question, stream=True),
        "parse": lambda: parse(**question, response_format=City),
        "stream helper": lambda: stream(**question).__enter__(),
        "raw": lambda: chat.with_raw_response.create(**question),
        "streaming response": lambda: chat.with_streaming_response.create(**question).__enter__(),
        "copy": lambda: client.with_options(timeout=9).chat.completions.create(**question),
        "responses": lambda: client.responses.create(**words),
        "responses streamed": lambda: client.responses.create(**words, stream=True),
        "responses helper": lambda: client.responses.stream(**words).__enter__(),
        "responses parse": lambda: client.responses.parse(**words, text_format=City),
        "responses text": lambda: client.responses.create(model="m", input="x", instructions=SECRET),
        "embeddings": lambda: client.embeddings.create(model="m", input=["x", SECRET]),
        "completions": lambda: client.completions.create(model="m", prompt=SECRET),
        "parts": lambda: chat.create(
            model="m", messages=[{"role": "user", "content": [{"type": "text", "text": SECRET}]}]
        ),
        "tool result": lambda: chat.create(
            model="m", messages=[{"role": "tool", "tool_call_id": "c", "content": SECRET}]
        ),
        "extra body": lambda: chat.create(**ask("x"), extra_body={"messages": question["messages"]}),
        "post": lambda: client.post("/chat/completions", cast_to=object, body=question),
        "http client": lambda: client._client.post(f"{client.base_url}chat/completions", json=question),
    }  # fmt: skip


WAYS = sorted(_ways(OpenAI(api_key="x", base_url="http://127.0.0.1:1")))


@pytest.mark.parametrize("way", WAYS)
def test_21_a_block_holds_in_every_mode_before_anything_is_sent(
    recorded: Any, server: Any, policy: Path, way: str
) -> None:
    """Nothing leaves, nothing is retried or wrapped, the row says blocked and costs 0."""
    made = recorded(policy=policy, max_retries=5)
    began = time.monotonic()
    with pytest.raises(PolicyViolation) as caught:
        _ways(made.client)[way]()
    assert time.monotonic() - began < 0.4, "no retry with its pause"
    assert type(caught.value) is OpenAIPolicyViolation
    assert isinstance(caught.value, openai.OpenAIError)
    assert SECRET not in str(caught.value)
    assert server.script.requests == []
    row = made.call
    assert (row["status"], row["cost_usd"], row["verdict"]) == ("blocked", 0, "block")
    verdict_ids = {verdict["verdict_id"] for verdict in made.rows("verdicts")}
    assert caught.value.verdict_id in verdict_ids
    assert SECRET not in json.dumps(made.run.tables, default=str)


async def test_21_a_block_holds_in_the_async_client(recorded: Any, server: Any, policy: Path) -> None:
    """create, stream, helpers, raw responses and the bare HTTP client."""
    made = recorded(AsyncOpenAI, policy=policy)
    chat, question = made.client.chat.completions, ask(SECRET)
    stream = getattr(chat, "stream", None) or made.client.beta.chat.completions.stream
    ways: list[Any] = [
        chat.create(**question),
        chat.create(**question, stream=True),
        stream(**question).__aenter__(),
        chat.with_raw_response.create(**question),
        chat.with_streaming_response.create(**question).__aenter__(),
        made.client.responses.create(model="m", input=SECRET),
        made.client.embeddings.create(model="m", input=SECRET),
        made.client._client.post(f"{made.client.base_url}chat/completions", json=question),
    ]
    for way in ways:
        with pytest.raises(OpenAIPolicyViolation):
            await way
    assert server.script.requests == []
    assert [row["status"] for row in made.calls] == ["blocked"] * len(ways)


def test_21_a_violation_survives_pickling(recorded: Any, policy: Path) -> None:
    """It may be raised in a worker process."""
    with pytest.raises(OpenAIPolicyViolation) as caught:
        recorded(policy=policy).client.chat.completions.create(**ask(SECRET))
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is OpenAIPolicyViolation
    assert (str(again), again.verdict_id) == (str(caught.value), caught.value.verdict_id)


def test_21_the_verdict_is_written_before_the_exception_is_raised(recorded: Any, policy: Path, settings: Any) -> None:
    """A process that dies of the violation leaves the verdict behind."""
    made = recorded(policy=policy)
    with pytest.raises(OpenAIPolicyViolation):
        made.client.chat.completions.create(**ask(SECRET))
    written = b"".join(file.read_bytes() for file in settings.home.rglob("*") if file.is_file())
    assert b'"verdict"' in written
    assert b'"blocked"' in written
    assert SECRET.encode() not in written


@pytest.mark.parametrize("tool", [False, True])
def test_21_an_answer_that_is_blocked_was_bought(recorded: Any, server: Any, policy: Path, tool: bool) -> None:
    """Content or a tool's arguments: the application gets the exception, the row the usage."""
    if tool:
        server.script.tool_arguments = json.dumps({"body": SECRET})
    else:
        server.script.answer = f"the token is {SECRET}"
    made = recorded(policy=policy)
    with pytest.raises(OpenAIPolicyViolation) as caught:
        made.client.chat.completions.create(**ask("x"))
    assert caught.value.scope == ("tool_args" if tool else "output")
    row = made.call
    assert (row["status"], row["input_tokens"], row["output_tokens"]) == ("blocked", 1000, 10)
    assert row["cost_usd"] is None, "bought at a price that is not known here, so not 0"
    assert SECRET not in json.dumps(made.run.tables, default=str)


def test_22_the_model_gets_the_redacted_text_and_the_application_keeps_its_own(
    recorded: Any, server: Any, policy: Path
) -> None:
    """Messages, parts, objects of the SDK, tool results: all redacted on the wire, none changed in memory."""
    made = recorded(policy=policy)
    earlier = made.client.chat.completions.create(**ask("x")).choices[0].message
    messages = [
        {"role": "system", "content": f"owner {MAIL}"},
        earlier,
        {"role": "user", "content": [{"type": "text", "text": f"write to {MAIL}"}]},
        {"role": "assistant", "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "find", "arguments": json.dumps({"who": MAIL})}}]},
        {"role": "tool", "tool_call_id": "c1", "content": f"found {MAIL}"},
    ]  # fmt: skip
    before = copy.deepcopy(messages)
    made.client.chat.completions.create(model="gpt-4o", messages=messages)
    sent = json.dumps(server.script.requests[1])
    assert MAIL not in sent
    assert sent.count(MARK) == 4
    assert messages == before
    json.loads(server.script.requests[1]["messages"][3]["tool_calls"][0]["function"]["arguments"])


def test_22_nothing_written_holds_the_raw_text(recorded: Any, server: Any, policy: Path, settings: Any) -> None:
    """Not the request, the answer, the error text, the tags; not in the tables and not in the journal."""
    server.script.failures = [400]
    made = recorded(policy=policy, max_retries=0)
    with pytest.raises(openai.BadRequestError):
        made.client.chat.completions.create(**ask(f"to {MAIL}"))
    server.script.answer = f"from {MAIL}"
    made.client.chat.completions.create(**ask(f"to {MAIL}"))
    made.client.embeddings.create(model="m", input=MAIL)
    made.client.responses.create(model="m", input=[{"role": "user", "content": MAIL}], instructions=MAIL)
    assert MAIL not in json.dumps(server.script.requests)
    assert len(made.calls) == 4
    assert MAIL not in json.dumps(made.run.tables, default=str)
    assert MAIL.encode() not in b"".join(file.read_bytes() for file in settings.home.rglob("*") if file.is_file())


def test_22_without_a_policy_the_record_is_redacted_and_the_call_is_not(recorded: Any, server: Any) -> None:
    """The default redaction is of what is written."""
    made = recorded()
    made.client.chat.completions.create(**ask(f"to {MAIL}"))
    assert MAIL in json.dumps(server.script.requests)
    assert len(made.calls) == 1
    assert MAIL not in json.dumps(made.run.tables, default=str)


@pytest.mark.parametrize("way", ["create", "parse", "raw", "streaming response", "responses", "http client"])
def test_23_a_whole_answer_is_redacted(recorded: Any, server: Any, policy: Path, way: str) -> None:
    """Whatever object the application reads it from."""
    server.script.answer = json.dumps({"name": f"mail {MAIL}"})
    made = recorded(policy=policy)
    client, chat = made.client, made.client.chat.completions
    parse = getattr(chat, "parse", None) or client.beta.chat.completions.parse
    if way == "create":
        told = chat.create(**ask("x")).model_dump_json()
    elif way == "parse":
        answer = parse(**ask("x"), response_format=City)
        assert answer.choices[0].message.parsed.name == f"mail {MARK}"
        told = answer.choices[0].message.content
    elif way == "raw":
        raw = chat.with_raw_response.create(**ask("x"))
        told = raw.text + raw.parse().choices[0].message.content
    elif way == "streaming response":
        with chat.with_streaming_response.create(**ask("x")) as response:
            told = "".join(response.iter_lines())
    elif way == "responses":
        told = client.responses.create(model="m", input="x").output_text
    else:
        told = client._client.post(f"{client.base_url}chat/completions", json=ask("x")).text
    assert MARK in told
    assert MAIL not in told


@pytest.mark.parametrize("chars", [1, 3, 7, 200])
@pytest.mark.parametrize("api", ["chat", "responses", "helper", "tool"])
def test_23_no_raw_character_of_a_finding_escapes_from_a_stream(
    recorded: Any, server: Any, policy: Path, api: str, chars: int
) -> None:
    """However the pieces are cut, their text is the redaction of the whole; repeated wholes are it too."""
    server.script.piece_chars = chars
    server.script.answer = f"Write to {MAIL} or {MAIL}, please. {ANSWER}"
    expected = server.script.answer.replace(MAIL, MARK)
    made = recorded(policy=policy)
    client = made.client
    if api == "tool":
        server.script.tool_arguments = json.dumps({"to": MAIL, "n": 1})
        chunks = list(client.chat.completions.create(**ask("x"), stream=True))
        calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
        assert json.loads("".join(call.function.arguments for call in calls)) == {"to": MARK, "n": 1}
        told = "".join(chunk.model_dump_json() for chunk in chunks)
    elif api == "chat":
        chunks = list(client.chat.completions.create(**ask("x"), stream=True))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == expected
        told = "".join(chunk.model_dump_json() for chunk in chunks)
    elif api == "helper":
        stream = getattr(client.chat.completions, "stream", None) or client.beta.chat.completions.stream
        with stream(**ask("x")) as events:
            told = "".join(event.model_dump_json() for event in events)
            assert events.get_final_completion().choices[0].message.content == expected
    else:
        found = list(client.responses.create(model="m", input="x", stream=True))
        assert "".join(event.delta for event in found if event.type == "response.output_text.delta") == expected
        assert found[-1].response.output_text == expected
        told = "".join(event.model_dump_json() for event in found)
    assert MAIL not in told
    assert made.call["status"] == "ok"
    assert made.call["verdict"] == "redact"
    assert MAIL not in json.dumps(made.run.tables, default=str)


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_23_a_stream_is_blocked_before_the_finding_goes_out(recorded: Any, server: Any, policy: Path, api: str) -> None:
    """What came before may have gone out; nothing of the secret has, and the connection is let go."""
    server.script.answer = f"Well, the token is {SECRET} indeed. " + ANSWER * 50
    made = recorded(policy=policy)
    client = made.client
    told: list[str] = []

    def read() -> None:
        if api == "chat":
            for chunk in client.chat.completions.create(**ask("x"), stream=True):
                told.append(chunk.choices[0].delta.content or "")
        else:
            for event in client.responses.create(model="m", input="x", stream=True):
                told.append(event.delta if event.type == "response.output_text.delta" else "")

    with pytest.raises(OpenAIPolicyViolation) as caught:
        read()
    text = "".join(told)
    assert "Well, the token is ".startswith(text)
    assert SECRET[:8] not in text
    row = made.call
    assert (row["status"], row["verdict"]) == ("blocked", "block")
    assert row["output_tokens"] > 0, "what was made before the block was bought"
    assert caught.value.verdict_id in {verdict["verdict_id"] for verdict in made.rows("verdicts")}
    assert made.rows("traces")[0]["output"] == text


def test_23_log_probabilities_do_not_tell_what_was_hidden(recorded: Any, server: Any, policy: Path) -> None:
    """They spell every token: whole answers lose them where a text was changed, streams under such a policy always."""
    made = recorded(policy=policy)
    chat = made.client.chat.completions
    assert chat.create(**ask("x"), logprobs=True).choices[0].logprobs is not None
    server.script.answer = f"mail {MAIL}"
    server.script.piece_chars = 200
    assert MAIL not in chat.create(**ask("x"), logprobs=True).model_dump_json()
    assert MAIL not in chat.with_raw_response.create(**ask("x"), logprobs=True).text
    told = "".join(chunk.model_dump_json() for chunk in chat.create(**ask("x"), logprobs=True, stream=True))
    assert MAIL not in told
    assert MARK in told


def test_23_a_piece_that_is_not_understood_is_refused_only_where_a_policy_must_see_it(
    recorded: Any, server: Any, policy: Path
) -> None:
    """Without a policy the application reads on; with one the stream is blocked."""
    server.script.odd_event = True
    made = recorded()
    events = list(made.client.responses.create(model="m", input="x", stream=True))
    assert events[-1].response.output_text == ANSWER
    assert made.call["status"] == "ok"
    guarded = recorded(policy=policy)
    with pytest.raises(OpenAIPolicyViolation, match="could not be read"):
        list(guarded.client.responses.create(model="m", input="x", stream=True))
    assert guarded.call["status"] == "blocked"


def test_23_a_policy_on_tool_arguments_alone_governs_raw_streams_too(
    recorded: Any, server: Any, tmp_path: Path
) -> None:
    """What a tool gets is an answer as well."""
    file = tmp_path / "tools.yaml"
    file.write_text(
        "pack: {name: t}\npolicies:\n  chain: [secrets]\n  policy:\n    secrets: {action: block, scopes: [tool_args]}\n"
    )
    server.script.tool_arguments = json.dumps({"body": SECRET})
    made = recorded(policy=file)
    chat = made.client.chat.completions
    with pytest.raises(OpenAIPolicyViolation):
        list(chat.create(**ask("x"), stream=True))
    with (
        chat.with_streaming_response.create(**ask("x"), stream=True) as response,
        pytest.raises(OpenAIPolicyViolation, match="parse"),
    ):
        next(iter(response.iter_lines()))


async def test_23_async_streams_are_redacted_and_blocked_too(recorded: Any, server: Any, policy: Path) -> None:
    """The same rules for the async client, also through ``with_streaming_response``."""
    made = recorded(AsyncOpenAI, policy=policy)
    chat = made.client.chat.completions
    server.script.answer = f"mail {MAIL}"
    stream = await chat.create(**ask("x"), stream=True)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == f"mail {MARK}"
    server.script.answer = f"token {SECRET}"
    with pytest.raises(OpenAIPolicyViolation):
        async for _ in await chat.create(**ask("x"), stream=True):
            pass
    async with chat.with_streaming_response.create(**ask("x"), stream=True) as response:
        with pytest.raises(OpenAIPolicyViolation):
            async for _ in await response.parse():
                pass
    assert [row["status"] for row in made.calls] == ["ok", "blocked", "blocked"]


def test_23_raw_lines_of_a_stream_are_refused_where_a_policy_acts_on_output(recorded: Any, policy: Path) -> None:
    """They can't be judged, so they are not handed out; the parsed stream is."""
    made = recorded(policy=policy)
    with (
        made.client.chat.completions.with_streaming_response.create(**ask("x"), stream=True) as response,
        pytest.raises(OpenAIPolicyViolation, match="parse"),
    ):
        next(iter(response.iter_lines()))
    with pytest.raises(OpenAIPolicyViolation, match="own methods"):
        made.client._client.post(f"{made.client.base_url}chat/completions", json=ask("x", stream=True))


def test_23_a_redaction_that_breaks_the_structure_is_an_error_not_a_leak(
    recorded: Any, server: Any, policy: Path
) -> None:
    """A structured answer whose redacted text does not fit any more is refused."""

    class Contact(BaseModel):
        name: str

        def model_post_init(self, context: object, /) -> None:
            if "@" not in self.name:
                raise ValueError("an address, please")

    server.script.answer = json.dumps({"name": MAIL})
    made = recorded(policy=policy)
    parse = getattr(made.client.chat.completions, "parse", None) or made.client.beta.chat.completions.parse
    with pytest.raises((OpenAIPolicyViolation, ValueError)) as caught:
        parse(**ask("x"), response_format=Contact)
    assert MAIL not in str(caught.value)
    assert made.call["status"] == "blocked"


def test_the_http_client_is_traced_without_a_policy_too(recorded: Any) -> None:
    """Calls beside the SDK, streamed or not, are rows with usage and output."""
    made = recorded()
    http_client, url = made.client._client, f"{made.client.base_url}chat/completions"
    assert ANSWER in http_client.post(url, json=ask("x")).text
    body = ask("x", stream=True, stream_options={"include_usage": True})
    with http_client.stream("POST", url, json=body) as response:
        assert list(response.iter_lines())[-2] == "data: [DONE]"
    assert [(row["status"], row["input_tokens"]) for row in made.calls] == [("ok", 1000)] * 2
    assert [trace["output"] for trace in made.rows("traces")] == [ANSWER] * 2


def test_26_importing_loads_neither_wandb_nor_catalogue_and_opens_no_socket() -> None:
    """Import and govern(); the first call is the first that touches the network."""
    code = """
import sys
def refuse(event, args):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise RuntimeError("network: " + event)
sys.addaudithook(refuse)
from openai import OpenAI
from wandb_governance_openai import govern
client = govern(OpenAI(api_key="x"))
heavy = {"wandb", "genai_prices", "tiktoken", "langchain_core", "llama_index"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


@pytest.mark.skipif(not IS_3, reason="openai 1 and 2 know httpx alone, which every other test uses there")
def test_26_a_client_over_the_older_httpx_is_governed_as_well(recorded: Any, server: Any, policy: Path) -> None:
    """Openai 3 speaks httpx2, and still takes an httpx client."""
    import httpx

    with httpx.Client() as http_client:
        made = recorded(policy=policy, http_client=http_client)
        made.client.chat.completions.create(**ask(f"to {MAIL}"))
        list(made.client.chat.completions.create(**ask("x"), stream=True))
        http_client.post(f"{made.client.base_url}chat/completions", json=ask(f"to {MAIL}"))
        with pytest.raises(OpenAIPolicyViolation):
            http_client.post(f"{made.client.base_url}chat/completions", json=ask(SECRET))
        assert MAIL not in json.dumps(server.script.requests)
        assert [row["status"] for row in made.calls] == ["ok", "ok", "ok", "blocked"]


def test_1_sync_calls_inside_a_running_loop_are_the_same(recorded: Any) -> None:
    """A notebook."""
    made = recorded()

    async def cell() -> str:
        return str(made.client.chat.completions.create(**ask("x")).choices[0].message.content)

    assert asyncio.run(cell()) == ANSWER
    assert made.call["status"] == "ok"


def test_25_odd_and_huge_requests_go_through(recorded: Any, settings: Any, server: Any) -> None:
    """Ten megabytes, lone surrogates: the call is the SDK's business, the row is cut with length and digest."""
    made = recorded()
    made.client.chat.completions.create(**ask("a" * 10_000_000))
    trace = made.trace
    assert len(trace["input"]) <= settings.content_limit_chars
    assert "[10000000 characters, sha256 " in trace["input"]
    plain = OpenAI(api_key="x", base_url=server.url, max_retries=0)
    outcomes = []
    for client in (plain, made.client):
        try:
            client.chat.completions.create(**ask("\ud800"))
            outcomes.append("ok")
        except (UnicodeEncodeError, openai.APIError):
            outcomes.append("error")
    # Older HTTP clients escape a lone surrogate, newer ones refuse it; ours does as the SDK does.
    assert outcomes[0] == outcomes[1]
    assert [row["status"] for row in made.calls] == ["ok", outcomes[1]]
    govern(made.client, run=made.run, settings=settings)


def test_25_a_request_that_makes_no_sense_is_the_servers_to_refuse_unless_a_policy_must_see_it(
    recorded: Any, server: Any, policy: Path
) -> None:
    """Telemetry never breaks a call; enforcement fails closed."""
    odd: Any = {"model": "gpt-4o", "messages": 5}
    recorded().client.chat.completions.create(**odd)
    assert len(server.script.requests) == 1
    made = recorded(policy=policy)
    with pytest.raises(OpenAIPolicyViolation, match="can't be judged"):
        made.client.chat.completions.create(**odd)
    assert len(server.script.requests) == 1
    assert made.call["status"] == "blocked"
