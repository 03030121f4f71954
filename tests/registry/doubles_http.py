"""An HTTP service in a thread, whose answers a test writes."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Call:
    """What the service received."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Service:
    """A running service."""

    url: str
    calls: list[Call] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)


Answer = Callable[[Service, str, str, Any], tuple[int, Any]]


@contextlib.contextmanager
def serving(answer: Answer) -> Iterator[Service]:
    """Serve on a free port until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            lower = {name.lower(): value for name, value in self.headers.items()}
            service.calls.append(Call(self.command, self.path, lower, body))
            try:
                value = json.loads(body) if body else None
            except ValueError:
                value = body
            status, result = answer(service, self.command, self.path, value)
            data = result.encode() if isinstance(result, str) else json.dumps(result).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data) if status != 204 else 0))
            self.end_headers()
            if status != 204:
                self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 - names of http.server

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service = Service(url=f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
