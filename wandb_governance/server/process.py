"""The server as a process: serve, start in the background, find, stop."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING

from wandb_governance.errors import MissingExtraError, ServerError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wandb_governance.server.hook import PromotionHook
    from wandb_governance.server.settings import ServerSettings

_children: list[subprocess.Popen[bytes]] = []
"""Servers that this process started; kept so that one that ended is seen as ended and not as a zombie."""

START_SECONDS = 60.0
"""How long a background start may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """A server that is up."""

    url: str
    """Base address, no slash at the end."""

    api_key: str
    """The first user's key."""

    pid: int
    """Process id."""

    data_dir: str
    """Data directory."""

    @property
    def env(self) -> dict[str, str]:
        """Environment variables that point the W&B SDK here."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": self.api_key}


def serve(
    settings: ServerSettings, *, on_ready: Callable[[RunningServer], None], hook: PromotionHook | None = None
) -> None:
    """Serve until the process is told to stop (SIGINT or SIGTERM).

    Args:
        settings: What to serve and where.
        on_ready: Called once the address is bound.
        hook: Decides on promotions.

    Raises:
        ServerError: The address is taken or the data directory is in use.
        MissingExtraError: The extra ``server`` is not installed.
    """
    try:
        import uvicorn

        from wandb_governance.server.http.app import make_app, open_services
    except ImportError as error:
        raise MissingExtraError(error.name or "uvicorn", extra="server") from error
    running = find(settings.data_dir)
    if running is not None:
        raise ServerError(f"{settings.data_dir}: process {running.pid} serves this data directory at {running.url}")
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = _lock(settings.data_dir)
    services = open_services(settings, hook=hook)
    bound = _bind(settings.host, settings.port)
    port = bound.getsockname()[1]
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    server_info = RunningServer(
        url=f"http://{shown}:{port}",
        api_key=(settings.data_dir / "api_key").read_text().strip(),
        pid=os.getpid(),
        data_dir=str(settings.data_dir),
    )
    _log_to(settings.data_dir / "server.log")
    state_file = settings.data_dir / "server.json"
    config = uvicorn.Config(
        make_app(services), log_config=None, access_log=False, timeout_graceful_shutdown=5, server_header=False
    )
    server = uvicorn.Server(config)
    _write_private(state_file, json.dumps(asdict(server_info)))
    on_ready(server_info)
    # uvicorn raises the signal again once it has shut down; this turns it into a normal end of the process
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    try:
        server.run(sockets=[bound])
    except KeyboardInterrupt:
        pass
    finally:
        state_file.unlink(missing_ok=True)
        lock.close()


def _lock(data_dir: Path) -> IO[bytes]:
    """Hold the data directory for this process; the kernel lets go of it however the process ends."""
    import fcntl

    file = (data_dir / "lock").open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise ServerError(f"{data_dir}: another server uses this data directory; stop it or choose another") from None
    return file


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        # listening here already: a client that reads the address at once is queued, not refused
        bound.listen(2048)
    except OSError as error:
        bound.close()
        raise ServerError(f"can't bind {host}:{port}: {error.strerror or error}; choose another --port") from error
    return bound


def _log_to(path: Path) -> None:
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in ("wandb_governance.server", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.WARNING)
        logger.propagate = False


def _write_private(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    temporary.replace(path)


def find(data_dir: Path) -> RunningServer | None:
    """The server that runs on a data directory, or None."""
    try:
        running = RunningServer(**json.loads((data_dir / "server.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return running if _answers(running.url) and _alive(running.pid) else None


def _alive(pid: int) -> bool:
    for child in _children:
        if child.pid == pid:
            return child.poll() is None
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _answers(url: str) -> bool:
    import urllib.error
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/ready", timeout=5) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False


def start_in_background(settings: ServerSettings, arguments: list[str]) -> RunningServer:
    """Start ``wandb-governance server`` as a process of its own and wait until it answers.

    Args:
        settings: Where it will keep its data.
        arguments: Options of the command to start with.

    Raises:
        ServerError: It did not come up; the message ends with what it said.
    """
    running = find(settings.data_dir)
    if running is not None:
        return running
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    (settings.data_dir / "server.json").unlink(missing_ok=True)
    log = settings.data_dir / "start.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "wandb_governance", "server", *arguments],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    _children.append(process)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        running = find(settings.data_dir)
        if running is not None:
            return running
        if process.poll() is not None:
            break
        time.sleep(0.05)
    process.kill()
    raise ServerError(f"the server did not start: {log.read_text(errors='replace').strip()[-500:]}")


def stop(data_dir: Path, *, timeout_seconds: float = 15.0) -> bool:
    """Stop the server of a data directory; False when none runs.

    Raises:
        ServerError: It does not end in time.
    """
    running = find(data_dir)
    if running is None:
        return False
    os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        if not _alive(running.pid):
            return True
        time.sleep(0.05)
    raise ServerError(f"process {running.pid} did not stop within {timeout_seconds:g} s")
