"""What goes out to one client: collected for a turn of the loop, and watched for one that does not take it."""

from __future__ import annotations

import asyncio
from typing import Final

from chatgpt_platform.wire.batch import Batch

HIGH_WATER: Final = 64 * 1024
"""Bytes written but not yet taken by the client at which ``Exchange.write`` asks to wait."""


class Output:
    """The writing half of a connection.

    ``congested``: more than ``HIGH_WATER`` bytes wait for the client; the transport says so through
    ``Connection.pause_writing``.
    """

    __slots__ = (
        "_closed",
        "_drained",
        "_loop",
        "_outbox",
        "_parts",
        "_size",
        "_transport",
        "_untaken",
        "congested",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, outbox: Batch[Output]) -> None:
        self.congested = False
        self._loop: Final = loop
        self._outbox: Final = outbox
        self._transport: asyncio.Transport | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._untaken = 0
        self._closed = False
        self._drained: asyncio.Future[None] | None = None

    def begin(self, transport: asyncio.Transport) -> None:
        """The connection is up."""
        self._transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER)

    def write(self, data: bytes) -> None:
        """Hand over bytes, which go out in this turn of the loop; nothing once it is closed."""
        parts = self._parts
        if not parts:
            if self._closed:
                return
            self._outbox.add(self)
        parts.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER:
            self.flush()  # so that ``congested`` tells the truth within the turn

    def flush(self) -> None:
        """Give the transport what was handed over: the step of the outbox."""
        parts = self._parts
        if parts and self._transport is not None:
            self._parts = []
            self._size = 0
            self._transport.write(parts[0] if len(parts) == 1 else b"".join(parts))

    def close(self) -> None:
        """Take no more. What was handed over is given to the transport, which may be about to close."""
        self.flush()
        self._closed = True
        self.resume()

    def drop(self) -> None:
        """Take no more, and forget what was handed over: the connection is gone, or shall be."""
        self._closed = True
        self._parts = []
        self.resume()

    def congestion(self) -> asyncio.Future[None] | None:
        """Done once the client has taken most of what was written, or is gone; None where that is so now."""
        if not self.congested or self._closed:
            return None
        if self._drained is None or self._drained.done():
            self._drained = self._loop.create_future()
        return self._drained

    def resume(self) -> None:
        """The client has taken most of it, or never will: nobody need wait any more."""
        self.congested = False
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def mark(self) -> None:
        """The client's time to take something begins."""
        self._untaken = self._waiting

    @property
    def taken(self) -> bool:
        """Whether the client has taken some of what waited for it since ``mark``, and not yet all."""
        return 0 < self._waiting < self._untaken

    @property
    def pending(self) -> bool:
        """Whether bytes wait for the client."""
        return self._waiting > 0

    @property
    def _waiting(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()
