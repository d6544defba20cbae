"""Handlers that take the connection away, as they may on Tornado's own server."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
import trustme
from tornado import web
from tornado.iostream import IOStream

from support.answers import connect, connect_tls
from support.applications import SERVERS, Serve, on_wire
from support.handlers import Log, Streamed
from support.recorder import get, post, settle
from support.tls import served, trusting


class Detaches(web.RequestHandler):
    """Takes the connection and speaks a protocol of its own on it: each line comes back in brackets."""

    async def get(self) -> None:
        stream = self.detach()
        await brackets(stream)

    post = get


async def brackets(stream: IOStream) -> None:
    await stream.write(b"hello\n")
    while (line := await stream.read_until(b"\n")) != b"end\n":
        await stream.write(b"[%b]\n" % line.strip())
    stream.close()


async def test_a_handler_that_takes_the_connection_away(serve: Serve) -> None:
    async with serve([("/", Detaches)]) as port, connect(port) as client:
        await client.send(get())
        assert await client.receive() == b"hello\n"
        for line in (b"one", b"two"):
            await client.send(line + b"\n")
            assert await client.receive() == b"[%b]\n" % line
        await client.send(b"end\n")
        await client.ended()


@pytest.mark.parametrize("request_", [get(), post(b"body")])
async def test_what_was_sent_ahead_goes_with_the_connection(serve: Serve, request_: bytes) -> None:
    async with serve([("/", Detaches)]) as port, connect(port) as client:
        await client.send(request_ + b"one\nGET / HTTP/1.1\r\ntw")
        await settle()
        await client.send(b"o\nend\n")
        assert await client.rest() == b"hello\n[one]\n[GET / HTTP/1.1]\n[two]\n"


async def test_more_than_is_kept_was_sent_ahead(expected_log: list[str]) -> None:
    """The wire keeps no more than a bound, and without the rest the connection is worth nothing."""

    class Slow(Detaches):
        async def prepare(self) -> None:
            await asyncio.sleep(0.05)

    expected_log.append("Uncaught exception GET /")
    lines = [b"x" * 99] * 2000
    async with on_wire([("/", Slow)]) as port, connect(port) as client:
        await client.send(get())
        await settle()
        await client.send(b"".join(b"%b\n" % line for line in lines))
        await asyncio.sleep(0.1)
        with suppress(ConnectionError):
            await client.send(b"end\n")
            got = await client.rest()
            assert got in (b"", b"hello\n" + b"".join(b"[%b]\n" % line for line in lines))


async def test_a_connection_taken_away_before_the_body(serve: Serve) -> None:
    """The body is the handler's then, whoever has read it."""

    class Proxies(Streamed):
        async def prepare(self) -> None:
            await self.log.ready.wait()
            await brackets(self.detach())

    log = Log()
    async with serve([("/", Proxies, {"log": log})]) as port, connect(port) as client:
        await client.send(post(100) + b"one\n")
        await settle()
        await client.send(b"two\n")
        await settle()
        log.ready.set()
        await client.send(b"end\n")
        assert await client.rest() == b"hello\n[one]\n[two]\n"
    assert log.body == b""


@pytest.mark.parametrize(
    "size",
    [
        10,
        3_000_000,
    ],
)
async def test_a_connection_taken_away_behind_a_part_of_an_answer(size: int) -> None:
    """What was written before goes out before."""

    class Late(web.RequestHandler):
        async def get(self) -> None:
            self.set_header("Content-Length", size + 6)
            self.write(b"x" * size)
            self.flush()
            await brackets(self.detach())

    for serve in SERVERS.values():
        async with serve([("/", Late)]) as port, connect(port, small=True) as client:
            await client.send(get())
            await asyncio.sleep(0.05)
            answer = await client.answer()
            await client.send(b"end\n")
            assert answer.body == b"x" * size + b"hello\n"
            await client.ended()


async def test_a_connection_under_tls_cannot_be_taken_away(expected_log: list[str]) -> None:
    """Tornado takes a handler that detached for finished, and answers nothing: so it is closed."""
    expected_log.append("Uncaught exception GET /")
    authority = trustme.CA()
    async with (
        on_wire([("/", Detaches)], tls=served(authority)) as port,
        connect_tls(port, trusting(authority)) as client,
        asyncio.timeout(1),
    ):
        await client.send(get())
        await client.ended()
