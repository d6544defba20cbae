"""A server that says just the bytes a test wants, for answers that no sound upstream gives.

async with RawServer(say(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhi")) as server:
    client = Client(f"http://127.0.0.1:{server.port}", ...)
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]
"""Answers one request; False closes the connection after it."""

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: (\d+)")


class RawServer:
    """Reads requests, counts them, and lets its script answer each.

    ``requests``: head and body of each. ``closed``: set once a connection has ended.
    """

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None, *, reads_bodies: bool = True) -> None:
        self._script = script
        self._tls = tls
        self._reads_bodies = reads_bodies
        self.connections = 0
        self.requests: list[bytes] = []
        self.closed = asyncio.Event()
        self.port = 0
        self._tasks: list[asyncio.Task[object]] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._tls is not None:
            handshakes = asyncio.all_tasks() - {asyncio.current_task()}
            if handshakes:
                await asyncio.wait(handshakes, timeout=10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.append(task)
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                match = _LENGTH.search(head) if self._reads_bodies else None
                self.requests.append(head + (await reader.readexactly(int(match[1])) if match else b""))
                if not await self._script(reader, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client left, as some tests want it
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            self.closed.set()
            writer.close()


def say(data: bytes, *, then: str = "keep", bytewise: bool = False) -> Script:
    """Answer with these bytes; ``then``: keep the connection, close, reset, or wait until the client leaves."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        for piece in [data[at : at + 1] for at in range(len(data))] if bytewise else [data]:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if then == "wait":
            await reader.read()
        if then == "reset":
            reset(writer)
        return then == "keep"

    return script


def reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with a TCP reset."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
