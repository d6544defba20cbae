"""The gateway on Tornado's stock HTTP server: the handlers must not need our wire.

It stands in for ``chatgpt_platform.web.server.Server`` and knows of each connection whether it is idle or busy,
which Tornado does not tell. It has none of the wire's timeouts, and Tornado's own words for what is no HTTP.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable
from typing import Final

from tornado import httpserver, httputil, web
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream

from chatgpt_platform.web.app import build
from chatgpt_platform.web.service import Service
from chatgpt_platform.wire.listener import Listener

_UNLIMITED: Final = 1 << 62
"""Tornado would answer an over-large body with a bare 400; the handlers know better and count for themselves."""

_READ_BUFFER: Final = 1024 * 1024
"""Bytes that a connection may send ahead of what is read, such as pipelined requests."""


class Server:
    """Serves a ``Service``. Use: ``listen``, then ``drain``, then ``close``."""

    def __init__(self, service: Service) -> None:
        self._service: Final = service
        self._entrance: Final = Entrance(build(service))
        self._http: Final = _HttpServer(
            self._entrance,
            idle_connection_timeout=service.settings.server.timeouts.idle,
            max_body_size=_UNLIMITED,
        )
        self._listener: Final = Listener(self._accepted, service.logs.logger)

    def listen(self, host: str, port: int) -> int:
        """Start to accept and return the port, which the system picks for 0. Raises OSError."""
        return self._listener.open(host, port)

    def rebuild(self) -> None:
        """Put the service's present settings in force, for the requests that come."""
        self._entrance.application = build(self._service)

    async def drain(self, timeout: float) -> int:
        """Refuse new calls, close idle connections, wait for what is under way.

        Returns how many calls were still under way when ``timeout`` (seconds) had passed.
        """
        self._service.draining = True
        self._entrance.drain()
        try:
            async with asyncio.timeout(timeout):
                await self._entrance.quiet.wait()
        except TimeoutError:
            return self._entrance.busy
        return 0

    async def close(self) -> None:
        """Stop to accept and cut what is still open."""
        self._service.cutting = True
        self._listener.close()
        await self._http.close_all_connections()

    def _accepted(self, connection: socket.socket, address: tuple[object, ...]) -> None:
        stream = NoticingStream(connection, max_buffer_size=_READ_BUFFER)
        self._http.handle_stream(stream, address)


class Entrance(httputil.HTTPServerConnectionDelegate):
    """Hands each request to the application of the moment; knows which connections are idle and busy."""

    def __init__(self, application: web.Application) -> None:
        self.application = application
        self.quiet: Final = asyncio.Event()
        """No request is being received or answered."""
        self.quiet.set()
        self._idle: Final[dict[object, httputil.HTTPConnection]] = {}
        self._busy: Final[set[object]] = set()
        self._draining = False

    @property
    def busy(self) -> int:
        """Connections on which a request is being received or answered."""
        return len(self._busy)

    def drain(self) -> None:
        """Close what is idle now, and from now on each connection whose answer is out."""
        self._draining = True
        for connection in list(self._idle.values()):
            _close(connection)

    def start_request(
        self, server_conn: object, request_conn: httputil.HTTPConnection
    ) -> httputil.HTTPMessageDelegate:
        """A connection waits for a request: its first one, or after an answer the next."""
        answered = server_conn in self._busy
        self._rest(server_conn)
        self._idle[server_conn] = request_conn
        if self._draining and answered:
            _close(request_conn)
        return _Message(self, server_conn, request_conn)

    def begin(self, server_conn: object, request_conn: httputil.HTTPConnection) -> httputil.HTTPMessageDelegate:
        """A request's head has come."""
        self._idle.pop(server_conn, None)
        self._busy.add(server_conn)
        self.quiet.clear()
        return self.application.start_request(server_conn, request_conn)

    def on_close(self, server_conn: object) -> None:
        """A connection is gone."""
        self._idle.pop(server_conn, None)
        self._rest(server_conn)

    def _rest(self, server_conn: object) -> None:
        self._busy.discard(server_conn)
        if not self._busy:
            self.quiet.set()


class _Message(httputil.HTTPMessageDelegate):
    """Waits for a head, then passes everything on to the application's own delegate."""

    def __init__(self, entrance: Entrance, server_conn: object, request_conn: httputil.HTTPConnection) -> None:
        self._entrance: Final = entrance
        self._connections: Final = (server_conn, request_conn)
        self._delegate: httputil.HTTPMessageDelegate | None = None

    def headers_received(
        self,
        start_line: httputil.RequestStartLine | httputil.ResponseStartLine,
        headers: httputil.HTTPHeaders,
    ) -> Awaitable[None] | None:
        self._delegate = self._entrance.begin(*self._connections)
        return self._delegate.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._delegate.data_received(chunk) if self._delegate else None

    def finish(self) -> None:
        if self._delegate:
            self._delegate.finish()

    def on_connection_close(self) -> None:
        if self._delegate:
            self._delegate.on_connection_close()


class NoticingStream(IOStream):
    """Notices a client that leaves even while bytes that it sent ahead wait unread."""

    def _maybe_add_error_listener(self) -> None:
        # Tornado's own stops to listen then. What a client can send ahead is bounded by the buffer.
        if self._state in (None, IOLoop.ERROR) and not self.closed() and self._close_callback is not None:
            self._add_io_state(IOLoop.READ)


class _HttpServer(httpserver.HTTPServer):
    """Tornado's server; it tells the entrance of closed connections, which Tornado keeps to itself."""

    def initialize(self, entrance: Entrance, **options: object) -> None:  # type: ignore[override]
        super().initialize(entrance, **options)  # type: ignore[arg-type]
        self._entrance = entrance

    def on_close(self, server_conn: object) -> None:
        super().on_close(server_conn)
        self._entrance.on_close(server_conn)


def _close(connection: object) -> None:
    """Close what Tornado calls an HTTPConnection: its abstract class has no ``close``, each that serves has."""
    close = getattr(connection, "close", None)
    if close is not None:
        close()
