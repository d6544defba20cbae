"""Writes of many connections, collected for one turn of the event loop.

A write to a socket wakes its reader. When a turn of the loop has something for many connections, as with
hundreds of streams, and each write stands between pieces of work, the readers wake, read and sleep again, once
for each write; and waking a process costs more than writing. Written in one go, after the work, the pieces
find their readers awake. It also joins what one turn writes to one connection, such as a head and its body.

Nothing waits for longer than the turn in which it was written.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol


class Writer(Protocol):
    """Who has something to write."""

    def flush(self) -> None: ...


class Outbox:
    """Calls ``flush`` of each writer once before the loop sleeps again."""

    __slots__ = ("_loop", "_writers")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop: Final = loop
        self._writers: list[Writer] = []

    def add(self, writer: Writer) -> None:
        """``writer`` has something to write, and is not in the box yet."""
        if not self._writers:
            self._loop.call_soon(self._flush)
        self._writers.append(writer)

    def _flush(self) -> None:
        writers, self._writers = self._writers, []
        for writer in writers:
            writer.flush()
