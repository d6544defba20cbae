"""The simulator as others use it: start it on a port, change its behaviour, read what it saw."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from random import Random
from typing import Final

from tornado.http1connection import HTTP1ServerConnection
from tornado.httpserver import HTTPServer

from chatgpt_platform.simulator.answer import End
from chatgpt_platform.simulator.behaviour import Behaviour, Stats
from chatgpt_platform.simulator.faults import FAULTS
from chatgpt_platform.simulator.handlers import make_application
from chatgpt_platform.simulator.listening import Port
from chatgpt_platform.simulator.request import Request

__all__ = ["Behaviour", "Request", "Simulator", "Stats"]

_SOUND: Final = Behaviour()
_REMEMBERED: Final = 50


class Simulator:
    """An OpenAI-compatible server.

    ``behaviour`` may be replaced at any time and holds for the calls and connections that come after.
    ``seen``: the last requests under ``/v1``, oldest first, each with the fault that it met, for tests.
    """

    def __init__(
        self,
        behaviour: Behaviour = _SOUND,
        *,
        random: Random | None = None,
        remember: int | None = _REMEMBERED,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``random`` decides where a behaviour leaves it to chance. ``remember``: how many requests, None: all.

        ``tls``: it is spoken to by https.
        """
        self.stats = Stats()
        self.seen: deque[Request] = deque(maxlen=remember)
        self.under_way: set[asyncio.Task[End]] = set()
        self.random: Final = random or Random()  # noqa: S311 - chance, not secrecy
        self._behaviour = behaviour
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server = _Server(make_application(self))
        self.port: Final = Port(self._server.handle_stream, self._instead, tls)
        self._server.port = self.port

    @property
    def behaviour(self) -> Behaviour:
        return self._behaviour

    @behaviour.setter
    def behaviour(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        if self._loop is not None:  # perhaps in another thread
            self._loop.call_soon_threadsafe(self._follow)

    def listen(self, port: int = 0, host: str = "127.0.0.1") -> int:
        """Starts on the running loop; port 0 takes a free one. ``host``: a name or an IPv4 address.

        Returns the port. Raises OSError if it cannot be had.
        """
        bound = self.port.bind(host, port)
        self._loop = asyncio.get_running_loop()
        self._follow()
        return bound

    async def stop(self) -> None:
        """Stops listening and closes all connections, also those that are being answered."""
        self._loop = None
        await self.port.stop()
        tasks = list(self.under_way)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.close_all_connections()

    def _follow(self) -> None:
        """Listen or do not, as the behaviour has it."""
        if self._loop is None:
            return
        if self._behaviour.refuses:
            self.port.close()
        else:
            self.port.open()

    def _instead(self) -> bytes | None:
        kind = self._behaviour.draw(self.random, connection=True)
        return FAULTS[kind].instead if kind else None


class _Server(HTTPServer):
    """Tornado's server, which tells its port what has ended."""

    port: Port

    def on_close(self, server_conn: object) -> None:
        super().on_close(server_conn)
        assert isinstance(server_conn, HTTP1ServerConnection)
        self.port.ended(server_conn.stream)
