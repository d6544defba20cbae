"""Lines on their way out, held in memory until the next flush."""

from __future__ import annotations

import threading
from typing import Final, Protocol

LIMIT: Final = 4 * 1024 * 1024
"""Bytes held at most, a last line above that included: some 10,000 access lines."""


class Sink(Protocol):
    """Where lines go: ``write`` keeps one or more for the next ``flush``; neither ever raises."""

    def write(self, data: bytes, lines: int = 1) -> None: ...

    def flush(self) -> None: ...


class LineBuffer:
    """A bounded buffer of lines; what no longer fits is dropped and counted. Any thread may add."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit: Final = limit
        self._lock: Final = threading.Lock()
        self._parts: list[bytes] = []
        self._size = 0
        self._dropped = 0
        self.lost = 0
        """Lines that were dropped, from the start on."""

    def add(self, data: bytes, lines: int = 1) -> None:
        """Keep some lines, all or none of them."""
        with self._lock:
            if self._size >= self._limit:
                self._dropped += lines
                self.lost += lines
                return
            self._parts.append(data)
            self._size += len(data)

    def take(self) -> bytes:
        """All lines at once; the buffer is empty then."""
        with self._lock:
            data = b"".join(self._parts)
            self._parts, self._size = [], 0
        return data

    def put_back(self, data: bytes) -> None:
        """Lines that could not be written, to stand before all others again."""
        with self._lock:
            self._parts.insert(0, data)
            self._size += len(data)

    def take_dropped(self) -> int:
        """How many lines were dropped since this was last asked."""
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        return dropped
