"""A wire server before an application that notes what it is told, and answers as a test wants it.

async with serving(Recorder()) as running, connect(running.port) as client:
    await client.send(get("/x"))
    call = await running.call()          # the next request that began
    await call.happened("complete")
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from chatgpt_platform.wire.connection import Timeouts
from chatgpt_platform.wire.exchange import Exchange
from chatgpt_platform.wire.head import BadRequest, Limits
from chatgpt_platform.wire.server import Server


def get(target: str = "/", *lines: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"GET {target} HTTP/{version}", "Host: x", *lines, "", ""]).encode()


def post(body: bytes | int, *lines: str, target: str = "/") -> bytes:
    """A request with its body, or with no more than the announcement of so many bytes."""
    size = body if isinstance(body, int) else len(body)
    head = "\r\n".join([f"POST {target} HTTP/1.1", "Host: x", f"Content-Length: {size}", *lines, "", ""])
    return head.encode() + (b"" if isinstance(body, int) else body)


class Call:
    """One request as the application saw it: a ``Receiver`` that notes each call as an event."""

    def __init__(self, recorder: Recorder, exchange: Exchange) -> None:
        self.exchange = exchange
        self.events: list[str] = []
        self.body = b""
        self._recorder = recorder
        self._changed = asyncio.Event()

    @property
    def target(self) -> str:
        return self.exchange.head.target.decode()

    async def happened(self, event: str) -> None:
        """Until it did. An event that has happened already counts."""
        await self.until(lambda: event in self.events)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Until it holds; asked again at each event."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def answer(self, status: int = 200, body: bytes | None = None) -> None:
        """The whole answer; by default it tells the target, and the request's body."""
        told = self.exchange.head.target + b" " + self.body
        self.exchange.answer(status, b"X-Test: y\r\n", told if body is None else body)

    # What the connection calls.

    def received(self, data: bytes) -> None:
        assert data
        self.body += data
        self._note("received")

    def complete(self) -> None:
        self._note("complete")

    def failed(self, bad: BadRequest) -> None:
        self._note(f"failed {bad.status}")

    def left(self) -> None:
        self._note("left")

    def _note(self, event: str) -> None:
        assert "left" not in self.events, f"{event} after left"
        self.events.append(event)
        self._changed.set()
        self._recorder.act(event.partition(" ")[0], self)


Act = Callable[[Call], None]


def answers(call: Call) -> None:
    call.answer()


def refuses(call: Call) -> None:
    call.answer(int(call.events[-1].split()[1]), b"failed")


def silent(_: Call) -> None:
    """For a test that answers later, or never."""


class Recorder:
    """A wire ``Application``. Each of ``acts`` is called at its event; by default a whole request is answered.

    Events: begin, received, complete, failed, left.
    """

    def __init__(self, **acts: Act) -> None:
        self.acts: dict[str, Act] = {"complete": answers, "failed": refuses, **acts}
        self.calls: list[Call] = []
        self.refused: list[tuple[int, str]] = []
        self.closed_connections: list[object] = []
        self.began: asyncio.Queue[Call] = asyncio.Queue()

    def act(self, event: str, call: Call) -> None:
        if event in self.acts:
            self.acts[event](call)

    def begin(self, exchange: Exchange) -> Call:
        call = Call(self, exchange)
        self.calls.append(call)
        self.began.put_nowait(call)
        self.act("begin", call)
        return call

    def refuse(self, exchange: Exchange, bad: BadRequest) -> None:
        self.refused.append((bad.status, exchange.head.target.decode("latin-1")))
        exchange.answer(bad.status, b"", b"refused")

    def closed(self, connection: object) -> None:
        self.closed_connections.append(connection)


class Running:
    """What a test can reach of a running server."""

    def __init__(self, server: Server, recorder: Recorder, port: int) -> None:
        self.server = server
        self.recorder = recorder
        self.port = port

    async def call(self) -> Call:
        """The next request that began."""
        return await self.recorder.began.get()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self.server._connections)

    async def deserted(self) -> None:
        """Until no connection is open."""
        await eventually(lambda: not self.connections)


@asynccontextmanager
async def serving(
    recorder: Recorder,
    timeouts: Timeouts | None = None,
    *,
    limits: Limits | None = None,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[Running]:
    """A server. When it is left nothing may be open any more, and every call has had its end."""
    more: dict[str, Any] = {"timeouts": timeouts} if timeouts else {}
    more |= {"limits": limits} if limits else {}
    server = Server(recorder, logging.getLogger("wire"), tls=tls, **more)
    running = Running(server, recorder, server.listen(host, 0))
    try:
        yield running
    finally:
        await server.close()
    assert running.connections == 0
    for call in recorder.calls:
        ends = [event for event in call.events if event != "received"]
        assert ends.count("left") <= 1
        assert ends.count("complete") <= 1
        assert call.exchange.finished, f"{call.target}: {call.events}"


async def eventually(condition: Callable[[], bool]) -> None:
    """For what no event tells. The test's own time limit guards against hanging."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.002)


async def settle() -> None:
    """Turn the loop: both ends are on it, so what one has sent the other has read then."""
    for _ in range(50):
        await asyncio.sleep(0)
