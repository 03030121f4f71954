"""The provider sees pseudonyms, the caller gets the values back, and what the model adds is redacted."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import httpx
import openai
import pytest

MAIL = "maria@example.com"
DOCUMENT = """
pack: {{name: p}}
providers:
  targets: [{{id: main, provider: openai-compatible, base_url: "{url}", retries: 0}}]
policies:
  chain: [pii-detector, audit-logger]
  policy:
    pii-detector:
      entities: [EMAIL, PHONE, CREDIT_CARD, SSN]
      # The benchmark draws values from ranges that are never issued, which the checks rightly refuse.
      detect_patterns:
        - {{name: us_ssn, entity: US_SSN, pattern: '\\b9\\d{{2}}-\\d{{2}}-\\d{{4}}\\b'}}
        - {{name: us_phone, entity: PHONE_NUMBER, pattern: '\\b[2-9]\\d{{2}}-555-01\\d{{2}}\\b'}}
      redaction: {{reversible: true}}
"""


@pytest.fixture
def reversible(gateway_of: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("WANDB_GOVERNANCE_HOME", str(tmp_path / "home"))
    return gateway_of(DOCUMENT)


def placeholder(provider: Any) -> str:
    text = provider.requests[-1]["body"]["messages"][0]["content"]
    assert MAIL not in text
    return str(text.split()[-1])


def test_an_echo_comes_back_as_the_value_and_a_new_value_does_not(reversible: Any, provider: Any) -> None:
    """Whole, streamed in single characters, and in tool arguments."""
    sdk = openai.OpenAI(base_url=reversible.url, api_key="k", max_retries=0)
    ask: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": f"I am {MAIL}"}], "user": "u1"}
    sdk.chat.completions.create(**ask)
    name = placeholder(provider)
    provider.default = {"text": f"hi {name}, meet other@example.com"}
    assert sdk.chat.completions.create(**ask).choices[0].message.content == f"hi {MAIL}, meet [EMAIL_ADDRESS]"
    assert placeholder(provider) == name
    provider.default = {"deltas": list(f"hi {name}, meet other@example.com now")}
    text = "".join(c.choices[0].delta.content or "" for c in sdk.chat.completions.create(**ask, stream=True))
    assert text == f"hi {MAIL}, meet [EMAIL_ADDRESS] now"
    provider.default = {"tool_deltas": list('{"to": "' + name + '"}')}
    chunks = list(sdk.chat.completions.create(**ask, stream=True))
    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert "".join(call.function.arguments or "" for call in calls if call.function) == f'{{"to": "{MAIL}"}}'
    records = reversible.wait_for_records(4)
    assert MAIL not in str(records)


def test_another_callers_placeholder_stays_one(reversible: Any, provider: Any) -> None:
    """Only what this call held is turned back."""
    ask = {"model": "m", "messages": [{"role": "user", "content": f"I am {MAIL}"}], "user": "u1"}
    httpx.post(f"{reversible.url}/chat/completions", json=ask)
    name = placeholder(provider)
    provider.default = {"text": f"and {name}"}
    other = {"model": "m", "messages": [{"role": "user", "content": "who is there"}], "user": "u1"}
    answer = httpx.post(f"{reversible.url}/chat/completions", json=other).json()
    assert answer["choices"][0]["message"]["content"] == f"and {name}"


@pytest.mark.soak
def test_the_public_leak_benchmark_passes(gateway_of: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """pii-leak-benchmark v2 with exhaustive splits: fidelity 1.0, leak 0."""
    pytest.importorskip("pii_leak_benchmark")
    import json
    import socket

    monkeypatch.setenv("WANDB_GOVERNANCE_HOME", str(tmp_path / "home"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    gateway = gateway_of(DOCUMENT.replace("{url}", f"http://127.0.0.1:{port}/v1"))
    command = [
        sys.executable,
        "-m",
        "pii_leak_benchmark.v2_cli",
        "--out",
        str(tmp_path / "out"),
        "--only",
        "passthrough",
    ]
    command += ["--gateway-url", f"{gateway.url}/chat/completions", "--upstream-port", str(port), "--exhaustive-splits"]
    command += ["--seed", "a1b2c3d4e5f60001", "--partial-emission", "--json-out", str(tmp_path / "s.json")]
    subprocess.run(command, check=False, timeout=280, capture_output=True)
    report = json.loads((tmp_path / "out" / "passthrough.json").read_text())
    assert report["metrics"]["fidelity_rate"] == 1.0
    assert report["metrics"]["leak_rate"] == {"single_chunk": 0.0, "adversarial": 0.0, "overall": 0.0}
    assert report["checks"]["configured_upstream_boundary"]["leaked_entity_types"] == []
