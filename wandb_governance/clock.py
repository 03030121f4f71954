"""Time and identity as ports, so that a test can step both."""

from __future__ import annotations

import os
import time
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from."""

    def now_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds from an arbitrary start; never goes back."""
        ...


class IdGenerator(Protocol):
    """Where ids come from."""

    def trace_id(self) -> str:
        """A new trace id: 32 lower-case hexadecimal digits."""
        ...

    def span_id(self) -> str:
        """A new span or record id: 16 lower-case hexadecimal digits."""
        ...


class SystemClock:
    """The machine's clock."""

    now_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.perf_counter_ns)


class RandomIds:
    """Ids from the operating system's randomness; safe after a fork."""

    def trace_id(self) -> str:
        """A new trace id: 32 lower-case hexadecimal digits."""
        return os.urandom(16).hex()

    def span_id(self) -> str:
        """A new span or record id: 16 lower-case hexadecimal digits."""
        return os.urandom(8).hex()
