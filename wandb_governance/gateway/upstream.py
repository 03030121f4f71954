"""Calls to the providers: retries, timeouts, fallbacks, circuit breakers."""

from __future__ import annotations

import asyncio
import random
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from wandb_governance.gateway.deployment import refused_address
from wandb_governance.gateway.wire import WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wandb_governance.clock import Clock
    from wandb_governance.gateway.deployment import Upstream
    from wandb_governance.policy.targets import Breaker

_FORWARDED = ("openai-organization", "openai-project", "openai-beta", "idempotency-key")
_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_CONNECT_S = 10.0


class GuardedResolver(AbstractResolver):
    """Looks names up and refuses addresses that no model is served at, at every connection: a name may change."""

    def __init__(self, *, allow_private: Callable[[], bool]) -> None:
        self._inner = aiohttp.ThreadedResolver()
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Addresses of ``host`` that may be used."""
        found = await self._inner.resolve(host, port, family)
        allowed = [
            result for result in found if refused_address(result["host"], allow_private=self._allow_private()) is None
        ]
        if not allowed:
            raise OSError(None, f"every address of {host} is refused")
        return allowed

    async def close(self) -> None:
        """Nothing is held."""
        await self._inner.close()


@dataclass(slots=True)
class _Circuit:
    failures: int = 0
    open_until_ns: int = 0
    trying: bool = False


@dataclass(slots=True, kw_only=True)
class Answer:
    """An upstream's answer, its headers read and its body not."""

    response: aiohttp.ClientResponse
    upstream: Upstream
    attempts: int
    """Requests that were made, over all upstreams."""
    tried: list[str] = field(default_factory=list)


class UpstreamClient:
    """Sends requests to upstreams. Lives in one event loop."""

    def __init__(self, *, clock: Clock, breaker: Callable[[], Breaker], allow_private: Callable[[], bool]) -> None:
        self._clock = clock
        self._breaker = breaker
        connector = aiohttp.TCPConnector(
            limit=0, resolver=GuardedResolver(allow_private=allow_private), ttl_dns_cache=30, keepalive_timeout=30
        )
        self._session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=True, trust_env=False
        )
        self._circuits: dict[str, _Circuit] = {}

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def send(
        self,
        upstreams: Sequence[Upstream],
        path: str,
        body: Callable[[Upstream], bytes],
        headers: Callable[[Upstream], Mapping[str, str]],
    ) -> Answer:
        """Post to the first upstream that answers.

        Args:
            upstreams: In order of preference.
            path: Below the upstream's root, such as ``/chat/completions``.
            body: The body for an upstream.
            headers: The headers for an upstream.

        Raises:
            WireError: No upstream could be reached, or each one's circuit is open.
        """
        attempts = 0
        problem: WireError | None = None
        tried: list[str] = []
        for number, upstream in enumerate(upstreams):
            circuit = self._circuits.setdefault(upstream.target.id, _Circuit())
            if not self._admits(circuit):
                problem = problem or WireError(
                    503, f"{upstream.target.id} is failing; try again later", kind="server_error"
                )
                continue
            tried.append(upstream.target.id)
            for attempt in range(upstream.target.retries + 1):
                attempts += 1
                last = attempt == upstream.target.retries
                outcome = await self._once(upstream, path, body(upstream), headers(upstream), circuit)
                if isinstance(outcome, WireError):
                    problem = outcome
                    pause = None
                else:
                    final = last and number == len(upstreams) - 1
                    if outcome.status not in _RETRIED or final:
                        return Answer(response=outcome, upstream=upstream, attempts=attempts, tried=tried)
                    pause = _retry_after(outcome)
                    problem = WireError(
                        outcome.status, f"{upstream.target.id} answered {outcome.status}", kind="server_error"
                    )
                    outcome.close()
                if last or not self._admits(circuit):
                    break
                await asyncio.sleep(_pause(attempt, pause))
        raise problem or WireError(502, "no upstream is configured", kind="server_error")

    async def _once(
        self, upstream: Upstream, path: str, body: bytes, headers: Mapping[str, str], circuit: _Circuit
    ) -> aiohttp.ClientResponse | WireError:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=upstream.target.timeout_s)
        try:
            response = await self._session.post(
                upstream.base_url + path, data=body, headers=headers, timeout=timeout, allow_redirects=False
            )
        except TimeoutError:
            self._failed(circuit)
            text = f"{upstream.target.id} did not answer within {upstream.target.timeout_s:g} s"
            return WireError(504, text, kind="server_error", code="upstream_timeout")
        except (aiohttp.ClientError, OSError) as error:
            self._failed(circuit)
            text = f"{upstream.target.id} could not be reached ({type(error).__name__})"
            return WireError(502, text, kind="server_error", code="upstream_unreachable")
        except asyncio.CancelledError:
            circuit.trying = False
            raise
        if response.status >= 500:
            self._failed(circuit)
        else:
            circuit.failures, circuit.trying, circuit.open_until_ns = 0, False, 0
        return response

    def _admits(self, circuit: _Circuit) -> bool:
        if circuit.failures < self._breaker().failures:
            return True
        if self._clock.monotonic_ns() < circuit.open_until_ns or circuit.trying:
            return False
        circuit.trying = True
        return True

    def _failed(self, circuit: _Circuit) -> None:
        circuit.failures += 1
        circuit.trying = False
        if circuit.failures >= self._breaker().failures:
            circuit.open_until_ns = self._clock.monotonic_ns() + int(self._breaker().open_s * 1e9)


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    try:
        return float(response.headers.get("retry-after", ""))
    except ValueError:
        return None


def _pause(attempt: int, asked_s: float | None) -> float:
    if asked_s is not None:
        return min(max(asked_s, 0.0), _LONGEST_PAUSE_S)
    return float(min(_FIRST_PAUSE_S * 2**attempt, _LONGEST_PAUSE_S) * random.uniform(0.5, 1.0))


async def read_limited(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body, or an error where it is longer than ``limit`` bytes or ends early.

    Raises:
        WireError: See above.
    """
    parts: list[bytes] = []
    size = 0
    try:
        async for part in response.content.iter_any():
            size += len(part)
            if size > limit:
                raise WireError(502, f"the upstream's answer is longer than {limit} bytes", kind="server_error")
            parts.append(part)
    except TimeoutError as error:
        raise WireError(504, "the upstream stopped in the middle of its answer", kind="server_error") from error
    except (aiohttp.ClientError, OSError) as error:
        raise WireError(502, "the upstream broke off its answer", kind="server_error") from error
    finally:
        response.release()
    return b"".join(parts)


def upstream_headers(
    upstream: Upstream, given: Mapping[bytes, bytes], *, stream: bool, forwards_key: bool
) -> dict[str, str]:
    """Headers of a request to an upstream: none of the client's but a few that are known to be harmless.

    Args:
        upstream: Whom it goes to.
        given: The client's headers.
        stream: Whether a stream is asked for.
        forwards_key: Whether the client's own key goes on where the upstream has none.
    """
    headers = {"content-type": "application/json", "accept-encoding": "identity"}
    headers["accept"] = "text/event-stream" if stream else "application/json"
    for name in _FORWARDED:
        value = given.get(name.encode())
        if value is not None:
            headers[name] = value.decode("latin-1")
    if upstream.secret is not None:
        headers["authorization"] = f"Bearer {upstream.secret}"
    elif forwards_key and b"authorization" in given:
        headers["authorization"] = given[b"authorization"].decode("latin-1")
    return headers
