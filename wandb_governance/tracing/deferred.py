"""What garbage collection must not do itself.

A finalizer runs in the middle of anything, also of this package's own code with its locks held: a stream that is
collected there must not write its end at once, or the thread would wait for itself.
"""

from __future__ import annotations

import gc
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

Action = Callable[[], object]

_waiting: deque[Action] = deque()


class _Collecting(threading.local):
    active = False


_collecting = _Collecting()


def _note(phase: str, info: dict[str, Any]) -> None:
    del info
    _collecting.active = phase == "start"


gc.callbacks.append(_note)


def when_safe(action: Action) -> None:
    """Run ``action`` now; or, from within a garbage collection, at the next ``run_waiting``."""
    if _collecting.active:
        _waiting.append(action)
    else:
        action()


def run_waiting() -> None:
    """Run what collections have left to do."""
    while _waiting:
        try:
            action = _waiting.popleft()
        except IndexError:  # Another thread was quicker.
            return
        action()
