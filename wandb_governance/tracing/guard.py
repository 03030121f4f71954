"""Telemetry never breaks the application: its faults are counted and logged here, the only broad ``except``."""

from __future__ import annotations

import functools
import logging
import threading
from collections import Counter
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from wandb_governance.errors import PolicyViolation

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("wandb_governance")

P = ParamSpec("P")
R = TypeVar("R")

_counts: Counter[str] = Counter()
_lock = threading.Lock()


def fault(where: str, error: BaseException) -> None:
    """Count a telemetry fault; the first of each kind is logged, by type only: its text may hold user data."""
    key = f"{where}: {type(error).__name__}"
    with _lock:
        _counts[key] += 1
        first = _counts[key] == 1
    if first:
        logger.warning(
            "telemetry fault in %s (%s); the application goes on. Further ones are only counted.",
            where,
            type(error).__name__,
        )
        logger.debug("telemetry fault in %s", where, exc_info=error)


def fault_counts() -> dict[str, int]:
    """How many faults of each kind there were in this process."""
    with _lock:
        return dict(_counts)


def observed(function: Callable[P, R]) -> Callable[P, R | None]:
    """Run ``function``; a fault in it is counted and gives None, a ``PolicyViolation`` goes through."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return function(*args, **kwargs)
        except PolicyViolation:
            raise
        except Exception as error:  # noqa: BLE001 - the one place where telemetry faults end
            fault(function.__qualname__, error)
            return None

    return run
