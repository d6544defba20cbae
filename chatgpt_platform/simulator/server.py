"""The simulator as others use it: start it on a port, change its behaviour, read what it saw."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import Final

from tornado.httpserver import HTTPServer

from chatgpt_platform.simulator.answer import End
from chatgpt_platform.simulator.behaviour import Behaviour, Stats
from chatgpt_platform.simulator.handlers import make_application
from chatgpt_platform.simulator.request import Request

__all__ = ["Behaviour", "Request", "Simulator", "Stats"]

_SOUND: Final = Behaviour()
_REMEMBERED = 50
_BACKLOG = 1024  # hundreds of callers may arrive at once


class Simulator:
    """An OpenAI-compatible server.

    ``behaviour`` may be replaced at any time and holds for the calls that come after.
    ``seen``: the last 50 requests under ``/v1``, oldest first, for tests.
    """

    def __init__(self, behaviour: Behaviour = _SOUND) -> None:
        self.behaviour = behaviour
        self.stats = Stats()
        self.seen: deque[Request] = deque(maxlen=_REMEMBERED)
        self.under_way: set[asyncio.Task[End]] = set()
        self._server = HTTPServer(make_application(self))

    def listen(self, port: int = 0, host: str = "127.0.0.1") -> int:
        """Starts on the running loop; port 0 takes a free one. ``host``: a name or an IPv4 address.

        Returns the port. Raises OSError if it cannot be had.
        """
        listener = socket.create_server((host, port), backlog=_BACKLOG)
        listener.setblocking(False)
        self._server.add_socket(listener)
        bound: int = listener.getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Stops listening and closes all connections, also those that are being answered."""
        self._server.stop()
        tasks = list(self.under_way)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.close_all_connections()
