"""One HTTP/1.1 connection to an upstream: bytes through llhttp, one exchange at a time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

import httptools

from chatgpt_platform.errors import Kind, Problem

MAX_HEAD: Final = 64 * 1024
MAX_HEADERS: Final = 200
MAX_INTERIM: Final = 8
HIGH_WATER: Final = 64 * 1024
"""Bytes received but not yet read at which the upstream is told to wait."""

KEEP_ALIVE: Final = 4.0
"""Seconds after which an idle connection retires: before the 5 s after which uvicorn and Node close theirs."""

LONGEST_KEEP_ALIVE: Final = 60.0
LINGER: Final = 1.0
"""Seconds that a connection gets to end a message whose rest nobody needs."""

_KEEP_ALIVE_TIMEOUT: Final = re.compile(rb"(?i)(?:^|[,;\s])timeout\s*=\s*(\d{1,6})")


class State(Enum):
    """What the connection is at."""

    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    COMPLETE = auto()
    LINGERING = auto()
    DEAD = auto()


class Connection(asyncio.Protocol):
    """Made by ``Client``; carries one exchange after another while both sides keep it alive.

    An exchange: ``send``, ``head``, ``read`` until it gives b"", ``release``. Every failure is a Problem;
    data that came before it is given out first.
    """

    def __init__(self, where: str, on_free: Callable[[Connection], bool]) -> None:
        """``where``: host:port, for details in the log. ``on_free``: takes the connection back, or declines."""
        self._where: Final = where
        self._on_free: Final = on_free
        self._loop: Final = asyncio.get_running_loop()
        self._parser: Final = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._phase = ""
        self.state = State.IDLE
        self.idle_since = 0.0
        self._reset()

    def _reset(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._paused = False
        self._head_bytes = 0
        self._interim = 0
        self._delimited = True
        self._reusable = False
        self._keep_alive = KEEP_ALIVE
        self._problem: Problem | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._total = 0.0

    # The exchange.

    @property
    def usable(self) -> bool:
        """Whether a request may be written: idle, and the peer has not been seen to close."""
        return self.state is State.IDLE and self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes, total: float) -> None:
        """Write a whole request. ``total``: when the exchange must be over, in the loop's time."""
        assert self._transport is not None
        self._reset()
        self._total = total
        self.state = State.HEAD
        self._transport.write(request)

    async def head(self, timeout: float) -> None:
        """Wait until ``status`` and ``headers`` are there. Raises Problem."""
        if self.state is State.HEAD:
            self._expect(timeout, "first byte")
            try:
                await self._wait()
            finally:
                self._expect_nothing()
        if self._problem is not None and self.state is State.DEAD and not self.status:
            raise self._problem

    async def read(self, timeout: float) -> bytes:
        """What has come since the last call, as soon as there is any; b"" at the end. Raises Problem."""
        if not self._chunks and self.state is State.BODY:
            self._expect(timeout, "next byte")
            try:
                await self._wait()
            finally:
                self._expect_nothing()
        if self._chunks:
            return self._take()
        if self._problem is not None:
            raise self._problem
        return b""

    def release(self, *, linger: bool = False) -> None:
        """The exchange is over for its owner. What is complete may serve again, all else is cut at once.

        ``linger``: the answer is known to be at its end, so its last bytes are given a moment to come.
        """
        if self.state is State.COMPLETE:
            self._free()
        elif linger and self.state is State.BODY and not self._paused:
            self.state = State.LINGERING
            self._chunks.clear()
            self._buffered = 0
            self._expect(LINGER, "end")
        elif self.state is not State.IDLE:
            self.abort()

    def abort(self) -> None:
        """Close now; the upstream sees it at once."""
        self.state = State.DEAD
        self._cancel_timer()
        if self._transport is not None:
            self._transport.abort()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self.state in (State.IDLE, State.COMPLETE):
            # Nobody asked: what follows could be taken for the answer to the next request.
            self._reusable = False
            if self.state is State.IDLE:
                self.abort()
            return
        if self.state is State.HEAD:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(self._nonsense("it wants to speak another protocol"))
        except httptools.HttpParserError as error:
            self._reusable = False  # where the message was complete, only what followed it is at fault
            self._fail(self._nonsense(str(error) or "it is not HTTP"))
        if self.state is State.HEAD and self._head_bytes > MAX_HEAD:
            self._fail(self._nonsense("its head is too large"))
        self._hold_back()

    def eof_received(self) -> None:
        self._ended()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended(exc)
        self._cancel_timer()
        if self.state is not State.COMPLETE:
            self.state = State.DEAD
        self._transport = None

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.state is State.HEAD:  # later ones are trailers
            self.headers.append((name.lower(), value.strip()))
            if len(self.headers) > MAX_HEADERS:
                self._fail(self._nonsense("it has too many headers"))

    def on_headers_complete(self) -> None:
        if self.state is not State.HEAD:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self._interim += 1
            self.headers.clear()
            if self._interim > MAX_INTERIM or status == 101:
                self._fail(self._nonsense(f"its interim answers ({status}) do not end"))
            return
        fault = self._read_framing(status)
        if fault:
            self._fail(self._nonsense(fault))
            return
        self.status = status
        self.state = State.BODY
        self._wake()

    def on_body(self, body: bytes) -> None:
        if self.state is State.BODY:
            self._chunks.append(body)
            self._buffered += len(body)
            self._wake()
        elif self.state is State.LINGERING:
            self._buffered += len(body)
            if self._buffered > HIGH_WATER:
                self.abort()

    def on_message_begin(self) -> None:
        if self.state is State.COMPLETE:
            self._reusable = False

    def on_message_complete(self) -> None:
        if self.state in (State.BODY, State.LINGERING):
            assert self._transport is not None
            # An answer before the whole request was written leaves the rest of it in the pipe.
            written = self._transport.get_write_buffer_size() == 0
            self._reusable = self._delimited and written and self._parser.should_keep_alive()
            self._complete()

    # Inside.

    def _read_framing(self, status: int) -> str:
        """Note how the body is delimited and whether the connection may serve again; returns what is wrong."""
        lengths = {value for name, value in self.headers if name == b"content-length"}
        codings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        if not 200 <= status <= 599:
            return f"its status is {status}"
        if len(lengths) > 1 or (lengths and codings):
            return "it tells its length twice"
        if codings and codings != [b"chunked"]:
            return "its transfer coding is unknown"
        self._delimited = bool(lengths or codings) or status in (204, 304)
        for name, value in self.headers:
            match = _KEEP_ALIVE_TIMEOUT.search(value) if name == b"keep-alive" else None
            if match:
                self._keep_alive = min(int(match[1]) - 1.0, LONGEST_KEEP_ALIVE)
        return ""

    def _complete(self) -> None:
        lingering = self.state is State.LINGERING
        self.state = State.COMPLETE
        if lingering:
            self._free()
        else:
            self._wake()

    def _free(self) -> None:
        """Give a connection whose message is complete back, or close it."""
        transport = self._transport
        open_still = transport is not None and not transport.is_closing()
        if not (self._reusable and open_still and self._keep_alive > 0):
            self.abort()
            return
        assert transport is not None
        if self._paused:
            transport.resume_reading()
            self._paused = False
        self._chunks.clear()
        self.state = State.IDLE
        self.idle_since = self._loop.time()
        self._total = self.idle_since + self._keep_alive
        self._expect(self._keep_alive, "retire")
        if not self._on_free(self):
            self.abort()

    def _ended(self, error: Exception | None = None) -> None:
        """The upstream will send no more."""
        self._reusable = False
        if self.state is State.BODY and not self._delimited and error is None:
            self._complete()
        elif self.state in (State.HEAD, State.BODY):
            how = f"broke off ({error})" if error else "closed the connection"
            if self.state is State.HEAD:
                self._fail(Problem(Kind.BAD_UPSTREAM, detail=f"{self._where} {how} before it answered"))
            else:
                self._fail(Problem(Kind.BAD_UPSTREAM, "upstream_broke_off", detail=f"{self._where} {how}"))
        elif self.state in (State.IDLE, State.LINGERING):
            self.abort()

    def _nonsense(self, what: str) -> Problem:
        return Problem(Kind.BAD_UPSTREAM, detail=f"the answer of {self._where} cannot be used: {what}")

    def _fail(self, problem: Problem) -> None:
        if self.state in (State.HEAD, State.BODY):
            self._problem = problem
            self.abort()
            self._wake()
        elif self.state is State.LINGERING:
            self.abort()

    def _take(self) -> bytes:
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    def _hold_back(self) -> None:
        if self._buffered > HIGH_WATER and not self._paused and self.state is State.BODY:
            assert self._transport is not None
            self._paused = True
            self._transport.pause_reading()

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # One timer for all phases: it is moved only when it fires too early, not at each read.

    def _expect(self, timeout: float, phase: str) -> None:
        self._deadline = min(self._loop.time() + timeout, self._total) if self._total else 0.0
        self._phase = phase
        if self._timer is None or self._timer.when() > self._deadline:
            self._cancel_timer()
            self._timer = self._loop.call_at(self._deadline, self._on_timer)

    def _expect_nothing(self) -> None:
        """Nobody waits: only the time for the whole exchange goes on running."""
        self._deadline = self._total

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._on_timer)
        elif self.state in (State.HEAD, State.BODY):
            phase = "total" if self._deadline >= self._total else self._phase
            self._fail(Problem(Kind.UPSTREAM_TIMEOUT, detail=f"{self._where} was too slow: {phase} timeout"))
        elif self.state in (State.IDLE, State.LINGERING):
            self.abort()
