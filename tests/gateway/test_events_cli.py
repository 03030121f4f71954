"""events list, verify, prove: on what a gateway wrote."""

from __future__ import annotations

import json
from typing import Any

import httpx
from click.testing import CliRunner, Result

from wandb_governance.cli.events import events


def call(*arguments: Any, code: int = 0) -> Result:
    result = CliRunner().invoke(events, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_events_of_a_gateway_are_listed_verified_and_proved(gateway: Any, tmp_path: Any) -> None:
    """The whole path from a call to a proof that anyone can check."""
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "I am maria@example.com"}]}
    for _ in range(3):
        assert httpx.post(f"{gateway.url}/chat/completions", json=body).status_code == 200
    gateway.stop()
    folder = gateway.home / "audit"
    lines = call("list", "--limit", 2, "--folder", folder).output.splitlines()
    assert len(lines) == 2
    assert "EMAIL_ADDRESS:1" in lines[0]
    record = json.loads(call("list", "--limit", 1, "--folder", folder, "--json").output)
    assert record["payload"]["input"] == ["I am [EMAIL_ADDRESS]"]
    report = json.loads(call("verify", "--folder", folder, "--json").output)
    assert report["ok"]
    assert report["unsigned"] == 0
    proof = tmp_path / "proof.json"
    proof.write_text(call("prove", record["event"], "--folder", folder).output)
    call("check-proof", proof)
    proof.write_text(proof.read_text().replace("EMAIL_ADDRESS", "NOTHING_FOUND"))
    call("check-proof", proof, code=1)
    segment = next(folder.glob("log-0/segment-*.jsonl"))
    segment.write_bytes(segment.read_bytes().replace(b'"status":200', b'"status":201', 1))
    call("verify", "--folder", folder, code=1)
