"""Tornado's side: bytes in, ``Request`` out; ``Answer`` in, bytes out, with its delays and its breaks."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import sys
import time
import uuid
from collections import deque
from contextlib import suppress
from random import Random
from typing import Protocol

from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError
from tornado.web import Application, RequestHandler

from chatgpt_platform.simulator import service
from chatgpt_platform.simulator.answer import Answer, End
from chatgpt_platform.simulator.behaviour import Behaviour, Stats
from chatgpt_platform.simulator.listening import Port
from chatgpt_platform.simulator.request import Generated, Request

# Seconds for what was sent to arrive: a reset throws away what is still on its way.
_BEFORE_RESET = 0.05


class Host(Protocol):
    """What the handlers need of the simulator that they belong to."""

    stats: Stats
    seen: deque[Request]
    under_way: set[asyncio.Task[End]]

    @property
    def behaviour(self) -> Behaviour: ...

    @property
    def random(self) -> Random: ...

    @property
    def port(self) -> Port: ...


def make_application(host: Host) -> Application:
    """The Tornado application. It logs no requests: its owner has a log of its own."""
    return Application(
        [
            (r"/healthz", HealthHandler),
            (r"/stats", StatsHandler, {"stats": host.stats}),
            (r"/.*", ApiHandler, {"host": host}),
        ],
        log_function=lambda handler: None,
    )


class HealthHandler(RequestHandler):
    """``GET /healthz``: 200 while the process lives."""

    def get(self) -> None:
        self.write({"status": "ok"})


class StatsHandler(RequestHandler):
    """``GET /stats``: what has been counted since the start."""

    def initialize(self, stats: Stats) -> None:
        self._stats = stats

    def get(self) -> None:
        self.write(
            {
                "calls": self._stats.calls,
                "served": self._stats.served,
                "under_way": self._stats.under_way,
                "cancelled": self._stats.cancelled,
                "tokens": self._stats.tokens,
                "prompt_tokens": self._stats.prompt_tokens,
                "completion_tokens": self._stats.completion_tokens,
            }
        )


class ApiHandler(RequestHandler):
    """Everything under ``/v1``, and an error in OpenAI's shape for all other paths.

    The answer is made in a task of its own, which ends as soon as the caller leaves, whatever it waits for.
    """

    def initialize(self, host: Host) -> None:
        self._host = host
        self._began = time.monotonic()
        self._task: asyncio.Task[End] | None = None

    def prepare(self) -> None:
        assert isinstance(self.request.connection, HTTP1Connection)
        self._stream = self.request.connection.stream
        self._host.port.busy.add(self._stream)

    def on_finish(self) -> None:
        self._host.port.busy.discard(self._stream)

    async def _answer(self, *_: str) -> None:
        behaviour = self._host.behaviour
        request = self._read(behaviour)
        self._host.seen.append(request)
        answer = service.answer(request, behaviour.tokens)
        if answer.raw:
            self.detach().set_close_callback(self.on_connection_close)
        name = f"simulator {request.method} {request.path}"
        self._task = asyncio.create_task(self._send_counted(answer, behaviour, request.generated), name=name)
        self._host.under_way.add(self._task)
        try:
            await asyncio.wait({self._task})
        finally:
            self._host.under_way.discard(self._task)
        self._part(_end_of(self._task), answer)

    get = head = post = put = patch = delete = options = _answer

    def on_connection_close(self) -> None:
        """Tornado calls this at once, for a half-closed connection too."""
        if self._task is not None:
            self._task.cancel()

    def compute_etag(self) -> None:
        """None: nothing here is cached."""

    def _read(self, behaviour: Behaviour) -> Request:
        fault = ""
        if self.request.method == "POST":
            self._host.stats.calls += 1
            fault = behaviour.draw(self._host.random)
        method, path = self.request.method or "", self.request.path
        return Request(method, path, self.request.headers, self.request.body, fault, time.time())

    async def _send_counted(self, answer: Answer, behaviour: Behaviour, generated: Generated) -> End:
        stats = self._host.stats
        stats.under_way += 1
        try:
            await self._send(answer, behaviour, generated)
        except (asyncio.CancelledError, StreamClosedError):
            stats.cancelled += 1
            raise
        finally:
            stats.under_way -= 1
        if answer.complete:
            stats.served += 1
        if answer.end is End.HELD:
            await _for_ever()
        return answer.end

    async def _send(self, answer: Answer, behaviour: Behaviour, generated: Generated) -> None:
        await asyncio.sleep(behaviour.latency)
        if answer.status and not answer.raw:
            self._set_head(answer, behaviour)
        started = False
        prompt_tokens = answer.prompt_tokens
        for event in answer.events:
            self._host.stats.prompt_tokens += prompt_tokens
            generated.prompt_tokens += prompt_tokens
            prompt_tokens = 0
            if event.wait:
                await asyncio.sleep(event.wait * behaviour.silence)
            for _ in range(event.tokens):
                if started and behaviour.interval:
                    await asyncio.sleep(behaviour.interval)
                started = True
                self._host.stats.tokens += 1
                generated.completion_tokens += 1
            await self._put(event.frame(answer.streamed), answer)
        await self._linger(answer.end)

    async def _put(self, data: bytes, answer: Answer) -> None:
        if answer.raw:
            await self._stream.write(data)
            return
        self.write(data)
        if answer.streamed:
            await self.flush()

    async def _linger(self, end: End) -> None:
        """Whatever passes between the last byte and the end."""
        if end is End.HALF_CLOSED and self._stream.socket is not None:
            self._stream.socket.shutdown(socket.SHUT_WR)
        if end in (End.STALLED, End.HALF_CLOSED):
            await _for_ever()
        if end is End.RESET:
            await asyncio.sleep(_BEFORE_RESET)

    def _set_head(self, answer: Answer, behaviour: Behaviour) -> None:
        """The headers that OpenAI sends with each answer, then the answer's own."""
        self.set_status(answer.status)
        headers = {
            "x-request-id": f"req_{uuid.uuid4().hex}",
            "openai-organization": "simulator",
            "openai-processing-ms": str(round((time.monotonic() - self._began) * 1000)),
            "openai-version": "2020-10-01",
            "x-ratelimit-limit-requests": "10000",
            "x-ratelimit-limit-tokens": "2000000",
            "x-ratelimit-remaining-requests": "9999",
            "x-ratelimit-remaining-tokens": "1999990",
            "x-ratelimit-reset-requests": "8ms",
            "x-ratelimit-reset-tokens": "0s",
        }
        for name, value in {**headers, **answer.headers}.items():
            self.set_header(name, value)
        if behaviour.refuses:
            self.set_header("Connection", "close")  # it came on one that was open already

    def _part(self, end: End, answer: Answer) -> None:
        """Ends the connection if the answer was not whole; else Tornado finishes it and keeps it alive."""
        if end is End.WHOLE:
            return
        if not answer.raw:
            self.detach()
        if end is End.RESET and self._stream.socket is not None:  # None: the caller was quicker
            _reset_on_close(self._stream.socket)
        if end is End.PARTED and isinstance(self._stream.socket, ssl.SSLSocket):
            # Without close_notify the answer may have been cut (RFC 8446, 6.1); the caller's is not waited for.
            with suppress(OSError):
                self._stream.socket.unwrap()
        self._stream.close()


def _end_of(task: asyncio.Task[End]) -> End:
    """What the answer came to. Raises whatever the task raised that is not the caller's leaving."""
    if task.cancelled() or isinstance(task.exception(), StreamClosedError):
        return End.CLOSED
    return task.result()


async def _for_ever() -> None:
    await asyncio.get_running_loop().create_future()


def _reset_on_close(connection: socket.socket) -> None:
    """Lets the next close send RST instead of FIN: SO_LINGER with a wait of zero."""
    # Two shorts on Windows (struct linger of winsock2.h), two ints elsewhere (POSIX sys/socket.h).
    form = "hh" if sys.platform == "win32" else "ii"
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(form, 1, 0))
