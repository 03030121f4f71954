"""An HTTP door for webhooks: ``POST /hooks/<scheme>``. It only wakes the watcher, which re-reads every state."""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, cast, get_args

from wandb_governance.registry.webhooks import MAX_BODY_BYTES, Scheme, WebhookRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wandb_governance.registry.webhooks import Inbox

_PREFIX = "/hooks/"
_TIMEOUT_S = 15


@contextlib.contextmanager
def listening(host: str, port: int, *, inbox: Callable[[], Inbox], wake: threading.Event) -> Iterator[tuple[str, int]]:
    """Serve until the block ends.

    Args:
        host: Address to bind.
        port: 0 takes a free one.
        inbox: Opens an inbox; called once per request, because each runs in a thread of its own.
        wake: Set for every delivery that is authentic and new.

    Yields:
        The address that was bound.
    """

    class Door(BaseHTTPRequestHandler):
        timeout = _TIMEOUT_S

        def do_POST(self) -> None:
            self._answer(*self._received())

        def _received(self) -> tuple[int, str]:
            scheme = self.path.removeprefix(_PREFIX)
            if not self.path.startswith(_PREFIX) or scheme not in get_args(Scheme):
                return 404, "no such door"
            length = self.headers.get("Content-Length", "")
            if not length.isdigit() or int(length) > MAX_BODY_BYTES:
                return 413, "the body is too large or has no length"
            body = self.rfile.read(int(length))
            try:
                inbox().receive(cast("Scheme", scheme), dict(self.headers.items()), body)
            except WebhookRefusedError as error:
                return error.status, str(error)
            wake.set()
            return 204, ""

        def _answer(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Requests are not logged: headers hold signatures."""

    server = ThreadingHTTPServer((host, port), Door)
    thread = threading.Thread(target=server.serve_forever, daemon=True, name="wandb-governance-receiver")
    thread.start()
    try:
        bound = server.server_address
        yield str(bound[0]), int(bound[1])
    finally:
        server.shutdown()
        server.server_close()
