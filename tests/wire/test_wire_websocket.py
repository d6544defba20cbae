"""Tornado's WebSockets, unchanged, on the wire as on Tornado's own server."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from tornado import websocket

from support.answers import Client, connect
from support.applications import Serve, ask
from support.recorder import eventually, get, settle

KEY, ACCEPTED = "dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # of RFC 6455
UPGRADE = get(
    "/", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}"
)
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Echo(websocket.WebSocketHandler):
    """Sends each message back; ``log`` holds what happened."""

    def initialize(self, log: list[object]) -> None:
        self.log = log

    async def open(self, *_: str, **__: str) -> None:
        self.log.append("open")
        if self.get_argument("greet", ""):
            await self.write_message("hello")

    async def on_message(self, message: str | bytes) -> None:
        if message == "close":
            self.close(4001, "as you wish")
            return
        await self.write_message(message, binary=isinstance(message, bytes))

    def on_pong(self, data: bytes) -> None:
        self.log.append(data)

    def on_close(self) -> None:
        self.log.append(("closed", self.close_code))


def frame(kind: int, data: bytes, *, final: bool = True) -> bytes:
    """As a client sends it, under a mask, here one that changes nothing."""
    size = len(data)
    if size < 126:
        head = struct.pack("!BB", final << 7 | kind, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", final << 7 | kind, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", final << 7 | kind, 0x80 | 127, size)
    return head + bytes(4) + data


class Socket:
    """The client's end, frame by frame."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._got = b""

    async def handshake(self) -> bytes:
        """The head of the answer."""
        while b"\r\n\r\n" not in self._got:
            await self._receive()
        head, _, self._got = self._got.partition(b"\r\n\r\n")
        return head

    async def frame(self) -> tuple[int, bytes]:
        """The next frame's kind and data; it must come in one piece and without a mask."""
        first, size = await self._exactly(2)
        assert first & 0x80
        if size == 126:
            (size,) = struct.unpack("!H", await self._exactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self._exactly(8))
        return first & 0x0F, await self._exactly(size)

    async def send(self, kind: int, data: bytes) -> None:
        await self.client.send(frame(kind, data))

    async def ended(self) -> None:
        assert self._got == b""
        await self.client.ended()

    async def _exactly(self, size: int) -> bytes:
        while len(self._got) < size:
            await self._receive()
        taken, self._got = self._got[:size], self._got[size:]
        return taken

    async def _receive(self) -> None:
        more = await self.client.receive()
        assert more, "the connection ended"
        self._got += more


@asynccontextmanager
async def echo(
    serve: Serve, log: list[object], upgrade: bytes = UPGRADE, **settings: Any
) -> AsyncIterator[Socket]:
    """A WebSocket that is open. ``upgrade``: the request, and perhaps what is sent right behind it."""
    async with serve([("/", Echo, {"log": log})], **settings) as port, connect(port) as client:
        await client.send(upgrade)
        socket = Socket(client)
        head = await socket.handshake()
        assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        fields = dict(line.lower().split(b": ") for line in head.split(b"\r\n")[1:])
        assert (fields[b"upgrade"], fields[b"connection"]) == (b"websocket", b"upgrade")
        assert fields[b"sec-websocket-accept"] == ACCEPTED.lower()
        yield socket


async def test_messages_come_back(serve: Serve) -> None:
    log: list[object] = []
    async with echo(serve, log) as socket:
        for kind, message in ((TEXT, "hé".encode()), (BINARY, bytes(range(256)) * 8000), (TEXT, b"")):
            sending = asyncio.create_task(socket.send(kind, message), name="send")
            assert await socket.frame() == (kind, message)
            await sending
        await socket.send(PING, b"p")
        assert await socket.frame() == (PONG, b"p")
        await socket.send(CLOSE, struct.pack("!H", 1000))
        assert await socket.frame() == (CLOSE, struct.pack("!H", 1000))
        await socket.ended()
    assert log == ["open", ("closed", 1000)]


@pytest.mark.parametrize("cut", [0, 1, 20])
async def test_frames_right_behind_the_handshake(serve: Serve, cut: int) -> None:
    """They have been read with the request; none is lost, nor a part of one."""
    log: list[object] = []
    ahead = b"".join(frame(TEXT, b"message %d" % number) for number in range(10))
    upgrade = UPGRADE.replace(b"GET /", b"GET /?greet=yes")
    async with echo(serve, log, upgrade + ahead[: len(ahead) - cut]) as socket:
        await socket.client.send(ahead[len(ahead) - cut :])
        assert await socket.frame() == (TEXT, b"hello")
        for number in range(10):
            assert await socket.frame() == (TEXT, b"message %d" % number)
        await socket.send(TEXT, b"last")
        assert await socket.frame() == (TEXT, b"last")
    await eventually(lambda: log[-1] == ("closed", None))


async def test_much_right_behind_the_handshake(serve: Serve) -> None:
    """A client has to wait for the answer, and some do not."""
    message = b"x" * 150_000
    log: list[object] = []
    async with echo(serve, log, UPGRADE + frame(TEXT, message)) as socket:
        assert await socket.frame() == (TEXT, message)
    await eventually(lambda: log[-1] == ("closed", None))


async def test_a_message_in_fragments(serve: Serve) -> None:
    async with echo(serve, []) as socket:
        for part in (
            frame(TEXT, b"a", final=False),
            frame(PING, b""),
            frame(0, b"b", final=False),
            frame(0, b"c"),
        ):
            await socket.client.send(part)
            await settle()
        assert [await socket.frame() for _ in range(2)] == [(PONG, b""), (TEXT, b"abc")]


async def test_the_server_may_close(serve: Serve) -> None:
    log: list[object] = []
    async with echo(serve, log) as socket:
        await socket.send(TEXT, b"close")
        assert await socket.frame() == (CLOSE, struct.pack("!H", 4001) + b"as you wish")
        await socket.send(CLOSE, struct.pack("!H", 4001))
        await socket.ended()
    assert log == ["open", ("closed", 4001)]


@pytest.mark.parametrize("how", ["close", "half-close", "reset"])
async def test_a_client_that_leaves(serve: Serve, how: str) -> None:
    log: list[object] = []
    async with echo(serve, log) as socket:
        client = socket.client
        {"close": client.close, "half-close": client.half_close, "reset": client.reset}[how]()
        await eventually(lambda: log == ["open", ("closed", None)])


async def test_pings_of_the_server(serve: Serve) -> None:
    log: list[object] = []
    async with echo(serve, log, websocket_ping_interval=0.02, websocket_ping_timeout=0.02) as socket:
        kind, data = await socket.frame()
        assert kind == PING
        await socket.send(PONG, data)
        await eventually(lambda: log == ["open", data])
        while kind == PING:  # not answered any more
            kind, data = await socket.frame()
        assert kind == CLOSE
    await eventually(lambda: log[-1] == ("closed", None))


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get(), 400),
        (UPGRADE.replace(b"Version: 13", b"Version: 1"), 426),
        (UPGRADE.replace(b"\r\n\r\n", b"\r\nOrigin: http://elsewhere.example\r\n\r\n"), 403),
    ],
)
async def test_what_is_no_handshake(serve: Serve, request_: bytes, status: int) -> None:
    log: list[object] = []
    async with serve([("/", Echo, {"log": log})]) as port:
        (answer,) = await ask(port, request_)
    assert answer.status == status
    assert log == []


async def test_tornados_own_client(serve: Serve) -> None:
    """With compression, which it asks for."""
    log: list[object] = []
    async with serve([("/", Echo, {"log": log})], websocket_max_message_size=1 << 22) as port:
        client = await websocket.websocket_connect(
            f"ws://127.0.0.1:{port}/", compression_options={}, max_message_size=1 << 22
        )
        for message in ("hello", b"\0" * 3_000_000):
            await client.write_message(message, binary=isinstance(message, bytes))
            assert await client.read_message() == message
        client.close(1000)
        assert await client.read_message() is None
        await eventually(lambda: log == ["open", ("closed", 1000)])


async def test_a_websocket_outlives_its_server(serve: Serve) -> None:
    """It is its handler's then; neither server knows it any more."""
    log: list[object] = []
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(serve([("/", Echo, {"log": log})]))
        async with connect(port) as client:
            await client.send(UPGRADE)
            socket = Socket(client)
            await socket.handshake()
            await stack.aclose()
            await socket.send(TEXT, b"still there?")
            assert await socket.frame() == (TEXT, b"still there?")
        await eventually(lambda: log == ["open", ("closed", None)])
