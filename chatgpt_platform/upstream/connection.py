"""One HTTP/1.1 connection to an upstream, an exchange at a time on it.

``Client`` makes connections and keeps the idle ones. An exchange: ``send``, ``head`` or ``tell``, ``read`` until
it gives b"", ``release``. Every failure is a Problem; the body that came before it is given out first.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol, cast

from chatgpt_platform.errors import Problem
from chatgpt_platform.upstream import faults
from chatgpt_platform.upstream.answer import Answer, BadAnswer
from chatgpt_platform.upstream.deadline import Deadline
from chatgpt_platform.wire import liveness
from chatgpt_platform.wire.batch import Batch

HIGH_WATER: Final = 64 * 1024
"""Bytes received but not yet read at which the upstream is told to wait."""

PORTION: Final = 64 * 1024
"""Bytes of a large request body that are written at a time, as fast as the upstream takes them."""

TAKEN_AT_ONCE: Final = 32 * 1024
"""Bytes of a request body that the upstream's system takes even where the upstream does not read them yet."""

LINGER: Final = 1.0
"""Seconds that a connection gets to end a message whose rest nobody needs."""


Sink = Callable[[bytes], asyncio.Future[None] | None]
"""Takes bytes at once. What it returns, if anything, must be done before it is given more."""

Offer = Callable[[bytes], bool]
"""May take bytes that are one whole chunk, frame and all, as ``framing.chunk`` makes it: whether it did."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds for each phase.

    ``connect``: name look-up, TCP and TLS. ``first_byte``: from the last of the request that could be
    written to the answer's head. ``idle``: a read that waits for the body; time in which nobody reads does
    not count. ``total``: all of it, with the connecting.
    """

    connect: float
    first_byte: float
    idle: float
    total: float


class Request:
    """``total``: when the exchange must be over, in the loop's time. ``head_only``: a HEAD request."""

    def __init__(self, head: bytes, body: bytes, head_only: bool, total: float) -> None:
        self.head = head
        self.body = body
        self.head_only = head_only
        self.total = total

    def __repr__(self) -> str:
        """Without the head, which holds a key."""
        return f"<Request of {len(self.body)} bytes>"


class Keeper(Protocol):
    """Who keeps the idle connections: ``Client``."""

    @property
    def outbox(self) -> Batch[Connection]: ...

    def take_back(self, connection: Connection) -> bool: ...

    def forget(self, connection: Connection) -> None: ...

    def linger(self, connection: Connection) -> None: ...

    def opened(self, connection: Connection) -> None: ...

    def lost(self, connection: Connection) -> None: ...


class State(Enum):
    """What a connection is at."""

    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    COMPLETE = auto()  # all has come; it may not have been read
    LINGERING = auto()  # let go just before its end
    DEAD = auto()


_IDLE, _HEAD, _BODY, _COMPLETE, _LINGERING, _DEAD = State
# Looked up in the class they would cost a call each time.


class Connection(asyncio.Protocol):
    """Bytes in both directions, the time that passes, and an end that may come at any moment."""

    def __init__(self, where: str, timeouts: Timeouts, keeper: Keeper) -> None:
        """``where``: host:port, for the log."""
        self._where: Final = where
        self._timeouts: Final = timeouts
        self._keeper: Final = keeper
        self._loop: Final = asyncio.get_running_loop()
        self._outbox: Final = keeper.outbox
        self.answer: Final = Answer()
        """What has come of the answer."""
        self._state = _IDLE
        self._transport: asyncio.Transport
        self._unwritten = b""
        """The beginning of a request that waits in the outbox."""
        self._lost: asyncio.Future[None]
        self._descriptor: int
        self._heard = False
        """Something came while it was idle, of which the loop has had no turn to tell."""
        self._unsent: memoryview | None = None
        self._writing_paused = False
        self._reading_paused = False
        self._problem: Problem | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._told: Callable[[], None] | None = None
        self._deadline: Final = Deadline(self._loop, self._expire)
        self._sink: Sink | None = None
        self._offer: Offer | None = None
        self._offer_now: Offer | None = None
        """``_offer``, while what comes begins a chunk and nothing waits for the sink."""
        self._sink_busy: asyncio.Future[None] | None = None
        self._sink_error: Exception | None = None
        self._released = 0
        self._untouched = False
        self._patient = False
        """Whether the upstream may keep bytes waiting; otherwise it vanished when it does: see ``liveness``."""
        self.idle_since = 0.0

    # The exchange.

    @property
    def usable(self) -> bool:
        """Whether a request may be written: idle, not for too long, and the peer has not been seen to close."""
        # Where the program stood still, the timer that retires it may be late.
        if self._state is not _IDLE or self._transport.is_closing():
            return False
        return self._loop.time() < self.idle_since + self.answer.keep_alive

    def take_complete(self, limit: int) -> bytes | None:
        """The body, if the answer is complete and nothing of it was read; None also above ``limit`` bytes."""
        answer = self.answer
        return answer.take() if self._state is _COMPLETE and answer.buffered <= limit else None

    @property
    def untouched(self) -> bool:
        """Whether the exchange failed with surely not a byte of its request written."""
        return self._untouched

    def send(self, request: Request, now: float) -> bool:
        """Write a request in this turn of the loop; what the upstream does not take at once goes out later.

        ``now``: the loop's time. Returns False where the connection is closed. It may also turn out so in the
        turn: see ``untouched``.
        """
        if self._state is not _IDLE or self._transport.is_closing():
            return False
        body = request.body
        self.answer.expect(head_only=request.head_only)
        self._deadline.begin(request.total, now + self._timeouts.first_byte, "first_byte")
        self._state = _HEAD
        self._untouched = True
        if (len(body) > TAKEN_AT_ONCE) is not self._patient:
            self._be_patient(not self._patient)
        if len(body) <= PORTION:
            self._unwritten = request.head + body
        else:
            self._unwritten = request.head
            self._unsent = memoryview(body)
        self._outbox.add(self)
        return True

    @staticmethod
    def listen(connections: list[Connection]) -> None:
        """Hear whether those that were idle have been closed meanwhile: before the step of the outbox."""
        reused = {each._descriptor: each for each in connections if each.idle_since and each._state is _HEAD}
        if reused:
            for descriptor in liveness.heard(reused):
                reused[descriptor]._heard = True

    def flush(self) -> None:
        """Write it: the step of the outbox."""
        unwritten, self._unwritten = self._unwritten, b""
        if self._state is _DEAD:
            return
        if self._heard:
            self._end(None)  # closed, as a rule
            return
        self._transport.write(unwritten)
        if self._transport.is_closing():
            self._end(None)
            return
        self._untouched = False
        if self._unsent is not None:
            self._send_on()

    def head(self) -> asyncio.Future[None] | None:
        """What to await before the answer's head may be there; whose wait is cancelled calls ``abort``."""
        if self._state is not _HEAD:
            return None
        self._waiter = self._loop.create_future()
        return self._waiter

    def tell(self, told: Callable[[], None]) -> None:
        """Call ``told`` where ``head`` would wake who awaits it: spares a future. Right after ``send``."""
        self._told = told

    def raise_failure(self) -> None:
        """Raises the Problem for which no head has come, if there is one."""
        if not self.answer.status and self._problem is not None:
            raise self._problem

    async def read(self) -> bytes:
        """What has come since the last call, as soon as there is any; b"" at the end. Raises Problem."""
        answer = self.answer
        if not answer.pieces and self._state is _BODY:
            released = self._released
            self._deadline.expect(self._timeouts.idle, "idle")
            await self._wait()
            if released != self._released:
                raise faults.let_go(self._where)  # an end made here is not the end of the message
        if answer.pieces:
            self._resume_reading()
            return answer.take()
        if self._problem is not None:
            raise self._problem
        return b""

    async def pump(self, sink: Sink, offer: Offer | None = None) -> None:
        """Give ``sink`` what comes as soon as it comes, to the end or ``stop``; ``offer`` is asked first.

        That spares each piece the way through a future and the task that waits for it. Raises Problem, after
        all that came before it was given, and what ``sink`` raises.
        """
        self._sink, self._offer = sink, offer
        try:
            self._deadline.expect(self._timeouts.idle, "idle")
            self._pass_on()
            if self._state is _BODY and self._sink is not None and self._sink_error is None:
                await self._wait()
            while self._sink is not None and self._sink_error is None and self.answer.pieces:
                congestion = sink(self.answer.take())  # what came before a fault
                if congestion is not None:
                    await congestion
            error = self._sink_error or (self._problem if self._sink is not None else None)
            if error is not None:
                raise error
        finally:
            self._sink = self._sink_busy = self._sink_error = self._offer = self._offer_now = None

    def stop(self) -> None:
        """End ``pump``, from within its sink: nothing more is wanted."""
        self._sink = self._offer = self._offer_now = None
        self._wake()

    def release(self, *, linger: bool = False) -> None:
        """The exchange is over for its owner. What is complete may serve again, all else is cut at once.

        ``linger``: the answer is known to be at its end, so its last bytes are given a moment to come.
        """
        self._released += 1
        if self._state is _COMPLETE:
            self._free()
        elif linger and self._state is _BODY and not self._reading_paused:
            self._state = _LINGERING
            self._keeper.linger(self)
            self.answer.take()
            self._deadline.expect(LINGER, "linger")
        else:
            self.abort()

    def abort(self) -> None:
        """Close now; the upstream sees it at once."""
        if self._state in (_IDLE, _LINGERING):
            self._keeper.forget(self)
        elif self._state in (_HEAD, _BODY) and self._problem is None:
            self._problem = faults.let_go(self._where)
        self._state = _DEAD
        self._unsent = None
        self._reading_paused = False
        self._deadline.cancel()
        self._transport.abort()
        self._wake()

    async def wait_closed(self) -> None:
        """Until the transport is gone; after ``abort``."""
        await asyncio.wait((self._lost,))

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not by isinstance: uvloop's transports are no subclasses of it.
        self._transport = cast("asyncio.Transport", transport)
        self._descriptor = transport.get_extra_info("socket").fileno()
        self._lost = self._loop.create_future()
        self._keeper.opened(self)

    def data_received(self, data: bytes | bytearray) -> None:
        if isinstance(data, bytearray):  # on Windows with Python 3.11
            data = bytes(data)
        offer = self._offer_now
        if offer is not None:
            if offer(data):
                self._deadline.prolong(self._timeouts.idle)
                return
            self._offer_now = None  # until ``_pass_on``
        state, answer = self._state, self.answer
        if state is _BODY or state is _HEAD or state is _LINGERING:
            try:
                answer.feed(data)
            except BadAnswer as bad:
                self._fail(faults.nonsense(self._where, str(bad)))
                return
            if self._sink is not None and not answer.complete and self._sink_busy is None:
                self._pass_on()
            else:
                self._advance()
        elif state is _IDLE:
            # Nobody asked: it could be taken for the answer to the next request.
            self.abort()
        elif state is _COMPLETE:
            self.answer.reusable = False

    def eof_received(self) -> None:
        self.answer.reusable = False
        if self._state in (_BODY, _LINGERING) and self._ended_cleanly() and self.answer.finish():
            self._advance()
        elif self._state is not _COMPLETE:
            self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.answer.reusable = False
        self._reading_paused = False
        if self._state is not _COMPLETE:
            self._end(exc)
        self._deadline.close()
        self.answer.close()
        self._keeper.lost(self)
        if not self._lost.done():
            self._lost.set_result(None)

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        if self._unsent is not None:
            self._send_on()

    # Inside.

    def _advance(self) -> None:
        """Something has come: go on to the next state, wake who waits for it, hold back what is too much."""
        answer = self.answer
        if self._state is _LINGERING:
            self._advance_lingering()
            return
        if self._state is _HEAD:
            if not answer.status:
                return
            self._state = _BODY
            if answer.status >= 300 and self._unsent is not None:
                # Refused before all of it was sent: the rest would be wasted, and its reset lose the answer.
                self._unsent = self._unsent[:0]
        elif not (answer.complete or answer.pieces):
            return
        if answer.complete:
            self._state = _COMPLETE
        elif answer.buffered > HIGH_WATER:
            self._pause_reading()
        if self._sink is None:
            self._wake()
        else:
            self._pass_on()

    def _pass_on(self) -> None:
        """Give what has come to the sink, unless it is still busy with what it was given before."""
        sink, answer = self._sink, self.answer
        if sink is not None and answer.pieces:
            if self._sink_busy is not None:
                return
            try:
                congestion = sink(answer.take())
            except Exception as error:  # noqa: BLE001 - raised again by ``pump``
                self._sink_error = error
                self._wake()
                return
            if congestion is not None and self._state is _BODY and self._sink is not None:
                self._wait_for_sink(congestion)
                return
        if self._state is not _BODY:
            self._wake()
            return
        self._deadline.prolong(self._timeouts.idle)
        if answer.left_of_chunk == 0:
            self._offer_now = self._offer
        if self._reading_paused:
            self._resume_reading()

    def _wait_for_sink(self, congestion: asyncio.Future[None]) -> None:
        """The upstream waits as well, and its time stands still."""
        self._deadline.rest()
        self._pause_reading()
        self._sink_busy = congestion
        congestion.add_done_callback(self._on_sink_ready)

    def _on_sink_ready(self, congestion: asyncio.Future[None]) -> None:
        if congestion is self._sink_busy:
            self._sink_busy = None
            if self._state is _BODY:
                self._deadline.expect(self._timeouts.idle, "idle")
            self._pass_on()

    def _pause_reading(self) -> None:
        if not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()

    def _advance_lingering(self) -> None:
        if self.answer.complete:
            self._free()
        elif self.answer.buffered > HIGH_WATER:
            self.abort()

    def _be_patient(self, patient: bool) -> None:
        self._patient = patient
        liveness.give_up_after(self._transport.get_extra_info("socket"), 0 if patient else liveness.GIVE_UP)

    def _free(self) -> None:
        """Give a connection whose answer is complete back, or close it."""
        answer, transport = self.answer, self._transport
        # An answer before the whole request was written leaves the rest of it in the pipe.
        written = self._unsent is None and not transport.get_write_buffer_size()
        if not (answer.reusable and written and answer.keep_alive > 0) or transport.is_closing():
            self.abort()
            return
        if answer.pieces:
            answer.take()
        if self._reading_paused:
            self._resume_reading()
        self._state = _IDLE
        self.idle_since = now = self._loop.time()
        self._deadline.begin(math.inf, now + answer.keep_alive, "keep-alive")
        if not self._keeper.take_back(self):
            self.abort()

    def _send_on(self) -> None:
        """Write on, as much as the transport takes; each portion it takes gives the answer its time anew."""
        while self._unsent and not self._writing_paused and not self._transport.is_closing():
            self._transport.write(self._unsent[:PORTION])
            self._unsent = self._unsent[PORTION:] if len(self._unsent) > PORTION else None
        if self._state is _HEAD:
            self._deadline.expect(self._timeouts.first_byte, "first_byte")

    def _ended_cleanly(self) -> bool:
        """Whether an end of input is the peer's word: under TLS only after close_notify (RFC 8446, 6.1)."""
        tls = self._transport.get_extra_info("ssl_object")
        if tls is None:
            return True
        try:
            return not tls.read(1)
        except ssl.SSLError:
            return False

    def _end(self, error: Exception | None) -> None:
        """The upstream will send no more, and should have."""
        if self._state is _HEAD:
            self._fail(faults.unanswered(self._where, error, untouched=self._untouched))
        elif self._state is _BODY:
            self._fail(faults.broke_off(self._where, error))
        else:
            self.abort()

    def _fail(self, problem: Problem) -> None:
        if self._state in (_HEAD, _BODY):
            self._problem = problem
        self.abort()

    def _expire(self, phase: str) -> None:
        self._fail(faults.too_slow(self._where, phase))

    async def _wait(self) -> None:
        """Until ``_wake``. Cancelling it closes the connection: nobody is left who wants the answer."""
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        except asyncio.CancelledError:
            self.abort()
            raise
        finally:
            self._waiter = None

    def _wake(self) -> None:
        self._deadline.rest()
        told = self._told
        if told is not None:
            self._told = None
            told()
            return
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
