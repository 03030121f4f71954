"""HTTP to other systems: no redirects (a token must not follow one), bounded answers, errors without secrets."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from wandb_governance.errors import RegistryError

if TYPE_CHECKING:
    from email.message import Message
    from http.client import HTTPMessage

_MAX_BYTES = 8 << 20
_SHOWN = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = None
    timeout_s: float = 20.0

    @property
    def shown(self) -> str:
        """Method, host and path: what an error may show."""
        parts = urlsplit(self.url)
        return f"{self.method} {parts.hostname}{parts.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    """Lower-case names."""

    def json(self) -> Any:
        """The body as JSON; None when it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def shown(self) -> str:
        """The start of the body, for an error."""
        return self.body[:_SHOWN].decode(errors="replace")


class HttpError(RegistryError):
    """A system could not be reached, or did not accept a request.

    Args:
        message: What happened, without headers or query.
        status: HTTP status; None when there was no answer.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        self.status = status
        super().__init__(message)


Transport = Callable[[Request], Response]
"""Sends a request; raises ``HttpError`` when there is no answer. Any status is an answer."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        """Never follow."""


def send(request: Request) -> Response:
    """Send over the network. See ``Transport``."""
    if urlsplit(request.url).scheme not in ("https", "http"):
        raise HttpError(f"{request.shown}: only http and https")
    outgoing = urllib.request.Request(  # noqa: S310 the scheme was checked
        request.url, data=request.body, method=request.method, headers=dict(request.headers)
    )
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(outgoing, timeout=request.timeout_s) as answer:
            return _response(answer.status, answer.read(_MAX_BYTES), answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return _response(error.code, error.read(_MAX_BYTES), error.headers)
    except (OSError, ValueError) as error:
        raise HttpError(f"{request.shown}: no answer ({type(error).__name__})") from None


def call(
    transport: Transport,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    value: object = None,
    accept: tuple[int, ...] = (200, 201, 202, 204),
) -> Response:
    """Send JSON and insist on a good status.

    Raises:
        HttpError: There is no answer, or its status is not accepted.
    """
    body = None if value is None else json.dumps(value).encode()
    sent = {"Accept": "application/json", **({"Content-Type": "application/json"} if body else {}), **(headers or {})}
    request = Request(method=method, url=url, headers=sent, body=body)
    response = transport(request)
    if response.status not in accept:
        raise HttpError(f"{request.shown}: HTTP {response.status}: {response.shown}", status=response.status)
    return response


def _response(status: int, body: bytes, headers: Message[str, str]) -> Response:
    return Response(status=status, body=body, headers={name.lower(): value for name, value in headers.items()})
