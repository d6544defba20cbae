"""The client of one upstream host: a pool of keep-alive connections, an exchange at a time on each.

    client = Client("https://api.example.com/v1", Timeouts(5, 60, 60, 600))
    response = await client.open(b"POST", b"/chat/completions", b"Authorization: Bearer …\\r\\n", body)
    try:
        while data := await response.read():
            ...
    finally:
        response.close()

``open`` is ``begin`` and ``Response.head``. Nobody need wait in a coroutine between the two: ``Response.tell``.

What may be sent again: a request of which surely no byte was written, because its pooled connection
turned out to be closed. Nothing else is, ever: the upstream may have acted on it.

Callers see Problem and no other exception of the network: see ``faults``.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from functools import lru_cache
from typing import Final

from chatgpt_platform import __version__
from chatgpt_platform.upstream import faults, target
from chatgpt_platform.upstream.connecting import Connector
from chatgpt_platform.upstream.connection import Connection, Request, Sink, Timeouts
from chatgpt_platform.upstream.response import Response
from chatgpt_platform.wire.batch import Batch

__all__ = ["Client", "Response", "Sink", "Timeouts"]

MAX_IDLE: Final = 1024
_BEGINNINGS: Final = 64
"""Heads whose constant beginning is remembered."""

_DOUBTFUL_AFTER: Final = 0.5
"""Idle seconds after which the loop gets a turn to notice a close before a connection is used again."""

_PATH: Final = re.compile(rb"[\x21-\x7e]*")
_HEADERS: Final = re.compile(rb"(?:[!-9;-~]+:[^\r\n\0]*\r\n)*")
_FRAMING: Final = re.compile(
    rb"(?im)^(?:host|connection|content-length|transfer-encoding|accept-encoding|expect):"
)
"""What a head has already, or must not have."""


class Client:
    """Speaks HTTP/1.1 with one host. No redirect is followed, no proxy of the environment is used."""

    def __init__(
        self, base_url: str, timeouts: Timeouts, *,
        tls: ssl.SSLContext | None = None, headers: bytes = b"", proxy: str = "", ca_file: str = "",
    ) -> None:  # fmt: skip
        """``tls``: by default the system's authorities, with certificate and host name checks.

        ``headers``: of each request; whole lines, each ended by CRLF. ``proxy``: the URL of one to go through, see
        ``proxies``. ``ca_file``: the authorities (PEM) that are believed, and no others.

        Raises ValueError where ``base_url`` is not http or https with a host and perhaps a path, ``proxy`` not
        that of a proxy, ``ca_file`` cannot be used, or ``headers`` would break the framing.
        """
        if not _HEADERS.fullmatch(headers) or _FRAMING.search(headers):
            raise ValueError("a header line would break the request's framing")
        self._target: Final = target.parse(base_url)
        self.where: Final = self._target.where
        """host:port, for the log."""
        self._constant: Final = b"Host: %b\r\nUser-Agent: chatgpt-platform/%b\r\n%b%b" % (
            self._target.authority,
            __version__.encode("ascii"),
            b"Accept-Encoding: identity\r\nConnection: keep-alive\r\n",
            headers,
        )
        self._timeouts: Final = timeouts
        self._connector: Final = Connector(
            self._target,
            timeouts,
            lambda: Connection(self.where, timeouts, self),
            tls=tls,
            proxy=proxy,
            ca_file=ca_file,
        )
        self._idle: Final[list[Connection]] = []
        self._lingering: Final[set[Connection]] = set()
        self._open: Final[set[Connection]] = set()
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._outbox: Batch[Connection] | None = None
        self._beginning: Final = lru_cache(_BEGINNINGS)(self._make_beginning)

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    def begin(
        self, method: bytes, path: bytes, headers: bytes, body: bytes,
        key_line: bytes = b"", trace: bytes = b"", spent: float = 0.0,
    ) -> Response:  # fmt: skip
        """Send a request, where a connection is at hand that surely is open; else ``Response.head`` does it.

        ``path`` is joined to the base URL's. ``headers``: whole lines, each ended by CRLF, the same for many
        requests; ``key_line`` and ``trace``: further such lines, the latter different each time. ``spent``:
        seconds of the total timeout that are gone. Raises ValueError where a line would break the request's
        framing; a fault of ours.
        """
        now = (self._loop or self._settle()).time()
        beginning = self._beginning(method, path, key_line, headers)
        if body or method not in (b"GET", b"HEAD"):
            head = b"%b%bContent-Length: %d\r\n\r\n" % (beginning, trace, len(body))
        else:
            head = b"%b%b\r\n" % (beginning, trace)
        request = Request(head, body, method == b"HEAD", now + self._timeouts.total - spent)
        idle = self._idle
        # One that was used a moment ago: surely its peer has not closed it since.
        connection = idle.pop() if idle and now - idle[-1].idle_since <= _DOUBTFUL_AFTER else None
        if connection is not None and not connection.send(request, now):
            connection = None
        return Response(self, request, connection)

    async def open(self, method: bytes, path: bytes, headers: bytes, body: bytes) -> Response:
        """Send a request and wait for the head of its answer. Raises what ``begin`` and ``Response.head`` do."""
        response = self.begin(method, path, headers, body)
        await response.head()
        return response

    async def close(self) -> None:
        """Close what is idle now, and what is busy when its exchange is over."""
        self._closed = True
        self._connector.close()
        self._beginning.cache_clear()  # it holds keys
        for connection in [*self._idle, *self._lingering]:
            connection.abort()
            await connection.wait_closed()

    def _make_beginning(self, method: bytes, path: bytes, key_line: bytes, headers: bytes) -> bytes:
        """What a head has before the length: the same for many requests in a row."""
        if not _PATH.fullmatch(path) or not _HEADERS.fullmatch(key_line + headers):
            raise ValueError("the path or a header line would break the request's framing")
        return b"%b %b%b HTTP/1.1\r\n%b%b%b" % (
            method, self._target.path, path, self._constant, key_line, headers,
        )  # fmt: skip

    async def send(self, request: Request) -> Connection:
        """The connection on which a request was sent, perhaps a new one. Raises Problem."""
        while connection := await self._ready():
            if connection.send(request, asyncio.get_running_loop().time()):
                return connection
        connection = await self._connector.connect(request.total)
        if not connection.send(request, asyncio.get_running_loop().time()):
            raise faults.unanswered(self.where, None, untouched=True)
        return connection

    def _settle(self) -> asyncio.AbstractEventLoop:
        """Remember the loop: to ask for it costs a system call each time."""
        self._loop = asyncio.get_running_loop()
        return self._loop

    async def _ready(self) -> Connection | None:
        """The pooled connection used last that is still open, if there is any."""
        while self._idle:
            connection = self._idle.pop()
            if asyncio.get_running_loop().time() - connection.idle_since > _DOUBTFUL_AFTER:
                try:
                    # One turn for the selector to see a close, one for the transport to act on it.
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
                except asyncio.CancelledError:
                    connection.abort()
                    raise
            if connection.usable:
                return connection
            connection.abort()
        return None

    # The keeper of the connections.

    @property
    def outbox(self) -> Batch[Connection]:
        """Where their requests wait for the end of a turn of the loop."""
        if self._outbox is None:
            self._outbox = Batch(self._loop or self._settle(), Connection.flush, Connection.listen)
        return self._outbox

    def take_back(self, connection: Connection) -> bool:
        """Keep an idle connection for the next call; False: close it."""
        if self._lingering:
            self._lingering.discard(connection)
        if self._closed:
            return False
        if len(self._idle) >= MAX_IDLE:
            self._idle.pop(0).abort()
        self._idle.append(connection)
        return True

    def opened(self, connection: Connection) -> None:
        """A connection has come about."""
        self._open.add(connection)

    def lost(self, connection: Connection) -> None:
        """A connection has ended."""
        self._open.discard(connection)

    def linger(self, connection: Connection) -> None:
        """An exchange is over, and its last bytes are still awaited."""
        self._lingering.add(connection)

    def forget(self, connection: Connection) -> None:
        """An idle or lingering connection has closed."""
        self._lingering.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
