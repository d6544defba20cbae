"""One request and its answer, as an application sees them.

An ``Application`` is told of each request by its head, and gives back a ``Receiver`` for the rest of it. It
answers through the ``Exchange``: at once or later, with ``answer``, or piece by piece with ``start``,
``write`` and ``finish``. It may answer before the body has come; the rest is then read and dropped.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from chatgpt_platform.wire import framing
from chatgpt_platform.wire.head import BadRequest, Head, status_line

if TYPE_CHECKING:
    from chatgpt_platform.wire.connection import Connection

_NO_BODY: Final = (204, 304)


class Receiver(Protocol):
    """What an application does with a request. Nothing is called any more after ``left``."""

    def received(self, data: bytes) -> None:
        """A piece of the body."""

    def complete(self) -> None:
        """The request is whole."""

    def failed(self, bad: BadRequest) -> None:
        """The rest cannot be read. What is answered now is the connection's last answer."""

    def left(self) -> None:
        """The client has left, or is cut off, before its answer was finished: nobody reads it any more."""


class Application(Protocol):
    """Answers requests. What it raises is logged and closes the connection."""

    def begin(self, exchange: Exchange) -> Receiver:
        """A request's head has come. ``Expect: 100-continue`` is obeyed after this, unless it was answered."""

    def refuse(self, exchange: Exchange, bad: BadRequest) -> None:
        """Answer, at once, a request whose head cannot be read; ``exchange.head`` has what is known of it."""

    def closed(self, connection: object) -> None:
        """``exchange.connection`` of earlier exchanges is gone."""


class Exchange:
    """The way to answer a request. After the client has left all of it does nothing.

    ``connection``: the same object for all exchanges of one connection. ``arrived``: the body has come with the
    head, all of it, and follows at once. ``cut_off``: the client did not leave, but took nothing of its answer for
    too long. ``sent``: bytes of the answer's body that ``write`` was given.
    """

    __slots__ = (
        "_chunked", "_left_to_write", "_silent", "arrived", "connection", "cut_off", "finished", "head", "sent",
        "started",
    )  # fmt: skip

    def __init__(self, connection: Connection, head: Head, *, arrived: bool) -> None:
        self.arrived: Final = arrived
        self.connection: Final = connection
        self.head: Final = head
        self.started = False
        self.finished = False
        self.sent = 0
        self.cut_off = False
        self._silent = True
        """Nothing of a body is written: not before ``start``, and not where none is sent."""
        # What only an answer in pieces needs, ``start`` sets.
        self._chunked: bool
        self._left_to_write: int | None

    @property
    def peer(self) -> str:
        """The address of the socket's other end."""
        return self.connection.peer

    @property
    def secure(self) -> bool:
        """Whether the connection is under TLS."""
        return self.connection.secure

    def answer(self, status: int, head: bytes, body: bytes) -> None:
        """The whole answer in one write.

        ``head``: header lines, each ended by CRLF, without Content-Length and Connection, which are added.
        """
        if self.finished:
            return
        connection = self.connection
        length = b"" if status in _NO_BODY else b"Content-Length: %d\r\n" % len(body)
        if not length or self.head.method == "HEAD":
            body = b""
        self.started = self.finished = True
        connection.output.write(
            b"".join((status_line(status), head, length, connection.persistence(), b"\r\n", body))
        )
        connection.answered()

    def start(self, status: int, head: bytes, length: int | None = None, reason: bytes = b"") -> None:
        """The head, as for ``answer``, of an answer whose body follows. ``length``: its bytes, where known.

        Without a length the body is chunked, or under HTTP/1.0 ends with the connection.
        """
        if self.finished:
            return
        connection = self.connection
        parts = [status_line(status, reason), head]
        bodiless = status in _NO_BODY or status < 200
        self._silent = bodiless or self.head.method == "HEAD"
        self._chunked = False
        self._left_to_write = None
        if length is not None and not bodiless:
            self._left_to_write = length
            parts.append(b"Content-Length: %d\r\n" % length)
        elif not bodiless and self.head.minor:
            self._chunked = not self._silent
            parts.append(b"Transfer-Encoding: chunked\r\n")
        elif not self._silent:
            connection.close_after_answer()
        self.started = True
        connection.output.write(b"%b%b\r\n" % (b"".join(parts), connection.persistence()))

    def write(self, data: bytes) -> asyncio.Future[None] | None:
        """A piece of the body. Raises ValueError where there is more than ``start`` was told.

        Returns what to await before the next piece, where the client does not take them as fast.
        """
        if self._silent or self.finished or not data:
            return None
        output = self.connection.output
        self.sent += len(data)
        if self._chunked:
            output.write(framing.chunk(data))
        else:
            self._write_as_it_is(data)
        return output.congestion() if output.congested else None

    def pass_chunk(self, chunk: bytes, size: int) -> bool:
        """``write`` a piece of ``size`` bytes that is framed already, as ``framing.chunk`` does it.

        False, and nothing is written, where the answer is not chunked or the client does not take it as fast.
        """
        output = self.connection.output
        if self._silent or self.finished or output.congested or not self._chunked:
            return False
        self.sent += size
        output.write(chunk)
        return True

    def _write_as_it_is(self, data: bytes) -> None:
        if self._left_to_write is not None:
            self._left_to_write -= len(data)
            if self._left_to_write < 0:
                self.abort()
                raise ValueError("the answer's body is longer than its Content-Length")
        self.connection.output.write(data)

    def finish(self) -> None:
        """The answer is whole. Raises ValueError where there is less than ``start`` was told."""
        if self.finished:
            return
        if not self.started:
            self.abort()
            return
        if self._left_to_write and not self._silent:
            self.abort()
            raise ValueError("the answer's body is shorter than its Content-Length")
        self.finished = True
        if self._chunked:
            self.connection.output.write(b"0\r\n\r\n")
        self.connection.answered()

    def abort(self) -> None:
        """Close behind what was written, without ending the body: the client sees that it is not whole."""
        if not self.finished:
            self.finished = True
            self.connection.break_off()

    def refuse(self, bad: BadRequest) -> None:
        """The request is bad after all: its receiver ``failed``."""
        if not self.finished:
            self.connection.refuse(bad)

    def fail(self, error: Exception) -> None:
        """A fault of the application, later than its methods could raise it."""
        if not self.finished:
            self.connection.fail(error)

    def hold(self) -> None:
        """Read no more of this request until ``release``; the client feels it once its bytes pile up."""
        self.connection.hold()

    def release(self) -> None:
        """Go on reading."""
        self.connection.release()
