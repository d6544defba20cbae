"""The callers of scripts/chaos.py: JSON and streams, on both APIs, some slow, some leaving, each with its number.

A call's prompt names its number, which the upstreams' record and its answer name again. What a caller got is kept
byte by byte; chaos_verdict judges it.
"""

import asyncio
import json
import socket
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import cast

import processes

PATIENCE = 40.0  # seconds after which a caller gives up; the gateway's own bound is far below
_SLOW_PAUSE = 0.03  # seconds between two looks of a slow reader
_SMALL_BUFFER = 4096  # bytes
_PATHS = {"platform": "/chatgpt", "openai": "/v1/chat/completions"}
_LAST_CHUNK = b"\r\n0\r\n\r\n"


class End(Enum):
    """How a call was over for its caller."""

    WHOLE = "whole"  # as its framing says, on a connection that stays open
    CLOSED = "closed"
    RESET = "reset"
    LEFT = "left"  # by the caller itself
    REFUSED = "no connection"
    NEVER = "no end"


@dataclass(frozen=True)
class Plan:
    """A call as it is meant to be. `at`: seconds since the start. `leaves`: so long after, None: it stays."""

    number: int
    at: float
    api: str
    stream: bool
    keeps: bool = False  # the connection, for the next call
    slow: bool = False
    leaves: float | None = None
    how: str = "close"

    @property
    def name(self) -> str:
        """What its prompt says."""
        return f"call-{self.number:07d}"


@dataclass
class Told:
    """What became of a call. Times: Unix seconds."""

    plan: Plan
    sent: float = 0.0
    ended: float = 0.0
    raw: bytes = b""
    end: End = End.NEVER
    stray: bytes = field(default=b"")
    """What came on the connection before this call, or after its answer."""


def plans(seconds: float, rate: float, random: Random) -> list[Plan]:
    """`rate` calls a second, at random moments (a Poisson process), of random kinds."""
    found: list[Plan] = []
    at = random.expovariate(rate)
    while at < seconds:
        found.append(_plan(len(found), at, random))
        at += random.expovariate(rate)
    return found


def _plan(number: int, at: float, random: Random) -> Plan:
    api, stream = random.choice(("platform", "openai")), random.random() < 0.5
    if random.random() < 0.15:
        how = random.choice(("close", "half-close", "reset"))
        return Plan(number, at, api, stream, leaves=random.choice((0.0, random.uniform(0.0, 1.5))), how=how)
    return Plan(number, at, api, stream, keeps=random.random() < 0.5, slow=stream and random.random() < 0.1)


def request(plan: Plan) -> bytes:
    """The call as it goes over the wire, in one piece."""
    words = f"{plan.name}: what do you say?"
    asked: dict[str, object] = {"stream": plan.stream}
    if plan.api == "platform":
        asked["prompt"] = words
    else:
        asked |= {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": words}]}
    body = json.dumps(asked)
    connection = "keep-alive" if plan.keeps else "close"
    return (
        f"POST {_PATHS[plan.api]} HTTP/1.1\r\nHost: {processes.LOOPBACK}\r\nContent-Type: application/json\r\n"
        f"Connection: {connection}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


class Caller(asyncio.Protocol):
    """A connection to the gateway, on which one call after another may go."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._told: Told | None = None
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._pieces: list[bytes] = []
        self._expected = 0
        self._stray = b""
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's only behaves like one of asyncio's
        self.is_open = True

    async def call(self, told: Told) -> None:
        """Sends the call and waits until it is over, in whatever way."""
        self._told = told
        self._over = self._loop.create_future()
        self._pieces, self._expected = [], 0
        told.stray, self._stray = self._stray, b""
        told.sent = time.time()
        self._transport.write(request(told.plan))
        patience = PATIENCE if told.plan.leaves is None else told.plan.leaves
        try:
            await asyncio.wait_for(self._over, patience)
        except TimeoutError:
            told.end = End.NEVER if told.plan.leaves is None else End.LEFT
            await self._leave(told.plan.how)
        finally:
            told.ended = time.time()
            told.raw = b"".join(self._pieces)
            self._told = None

    def close(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._told is None or self._over.done():
            self._stray += data
            if self._told is not None and self._told.plan.leaves is None:
                self._told.stray += data
            return
        self._pieces.append(data)
        if self._told.plan.slow:
            self._transport.pause_reading()
            self._loop.call_later(_SLOW_PAUSE, self._read_on)
        if self._told.plan.keeps and self._is_whole(data):
            self._finish(End.WHOLE)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        self._finish(End.CLOSED if error is None else End.RESET)

    def _is_whole(self, data: bytes) -> bool:
        """Whether the answer is complete as its framing says."""
        if not self._expected:
            raw = b"".join(self._pieces)
            head, border, _ = raw.partition(b"\r\n\r\n")
            if not border:
                return False
            length = content_length(head)
            if length is None:
                return raw.endswith(_LAST_CHUNK)
            self._expected = len(head) + 4 + length
        return sum(map(len, self._pieces)) >= self._expected

    def _read_on(self) -> None:
        if self.is_open:
            self._transport.resume_reading()

    def _finish(self, end: End) -> None:
        if self._told is not None and not self._over.done():
            self._told.end = end
            self._over.set_result(None)

    async def _leave(self, how: str) -> None:
        if how == "half-close" and self.is_open:
            self._transport.write_eof()
            await asyncio.wait({self._over}, timeout=PATIENCE)  # the gateway takes it for leaving, and closes
        elif how == "reset":
            # The next close sends RST. Two ints (POSIX sys/socket.h), two shorts on Windows (winsock2.h).
            linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
            with suppress(OSError):  # the gateway was quicker, and it is closed
                self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._transport.abort()


class Load:
    """Makes all calls of a plan, each at its time, whatever became of those before it."""

    def __init__(self, port: int, planned: Sequence[Plan]) -> None:
        self._port = port
        self._planned = planned
        self._idle: list[Caller] = []
        self.told = [Told(plan) for plan in planned]

    async def run(self) -> None:
        """Returns when every call is over and every connection closed."""
        began = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for told in self.told:
                await asyncio.sleep(max(0.0, began + told.plan.at - asyncio.get_running_loop().time()))
                group.create_task(self._make(told), name=told.plan.name)
        for caller in self._idle:
            caller.close()

    async def _make(self, told: Told) -> None:
        try:
            caller = self._take(told.plan) or await self._connect(told.plan)
        except OSError:
            told.sent = told.ended = time.time()
            told.end = End.REFUSED
            return
        await caller.call(told)
        if told.end is End.WHOLE and caller.is_open:
            self._idle.append(caller)
        else:
            caller.close()

    def _take(self, plan: Plan) -> Caller | None:
        while plan.keeps and not plan.slow and self._idle:
            caller = self._idle.pop()
            if caller.is_open:
                return caller
        return None

    async def _connect(self, plan: Plan) -> Caller:
        connection = socket.socket()
        connection.setblocking(False)
        if plan.slow:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(connection, (processes.LOOPBACK, self._port))
            _, caller = await loop.create_connection(Caller, sock=connection)
        except OSError:
            connection.close()
            raise
        return caller


def content_length(head: bytes) -> int | None:
    """What a head says of its body's length; None: nothing."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return None
