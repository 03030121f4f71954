"""Start the gateway: workers, reload, checkpoints, drain."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wandb_governance.errors import ConfigError, GovernanceError, MissingExtraError
from wandb_governance.gateway.deployment import Deployment, load_deployment
from wandb_governance.gateway.records import CallJournal
from wandb_governance.policy.audit import AuditLog
from wandb_governance.pricing.book import PriceBook
from wandb_governance.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from wandb_governance.gateway.app import GatewayApp
    from wandb_governance.runtime import Governance

_log = logging.getLogger(__name__)
_ENV = "WANDB_GOVERNANCE_GATEWAY_"
_LOOK_EVERY_S = 1.0
_RETENTION_EVERY_S = 3600.0
_ANCHOR_EVERY_S = 60.0
_HEADER_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayOptions:
    """What a worker needs to know; handed to workers through the environment."""

    policy_config: Path
    prices: Path | None = None
    project: str | None = None
    """W&B project of the run that calls are logged to; None leaves them in the journal, for ``recover``."""

    def to_env(self) -> None:
        """Put it where ``from_env`` of a worker finds it."""
        for name in ("policy_config", "prices", "project"):
            value = getattr(self, name)
            os.environ[_ENV + name.upper()] = "" if value is None else str(value)

    @classmethod
    def from_env(cls) -> GatewayOptions:
        """Read it."""
        given = {name: os.environ.get(_ENV + name.upper()) or None for name in ("prices", "project")}
        return cls(
            policy_config=Path(os.environ[_ENV + "POLICY_CONFIG"]),
            prices=Path(given["prices"]) if given["prices"] else None,
            project=given["project"],
        )


class PolicyFile:
    """The document in force, and how it changes: a bad file leaves the old one.

    Args:
        path: The file.
        on_change: Called with what changed, for the audit log.
    """

    def __init__(self, path: Path, *, on_change: Callable[[str, dict[str, Any]], object]) -> None:
        self._path = path
        self._on_change = on_change
        self._seen = _stamp(path)
        self.current: Deployment = load_deployment(path)
        self.last_error: str | None = None

    def look(self) -> bool:
        """Read the file again if it changed.

        Returns:
            Whether another document is in force now.
        """
        stamp = _stamp(self._path)
        if stamp == self._seen:
            return False
        self._seen = stamp
        before = self.current.engine.digest
        try:
            self.current = load_deployment(self._path)
        except (ConfigError, OSError) as error:
            self.last_error = str(error)
            _log.error("the policy file is refused and the old one stays in force: %s", error)
            self._on_change("config_refused", {"error": str(error), "policy_digest": before})
            return False
        self.last_error = None
        self._on_change("config_changed", {"from": before, "policy_digest": self.current.engine.digest})
        return True

    async def watch(self) -> None:
        """Look every second, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            await loop.run_in_executor(None, self.look)


def _stamp(path: Path) -> tuple[int, int, int]:
    with contextlib.suppress(OSError):
        status = path.stat()
        return status.st_mtime_ns, status.st_size, status.st_ino
    return (0, 0, 0)


def build_app(
    options: GatewayOptions, *, settings: Settings | None = None, governance: Governance | None = None
) -> GatewayApp:
    """One worker's application.

    Raises:
        PolicyDocumentError: The document is wrong.
        AuditError: The audit log can't be opened.
    """
    from wandb_governance.gateway.app import GatewayApp

    settings = settings or Settings.from_env()
    first = load_deployment(options.policy_config)
    folder = Path(first.audit.path) if first.audit.path else settings.home / "audit"
    # Signed every second by a thread: a request never waits for the disk.
    audit = AuditLog(folder, checkpoint_every=1 << 62)
    audit.append("gateway_started", {"policy_digest": first.engine.digest, "pid": os.getpid()})
    policy = PolicyFile(options.policy_config, on_change=audit.append)
    journal = CallJournal(audit, governance, _warm(PriceBook.load(options.prices)))
    return GatewayApp(
        lambda: policy.current,
        journal,
        background=(policy.watch, lambda: _tend(audit, policy, governance)),
        on_close=lambda: _close(audit, governance),
    )


def worker_app() -> GatewayApp:
    """What uvicorn's workers import; see ``run_gateway``."""
    options = GatewayOptions.from_env()
    # The default of 5 ms would let the thread that writes records hold a request up for as long.
    sys.setswitchinterval(0.0005)
    return build_app(options, governance=_governance(options))


def run_gateway(options: GatewayOptions, *, host: str, port: int, workers: int = 1, log_level: str = "warning") -> None:
    """Serve until SIGTERM or SIGINT; then stop taking calls and wait for those in flight.

    Raises:
        MissingExtraError: The extra ``[gateway]`` is not installed.
        PolicyDocumentError: The document is wrong; nothing is started.
    """
    try:
        import aiohttp  # noqa: F401
        import httptools  # noqa: F401
        import uvicorn

        from wandb_governance.gateway.protocol import GuardedProtocol
    except ImportError as error:
        raise MissingExtraError(error.name or "uvicorn", extra="gateway") from error
    document = load_deployment(options.policy_config).document
    options.to_env()
    GuardedProtocol.max_header_bytes = document.gateway.limits.max_header_bytes
    GuardedProtocol.header_timeout_s = _HEADER_TIMEOUT_S
    uvicorn.run(
        "wandb_governance.gateway.server:worker_app",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        log_level=log_level,
        access_log=False,
        server_header=False,
        date_header=False,
        http=GuardedProtocol,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=int(document.gateway.drain_s),
        backlog=4096,
        proxy_headers=False,
    )


def _governance(options: GatewayOptions) -> Governance | None:
    from wandb_governance.runtime import Governance

    if options.project is not None:
        from wandb_governance.backend.wandb_sdk import start_run

        offline = os.environ.get("WANDB_MODE") == "offline"
        # The run is then the active one, which Governance takes up.
        start_run(
            project=options.project,
            mode="offline" if offline else "online",
            directory=Path(os.environ.get("WANDB_DIR", ".")),
        )
    return Governance(prices=options.prices)


def _warm(book: PriceBook) -> PriceBook:
    """Read the price catalogue now and not on the first call."""
    with contextlib.suppress(GovernanceError):
        book.find(provider="openai", request_model="gpt-4o", at_ns=1_700_000_000 * 10**9)
    return book


async def _tend(audit: AuditLog, policy: PolicyFile, governance: Governance | None) -> None:
    """Sign, anchor and clean the audit log for as long as the worker runs."""
    loop = asyncio.get_running_loop()
    signed, anchored_at, cleaned_at = -1, -_ANCHOR_EVERY_S, -_RETENTION_EVERY_S
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        try:
            if audit.size != signed:
                signed = audit.size
                note = await loop.run_in_executor(None, audit.checkpoint)
                if governance is not None and loop.time() - anchored_at >= _ANCHOR_EVERY_S:
                    anchored_at = loop.time()
                    await loop.run_in_executor(None, anchor, governance, note)
            settings = policy.current.audit
            if settings.retention_days is not None and loop.time() - cleaned_at >= _RETENTION_EVERY_S:
                cleaned_at = loop.time()
                days, hold = settings.retention_days, settings.legal_hold_days
                await loop.run_in_executor(None, lambda: audit.enforce_retention(days, legal_hold_days=hold))  # noqa: B023
        except GovernanceError as error:
            _log.error("audit: %s", error)


def anchor(governance: Governance, note: str) -> None:
    """Put a signed checkpoint into the run's summary, where the log's keeper can't take it back."""
    run = governance.session.run
    if run is None or run.finished:
        return
    origin, size, root = note.split("\n")[:3]
    log = origin.rsplit("/", 1)[-1]
    with contextlib.suppress(GovernanceError):
        run.update_summary({f"audit/{log}/checkpoint": note, f"audit/{log}/size": int(size), f"audit/{log}/root": root})


def _close(audit: AuditLog, governance: Governance | None) -> None:
    audit.append("gateway_stopped", {"pid": os.getpid()})
    note = audit.checkpoint()
    if governance is not None:
        anchor(governance, note)
        governance.flush()
    audit.close()
