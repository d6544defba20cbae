"""A server that does exactly what a test tells it, byte for byte, in the test's own event loop.

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n")
        await peer.gone()

    async with RawServer(script) as server:
        ... server.url, server.peers ...

Leaving raises what a script raised, so that a script may assert.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self, cast

from chatgpt_platform.upstream.client import Client

OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Peer:
    """One accepted connection, seen from the server."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.requests: list[bytes] = []
        self._reader = reader
        self._writer = writer

    async def request(self) -> bytes:
        """The next whole request, its length told by Content-Length."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        request = head + await self._reader.readexactly(length)
        self.requests.append(request)
        return request

    async def read(self, size: int) -> bytes:
        return await self._reader.readexactly(size)

    async def send(self, data: bytes) -> None:
        """Returns when the kernel, and perhaps a buffer of a few KiB, has taken it."""
        self._writer.write(data)
        await self._writer.drain()

    async def gone(self) -> None:
        """Until the client has closed or reset the connection."""
        try:
            while await self._reader.read(65536):
                pass
        except OSError:
            pass

    def pause(self) -> None:
        """Take nothing more in."""
        self._transport.pause_reading()

    def end(self) -> None:
        """A proper close; under TLS with close_notify."""
        self._writer.close()

    def cut(self) -> None:
        """Close the socket; under TLS without close_notify."""
        self._transport.abort()

    def reset(self) -> None:
        """Close with a TCP reset."""
        connection = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    @property
    def _transport(self) -> asyncio.Transport:
        return cast("asyncio.Transport", self._writer.transport)  # uvloop's are no subclasses of it


Script = Callable[[Peer], Awaitable[None]]


class RawServer:
    """Runs ``script`` for each connection."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.peers: list[Peer] = []
        self._script = script
        self._tls = tls
        self._host = host
        self._tasks: list[asyncio.Task[None]] = []
        self._server: asyncio.Server
        self.port = 0

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self._host, 0, ssl=self._tls, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        if kind is not None:
            for task in self._tasks:
                task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        for peer in self.peers:
            peer.cut()
        await asyncio.sleep(0)  # the transports' own ends
        await asyncio.sleep(0)
        if kind is None:
            for result in results:
                if isinstance(result, BaseException):
                    raise result

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(len(self.peers) + 1, reader, writer)
        self.peers.append(peer)
        self._tasks.append(asyncio.create_task(self._run(peer), name=f"script {peer.number}"))

    async def _run(self, peer: Peer) -> None:
        await self._script(peer)


async def answers(peer: Peer) -> None:
    """A script: ``OK`` to each request."""
    try:
        while True:
            await peer.request()
            await peer.send(OK)
    except (asyncio.IncompleteReadError, OSError):
        return


async def ask(client: Client) -> bytes:
    """The whole answer to a small question, which brings a key. Raises Problem."""
    response = await client.open(b"POST", b"/x", b"Authorization: Bearer test-key-1\r\n", b"{}")
    try:
        return await response.read_all(1_000_000)
    finally:
        response.close()
