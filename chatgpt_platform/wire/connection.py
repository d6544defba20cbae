"""One connection of a client: requests in, answers out in their order, and the time that all this may take.

    READING      a request is awaited, or its rest; without one at all the connection is idle
    ANSWERING    the request is whole and its answer is not; what comes is kept, up to a bound
    BEHIND       the answer is written; the next request has its turn when others had theirs, and not before the
                 client has taken most of what was written
    LINGERING    the last answer is out; what comes is dropped, until the client closes too
    CLOSED       over

While an answer is awaited reading goes on, since there is no other way to notice that the client leaves. An
end of input then counts as leaving: a half-close cannot be told from a close.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol, cast

from chatgpt_platform.wire import liveness
from chatgpt_platform.wire.batch import Batch
from chatgpt_platform.wire.deadline import Deadline
from chatgpt_platform.wire.exchange import Application, Exchange, Receiver
from chatgpt_platform.wire.head import BadRequest, Head, Limits
from chatgpt_platform.wire.known import LastKnown
from chatgpt_platform.wire.output import Output
from chatgpt_platform.wire.parser import RequestParser

MAX_AHEAD: Final = 64 * 1024
"""Bytes kept of what a client sends ahead, such as pipelined requests. What is above is dropped, and the
connection closes after the answer that is under way."""

PORTION: Final = 64 * 1024
"""Bytes of a request body that must come within ``Timeouts.body``."""

MAX_DROPPED: Final = 64 * 1024
"""The longest rest of a refused body that is read and dropped to keep the connection."""

LINGER: Final = 2.0
"""Seconds without a byte after which a client that still sends behind its last answer is cut; in all it has
``Timeouts.body``. A close with bytes unread would reset the connection, and the answer could be lost
(RFC 9112, 9.6)."""

_HEAD_BEGUN: Final = -2
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE: Final = b"Connection: close\r\n"
_KEEP_ALIVE: Final = b"Connection: keep-alive\r\n"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds for each phase.

    ``header``: from a request's first byte to the end of its head. ``body``: for each portion of a body, and
    for its end. ``write``: in which a client must take something of its answer. ``idle``: without a request.
    """

    header: float = 10.0
    body: float = 30.0
    write: float = 30.0
    idle: float = 75.0


class Host(Protocol):
    """What a connection needs of the server that it belongs to."""

    application: Application
    timeouts: Timeouts
    limits: Limits
    draining: bool
    last_known: LastKnown

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...

    @property
    def outbox(self) -> Batch[Output]: ...

    def opened(self, connection: Connection) -> None: ...

    def settled(self, connection: Connection) -> None: ...

    def closed(self, connection: Connection) -> None: ...

    def fault(self, error: Exception) -> None: ...


class Stage(Enum):
    READING = auto()
    ANSWERING = auto()
    BEHIND = auto()
    LINGERING = auto()
    CLOSED = auto()


_READING, _ANSWERING, _BEHIND, _LINGERING, _CLOSED = Stage


class Connection(asyncio.Protocol):
    """Speaks HTTP/1.1 with one client."""

    __slots__ = (
        "_ahead", "_body_came", "_deadline", "_exchange", "_held", "_host", "_invited", "_last",
        "_linger_until", "_loop", "_lost", "_parser", "_portion", "_reading_paused", "_receiver", "_spilled",
        "_stage", "_transport", "output", "peer", "secure",
    )  # fmt: skip

    def __init__(self, host: Host, peer: str, *, secure: bool) -> None:
        self.peer: Final = peer
        self.secure: Final = secure
        self.output: Final = Output(host.loop, host.outbox)
        self._host: Final = host
        self._loop: Final = host.loop
        self._parser: Final = RequestParser(host.limits, host.last_known)
        self._deadline: Final = Deadline(self._loop, self._expire)
        self._transport: asyncio.Transport
        self._stage = _READING
        self._exchange: Exchange | None = None
        self._receiver: Receiver | None = None
        self._ahead = b""
        self._held = False
        self._last = False
        """The answer under way, or the next one, is the last."""
        self._lost = False
        self._spilled = False
        """Bytes that came were dropped, and more may be on their way."""
        self._invited = False
        self._reading_paused = False
        self._linger_until = 0.0
        self._body_came = 0
        self._portion = -1
        """The portion of the body whose time is running: -1 for none; ``_HEAD_BEGUN`` for that of the head."""

    @property
    def idle(self) -> bool:
        """Whether nothing of a request has come that is not answered."""
        return self._stage is _READING and self._exchange is None and not self._parser.begun

    @property
    def congested(self) -> bool:
        """Whether the client has yet to take too much of what was written."""
        return self.output.congested

    def vanished(self, seconds: float) -> bool:
        """Whether the client of a call under way has not given a sign of life for so long: see ``liveness``."""
        options = self._transport.get_extra_info("socket") if self._stage is _ANSWERING else None
        return options is not None and liveness.vanished(options, seconds)

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not by isinstance: uvloop's transports are no subclasses of it.
        self._transport = cast("asyncio.Transport", transport)
        self.output.begin(self._transport)
        self._host.opened(self)
        self._deadline.expect(self._host.timeouts.idle, "idle")

    def data_received(self, data: bytes | bytearray) -> None:
        if isinstance(data, bytearray):  # on Windows with Python 3.11
            data = bytes(data)
        if self._stage is _READING and not self._held:
            self._read(data)
        elif self._stage is _ANSWERING:
            self._keep_or_drop(data)
        elif self._stage is _READING or self._stage is _BEHIND:
            self._keep(data)
        elif self._stage is _LINGERING and self._loop.time() < self._linger_until:
            self._deadline.expect(LINGER, "linger")

    def eof_received(self) -> None:
        """The transport writes what is left and closes itself when this returns."""
        self.output.close()
        self._end()
        self._expect_to_write()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        if not self._lost:
            self._lost = True
            self._deadline.close()
            self._parser.close()
            self._host.closed(self)

    def pause_writing(self) -> None:
        self.output.congested = True
        self._expect_to_write()

    def resume_writing(self) -> None:
        self.output.resume()
        if self._stage is _LINGERING:
            self._deadline.expect(LINGER, "linger")
        elif self._stage is _ANSWERING:
            self._deadline.rest()
        elif self._stage is _BEHIND:
            self._loop.call_soon(self._go_on)
        elif self._stage is _READING:
            self._expect_to_read()

    # What the exchange under way calls.

    def persistence(self) -> bytes:
        """The Connection header line of the answer that begins now; decides whether it is the last."""
        exchange = self._exchange
        assert exchange is not None
        head = exchange.head
        if not head.keep_alive or self._host.draining or not (self._parser.complete or self._can_drop(head)):
            self._last = True
        if self._last:
            return _CLOSE
        return b"" if head.minor else _KEEP_ALIVE

    def close_after_answer(self) -> None:
        """Take no further request."""
        self._last = True

    def answered(self) -> None:
        """The answer is written."""
        if self._stage is _CLOSED:
            return
        if self._last:
            self._take_leave()
        elif self._stage is _ANSWERING:
            self._next()

    def break_off(self) -> None:
        """Close behind what is written, in the middle of an answer."""
        if self._stage is not _CLOSED:
            self._stage = _CLOSED
            self._exchange = self._receiver = None
            self.output.close()
            self._transport.close()
            self._expect_to_write()

    def hold(self) -> None:
        """Read no more of the request under way."""
        self._held = True
        self._deadline.rest()

    def release(self) -> None:
        """Read on."""
        if self._held:
            self._held = False
            self._portion = -1
            if self._stage is _READING:
                self._go_on()

    # What the server calls.

    def close(self) -> None:
        """Close, but only when nothing is under way: in a drain the answer that is closes by itself."""
        if self.idle:
            self._last = True
            self._take_leave()

    def abort(self) -> None:
        """Cut the connection now."""
        self._end()
        self._transport.abort()

    def detach(self) -> tuple[asyncio.Transport, bytes | None]:
        """Give the transport away in the middle of an exchange, and the bytes that came behind the request.

        None where some of those were dropped, so that it is worth nothing any more.
        """
        ahead = None if self._spilled else self._ahead
        self._ahead = b""
        self.output.close()
        self._stage = _CLOSED
        self._exchange = self._receiver = None
        self._deadline.cancel()
        return self._transport, ahead

    # Requests.

    def _read(self, data: bytes) -> None:
        """Read on, as far as the bytes and the application let it; keep the rest."""
        parser = self._parser
        try:
            while self._stage is _READING and not self._held:
                if self._exchange is None:
                    if not data:
                        return
                    data = self._read_head(data)
                elif parser.complete:
                    self._ahead = data
                    self._end_of_request()
                    return
                elif not self._invited:
                    self._invite()
                elif data:
                    data = self._read_body(data)
                else:
                    self._await_body()
                    return
        except BadRequest as bad:
            self.refuse(bad)
        except Exception as error:  # noqa: BLE001 - an application may raise anything
            self.fail(error)
        else:
            if data and self._stage is _READING:
                self._keep(data)

    def _read_head(self, data: bytes) -> bytes:
        parser = self._parser
        head, data = parser.head(data)
        if head is None:
            if self._portion != _HEAD_BEGUN and parser.begun:
                self._portion = _HEAD_BEGUN
                self._deadline.expect(self._host.timeouts.header, "header")
            return data
        self._body_came, self._portion = 0, -1
        self._invited = not head.expects_continue
        length = head.length
        self._exchange = exchange = Exchange(self, head, arrived=length is not None and length <= len(data))
        self._receiver = receiver = self._host.application.begin(exchange)
        if data and self._invited and not self._held and self._stage is _READING and parser.take(data):
            if not exchange.finished:
                receiver.received(data)
            self._end_of_request()
            return b""
        return data

    def _read_body(self, data: bytes) -> bytes:
        exchange, receiver = self._exchange, self._receiver
        body, data = self._parser.body(data)
        if body:
            self._body_came += len(body)
            if receiver is not None and exchange is not None and not exchange.finished:
                receiver.received(body)
        return data

    def _invite(self) -> None:
        """Ask for the body of a client that waits to be asked, unless it has its answer already."""
        self._invited = True
        if self._exchange is not None and not self._exchange.started:
            self.output.write(_CONTINUE)

    def _await_body(self) -> None:
        """More of the body must come, in time."""
        portion = self._body_came // PORTION
        if portion != self._portion and not self.congested:
            self._portion = portion
            self._deadline.expect(self._host.timeouts.body, "body")

    def _end_of_request(self) -> None:
        exchange, receiver = self._exchange, self._receiver
        assert exchange is not None
        assert receiver is not None
        self._stage = _ANSWERING
        if exchange.finished:
            self._next()
            return
        if not self.output.congested:
            self._deadline.rest()
        receiver.complete()

    def _next(self) -> None:
        """The exchange is over; on to the next one."""
        if self._host.draining and not self._ahead:
            self._take_leave()
            return
        self._exchange = self._receiver = None
        self._portion = -1
        self._parser.next()
        if self.output.congested:
            self._stage = _BEHIND
        elif self._ahead:
            # Not at once: a thousand pipelined requests must not keep others waiting.
            self._stage = _BEHIND
            self._loop.call_soon(self._go_on)
        else:
            self._stage = _READING
            self._deadline.expect(self._host.timeouts.idle, "idle")

    def _go_on(self) -> None:
        """Read what was kept."""
        if self._stage is _BEHIND and not self.congested:
            self._stage = _READING
            self._expect_to_read()
        if self._stage is _READING and not self._held:
            data, self._ahead = self._ahead, b""
            self._resume_reading()
            self._read(data)

    def _keep(self, data: bytes) -> None:
        """Keep what cannot be read yet; the client feels it once there is too much."""
        self._ahead += data
        if len(self._ahead) > MAX_AHEAD and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def _keep_or_drop(self, data: bytes) -> None:
        """The same while an answer is awaited, when reading must go on so that leaving is noticed."""
        if self._last or len(self._ahead) + len(data) > MAX_AHEAD:
            self._ahead = b""
            self._last = self._spilled = True
        else:
            self._ahead += data

    def _resume_reading(self) -> None:
        if self._reading_paused and not self._transport.is_closing():
            self._reading_paused = False
            self._transport.resume_reading()

    def _expect_to_read(self) -> None:
        """Time runs for what is awaited of the client now."""
        timeouts = self._host.timeouts
        if self._held:
            self._deadline.rest()
        elif self._exchange is not None:
            self._deadline.expect(timeouts.body, "body")
        elif self._parser.begun:
            self._deadline.expect(timeouts.header, "header")
        else:
            self._deadline.expect(timeouts.idle, "idle")

    def _expect_to_write(self) -> None:
        """The client must take something of what waits for it, in time."""
        self.output.mark()
        self._deadline.expect(self._host.timeouts.write, "write")

    def _can_drop(self, head: Head) -> bool:
        """Whether the rest of a body that nobody wants is small enough to be read all the same."""
        return self._invited and head.length is not None and head.length <= MAX_DROPPED

    # Ends.

    def refuse(self, bad: BadRequest) -> None:
        """What comes is no request, or not the rest of one."""
        self._last = True
        try:
            if self._exchange is None:
                self._exchange = Exchange(self, self._parser.partial, arrived=False)
                self._host.application.refuse(self._exchange, bad)
            elif self._exchange.finished:
                self._take_leave()
            elif self._exchange.started:
                self.abort()
            elif self._receiver is None:
                self._host.application.refuse(self._exchange, bad)
            else:
                self._receiver.failed(bad)
        except Exception as error:  # noqa: BLE001 - an application may raise anything
            self.fail(error)

    def fail(self, error: Exception) -> None:
        self._host.fault(error)
        self.abort()

    def _take_leave(self) -> None:
        """The last answer is written: close, but not under a client that is still sending."""
        exchange = self._exchange
        # One that would have stayed may send the next request already.
        sending = exchange is not None and (self._stage is _READING or exchange.head.keep_alive)
        sending = sending or self._spilled or bool(self._ahead)
        self._stage = _LINGERING
        self._exchange = self._receiver = None
        self._ahead = b""
        self.output.close()
        if sending:
            self._resume_reading()
            if self._transport.can_write_eof():
                self._transport.write_eof()
            if not self.output.pending:
                self._host.settled(self)
            self._linger_until = self._loop.time() + self._host.timeouts.body
            self._deadline.expect(LINGER, "linger")
        else:
            self._transport.close()
            self._expect_to_write()

    def _end(self) -> None:
        """The connection is gone, or as good as gone."""
        receiver, exchange = self._receiver, self._exchange
        self._stage = _CLOSED
        self._exchange = self._receiver = None
        self._ahead = b""
        if exchange is not None and not exchange.finished:
            exchange.finished = True
            if receiver is not None:
                try:
                    receiver.left()
                except Exception as error:  # noqa: BLE001 - an application may raise anything
                    self._host.fault(error)
        self.output.drop()

    def _expire(self, phase: str) -> None:
        if phase == "header":
            self.refuse(BadRequest(408, "the head did not come in time"))
        elif phase == "body":
            self.refuse(BadRequest(408, "the body did not come in time"))
        elif phase == "idle":
            self.close()
        elif self.output.taken or (phase == "linger" and self.output.pending):
            self._expect_to_write()  # it reads, if slowly
        else:
            if self._exchange is not None:
                self._exchange.cut_off = True
            self.abort()
