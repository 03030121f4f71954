"""What the server refuses, with the HTTP status that tells the SDK not to try again.

The SDK's Go client never retries 400, 401, 403, 404, 409, 410, 413, 422 and 501, and shows ``message`` to the user.
Every other 4xx and 5xx makes a user's process wait for minutes, so only :class:`Overloaded` uses one.
"""

from __future__ import annotations

from wandb_governance.errors import ServerError


class Problem(ServerError):
    """A request can't be served.

    Args:
        message: What the user of the SDK reads; no secret, no path of this machine.
        status: HTTP status.
    """

    status = 400

    def __init__(self, message: str, *, status: int | None = None) -> None:
        self.message = message
        if status is not None:
            self.status = status
        super().__init__(message)


class BadRequest(Problem):
    """The request is malformed."""

    status = 400


class Unauthorized(Problem):
    """No key, or not a key of this server."""

    status = 401


class Refused(Problem):
    """A rule of this server, or of its promotion hook, says no."""

    status = 403


class NotFound(Problem):
    """What the request names does not exist."""

    status = 404


class Conflict(Problem):
    """What the request creates exists already."""

    status = 409


class TooLarge(Problem):
    """The body is over the limit."""

    status = 413


class Unprocessable(Problem):
    """The request is well formed and its meaning is wrong."""

    status = 422


class Overloaded(Problem):
    """The store can't take the write now; the SDK waits and retries."""

    status = 503
