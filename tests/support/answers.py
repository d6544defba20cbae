"""Answers read from bytes by a reader that forgives nothing, and asynchronous clients that use it.

async with connect(port) as client:
    await client.send(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    answer = await client.answer()
    await client.ended()
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

_STATUS = re.compile(rb"HTTP/1\.1 ([1-5]\d\d) [A-Za-z' -]+")
_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([\x20-\x7e\x80-\xff\t]*)")
_SIZE = re.compile(rb"[0-9a-f]+")
LIMIT = 16 * 1024  # of what an unread socket takes in by itself, where a test needs it small


@dataclass(frozen=True)
class Answer:
    """``fields``: by their names in lower case. ``ends_connection``: its body has no other end."""

    status: int
    fields: dict[bytes, bytes]
    body: bytes
    ends_connection: bool = False

    @property
    def closes(self) -> bool:
        """Whether it says that the connection closes behind it."""
        return self.fields.get(b"connection") == b"close"


class Unfinished(Exception):
    """More bytes are needed."""


def read_answer(data: bytes, method: str = "GET", *, at_end: bool = False) -> tuple[Answer, bytes]:
    """The first answer and what follows it. Raises Unfinished, and AssertionError for bad form.

    ``at_end``: no more bytes will come, so that a body without length is whole.
    """
    head, found, rest = data.partition(b"\r\n\r\n")
    if not found:
        raise Unfinished
    first, *lines = head.split(b"\r\n")
    matched = _STATUS.fullmatch(first)
    assert matched, first
    status, fields = int(matched[1]), dict[bytes, bytes]()
    for line in lines:
        match = _LINE.fullmatch(line)
        assert match, line
        assert match[1].lower() not in fields, f"twice: {line!r}"
        fields[match[1].lower()] = match[2]
    length, coding = fields.get(b"content-length"), fields.get(b"transfer-encoding")
    assert length is None or coding is None, "both a length and chunked"
    if status < 200 or status in (204, 304):
        assert length is None or status == 304
        assert coding is None
        return Answer(status, fields, b""), rest
    if method == "HEAD":
        return Answer(status, fields, b""), rest
    if coding is not None:
        assert coding == b"chunked"
        body, rest = _chunks(rest)
        return Answer(status, fields, body), rest
    if length is None:
        if not at_end:
            raise Unfinished
        return Answer(status, fields, rest, ends_connection=True), b""
    size = int(length)
    if len(rest) < size:
        raise Unfinished
    return Answer(status, fields, rest[:size]), rest[size:]


def read_answers(data: bytes, *methods: str) -> list[Answer]:
    """Every answer of a whole connection. ``methods``: of the requests, GET where there are none."""
    answers: list[Answer] = []
    left = list(methods)
    while data:
        answer, data = read_answer(data, left[0] if left else "GET", at_end=True)
        answers.append(answer)
        if answer.status >= 200:
            left = left[1:]
    return answers


def _chunks(data: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        line, found, data = data.partition(b"\r\n")
        if not found:
            raise Unfinished
        assert _SIZE.fullmatch(line), line
        size = int(line, 16)
        if len(data) < size + 2:
            raise Unfinished
        assert data[size : size + 2] == b"\r\n"
        body, data = body + data[:size], data[size + 2 :]
        if size == 0:
            return body, data


class Client:
    """One connection, read only where a test reads: the socket's own buffers are all that takes in more."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._loop = asyncio.get_running_loop()
        self._got = b""

    async def send(self, data: bytes) -> None:
        """Returns when the system has taken it."""
        await self._loop.sock_sendall(self.socket, data)

    async def receive(self, size: int = 65536) -> bytes:
        """Some bytes, or none at the end. Raises ConnectionError."""
        if self._got:
            got, self._got = self._got, b""
            return got
        return await self._loop.sock_recv(self.socket, size)

    async def answer(self, method: str = "GET") -> Answer:
        """The next answer, which must be whole."""
        got, at_end = self._got, False
        while True:
            try:
                answer, self._got = read_answer(got, method, at_end=at_end)
            except Unfinished:
                assert not at_end, f"the connection ended within an answer: {got[-200:]!r}"
            else:
                return answer
            more = await self._loop.sock_recv(self.socket, 65536)
            got, at_end = got + more, not more

    async def answers(self, count: int) -> list[Answer]:
        return [await self.answer() for _ in range(count)]

    async def take(self, size: int) -> int:
        """Receive at least so many bytes; how many they were."""
        got = 0
        while got < size:
            data = await self.receive()
            assert data, "the connection ended"
            got += len(data)
        return got

    async def rest(self) -> bytes:
        """Everything up to the end. Raises ConnectionResetError where it is no proper one."""
        got = b""
        while data := await self.receive():
            got += data
        return got

    async def ended(self) -> None:
        """The connection closes, in good order, and nothing more came."""
        assert await self.rest() == b""

    async def cut(self) -> None:
        """The connection closes, in whatever way."""
        with suppress(ConnectionError):
            await self.rest()

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """Close with a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


@asynccontextmanager
async def connect(port: int, *, small: bool = False) -> AsyncIterator[Client]:
    """``small``: little fits into the receive buffer, so that not reading is soon felt."""
    connection = socket.socket()
    connection.setblocking(False)
    if small:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LIMIT)
    try:
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield Client(connection)
    finally:
        connection.close()


class TlsClient:
    """The same on asyncio's streams, which speak TLS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._got = b""

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, method: str = "GET") -> Answer:
        while True:
            try:
                answer, self._got = read_answer(self._got, method)
            except Unfinished:
                more = await self.reader.read(65536)
                assert more, f"the connection ended within an answer: {self._got[-200:]!r}"
                self._got += more
            else:
                return answer

    async def ended(self) -> None:
        assert (self._got, await self.reader.read()) == (b"", b"")


@asynccontextmanager
async def connect_tls(port: int, context: ssl.SSLContext) -> AsyncIterator[TlsClient]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    try:
        yield TlsClient(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()
