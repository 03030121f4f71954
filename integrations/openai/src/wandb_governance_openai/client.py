"""``govern``: an openai client whose calls are traced and under policy.

Everything the SDK sends passes ``client.post``, in every version and from every helper: ``create``, ``parse``,
``stream``, raw and streaming responses. So that is where governance stands, with the request as it will go out and
with the answer as the application will see it.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI

from wandb_governance.errors import ConfigError
from wandb_governance.pricing.names import canonical_provider
from wandb_governance.runtime import Governance
from wandb_governance.tracing.deferred import run_waiting
from wandb_governance.tracing.span import SpanStatus
from wandb_governance_openai import answers, convert
from wandb_governance_openai.call import GovernedCall
from wandb_governance_openai.guard import guard, inside
from wandb_governance_openai.stream import StreamedCall

if TYPE_CHECKING:
    from pathlib import Path

    from wandb_governance.settings import Settings

ClientT = TypeVar("ClientT", bound=OpenAI | AsyncOpenAI)

_STATE = "_wandb_governance"
_ABSENT = frozenset({"NotGiven", "Omit"})
"""Classes of what the SDK leaves out of a request; their names, since not every version has both."""
_RAW_HEADER = "x-stainless-raw-response"


def govern(
    client: ClientT,
    *,
    run: Any = None,
    policy: Any = None,
    prices: str | Path | None = None,
    settings: Settings | None = None,
) -> ClientT:
    """Trace every call of a client, and put it under policy.

    Covers ``chat.completions``, ``responses``, ``embeddings`` and ``completions`` with all their helpers, sync and
    async, streamed or not, and copies made by ``with_options``. Not covered are websockets (``realtime``) and streams
    that are fetched again by id.

    Args:
        client: An ``OpenAI``, ``AsyncOpenAI`` or Azure client.
        run: What ``wandb.init()`` returned; without it the run that is active when a call ends.
        policy: A policy file, or an engine.
        prices: A YAML price table over the public prices.
        settings: Read from the environment where not given.

    Returns:
        The same client. Governing it again replaces what it was governed with.

    Raises:
        ConfigError: ``client`` is no client of the openai package, or a file is wrong.
    """
    if not isinstance(client, OpenAI | AsyncOpenAI):
        raise ConfigError(
            f"govern() takes an openai client such as OpenAI() or AsyncOpenAI(), not {type(client).__name__}"
        )
    governance = Governance(run=run, policy=policy, prices=prices, settings=settings)
    known = getattr(client, _STATE, None)
    if isinstance(known, GovernedClients):
        known.replace(governance)
    else:
        GovernedClients(governance).install(client)
    return client


def governance_of(client: OpenAI | AsyncOpenAI) -> Governance:
    """What a client is governed with, to flush it or to close it.

    Raises:
        ConfigError: The client is not governed.
    """
    state = getattr(client, _STATE, None)
    if not isinstance(state, GovernedClients):
        raise ConfigError("this client is not governed; call govern(client) first")
    return state.governance


class GovernedClients:
    """A client and its copies, and the streams that are open on them."""

    def __init__(self, governance: Governance) -> None:
        self._streams: weakref.WeakKeyDictionary[StreamedCall, float] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()
        self.replace(governance)

    def replace(self, governance: Governance) -> None:
        """Govern with something else from now on."""
        self.governance = governance
        governance.on_sweep(self.sweep)

    def install(self, client: Any) -> None:
        """Stand between a client and its requests."""
        post = self._async_post(client) if isinstance(client, AsyncOpenAI) else self._post(client)
        setattr(client, _STATE, self)
        client.post = post
        for name in ("copy", "with_options"):
            setattr(client, name, self._copying(getattr(client, name)))
        _rebind(client, client, post)
        guard(client, lambda endpoint, body: self._open(client, endpoint, body))

    def _copying(self, copy: Callable[..., Any]) -> Callable[..., Any]:
        def copied(*args: Any, **kwargs: Any) -> Any:
            client = copy(*args, **kwargs)
            self.install(client)
            return client

        return copied

    def sweep(self, *, final: bool) -> None:
        """End calls whose stream nobody reads any more."""
        oldest = time.monotonic() - self.governance.settings.abandon_after_s
        run_waiting()
        with self._lock:
            known = list(self._streams.items())
        for streamed, since in known:
            if final or since < oldest:
                streamed.end(SpanStatus.ABANDONED)

    def _post(self, client: Any) -> Callable[..., Any]:
        original = client.post

        def post(path: str, *, body: Any = None, options: Any = None, stream: bool = False, **more: Any) -> Any:
            begun = self._begin(client, path, body, options or {}, stream=stream)
            if begun is None:
                return original(path, body=body, options=options or {}, stream=stream, **more)
            call, body, options, hide_usage = begun
            token = inside.set(True)
            try:
                result = original(path, body=body, options=options, stream=stream, **more)
            except BaseException as error:
                call.end(error=error)
                raise
            finally:
                inside.reset(token)
            return answers.governed(call, result, self._stream(call, hide_usage=hide_usage) if stream else None)

        return post

    def _async_post(self, client: Any) -> Callable[..., Any]:
        original = client.post

        async def post(path: str, *, body: Any = None, options: Any = None, stream: bool = False, **more: Any) -> Any:
            begun = self._begin(client, path, body, options or {}, stream=stream)
            if begun is None:
                return await original(path, body=body, options=options or {}, stream=stream, **more)
            call, body, options, hide_usage = begun
            token = inside.set(True)
            try:
                result = await original(path, body=body, options=options, stream=stream, **more)
            except BaseException as error:
                call.end(error=error)
                raise
            finally:
                inside.reset(token)
            streamed = self._stream(call, hide_usage=hide_usage) if stream else None
            return await answers.governed_async(call, result, streamed)

        return post

    def _begin(
        self, client: Any, path: str, body: Any, options: Mapping[str, Any], *, stream: bool
    ) -> tuple[GovernedCall, Any, Mapping[str, Any], bool] | None:
        """The call, its request as it goes out, and whether to hide the chunk with usage; None for anything else."""
        endpoint = convert.endpoint_of(path)
        if endpoint is None or not isinstance(body, Mapping) or inside.get():
            return None
        extra = options.get("extra_json")
        if isinstance(extra, Mapping):
            # What the SDK would do later; here the policies must see it.
            body = {**body, **extra}
            options = {name: value for name, value in options.items() if name != "extra_json"}
        run_waiting()
        body = {name: value for name, value in body.items() if type(value).__name__ not in _ABSENT}
        call = self._open(client, endpoint, body)
        body = call.admit(body)
        provider = provider_of(client)
        hide_usage = stream and endpoint.describes_usage and provider == "openai" and _may_ask_usage(body, options)
        if hide_usage:
            body = {**body, "stream_options": {**(body.get("stream_options") or {}), "include_usage": True}}
        return call, body, options, hide_usage

    def _open(self, client: Any, endpoint: convert.Endpoint, body: Mapping[str, Any]) -> GovernedCall:
        return GovernedCall(self.governance, endpoint, body, provider=provider_of(client))

    def _stream(self, call: GovernedCall, *, hide_usage: bool) -> StreamedCall:
        streamed = StreamedCall(call, hide_usage=hide_usage)
        with self._lock:
            self._streams[streamed] = time.monotonic()
        return streamed


def provider_of(client: Any) -> str:
    """Who serves a client's calls, from the host it talks to."""
    if isinstance(client, AzureOpenAI | AsyncAzureOpenAI):
        return "azure"
    return canonical_provider(str(client.base_url)) or "unknown"


def _may_ask_usage(body: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
    """Whether usage may be asked for unseen: the application did not decide, and reads no raw lines."""
    headers = options.get("headers") or {}
    raw = isinstance(headers, Mapping) and any(str(name).lower() == _RAW_HEADER for name in headers)
    asked = body.get("stream_options")
    return not raw and not (isinstance(asked, Mapping) and "include_usage" in asked)


def _rebind(holder: Any, client: Any, post: Callable[..., Any]) -> None:
    """Resources that exist already hold the method that was there before."""
    for value in list(vars(holder).values()):
        if hasattr(value, "_post") and getattr(value, "_client", None) is client:
            value._post = post  # noqa: SLF001 - where the SDK keeps it in every version
            _rebind(value, client, post)
