"""Attacks on the gateway itself are refused, and cheaply."""

from __future__ import annotations

import hashlib
import json
import socket
import time
from typing import Any

import httpx
import pytest

from wandb_governance.errors import PolicyDocumentError
from wandb_governance.gateway.deployment import load_deployment, refused_address

BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()
KEY = "vk-team-a-secret"
KEYED = """
pack: {{name: p}}
providers:
  targets: [{{id: main, provider: openai-compatible, base_url: "{url}", secret_key_ref: {{env: UPSTREAM_KEY}}}}]
policies:
  chain: [rbac, rate-limit, cost-tracker, audit-logger]
  policy:
    rbac: {{roles: {{dev: {{models: [m, gpt-4o]}}}}}}
    rate-limit: {{requests_per_minute: 30, burst: 20, by: [key], path: "{home}/b.sqlite"}}
    cost-tracker: {{limit_usd: 100, by: [team], path: "{home}/b.sqlite"}}
    audit-logger: {{log_all_access: true}}
gateway:
  keys:
    - {{id: team-a, sha256: {a}, roles: [dev], team: a, budget_usd: "0.05"}}
    - {{id: team-b, sha256: {b}, roles: [], team: b}}
  limits: {{max_body_bytes: 4096, body_timeout_s: 1}}
"""


@pytest.fixture
def keyed(gateway_of: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("UPSTREAM_KEY", "sk-upstream")
    a, b = (hashlib.sha256(key.encode()).hexdigest() for key in (KEY, "vk-b"))
    return gateway_of(KEYED, home=tmp_path, a=a, b=b)


def talk(gateway: Any, data: bytes, *, wait_s: float = 5) -> bytes:
    """What comes back for raw bytes, until the server closes or is silent."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=wait_s) as connection:
        connection.sendall(data)
        answer = b""
        while True:
            try:
                piece = connection.recv(65536)
            except (TimeoutError, ConnectionResetError):
                return answer
            if not piece:
                return answer
            answer += piece


def request(headers: bytes, body: bytes = BODY, path: bytes = b"/v1/chat/completions") -> bytes:
    return b"POST " + path + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" + headers + b"\r\n" + body


def post(gateway: Any, key: str = KEY, model: str = "m", **more: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}
    return httpx.post(
        f"{gateway.url}/chat/completions", json=body, headers={"authorization": f"Bearer {key}"}, timeout=10
    )


LENGTH = b"content-length: %d\r\n" % len(BODY)
AUTH = b"authorization: Bearer " + KEY.encode() + b"\r\n"


def test_a_key_opens_and_the_upstream_gets_its_own_key(keyed: Any, provider: Any) -> None:
    """The client's key never leaves."""
    assert post(keyed).status_code == 200
    sent = provider.requests[0]["headers"]
    assert sent["Authorization"] == "Bearer sk-upstream"
    assert KEY not in str(provider.requests[0])


@pytest.mark.parametrize("key", ["", "wrong", KEY[:-1], KEY + "x", KEY.upper(), "ключ", "a" * 5000])
def test_a_wrong_key_is_refused_before_the_body_is_read(key: str, keyed: Any, provider: Any) -> None:
    """401, nothing upstream, and a record."""
    headers = b"authorization: Bearer " + key.encode() + b"\r\ncontent-length: 1000000\r\n"
    answer = talk(keyed, request(headers, b""), wait_s=2)
    assert answer.split(b"\r\n")[0].split(b" ")[1] == b"401"
    assert b"invalid_api_key" in answer
    assert provider.requests == []
    assert keyed.wait_for_records(1)[0]["facts"]["status"] == 401


SMUGGLING = {
    "both lengths": LENGTH + b"transfer-encoding: chunked\r\n",
    "two lengths": LENGTH + b"content-length: 5\r\n",
    "a length that is no number": b"content-length: 1e3\r\n",
    "a negative length": b"content-length: -1\r\n",
    "an unknown coding": b"transfer-encoding: xchunked\r\n",
    "a folded header": b"x-a: b\r\n c\r\n" + LENGTH + b"content-length : 4\r\n",
    "a bare line feed in a header": b"x-a: b\nx-injected: 1\r\ncontent-length: 5\r\ncontent-length: 6\r\n",
    "two keys": AUTH + LENGTH,
}


@pytest.mark.parametrize("how", SMUGGLING)
def test_smuggling_is_refused(how: str, keyed: Any, provider: Any) -> None:
    """One reading of a request, or none."""
    answer = talk(keyed, request(AUTH + SMUGGLING[how]), wait_s=3)
    assert answer.split(b" ")[1:2] in ([b"400"], [b"413"])
    assert answer.count(b"HTTP/1.1") == 1
    assert provider.requests == []


def test_a_second_request_in_the_body_is_not_served(keyed: Any, provider: Any) -> None:
    """The declared length is the body's."""
    inner = request(AUTH + LENGTH)
    answer = talk(keyed, request(AUTH + b"content-length: %d\r\n" % len(inner), inner), wait_s=3)
    assert answer.split(b" ")[1] == b"400"
    assert provider.requests == []


@pytest.mark.parametrize(
    "path",
    [b"/v1/chat/completions/..", b"//v1/chat/completions", b"/v1/../v1/chat/completions", b"/v1/chat%2fcompletions",
     b"/v1/chat/completions/", b"/V1/chat/completions", b"/v1/files", b"/v1/chat/completions%00", b"/../../etc/passwd",
     b"/v1/chat/completions;x"],
)  # fmt: skip
def test_only_the_exact_paths_are_served(path: bytes, keyed: Any, provider: Any) -> None:
    """No normalising, so no two opinions."""
    answer = talk(keyed, request(AUTH + LENGTH, path=path), wait_s=3)
    assert answer.split(b" ")[1] == b"404"
    assert provider.requests == []


def test_an_absolute_target_does_not_make_a_proxy(keyed: Any, provider: Any) -> None:
    """The gateway calls whom its document names."""
    answer = talk(keyed, request(AUTH + LENGTH, path=b"http://169.254.169.254/v1/chat/completions"), wait_s=3)
    assert answer.split(b" ")[1] in {b"200", b"400", b"404"}
    assert all(sent["headers"]["Host"].startswith("127.0.0.1") for sent in provider.requests)


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_over_the_limit_is_refused(declared: bool, keyed: Any, provider: Any) -> None:
    """By its length where that is given, else as it comes."""
    body = b"x" * 10_000
    headers = b"content-length: 10000\r\n" if declared else b"transfer-encoding: chunked\r\n"
    data = body if declared else b"2710\r\n" + body + b"\r\n0\r\n\r\n"
    assert talk(keyed, request(AUTH + headers, data), wait_s=3).split(b" ")[1] == b"413"
    assert provider.requests == []


def test_a_body_that_never_comes_is_given_up(keyed: Any) -> None:
    """A slow sender holds a connection for a second, not for ever."""
    began = time.monotonic()
    answer = talk(keyed, request(AUTH + LENGTH, BODY[:10]), wait_s=5)
    assert answer.split(b" ")[1] == b"408"
    assert time.monotonic() - began < 4


def test_headers_without_end_are_refused(keyed: Any) -> None:
    """More than 32 kB before a body is no request."""
    assert talk(keyed, request(AUTH + b"x-pad: " + b"a" * 70_000 + b"\r\n" + LENGTH), wait_s=3)[:12] in {
        b"HTTP/1.1 431",
        b"",
    }
    many = b"".join(b"x-%d: a\r\n" % n for n in range(9_000))
    assert talk(keyed, request(AUTH + many + LENGTH), wait_s=3)[:12] in {b"HTTP/1.1 431", b""}


@pytest.mark.parametrize("name", [b"x-\xc3\xa9", b"x-a\x00b", b"x a"])
def test_odd_header_names_and_values_do_no_harm(name: bytes, keyed: Any) -> None:
    """Refused, or served without them."""
    answer = talk(keyed, request(AUTH + LENGTH + name + b": \xe2\x80\xae\xff\r\n"), wait_s=3)
    assert answer.split(b" ")[1] in {b"200", b"400"}
    assert post(keyed).status_code == 200


BODIES = {
    "no JSON": b"{",
    "no object": b"[1]",
    "no model": b"{}",
    "a model that is no text": b'{"model": 3, "messages": []}',
    "no messages": b'{"model": "m"}',
    "messages that are no list": b'{"model": "m", "messages": {"role": "user"}}',
    "a message that is no object": b'{"model": "m", "messages": ["hi"]}',
    "content that is a number": b'{"model": "m", "messages": [{"role": "user", "content": 3}]}',
    "deep nesting": b'{"model": "m", "messages": ' + b"[" * 1500 + b"]" * 1500 + b"}",
    "wrong UTF-8": b'{"model": "m\xff", "messages": []}',
}


@pytest.mark.parametrize("what", BODIES)
def test_a_wrong_body_is_refused_and_never_forwarded(what: str, keyed: Any, provider: Any) -> None:
    """What can't be read can't be checked."""
    headers = AUTH + b"content-length: %d\r\n" % len(BODIES[what])
    assert talk(keyed, request(headers, BODIES[what]), wait_s=3).split(b" ")[1] == b"400"
    assert provider.requests == []


def test_an_encoded_body_is_refused(keyed: Any) -> None:
    """No decompression, no bomb."""
    assert talk(keyed, request(AUTH + LENGTH + b"content-encoding: gzip\r\n"), wait_s=3).split(b" ")[1] == b"415"


def test_a_thousand_idle_connections_leave_it_serving(keyed: Any) -> None:
    """They cost a socket each."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    idle = []
    try:
        for _ in range(1_000):
            idle.append(socket.create_connection(("127.0.0.1", keyed.port), timeout=5))
        began = time.monotonic()
        assert post(keyed).status_code == 200
        assert time.monotonic() - began < 3
    finally:
        for connection in idle:
            connection.close()


def test_a_connection_that_says_nothing_is_closed(keyed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time for headers."""
    from wandb_governance.gateway.protocol import GuardedProtocol

    monkeypatch.setattr(GuardedProtocol, "header_timeout_s", 0.5)
    began = time.monotonic()
    assert talk(keyed, b"POST /v1/chat", wait_s=5) == b""
    assert 0.3 < time.monotonic() - began < 4


def test_access_follows_the_key(keyed: Any, provider: Any) -> None:
    """A role that is not granted the model, and a key without a role."""
    assert post(keyed, model="o3").json()["error"]["code"] == "access_denied"
    denied = post(keyed, key="vk-b")
    assert denied.status_code == 403
    assert denied.json()["error"]["policy"] == "rbac"
    assert provider.requests == []


def test_a_burst_is_paced(keyed: Any) -> None:
    """20 at once, then 429."""
    codes = [post(keyed).status_code for _ in range(26)]
    assert codes[:20] == [200] * 20
    assert 429 in codes[20:]


def test_a_key_can_not_spend_more_than_its_budget(keyed: Any) -> None:
    """Each call reserves what it may cost before it goes out."""
    answer = post(keyed, model="gpt-4o", max_tokens=100_000)
    assert answer.status_code == 429
    assert answer.json()["error"]["code"] == "insufficient_quota"
    assert answer.headers["x-should-retry"] == "false"
    assert post(keyed, model="gpt-4o", max_tokens=10).status_code == 200


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "0.0.0.0", "fd00:ec2::254", "224.0.0.1"]
)
def test_addresses_of_no_model_are_refused(address: str) -> None:
    """Metadata services above all, whatever the document allows."""
    assert refused_address(address, allow_private=True)


def test_private_addresses_are_refused_where_the_document_says_so() -> None:
    """Loopback and private ranges."""
    for address in ("127.0.0.1", "10.0.0.1", "192.168.1.1", "::1", "fd00::1"):
        assert refused_address(address, allow_private=True) is None
        assert refused_address(address, allow_private=False)
    assert refused_address("1.1.1.1", allow_private=False) is None


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/v1", "file:///etc/passwd", "http://user:pw@host/v1", "gopher://x/", "http://[fe80::1]/v1"],
)
def test_a_document_can_not_point_at_them(url: str, tmp_path: Any) -> None:
    """Refused where it is read, with the line."""
    path = tmp_path / "p.yaml"
    path.write_text(
        f'pack: {{name: p}}\nproviders:\n  targets:\n    - {{id: a, provider: openai-compatible, base_url: "{url}"}}\n'
    )
    with pytest.raises(PolicyDocumentError) as caught:
        load_deployment(path)
    assert caught.value.line == 4


def test_a_name_that_resolves_to_a_refused_address_is_not_called(gateway_of: Any) -> None:
    """Checked when it connects, for a name may change."""
    gateway = gateway_of(
        "pack: {{name: p}}\nproviders:\n"
        '  targets: [{{id: a, provider: openai-compatible, base_url: "http://localhost:9/v1", retries: 0}}]\n'
        "gateway: {{allow_private_upstreams: false}}\n"
    )
    answer = post(gateway)
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "upstream_unreachable"
