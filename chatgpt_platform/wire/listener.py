"""Accepts connections, and outlives the end of file descriptors, which Tornado's own accept loop does not."""

from __future__ import annotations

import errno
import logging
import socket
import sys
from collections.abc import Callable
from typing import Final

from tornado import ioloop

from chatgpt_platform.wire import liveness

BACKLOG: Final = 1024
SEND_BUFFER: Final = 256 * 1024
"""Bytes that the system holds of an answer. Left alone it would take megabytes for a client that does not read,
and take long to show that one reads slowly."""

PAUSE: Final = 0.5
"""Seconds without accepting once the system is out of descriptors: trying at once again would spin."""

_OUT_OF_RESOURCES: Final = (
    errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM,
    getattr(errno, "WSAEMFILE", errno.EMFILE),  # Windows
)  # fmt: skip
_NOT_HERE: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""A name may have an address of a kind that this machine does not use, such as ::1."""

_ACCEPTED_AT_ONCE: Final = 128

Accepted = Callable[[socket.socket, tuple[object, ...]], None]
"""Takes a connection, which may block yet, and its peer's address."""


class Listener:
    """Listens on a host and port and hands on each connection with its peer's address."""

    def __init__(self, on_accepted: Accepted, logger: logging.Logger) -> None:
        self._on_accepted: Final = on_accepted
        self._log: Final = logger
        self._loop: Final = ioloop.IOLoop.current()
        self._sockets: list[socket.socket] = []
        self._exhausted = False

    def open(self, host: str, port: int) -> int:
        """Start to listen and return the port, which the system picks for 0. Raises OSError."""
        self._sockets = _bind(host, port)
        self._resume()
        bound: int = self._sockets[0].getsockname()[1]
        return bound

    def close(self) -> None:
        """Stop to listen."""
        for each in self._sockets:
            self._loop.remove_handler(each)
            each.close()
        self._sockets = []

    def _resume(self) -> None:
        for each in self._sockets:
            self._loop.add_handler(each, self._accept, ioloop.IOLoop.READ)

    def _pause(self, reason: str) -> None:
        if not self._exhausted:
            self._exhausted = True
            self._log.warning(
                "no new connections for a moment: %s; raise the limit on open files (ulimit -n, LimitNOFILE)",
                reason,
            )
        for each in self._sockets:
            self._loop.remove_handler(each)
        self._loop.call_later(PAUSE, self._resume)

    def _accept(self, listening: socket.socket, _: int) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connection, address = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _OUT_OF_RESOURCES:
                    self._pause(error.strerror or str(error))
                    return
                continue  # this one was gone before it was accepted
            self._exhausted = False
            if not liveness.LINUX:
                liveness.watch(connection)
            self._on_accepted(connection, address)


def _bind(host: str, port: int) -> list[socket.socket]:
    """A listening socket for each address of the host, all on one port. Raises OSError, with none left open."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    failure: OSError | None = None
    for family, _, _, _, address in dict.fromkeys(found):
        try:
            bound = _listen(family, (address[0], port, *address[2:]))
        except OSError as error:
            failure = error
            if error.errno not in _NOT_HERE:
                break
            continue
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)  # the connections inherit it
        liveness.watch(bound)  # on Linux they inherit that too
        port = bound.getsockname()[1]
        sockets.append(bound)
    if failure is not None and (not sockets or failure.errno not in _NOT_HERE):
        for each in sockets:
            each.close()
        raise failure
    return sockets


def _listen(family: int, address: tuple[object, ...]) -> socket.socket:
    """Raises OSError."""
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform == "win32":
            # Windows lets another program take over a port in use, unless the port was taken for one alone.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that just ended hold it
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has a socket of its own
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening
