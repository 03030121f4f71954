"""Whatever the upstream does: no client hangs, no record is lost, nothing leaks that a policy withholds."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import httpx
import pytest

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
MAIL = "maria@example.com"
HEAD = b'data: {"id":"x","model":"m","choices":[{"index":0,"delta":{"content":"'
TAIL = b'"},"finish_reason":null}]}\n\n'


def post(gateway: Any, body: dict[str, Any] | None = None, **more: Any) -> httpx.Response:
    return httpx.post(f"{gateway.url}/chat/completions", json={**BODY, **(body or {})}, timeout=15, **more)


def events(text: str) -> list[dict[str, Any]]:
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def content(text: str) -> str:
    return "".join(c["delta"].get("content") or "" for e in events(text) for c in e.get("choices", []))


WHOLE = {
    "a reset": ({"reset": True}, 502),
    "a stall": ({"stall_s": 20}, 504),
    "not JSON": ({"raw": b"<html>oops"}, 502),
    "half a JSON": ({"raw": b'{"choices": [{"mess'}, 502),
    "JSON that is no object": ({"raw": b"[1]"}, 502),
    "429": ({"raw": b'{"error": {"message": "slow down", "type": "rate", "code": "x"}}', "status": 429}, 429),
    "500": ({"raw": b"oops", "status": 500}, 500),
    "401": ({"raw": b'{"error": {"message": "bad key"}}', "status": 401}, 401),
    "a redirect": ({"raw": b"", "status": 302, "headers": {"location": "http://169.254.169.254/"}}, 502),
}


@pytest.mark.parametrize("fault", WHOLE)
def test_a_fault_of_a_whole_answer_is_an_error_and_a_record(fault: str, gateway: Any, provider: Any) -> None:
    """In the shape of an openai error, in time."""
    step, status = WHOLE[fault]
    provider.default = step
    began = time.monotonic()
    response = post(gateway)
    assert time.monotonic() - began < 12
    assert response.status_code == status
    assert response.json()["error"]["message"]
    (record,) = gateway.wait_for_records(1)
    assert record["facts"]["status"] == status
    assert record["facts"]["outcome"] in {"error", "refused"}


STREAMS = {
    "an abort while text is held": [HEAD + b"to maria@exam" + TAIL, None],
    "a stall while text is held": [HEAD + b"to maria@exam" + TAIL, 20.0],
    "half a chunk": [HEAD + b"to maria@exam" + TAIL, b'data: {"choices": [{"del'],
    "a chunk that is no JSON": [HEAD + b"to maria@exam" + TAIL, b"data: oops\n\n"],
    "an end without a finish": [HEAD + b"to maria@exam" + TAIL, b"data: [DONE]\n\n"],
    "an error event": [HEAD + b"to maria@exam" + TAIL, b'data: {"error": {"message": "overloaded", "type": "x"}}\n\n'],
    "an end in silence": [HEAD + b"to maria@exam" + TAIL],
}


@pytest.mark.parametrize("fault", STREAMS)
def test_a_fault_in_mid_stream_ends_the_stream_and_leaks_nothing(fault: str, gateway: Any, provider: Any) -> None:
    """What was held back stays back, unless the upstream said that it was done."""
    provider.default = {"bytes": STREAMS[fault]}
    began = time.monotonic()
    response = post(gateway, {"stream": True})
    assert time.monotonic() - began < 12
    assert response.status_code == 200
    if fault == "an end without a finish":
        assert content(response.text) == "to maria@exam"
    else:
        assert "maria" not in response.text
        assert events(response.text)[-1]["error"]["message"]
    (record,) = gateway.wait_for_records(1)
    assert record["facts"]["released_chars"] == len(content(response.text))
    assert record["facts"]["stream"] is True


def test_a_sequence_cut_inside_a_character_is_whole_again(gateway: Any, provider: Any) -> None:
    """TCP cuts anywhere, also inside UTF-8."""
    text = HEAD + "é und ü, maría@example.com ".encode() + TAIL
    end = b'data: {"id":"x","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    provider.default = {"bytes": [bytes([byte]) for byte in text + end]}
    assert content(post(gateway, {"stream": True}).text) == "é und ü, [EMAIL_ADDRESS] "


def test_a_retry_after_a_fault_succeeds(gateway: Any, provider: Any) -> None:
    """One more attempt, before anything went to the client."""
    provider.script = [{"raw": b"oops", "status": 503}]
    response = post(gateway)
    assert response.status_code == 200
    (record,) = gateway.wait_for_records(1)
    assert record["facts"]["attempts"] == 2


FALLBACK = """
pack: {{name: p}}
providers:
  targets:
    - {{id: bad, provider: openai-compatible, base_url: "http://127.0.0.1:9/v1", models: [m], retries: 0,
        fallbacks: [good]}}
    - {{id: good, provider: openai-compatible, base_url: "{url}"}}
policies:
  chain: [pii-detector]
  policy:
    pii-detector: {{entities: [EMAIL]}}
gateway:
  breaker: {{failures: 2, open_s: 60}}
"""


def test_the_fallback_answers_and_an_open_circuit_is_not_tried(gateway_of: Any) -> None:
    """After two failures the bad upstream is left alone."""
    gateway = gateway_of(FALLBACK)
    for _ in range(4):
        assert post(gateway).status_code == 200
    records = gateway.wait_for_records(4)
    assert {record["facts"]["upstream"] for record in records} == {"good"}
    assert [record["facts"]["attempts"] for record in records] == [2, 2, 1, 1]


def test_a_client_that_leaves_stops_the_upstream_and_is_recorded(gateway: Any, provider: Any) -> None:
    """Nobody pays for an answer that nobody reads."""
    provider.default = {"deltas": ["word "] * 400, "pause_s": 0.02}
    with (
        httpx.Client(timeout=10) as client,
        client.stream("POST", f"{gateway.url}/chat/completions", json={**BODY, "stream": True}) as response,
    ):
        next(response.iter_bytes())
    (record,) = gateway.wait_for_records(1)
    assert record["facts"]["outcome"] == "cancelled"
    end = time.monotonic() + 5
    while not provider.aborted and time.monotonic() < end:
        time.sleep(0.02)
    assert provider.aborted == 1


def test_a_client_that_leaves_before_the_answer_is_recorded(gateway: Any, provider: Any) -> None:
    """The upstream's answer is not waited for."""
    provider.default = {"stall_s": 5}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{gateway.url}/chat/completions", json=BODY, timeout=0.5)
    (record,) = gateway.wait_for_records(1, timeout_s=4)
    assert record["facts"]["outcome"] == "cancelled"


BLOCKING = """
pack: {{name: p}}
providers:
  targets: [{{id: main, provider: openai-compatible, base_url: "{url}", timeout_s: 2}}]
policies:
  chain: [secrets, audit-logger]
  policy:
    secrets: {{action: block, response: {{message: "ask security"}}}}
"""


def test_a_block_in_mid_stream_ends_with_content_filter_and_an_error(gateway_of: Any, provider: Any) -> None:
    """The record says how many characters had gone."""
    gateway = gateway_of(BLOCKING)
    secret = "sk-proj-Zx8Kq2Wm7Rt5Yb3Nc9Vd1Fg4Hj6Lp0QsT2uV"
    provider.default = {
        "deltas": ["the first words are fine ", "and the key is sk-proj-Zx8Kq2Wm7Rt5Yb3N", secret[23:], " ok", " more"]
    }
    text = post(gateway, {"stream": True}).text
    assert "sk-proj" not in text
    found = events(text)
    assert found[-2]["choices"][0]["finish_reason"] == "content_filter"
    assert found[-1]["error"]["policy"] == "secrets"
    assert "ask security" in found[-1]["error"]["message"]
    (record,) = gateway.wait_for_records(1)
    assert record["facts"]["blocked_by"] == "secrets"
    assert record["facts"]["released_chars"] == len(content(text)) > 10
    assert secret not in str(record)


def test_a_bad_document_leaves_the_old_one_in_force_and_a_good_one_takes_over(gateway: Any) -> None:
    """Hot reload, each change in the audit log."""
    before = httpx.get(f"http://127.0.0.1:{gateway.port}/health").json()
    good = gateway.document.read_text()
    gateway.document.write_text(good.replace("chain:", "chian:"))
    refused = gateway.wait_for_records(1, "config_refused")
    assert "chian" in refused[0]["facts"]["error"]
    assert httpx.get(f"http://127.0.0.1:{gateway.port}/health").json() == before
    assert post(gateway).status_code == 200
    gateway.document.write_text(good.replace('version: "1"', 'version: "2"'))
    assert gateway.wait_for_records(1, "config_changed")
    assert httpx.get(f"http://127.0.0.1:{gateway.port}/health").json()["version"] == "2"


def test_calls_in_flight_end_before_the_worker_does(gateway: Any, provider: Any) -> None:
    """Graceful drain: the stream is whole."""
    import threading

    provider.default = {"deltas": ["word "] * 20, "pause_s": 0.03}
    texts: list[str] = []
    thread = threading.Thread(target=lambda: texts.append(post(gateway, {"stream": True}).text))
    thread.start()
    time.sleep(0.3)
    gateway.stop()
    thread.join(10)
    assert content(texts[0]) == "word " * 20
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", gateway.port), timeout=1)
    assert [record["kind"] for record in gateway.records("gateway_stopped")] == ["gateway_stopped"]
