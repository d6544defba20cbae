"""Tornado handlers that read a body as it comes, and note what happens to them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from tornado import web

from support.recorder import get

CHUNKED = get("/", "Transfer-Encoding: chunked").replace(b"GET", b"POST")
"""The head of a request whose chunks follow."""


class Log:
    """What happened to a handler, in order."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.body = b""
        self.ready = asyncio.Event()
        """Until then the handler waits, in ``prepare`` and for each piece of the body."""
        self.gone = asyncio.Event()

    def note(self, event: str) -> None:
        assert "gone" not in self.events, f"{event} after it was told that the client is gone"
        self.events.append(event)


@web.stream_request_body
class Streamed(web.RequestHandler):
    """Notes what it is told, and takes its time."""

    def initialize(self, log: Log) -> None:
        self.log = log

    async def prepare(self) -> None:
        self.log.note("prepare")
        await self.log.ready.wait()
        self.log.note("prepared")

    async def data_received(self, chunk: bytes) -> None:
        assert chunk
        self.log.body += chunk
        self.log.note("begin")
        await self.log.ready.wait()
        self.log.note("end")

    def post(self) -> None:
        self.log.note("post")
        self.write(str(len(self.log.body)))

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self.log.note("gone")
        self.log.gone.set()


class Abrupt(Streamed):
    """One that does not wait."""

    async def prepare(self) -> None:
        self.log.note("prepare")

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:  # type: ignore[override]
        self.log.body += chunk
        self.log.note("data")
        return None
