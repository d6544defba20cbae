"""Tornado's side: bytes in, ``Request`` out; ``Answer`` in, bytes out, with its delays and its breaks."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import time
import uuid
from collections import deque
from typing import Protocol

from tornado.iostream import IOStream, StreamClosedError
from tornado.web import Application, RequestHandler

from chatgpt_platform.simulator import service
from chatgpt_platform.simulator.answer import Answer, End
from chatgpt_platform.simulator.behaviour import Behaviour, Stats
from chatgpt_platform.simulator.request import Request

# Seconds for what was sent to arrive: a reset throws away what is still on its way.
_BEFORE_RESET = 0.05


class Host(Protocol):
    """What the handlers need of the simulator that they belong to."""

    behaviour: Behaviour
    stats: Stats
    seen: deque[Request]
    under_way: set[asyncio.Task[End]]


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
                "served": self._stats.served,
                "under_way": self._stats.under_way,
                "cancelled": self._stats.cancelled,
                "tokens": self._stats.tokens,
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

    async def _answer(self, *_: str) -> None:
        request = self._read()
        self._host.seen.append(request)
        behaviour = self._host.behaviour
        answer = service.answer(request, behaviour, int(time.time()))
        name = f"simulator {request.method} {request.path}"
        self._task = asyncio.create_task(self._send_counted(answer, behaviour), name=name)
        self._host.under_way.add(self._task)
        try:
            await asyncio.wait({self._task})
        finally:
            self._host.under_way.discard(self._task)
        self._part(_end_of(self._task))

    get = head = post = put = patch = delete = options = _answer

    def on_connection_close(self) -> None:
        """Tornado calls this at once, for a half-closed connection too."""
        if self._task is not None:
            self._task.cancel()

    def compute_etag(self) -> None:
        """None: nothing here is cached."""

    def _read(self) -> Request:
        return Request(self.request.method or "", self.request.path, self.request.headers, self.request.body)

    async def _send_counted(self, answer: Answer, behaviour: Behaviour) -> End:
        stats = self._host.stats
        stats.under_way += 1
        try:
            await self._send(answer, behaviour)
        except (asyncio.CancelledError, StreamClosedError):
            stats.cancelled += 1
            raise
        finally:
            stats.under_way -= 1
        if answer.end in (End.WHOLE, End.HELD):
            stats.served += 1
        if answer.end is End.HELD:
            await _for_ever()
        return answer.end

    async def _send(self, answer: Answer, behaviour: Behaviour) -> None:
        await asyncio.sleep(behaviour.latency)
        if answer.status:
            self._set_head(answer)
        started = False
        for event in answer.events:
            for _ in range(event.tokens):
                if started and behaviour.interval:
                    await asyncio.sleep(behaviour.interval)
                started = True
                self._host.stats.tokens += 1
            self.write(event.frame(answer.streamed))
            if answer.streamed:
                await self.flush()
        if answer.end is End.STALLED:
            await _for_ever()
        if answer.end is End.RESET:
            await asyncio.sleep(_BEFORE_RESET)

    def _set_head(self, answer: Answer) -> None:
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

    def _part(self, end: End) -> None:
        """Ends the connection if the answer was not whole; else Tornado finishes it and keeps it alive."""
        if end is End.WHOLE:
            return
        stream: IOStream = self.detach()
        if end is End.RESET and stream.socket is not None:  # None: the caller was quicker
            _reset_on_close(stream.socket)
        stream.close()


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
