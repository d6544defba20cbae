"""Handlers that read a body as it comes, on the wire as on Tornado's own server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest
from tornado import web

from support.answers import Answer, Client, connect
from support.applications import SERVERS, Serve, ask, on_wire
from support.handlers import CHUNKED, Abrupt, Log, Streamed
from support.recorder import eventually, post, settle


async def test_each_piece_waits_until_the_handler_has_taken_the_one_before(serve: Serve) -> None:
    log = Log()
    body = b"".join(b"%07d\n" % number for number in range(1_000_000))
    async with serve([("/", Streamed, {"log": log})], max_body_size=1 << 30) as port, connect(port) as client:
        sending = asyncio.create_task(client.send(post(body)), name="send")
        await settle()
        assert log.events == ["prepare"]
        log.ready.set()
        await eventually(lambda: "begin" in log.events)
        log.ready.clear()
        await asyncio.sleep(0.1)
        taken = len(log.body)
        assert taken < len(body) / 2
        assert log.events.count("begin") - log.events.count("end") == 1
        await asyncio.sleep(0.05)
        assert len(log.body) == taken
        assert not sending.done(), "the client feels it"
        log.ready.set()
        await sending
        assert (await client.answer()).body == b"%d" % len(body)
    assert log.body == body
    assert log.events[:2] == ["prepare", "prepared"]
    assert log.events[2:-1] == ["begin", "end"] * ((len(log.events) - 3) // 2)
    assert log.events[-1] == "post"


@pytest.mark.parametrize("request_", [post(b"12345"), CHUNKED + b"2\r\n12\r\n3\r\n345\r\n0\r\n\r\n"])
async def test_a_body_that_comes_with_its_head(serve: Serve, request_: bytes) -> None:
    log = Log()
    async with serve([("/", Streamed, {"log": log})]) as port, connect(port) as client:
        await client.send(request_ * 2)
        await settle()
        assert (log.events, log.body) == (["prepare"], b"")
        log.ready.set()
        assert [answer.body for answer in await client.answers(2)] == [b"5", b"10"]


async def test_a_body_is_invited_once_the_handler_is_prepared(serve: Serve) -> None:
    log = Log()
    async with serve([("/", Streamed, {"log": log})]) as port, connect(port) as client:
        await client.send(post(5, "Expect: 100-continue"))
        await settle()
        assert log.events == ["prepare"]
        receiving = asyncio.create_task(client.receive(), name="receive")
        await settle()
        assert not receiving.done()
        log.ready.set()
        assert (await receiving).startswith(b"HTTP/1.1 100 ")
        await client.send(b"12345")
        assert (await client.answer()).body == b"5"


async def test_a_handler_may_refuse_before_the_body(serve: Serve) -> None:
    """It is told that no more will come, as it must be told either way."""
    log = Log()

    class Refuses(Streamed):
        async def prepare(self) -> None:
            self.set_status(403)
            await self.finish("no")

    async with serve([("/", Refuses, {"log": log})]) as port, connect(port) as client:
        await client.send(post(1_000_000))
        answer = await client.answer()
        assert (answer.status, answer.body) == (403, b"no")
        await log.gone.wait()
    assert log.events == ["gone"]


async def test_a_small_body_that_was_refused_does_not_cost_the_connection() -> None:
    log = Log()

    class Refuses(Streamed):
        async def prepare(self) -> None:
            self.set_status(403)
            await self.finish("no")

    async with on_wire([("/", Refuses, {"log": log}), ("/other", Abrupt, {"log": Log()})]) as port:
        answers = await ask(port, post(b"x" * 1000), post(b"12", target="/other"))
    assert [answer.status for answer in answers] == [403, 200]
    assert log.events == ["gone"]


async def test_a_handler_may_answer_in_the_middle_of_the_body(serve: Serve) -> None:
    log = Log()

    class Enough(Abrupt):
        def data_received(self, chunk: bytes) -> Awaitable[None] | None:  # type: ignore[override]
            super().data_received(chunk)
            self.finish("enough")
            return None

    async with serve([("/", Enough, {"log": log})]) as port, connect(port) as client:
        await client.send(post(1000) + b"x" * 500)
        assert (await client.answer()).body == b"enough"
        await client.send(b"x" * 500)
        await log.gone.wait()
    assert log.events == ["prepare", "data", "gone"]


async def refused(client: Client, log: Log | None) -> Answer:
    """The answer that ends the connection, after which the handler knows of it."""
    answer = await client.answer()
    if log is not None:
        await log.gone.wait()
        assert log.events[-1] == "gone"
        assert "post" not in log.events
    await client.ended()
    return answer


BODY = b"x" * 100
DECLARED = post(BODY)
UNDECLARED = CHUNKED + b"64\r\n%b\r\n0\r\n\r\n" % BODY


@pytest.mark.parametrize("request_", [DECLARED, UNDECLARED], ids=["declared", "undeclared"])
async def test_too_long_a_body(request_: bytes) -> None:
    """Tornado's own server calls it 400, without a Content-Length."""
    async with on_wire([("/", web.RequestHandler)], max_body_size=99) as port, connect(port) as client:
        await client.send(request_)
        assert (await refused(client, None)).status == 413


@pytest.mark.parametrize("handler", [Streamed, Abrupt])
@pytest.mark.parametrize("request_", [DECLARED, UNDECLARED], ids=["declared", "undeclared"])
async def test_too_long_a_body_for_a_handler_that_streams(request_: bytes, handler: type[Streamed]) -> None:
    log = Log()
    log.ready.set()
    async with on_wire([("/", handler, {"log": log})], max_body_size=99) as port, connect(port) as client:
        await client.send(request_)
        assert (await refused(client, log)).status == 413
        assert log.events[0] == "prepare"


async def test_too_long_a_body_is_not_invited() -> None:
    async with on_wire([("/", web.RequestHandler)], max_body_size=99) as port, connect(port) as client:
        await client.send(post(100, "Expect: 100-continue"))
        assert (await refused(client, None)).status == 413


class Generous(Abrupt):
    async def prepare(self) -> None:
        self.request.connection.set_max_body_size(1000)  # type: ignore[union-attr]


@pytest.mark.parametrize("request_", [DECLARED, UNDECLARED], ids=["declared", "undeclared"])
async def test_a_handler_may_allow_more_than_its_server(request_: bytes) -> None:
    for serve in SERVERS.values():
        rules = [("/", Generous, {"log": Log()})]
        async with serve(rules, max_body_size=99) as port, connect(port) as client:
            await client.send(request_)
            answer = await client.answer()
            assert (answer.status, answer.body) == (200, b"100")


@pytest.mark.parametrize("request_", [DECLARED, UNDECLARED], ids=["declared", "undeclared"])
async def test_a_handler_may_allow_less(request_: bytes) -> None:
    log = Log()

    class Strict(Abrupt):
        async def prepare(self) -> None:
            self.request.connection.set_max_body_size(99)  # type: ignore[union-attr]

    async with on_wire([("/", Strict, {"log": log})]) as port, connect(port) as client:
        await client.send(request_)
        assert (await refused(client, log)).status == 413
    assert log.body == b""
