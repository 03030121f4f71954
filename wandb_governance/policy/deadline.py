"""Call a function and stop waiting for it after a while."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")

_MAX_WAITING = 64
_slots = threading.BoundedSemaphore(_MAX_WAITING)


def call_within(timeout_s: float, call: Callable[[], _T]) -> _T:
    """Result of ``call``, run in a thread of its own.

    Python can't stop a thread, so one that never returns keeps its slot; once all are taken, calls fail at once.

    Raises:
        TimeoutError: No result in time, or no slot is free.
    """
    if not _slots.acquire(blocking=False):
        raise TimeoutError(f"{_MAX_WAITING} earlier calls have not returned")
    outcome: list[_T] = []
    failure: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            outcome.append(call())
        except BaseException as error:  # noqa: BLE001 - handed to the caller
            failure.append(error)
        finally:
            _slots.release()
            done.set()

    threading.Thread(target=run, daemon=True, name="policy-deadline").start()
    if not done.wait(timeout_s):
        raise TimeoutError
    if failure:
        raise failure[0]
    return outcome[0]
