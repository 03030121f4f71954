"""The ASGI application: the services of a data directory behind the routes of every area."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from wandb_governance.clock import SystemClock
from wandb_governance.server import operations
from wandb_governance.server.accounts.keys import bootstrap, read_or_make_key
from wandb_governance.server.context import Services
from wandb_governance.server.hook import AllowAll
from wandb_governance.server.http import api, storage
from wandb_governance.server.http.requests import JsonResponse, guarded
from wandb_governance.server.store.blobs import BlobStore
from wandb_governance.server.store.database import Database
from wandb_governance.server.store.signing import LinkSigner
from wandb_governance.server.sweeps.ending import end_with_last_run
from wandb_governance.server.upkeep import upkeep

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response

    from wandb_governance.clock import Clock
    from wandb_governance.server.hook import PromotionHook
    from wandb_governance.server.settings import ServerSettings


def open_services(
    settings: ServerSettings, *, clock: Clock | None = None, hook: PromotionHook | None = None
) -> Services:
    """Open a data directory, made when missing.

    Raises:
        ServerError: It can't be opened, or a newer version of this package wrote it.
    """
    operations.load()
    clock = clock or SystemClock()
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = read_or_make_key(settings.data_dir)
    database = Database(settings.data_dir / "store.sqlite3")
    with database.write() as tx:
        secret = bootstrap(tx, settings, key, clock.now_ns())
    return Services(
        settings=settings,
        database=database,
        blobs=BlobStore(settings.data_dir / "blobs"),
        signer=LinkSigner(secret=secret, clock=clock),
        clock=clock,
        hook=hook or AllowAll(),
        subscribers=[end_with_last_run],
        started_ns=clock.now_ns(),
    )


def make_app(services: Services) -> Starlette:
    """The application that serves ``services``."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        import anyio.to_thread

        anyio.to_thread.current_default_thread_limiter().total_tokens = services.settings.threads
        stop = threading.Event()
        worker = threading.Thread(target=upkeep, args=(services, stop), name="upkeep", daemon=True)
        worker.start()
        yield
        stop.set()
        worker.join(timeout=10)
        services.database.close()

    async def ready(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def unresolved(request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool

        await run_in_threadpool(api.user_of, services, request)
        return JsonResponse({"unresolved": dict(services.unresolved)})

    app = Starlette(
        routes=[
            *api.ROUTES,
            *storage.ROUTES,
            Route("/ready", ready),
            Route("/healthz", ready),
            Route("/api/unresolved", guarded(unresolved)),
        ],
        lifespan=lifespan,
    )
    app.state.services = services
    return app
