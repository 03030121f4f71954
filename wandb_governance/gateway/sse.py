"""Server-sent events, read from any pieces of bytes (HTML standard, section 9.2.6)."""

from __future__ import annotations

import orjson


class SseReader:
    """Turns bytes into the data of events. A UTF-8 sequence may be cut anywhere: bytes are decoded by the event.

    Args:
        max_event_bytes: A longer event is an error.
    """

    def __init__(self, *, max_event_bytes: int = 16 * 1024 * 1024) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0
        self._max = max_event_bytes

    def feed(self, piece: bytes) -> list[bytes]:
        """Data of every event that ends in ``piece``.

        Raises:
            ValueError: An event is longer than the limit.
        """
        events: list[bytes] = []
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) + self._size > self._max:
            raise ValueError(f"an event is longer than {self._max} bytes")
        for line in lines:
            self._line(line.removesuffix(b"\r"), events)
        return events

    def finish(self) -> list[bytes]:
        """Data of an event that the end of the stream ends; browsers drop it, providers mean it."""
        events: list[bytes] = []
        if self._rest:
            self._line(self._rest.removesuffix(b"\r"), events)
        self._line(b"", events)
        self._rest = b""
        return events

    def _line(self, line: bytes, events: list[bytes]) -> None:
        if not line:
            if self._data:
                events.append(b"\n".join(self._data))
                self._data.clear()
                self._size = 0
            return
        if line.startswith(b"data:"):
            value = line[5:].removeprefix(b" ")
            self._data.append(value)
            self._size += len(value)


DONE = b"data: [DONE]\n\n"


def event(data: object, *, name: str | None = None) -> bytes:
    """One event."""
    head = b"event: " + name.encode() + b"\n" if name is not None else b""
    return head + b"data: " + orjson.dumps(data) + b"\n\n"
