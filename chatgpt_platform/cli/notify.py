"""What the service manager is told: ready, reloading, stopping, alive. The protocol is that of sd_notify(3).

A manager that wants to know gives ``NOTIFY_SOCKET``, a datagram socket, and with a watchdog ``WATCHDOG_USEC``.
Without them all this does nothing; where it fails, a line in the log says so and serving goes on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

_AF_UNIX: Final[int | None] = getattr(socket, "AF_UNIX", None)  # Windows has none
_PINGS: Final = 3
"""Signs of life within the watchdog's time: one that comes late does no harm."""
_AGAIN: Final = 0.1
"""Seconds after which a manager whose queue was full is tried again."""
_SLACK: Final = 5.0
"""Seconds on top of the drain for what comes after it, before the manager loses patience."""


class Notifier:
    """Tells the manager, without ever waiting for it. To be used on the running event loop."""

    def __init__(self, environment: Mapping[str, str], log: logging.Logger) -> None:
        self._log: Final = log
        self._address: Final = self._read_address(environment)
        self._every: Final = self._read_watchdog(environment) if self._address else None
        self._socket: socket.socket | None = None
        self._waiting: Final[deque[bytes]] = deque()
        self._warned = False

    def ready(self, status: str) -> None:
        """Calls are taken from now on."""
        self._tell("READY=1", f"STATUS={status}")

    def status(self, text: str) -> None:
        """A line for people."""
        self._tell(f"STATUS={text}")

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Around a reload, whatever comes of it."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            yield
        finally:
            self._tell("READY=1")

    def stopping(self, drain: float) -> None:
        """No new calls; it can take ``drain`` seconds, even where the manager's own patience is shorter."""
        self._tell("STOPPING=1", "STATUS=stopping", f"EXTEND_TIMEOUT_USEC={round((drain + _SLACK) * 1_000_000)}")

    async def keep_alive(self) -> None:
        """Give signs of life for as long as the event loop turns; ends at once without a watchdog."""
        while self._every is not None:
            if not self._waiting:
                self._tell("WATCHDOG=1")
            await asyncio.sleep(self._every)

    def close(self) -> None:
        self._waiting.clear()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _read_address(self, environment: Mapping[str, str]) -> str:
        """The socket's address; an abstract one begins with a NUL, written as ``@``."""
        given = environment.get("NOTIFY_SOCKET", "")
        if given and (given[0] not in "/@" or _AF_UNIX is None):
            self._log.warning("NOTIFY_SOCKET: found %r, a kind that is not known here: it is ignored", given)
            return ""
        return "\0" + given[1:] if given.startswith("@") else given

    def _read_watchdog(self, environment: Mapping[str, str]) -> float | None:
        """Seconds between two signs of life; None if nobody waits for them."""
        given = environment.get("WATCHDOG_USEC", "")
        # The manager knows the process that it started; the one-file executable's launcher is our parent.
        wanted = environment.get("WATCHDOG_PID") or str(os.getpid())
        if not given or wanted not in (str(os.getpid()), str(os.getppid())):
            return None
        if not (given.isascii() and given.isdigit() and len(given) < 20 and int(given)):
            self._log.warning("WATCHDOG_USEC: found %r, expected microseconds: it is ignored", given)
            return None
        return int(given) / 1_000_000 / _PINGS

    def _tell(self, *lines: str) -> None:
        if self._address:
            self._waiting.append("\n".join(lines).encode("utf-8", "replace"))
            if len(self._waiting) == 1:
                self._send()

    def _send(self) -> None:
        """Send what waits, in order; what cannot be sent is lost, but for a queue that is full just now."""
        try:
            while self._waiting:
                self._open().sendto(self._waiting[0], self._address)
                self._waiting.popleft()
                self._warned = False
        except BlockingIOError:
            asyncio.get_running_loop().call_later(_AGAIN, self._send)
        except OSError as error:
            self._waiting.clear()
            if not self._warned:
                self._warned = True
                reason = error.strerror or str(error)
                self._log.warning("the service manager cannot be told how we are (NOTIFY_SOCKET): %s", reason)

    def _open(self) -> socket.socket:
        if self._socket is None:
            assert _AF_UNIX is not None
            self._socket = socket.socket(_AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
        return self._socket
