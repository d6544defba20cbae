"""Tornado applications of a test's own, on the wire and on Tornado's stock server, in the test's event loop.

async with on_wire([("/", Hello)]) as port, connect(port) as client:
    await client.send(get())
    answer = await client.answer()
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

from tornado import httpserver, netutil, web

from chatgpt_platform.wire.bridge import TornadoApplication
from chatgpt_platform.wire.connection import Timeouts
from chatgpt_platform.wire.server import Server
from support.answers import Answer, connect

Rules = Sequence[tuple[str, type[web.RequestHandler]] | tuple[str, type[web.RequestHandler], dict[str, Any]]]


class Serve(Protocol):
    """A server for an application, on 127.0.0.1; gives its port. ``settings``: Tornado's, of the application."""

    def __call__(
        self, rules: Rules, *, max_body_size: int | None = None, **settings: Any
    ) -> AbstractAsyncContextManager[int]: ...


@asynccontextmanager
async def on_wire(
    rules: Rules,
    *,
    max_body_size: int | None = None,
    tls: ssl.SSLContext | None = None,
    timeouts: Timeouts | None = None,
    **settings: Any,
) -> AsyncIterator[int]:
    """Our own server."""
    application = TornadoApplication(_application(rules, settings), max_body_size=max_body_size)
    server = Server(application, logging.getLogger("wire"), tls=tls, timeouts=timeouts or Timeouts())
    port = server.listen("127.0.0.1", 0)
    try:
        yield port
    finally:
        await server.close()


@asynccontextmanager
async def on_stock(rules: Rules, *, max_body_size: int | None = None, **settings: Any) -> AsyncIterator[int]:
    """Tornado's, as it comes."""
    server = httpserver.HTTPServer(_application(rules, settings), max_body_size=max_body_size)
    sockets = netutil.bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    port: int = sockets[0].getsockname()[1]
    try:
        yield port
    finally:
        server.stop()
        await server.close_all_connections()


SERVERS: dict[str, Serve] = {"wire": on_wire, "stock": on_stock}


async def ask(port: int, *requests: bytes, method: str = "GET") -> list[Answer]:
    """The answers to all of them, sent at once on one connection that stays."""
    async with connect(port) as client:
        await client.send(b"".join(requests))
        return [await client.answer(method) for _ in requests]


def _application(rules: Rules, settings: dict[str, Any]) -> web.Application:
    return web.Application(list(rules), log_function=_silent, **settings)


def _silent(_: web.RequestHandler) -> None:
    """Tornado would log each answer."""
