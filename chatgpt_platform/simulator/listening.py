"""The simulator's port: connections that are served, those that a fault takes, and nobody listening at all."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

from tornado.iostream import IOStream, SSLIOStream, StreamClosedError
from tornado.netutil import add_accept_handler, ssl_wrap_socket

_BACKLOG: Final = 1024  # hundreds of callers may arrive at once
_PIECE: Final = 1 << 16  # bytes

Serve = Callable[[IOStream, Any], None]
"""Is given a connection and its peer's address."""

Instead = Callable[[], bytes | None]
"""What a new connection gets instead of service, once something came on it: bytes and the end, or silence where
there are none; None: it is served."""


class Port:
    """A port of this machine, bound from ``bind`` to ``stop``; listened on between ``open`` and ``close``.

    ``busy``: the connections on which a request is being answered.
    """

    def __init__(self, serve: Serve, instead: Instead, tls: ssl.SSLContext | None) -> None:
        """``tls``: connections are to be encrypted."""
        self.busy: Final[set[IOStream]] = set()
        self._serve: Final = serve
        self._instead: Final = instead
        self._tls: Final = tls
        self._address = ("", 0)
        self._socket: socket.socket | None = None
        self._stop_accepting: Callable[[], None] | None = None
        self._served: Final[set[IOStream]] = set()
        self._taken: Final[set[asyncio.Task[None]]] = set()

    def bind(self, host: str, port: int) -> int:
        """Take the port without listening; 0: a free one. Returns it. Raises OSError if it cannot be had."""
        self._socket = _bound((host, port))
        self._address = (host, int(self._socket.getsockname()[1]))
        return self._address[1]

    def open(self) -> None:
        """Listen, if nobody does yet. Raises OSError if the port is another's."""
        if self._stop_accepting is not None:
            return
        if self._socket is None:
            self._socket = _bound(self._address)
        try:
            self._socket.listen(_BACKLOG)
        except OSError:
            self._release()
            raise
        self._stop_accepting = add_accept_handler(self._socket, self._accept)

    def close(self) -> None:
        """Listen no longer, so that connections are refused, and close those on which nothing is under way.

        The port stays bound, so that nobody else gets it.
        """
        if self._stop_accepting is None:
            return
        self._release()
        self._socket = _bound(self._address)
        for stream in self._served - self.busy:
            if not _has_input(stream):
                stream.close()

    def ended(self, stream: IOStream) -> None:
        """To be told of each connection that is served no longer."""
        self._served.discard(stream)
        self.busy.discard(stream)

    async def stop(self) -> None:
        """Give the port back, and end the connections that a fault has taken."""
        self._release()
        tasks = list(self._taken)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _release(self) -> None:
        if self._stop_accepting is not None:
            self._stop_accepting()
            self._stop_accepting = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _accept(self, connection: socket.socket, address: Any) -> None:
        said = self._instead()
        if said is None:
            stream = self._stream(connection)
            self._served.add(stream)
            self._serve(stream, address)
            return
        task = asyncio.create_task(_take(IOStream(connection), said), name="simulator: a connection not served")
        self._taken.add(task)
        task.add_done_callback(self._taken.discard)

    def _stream(self, connection: socket.socket) -> IOStream:
        if self._tls is None:
            return IOStream(connection)
        secured = ssl_wrap_socket(connection, self._tls, server_side=True, do_handshake_on_connect=False)
        return SSLIOStream(secured)


def _bound(address: tuple[str, int]) -> socket.socket:
    bound = socket.socket()
    try:
        if os.name == "posix":  # as socket.create_server has it: on Windows it would take the port from its owner
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound


async def _take(stream: IOStream, said: bytes) -> None:
    """A connection that is not served, until its caller leaves or ``said`` is sent."""
    try:
        await stream.read_bytes(_PIECE, partial=True)
        while not said:
            await stream.read_bytes(_PIECE, partial=True)
        await stream.write(said)
    except StreamClosedError:
        pass  # the caller has left
    finally:
        stream.close()


def _has_input(stream: IOStream) -> bool:
    """Whether something has come that was not read yet."""
    return stream.socket is not None and bool(select.select([stream.socket], [], [], 0)[0])
