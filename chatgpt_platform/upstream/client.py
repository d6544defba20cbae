"""The client of one upstream host: a pool of connections, an exchange at a time on each.

    client = Client("https://api.example.com/v1", Timeouts(5, 60, 60, 600))
    response = await client.open(b"POST", b"/chat/completions", b"Authorization: Bearer …\\r\\n", body)
    try:
        while data := await response.read():
            ...
    finally:
        response.close()

What may be sent again: a request of which surely no byte was written, because its pooled connection
turned out to be closed. Nothing else is, ever: the upstream may have acted on it.

Foreign exceptions end here and in ``connection``: callers see Problem and nothing else.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from chatgpt_platform import __version__
from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.upstream.connection import Connection

MAX_IDLE: Final = 64
_DOUBTFUL_AFTER: Final = 0.5
"""Idle seconds after which the loop gets a turn to notice a close before a connection is used again."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds for each phase: name look-up, TCP and TLS; the answer's head; each further read; all of it."""

    connect: float
    first_byte: float
    idle: float
    total: float


class Response:
    """An answer whose head has come. ``headers``: names in lower case, in their order."""

    __slots__ = ("_connection", "_idle_timeout", "headers", "status")

    def __init__(self, connection: Connection, idle_timeout: float) -> None:
        self._connection: Connection | None = connection
        self._idle_timeout: Final = idle_timeout
        self.status: Final = connection.status
        self.headers: Final[Sequence[tuple[bytes, bytes]]] = connection.headers

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header."""
        return next((value for known, value in self.headers if known == name), None)

    async def read(self) -> bytes:
        """The next bytes of the body as soon as there are any; b"" at its true end. Raises Problem.

        Cancelling it does not close the connection: ``close`` does.
        """
        return b"" if self._connection is None else await self._connection.read(self._idle_timeout)

    async def read_all(self, limit: int) -> bytes:
        """The whole body. Raises Problem, also when it is longer than ``limit``."""
        chunks: list[bytes] = []
        size = 0
        while data := await self.read():
            chunks.append(data)
            size += len(data)
            if size > limit:
                raise Problem(Kind.BAD_UPSTREAM, "upstream_too_large", detail=f"above {limit} bytes")
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def close(self, *, linger: bool = False) -> None:
        """Let the connection go: to the pool after a complete answer, else cut at once. May be repeated.

        ``linger``: all that matters has come, so the answer's last bytes are given a moment.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release(linger=linger)


class Client:
    """Speaks HTTP/1.1 with one host. No redirect is followed, no proxy of the environment is used."""

    def __init__(self, base_url: str, timeouts: Timeouts, *, tls: ssl.SSLContext | None = None) -> None:
        """``base_url``: http or https, with a host and without query or credentials. ``tls``: for tests of
        private authorities; by default the system's, with certificate and host name checks."""
        url = urlsplit(base_url)
        secure = url.scheme == "https"
        self._host: Final = url.hostname or ""
        self._port: Final = url.port or (443 if secure else 80)
        self._where: Final = f"{self._host}:{self._port}"
        self._path: Final = url.path.rstrip("/").encode("ascii")
        self._constant: Final = (
            f"Host: {url.netloc}\r\nUser-Agent: chatgpt-platform/{__version__}\r\nAccept-Encoding: identity\r\n"
        ).encode("ascii")
        self._secure: Final = secure
        self._tls = tls
        self._timeouts: Final = timeouts
        self._idle: list[Connection] = []
        self._closed = False

    async def open(self, method: bytes, path: bytes, headers: bytes, body: bytes) -> Response:
        """Send a request and wait for the head of its answer.

        ``path`` is joined to the base URL's. ``headers``: whole lines, each ended by CRLF. Raises Problem.
        Cancelling it closes the connection at once.
        """
        loop = asyncio.get_running_loop()
        total = loop.time() + self._timeouts.total
        connection = await self._ready() or await self._connect()
        try:
            connection.send(self._request(method, path, headers, body), total)
            await connection.head(self._timeouts.first_byte)
        except BaseException:
            connection.abort()
            raise
        response = Response(connection, self._timeouts.idle)
        encoding = response.header(b"content-encoding") or b"identity"
        if response.status < 300 and encoding.lower() != b"identity":
            # It was asked for identity; unpacking what came all the same could fill the memory.
            response.close()
            raise Problem(Kind.BAD_UPSTREAM, detail=f"{self._where} sent a compressed answer")
        return response

    async def close(self) -> None:
        """Close what is idle now, and what is busy when its exchange is over."""
        self._closed = True
        while self._idle:
            self._idle.pop().abort()

    def _request(self, method: bytes, path: bytes, headers: bytes, body: bytes) -> bytes:
        length = b"Content-Length: %d\r\n" % len(body) if body or method != b"GET" else b""
        return b"%b %b%b HTTP/1.1\r\n%b%b%b\r\n%b" % (
            method, self._path, path, self._constant, headers, length, body
        )  # fmt: skip

    async def _ready(self) -> Connection | None:
        """The pooled connection used last, if any is still open."""
        while self._idle:
            connection = self._idle.pop()
            if asyncio.get_running_loop().time() - connection.idle_since > _DOUBTFUL_AFTER:
                # One turn for the selector to see a close, one for the transport to act on it.
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            if connection.usable:
                return connection
            connection.abort()
        return None

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            tls = self._context() if self._secure else None
            async with asyncio.timeout(self._timeouts.connect):
                _, connection = await loop.create_connection(
                    lambda: Connection(self._where, self._take_back), self._host, self._port, ssl=tls
                )
        except TimeoutError:
            raise Problem(Kind.UPSTREAM_TIMEOUT, detail=f"{self._where} was too slow: connect timeout") from None
        except (OSError, UnicodeError, ValueError) as error:
            # Refused, unresolvable, TLS in any way wrong, a host name that cannot be one.
            detail = f"{self._where} cannot be reached: {error}"
            raise Problem(Kind.BAD_UPSTREAM, "upstream_unreachable", detail=detail) from None
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls

    def _take_back(self, connection: Connection) -> bool:
        if self._closed or len(self._idle) >= MAX_IDLE:
            return False
        self._idle.append(connection)
        return True
