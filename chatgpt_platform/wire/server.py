"""The listening side: accepts connections, knows which are open, drains and closes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from typing import Final

from chatgpt_platform.wire import liveness
from chatgpt_platform.wire.batch import Batch
from chatgpt_platform.wire.connection import Connection, Timeouts
from chatgpt_platform.wire.exchange import Application
from chatgpt_platform.wire.head import Limits
from chatgpt_platform.wire.known import LastKnown
from chatgpt_platform.wire.listener import Listener
from chatgpt_platform.wire.output import Output

LOOKED_AFTER: Final = 200
"""Connections that are looked at in one turn of the loop."""


class Server:
    """Serves an ``Application``. Use: ``listen``, then perhaps ``drain``, then ``close``.

    ``application``, ``timeouts`` and ``tls`` may be replaced at any time, for what comes then.
    """

    def __init__(
        self, application: Application, logger: logging.Logger, *,
        timeouts: Timeouts = Timeouts(), limits: Limits = Limits(), tls: ssl.SSLContext | None = None,  # noqa: B008
    ) -> None:  # fmt: skip
        """``logger``: for what the application raises, and for running out of file descriptors."""
        self.application = application
        self.timeouts = timeouts
        self.limits = limits
        self.draining = False
        self.last_known = LastKnown()
        self.tls = tls
        self.loop: Final = asyncio.get_running_loop()
        self.outbox: Final = Batch(self.loop, Output.flush)
        self._log: Final = logger
        self._listener: Final = Listener(self._accepted, logger)
        self._connections: Final[set[Connection]] = set()
        self._opening: Final[set[asyncio.Task[None]]] = set()
        self._awaited: set[Connection] = set()
        """Connections that had something under way when the drain began, and have it still."""
        self._quiet: Final = asyncio.Event()
        self._empty: Final = asyncio.Event()
        self._closing = False
        self._unseen: list[Connection] = []
        self._round: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections)

    def listen(self, host: str, port: int) -> int:
        """Start to accept and return the port, which the system picks for 0. Raises OSError."""
        bound = self._listener.open(host, port)
        if liveness.LINUX:
            self._look_after()
        return bound

    async def drain(self, timeout: float) -> int:
        """Close idle connections, wait for what is under way; each connection closes after its answer.

        New requests still reach the application, which may refuse them. Returns how many connections were
        still busy when ``timeout`` (seconds) had passed.
        """
        # What has reached this machine already is a request, not an idle connection.
        for _ in range(2):
            await asyncio.sleep(0)
        self.draining = True
        for connection in list(self._connections):
            connection.close()
        self._awaited = {each for each in self._connections if not each.idle}
        self._check_quiet()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._quiet.wait()
        return len(self._awaited)

    async def close(self) -> None:
        """Stop to accept and cut what is still open."""
        self._closing = True
        if self._round is not None:
            self._round.cancel()
        self._listener.close()
        for task in list(self._opening):
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        for connection in list(self._connections):
            connection.abort()
        self._check_empty()
        await self._empty.wait()

    # What connections call.

    def opened(self, connection: Connection) -> None:
        """A connection is up, TLS included."""
        self._connections.add(connection)

    def settled(self, connection: Connection) -> None:
        """A connection's last answer has gone out; a drain need not wait for its end."""
        self._awaited.discard(connection)
        if self.draining:
            self._check_quiet()

    def closed(self, connection: Connection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)
        self._awaited.discard(connection)
        try:
            self.application.closed(connection)
        except Exception as error:  # noqa: BLE001 - an application may raise anything
            self.fault(error)
        if self.draining:
            self._check_quiet()
        if self._closing:
            self._check_empty()

    def fault(self, error: Exception) -> None:
        """The application raised what it should not have."""
        self._log.error("a fault of the application behind the wire", exc_info=error)

    def _look_after(self) -> None:
        """Cut calls whose clients vanished without a word, by the time that they have to take something."""
        if not self._unseen:
            self._unseen = [*self._connections]
        some, self._unseen = self._unseen[:LOOKED_AFTER], self._unseen[LOOKED_AFTER:]
        for connection in some:
            if connection.vanished(self.timeouts.write * 0.7):
                connection.abort()
        self._round = self.loop.call_later(0.01 if self._unseen else self.timeouts.write * 0.2, self._look_after)

    def _check_quiet(self) -> None:
        if not self._awaited:
            self._quiet.set()

    def _check_empty(self) -> None:
        if not self._connections:
            self._empty.set()

    def _accepted(self, accepted: socket.socket, address: tuple[object, ...]) -> None:
        peer = str(address[0]) if address else ""
        task = self.loop.create_task(self._open(accepted, peer), name="open a connection")
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, accepted: socket.socket, peer: str) -> None:
        tls = self.tls
        secure = tls is not None
        connection = Connection(self, peer, secure=secure)
        try:
            await self.loop.connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=tls,
                ssl_handshake_timeout=self.timeouts.header if secure else None,
            )
        except asyncio.CancelledError:
            if connection in self._connections:
                connection.connection_lost(None)  # uvloop closes it then without telling it
            raise
        except (OSError, EOFError) as error:
            # It left, or does not speak TLS: nothing that anybody here could mend.
            self._log.debug("no connection with %s came about: %s", peer, error)
            accepted.close()
