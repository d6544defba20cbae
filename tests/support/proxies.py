"""Proxies that do what a test tells them: a CONNECT proxy and a SOCKS5 server, in the test's own event loop.

    async with ConnectProxy(user="ann", password="secret") as proxy:
        ... proxy.url, proxy.asked, proxy.open ...

``asked``: where they were asked to connect to, as it was written. ``answer`` replaces all that they would say.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self
from urllib.parse import quote

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Proxy:
    """What both have in common. ``hosts``: where names lead to, in place of a look-up."""

    scheme = ""

    def __init__(
        self, *, user: str = "", password: str = "",
        hosts: dict[str, str] | None = None, answer: Answer | None = None,
    ) -> None:  # fmt: skip
        self.user, self.password = user, password
        self.asked: list[tuple[str, int]] = []
        self.credentials: list[str] = []
        self.open = 0
        """Connections that a client holds."""
        self.port = 0
        self._hosts = hosts or {}
        self._answer = answer
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server
        self._empty = asyncio.Event()

    @property
    def url(self) -> str:
        signs = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@" if self.user else ""
        return f"{self.scheme}://{signs}127.0.0.1:{self.port}"

    async def deserted(self) -> None:
        """Until no client holds a connection."""
        while self.open:
            self._empty.clear()
            await self._empty.wait()

    async def greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Speak with the client up to where bytes would go to and fro; whether they shall."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.open += 1
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                if self._answer is not None:
                    await self._answer(reader, writer)
                elif await self.greet(reader, writer):
                    await self._pass_on(reader, writer)
                while await reader.read(65536):
                    pass
        finally:
            writer.transport.abort()
            await asyncio.sleep(0)
            self._tasks.discard(task)
            self.open -= 1
            self._empty.set()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self.asked[-1]
        there, back = await asyncio.open_connection(self._hosts.get(host, host), port)
        both = [asyncio.create_task(_copy(*way), name="copy") for way in ((reader, back), (there, writer))]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in both:
                each.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            writer.close()
            back.transport.abort()
            await asyncio.sleep(0)


class ConnectProxy(Proxy):
    """Speaks CONNECT; ``refuse``: with which status and body instead."""

    scheme = "http"
    refuse = b""

    async def greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
        method, target, _ = head.split(" ", 2)
        assert method == "CONNECT"
        host, _, port = target.rpartition(":")
        self.asked.append((host.strip("[]"), int(port)))
        told = [line.split()[-1] for line in head.splitlines() if line.lower().startswith("proxy-authorization")]
        self.credentials += [base64.b64decode(each).decode() for each in told]
        if self.refuse:
            writer.write(self.refuse)
        elif self.user and self.credentials[-1:] != [f"{self.user}:{self.password}"]:
            writer.write(b"HTTP/1.1 407 Who are you?\r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nno")
        else:
            # In pieces, as some send it.
            for piece in (b"HTTP/1.1 2", b"00 Connection established\r\nVia: 1.1 ", b"test\r\n\r\n"):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)
            return True
        await writer.drain()
        return False


class Socks5Proxy(Proxy):
    """Speaks SOCKS5 (RFC 1928, RFC 1929); ``refuse``: with which reply code instead."""

    scheme = "socks5"
    refuse = 0

    async def greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        _, count = await reader.readexactly(2)
        offered = await reader.readexactly(count)
        wanted = 2 if self.user else 0
        writer.write(bytes((5, wanted if wanted in offered else 0xFF)))
        if wanted not in offered or (wanted and not await self._recognises(reader, writer)):
            return False
        _, _, _, kind = await reader.readexactly(4)
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode("ascii")
        else:
            family, size = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
            host = socket.inet_ntop(family, await reader.readexactly(size))
        (port,) = struct.unpack("!H", await reader.readexactly(2))
        self.asked.append((host, port))
        writer.write(bytes((5, self.refuse, 0, 1)) + bytes(6))
        await writer.drain()
        return not self.refuse

    async def _recognises(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await reader.readexactly(1)
        user = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        password = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        self.credentials.append(f"{user}:{password}")
        known = (user, password) == (self.user, self.password)
        writer.write(bytes((1, 0 if known else 1)))
        return known


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
