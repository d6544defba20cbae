"""Ordinary Tornado applications on the wire, through the seam that Tornado documents for its HTTP servers.

``TornadoApplication`` hands each request to an ``httputil.HTTPServerConnectionDelegate``, such as a
``web.Application``; its handlers answer through an ``httputil.HTTPConnection``, which ``_Bridge`` is.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final

from tornado import httputil
from tornado.iostream import IOStream, StreamClosedError

from chatgpt_platform.wire.exchange import Exchange, Receiver
from chatgpt_platform.wire.head import BadRequest, Head, joined, status_line

Refusal = Callable[[Exchange, BadRequest], None]
"""Answers a request that cannot be read."""

_BREAKS_LINES: Final = re.compile(rb"[\r\n\0]")
_FRAMING: Final = frozenset(("connection", "content-length", "transfer-encoding"))
"""Header lines that the wire writes itself."""


def bare_refusal(exchange: Exchange, bad: BadRequest) -> None:
    """The status alone, as Tornado's own server does it."""
    exchange.answer(bad.status, b"", b"")


class TornadoApplication:
    """A wire ``Application`` that runs a Tornado application."""

    def __init__(
        self, delegate: httputil.HTTPServerConnectionDelegate, *,
        refuse: Refusal = bare_refusal, max_body_size: int | None = None,
    ) -> None:  # fmt: skip
        """``max_body_size``: bytes; what is longer is 413. None leaves it to the handlers."""
        self.delegate = delegate
        self.refuse: Final = refuse
        self.max_body_size: Final = max_body_size

    def begin(self, exchange: Exchange) -> Receiver:
        """Raises BadRequest for what Tornado finds wrong with the head."""
        return _Bridge(self, exchange).begin()

    def closed(self, connection: object) -> None:
        """``connection``: what the delegate knows as ``server_conn``."""
        self.delegate.on_close(connection)


@dataclass(frozen=True, slots=True)
class _Context:
    """What ``HTTPServerRequest`` asks of a connection."""

    remote_ip: str
    protocol: str


class _Bridge(httputil.HTTPConnection):
    """One exchange: Tornado's way to answer it, and the receiver that passes the request on to Tornado.

    ``bad``: what was wrong with the request, for an ``on_connection_close`` that would still answer it.
    ``lingers``: an answer may end before the request has; it will be read all the same.
    """

    lingers: Final = True

    def __init__(self, application: TornadoApplication, exchange: Exchange) -> None:
        self.context: Final = _Context(exchange.peer, "https" if exchange.secure else "http")
        self._exchange: Final = exchange
        self._application: Final = application
        self._max_body_size = application.max_body_size
        self._size = 0
        self.bad: BadRequest | None = None
        self._complete = False
        self._gone = False
        self._switching = b""
        """The head of a 101 answer: it goes out in front of what the detached stream is given."""
        self._close_callback: Callable[[], None] | None = None
        self._delegate: httputil.HTTPMessageDelegate

    # The receiver's part.

    def begin(self) -> _Bridge:
        head = self._exchange.head
        self._size = head.length or 0  # where it is known before
        self._delegate = self._application.delegate.start_request(self._exchange.connection, self)
        with _as_bad_request():
            awaited = self._delegate.headers_received(_start_line(head), _headers(head))
        self._hold_until(awaited)
        return self

    def received(self, data: bytes) -> None:
        if self._exchange.head.length is None:
            self._size += len(data)
            self._check_size()
        with _as_bad_request():
            awaited = self._delegate.data_received(data)
        self._hold_until(awaited)

    def complete(self) -> None:
        self._complete = True
        self._delegate.finish()

    def failed(self, bad: BadRequest) -> None:
        self.bad = bad
        self._leave_delegate()
        if not self._exchange.started:
            self._application.refuse(self._exchange, bad)

    def left(self) -> None:
        if not self._complete:
            self._leave_delegate()
            return
        self._gone = True
        callback, self._close_callback = self._close_callback, None
        if callback is not None:
            callback()

    # What handlers call.

    def write_headers(
        self,
        start_line: httputil.RequestStartLine | httputil.ResponseStartLine,
        headers: httputil.HTTPHeaders,
        chunk: bytes | None = None,
    ) -> asyncio.Future[None]:
        """Raises ValueError for a header that would break its line, or a body that is too long."""
        assert isinstance(start_line, httputil.ResponseStartLine)
        lines = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.get_all()]
        reason = (start_line.reason or "").encode("latin-1")
        for line in [*lines, (b"", reason)]:
            if _BREAKS_LINES.search(b"".join(line)):
                raise ValueError(f"Illegal characters (CR, LF or NUL) in header: {line!r}")
        if start_line.code == 101:
            self._switching = b"%b%b\r\n" % (status_line(101), joined(lines))
            return self._taken(None)
        if "close" in headers.get("Connection", "").lower():
            self._exchange.connection.close_after_answer()
        length = headers.get("Content-Length")
        if length is not None and not (length.isascii() and length.isdigit()):
            raise ValueError(f"Content-Length is not a number: {length!r}")
        own = [line for line in lines if line[0].decode("latin-1").lower() not in _FRAMING]
        self._exchange.start(start_line.code, joined(own), None if length is None else int(length), reason)
        return self.write(chunk) if chunk else self._taken(None)

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        return self._taken(self._exchange.write(chunk))

    def finish(self) -> None:
        if self._switching:
            return
        self._exchange.finish()
        if not self._complete and not self._gone:
            # Tornado is promised ``finish`` or ``on_connection_close``; the rest of the body is dropped.
            asyncio.get_running_loop().call_soon(self._leave_delegate)

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """``callback``: runs when the client leaves between its request and the end of the answer."""
        self._close_callback = callback

    def set_max_body_size(self, max_body_size: int) -> None:
        """For this request, in place of the application's."""
        self._max_body_size = max_body_size

    def set_body_timeout(self, timeout: float) -> None:
        """Nothing: the wire has its own, for every portion of a body."""

    def close(self) -> None:
        """Close without ending the answer."""
        self._exchange.abort()

    def detach(self) -> IOStream:
        """Take the socket away, as WebSockets do. Raises RuntimeError under TLS, whose state cannot move."""
        if self._exchange.secure:
            self._exchange.abort()  # Tornado takes the handler for finished, and nobody would answer
            raise RuntimeError("a connection under TLS cannot be detached")
        transport, ahead = self._exchange.connection.detach()
        self._close_callback = None
        self._gone = True
        shared = transport.get_extra_info("socket")
        stream = _DetachedStream(
            socket.fromfd(shared.fileno(), shared.family, shared.type), ahead or b"", transport
        )
        transport.close()
        if ahead is None:
            stream.close()
        elif self._switching:
            stream.write(self._switching)
        return stream

    # Inside.

    def _check_size(self) -> None:
        if self._max_body_size is not None and self._size > self._max_body_size:
            raise BadRequest(413, "the body is too long")

    def _hold_until(self, awaited: Awaitable[None] | None) -> None:
        """Read no further before the handler is ready for it; only then it has said how long a body may be."""
        if awaited is None:
            self._check_size()
            return
        future = asyncio.ensure_future(awaited)
        if future.done():
            with _as_bad_request():
                future.result()
            self._check_size()
        else:
            self._exchange.hold()
            future.add_done_callback(self._go_on)

    def _go_on(self, future: asyncio.Future[None]) -> None:
        try:
            with _as_bad_request():
                future.result()
            if not self._exchange.finished:
                self._check_size()
        except BadRequest as bad:
            self._exchange.refuse(bad)
        except asyncio.CancelledError:
            self._exchange.abort()
        except Exception as error:  # noqa: BLE001 - a handler may raise anything
            self._exchange.fail(error)
        else:
            self._exchange.release()

    def _leave_delegate(self) -> None:
        if not self._gone:
            self._delegate.on_connection_close()
            self._gone = True

    def _taken(self, congestion: asyncio.Future[None] | None) -> asyncio.Future[None]:
        """Done once the client has taken most of what was written."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if congestion is not None:
            # One for each who waits: who gives up must not end it for the others.
            congestion.add_done_callback(lambda _: _settle(future))
        elif self._gone:
            future.set_exception(StreamClosedError())
            future.exception()  # nobody need look at it
        else:
            future.set_result(None)
        return future


class _DetachedStream(IOStream):
    """A socket whose first bytes have been read already, and to which its former transport may yet write."""

    def __init__(self, connection: socket.socket, ahead: bytes, former: asyncio.Transport) -> None:
        connection.setblocking(False)
        self._ahead = ahead
        self._former: Final = former
        super().__init__(connection)

    def write_to_fd(self, data: memoryview) -> int:
        return 0 if self._former.get_write_buffer_size() else super().write_to_fd(data)

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        if not self._ahead:
            return super().read_from_fd(buf)
        size = min(len(buf), len(self._ahead))
        buf[:size], self._ahead = self._ahead[:size], self._ahead[size:]
        return size


@contextlib.contextmanager
def _as_bad_request() -> Iterator[None]:
    try:
        yield
    except httputil.HTTPInputError as error:
        raise BadRequest(400, f"Tornado: {error}") from None


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _start_line(head: Head) -> httputil.RequestStartLine:
    return httputil.RequestStartLine(head.method, head.target.decode("latin-1"), f"HTTP/1.{head.minor}")


def _headers(head: Head) -> httputil.HTTPHeaders:
    headers = httputil.HTTPHeaders()
    for name, value in head.lines:
        headers.add(name.decode("latin-1"), value.decode("latin-1"))
    return headers
