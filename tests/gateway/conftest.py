"""A gateway on a real socket, served by uvicorn, in front of a provider on another."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from wandb_governance.policy.audit import read_records
from wandb_governance.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_spec = importlib.util.spec_from_file_location("upstream_server", Path(__file__).with_name("upstream_server.py"))
assert _spec is not None
assert _spec.loader is not None
upstream_server = importlib.util.module_from_spec(_spec)
sys.modules["upstream_server"] = upstream_server
_spec.loader.exec_module(upstream_server)
Provider = upstream_server.Provider

DOCUMENT = """
pack: {{name: test, version: "1"}}
providers:
  targets:
    - {{id: main, provider: openai-compatible, base_url: "{url}", retries: 1, timeout_s: 2}}
policies:
  chain: [pii-detector, secrets, audit-logger]
  policy:
    pii-detector: {{entities: [EMAIL, PHONE, CREDIT_CARD, SSN, IP], redaction: {{include_metadata: true}}}}
    secrets: {{action: block}}
    audit-logger: {{log_all_access: true}}
"""


@dataclass
class Gateway:
    """A running gateway."""

    home: Path
    document: Path
    port: int = 0
    app: Any = None
    _stop: Callable[[], None] = field(default=lambda: None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def records(self, kind: str = "call") -> list[dict[str, Any]]:
        return [record for record in read_records(self.home / "audit") if record["kind"] == kind]

    def wait_for_records(self, count: int, kind: str = "call", timeout_s: float = 10) -> list[dict[str, Any]]:
        import time

        end = time.monotonic() + timeout_s
        while len(self.records(kind)) < count and time.monotonic() < end:
            time.sleep(0.02)
        return self.records(kind)

    def stop(self) -> None:
        self._stop()


def start(home: Path, document: str, governance: Any = None) -> Gateway:
    import uvicorn

    from wandb_governance.gateway.protocol import GuardedProtocol
    from wandb_governance.gateway.server import GatewayOptions, build_app

    home.mkdir(exist_ok=True)
    path = home / "policy.yaml"
    path.write_text(document)
    app = build_app(GatewayOptions(policy_config=path), settings=Settings(home=home), governance=governance)
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_level="warning", http=GuardedProtocol, ws="none", lifespan="on",
        server_header=False, date_header=False, access_log=False, timeout_graceful_shutdown=3,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    for _ in range(1000):
        if server.started:
            break
        thread.join(0.01)
    assert server.started

    def stop() -> None:
        server.should_exit = True
        thread.join(10)

    return Gateway(home=home, document=path, port=server.servers[0].sockets[0].getsockname()[1], app=app, _stop=stop)


@pytest.fixture
def provider() -> Iterator[Any]:
    with Provider() as server:
        yield server


@pytest.fixture
def gateway_of(tmp_path: Path, provider: Any) -> Iterator[Callable[..., Gateway]]:
    started: list[Gateway] = []

    def make(document: str = DOCUMENT, *, governance: Any = None, **more: Any) -> Gateway:
        text = document.format(url=provider.url, **more)
        started.append(start(tmp_path / f"g{len(started)}", text, governance))
        return started[-1]

    yield make
    for gateway in started:
        gateway.stop()


@pytest.fixture
def gateway(gateway_of: Callable[..., Gateway]) -> Gateway:
    return gateway_of()
