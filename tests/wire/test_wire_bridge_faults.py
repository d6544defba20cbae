"""Faults of handlers and of clients in the middle of a request: each side is told, and nothing is left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest
from tornado import httputil, web

from chatgpt_platform.wire.connection import Timeouts
from support.answers import connect
from support.applications import SERVERS, Serve, on_wire
from support.handlers import CHUNKED, Abrupt, Log, Streamed
from support.recorder import eventually, get, post, settle


async def test_what_tornado_finds_wrong_with_a_head_is_400(serve: Serve) -> None:
    """It takes no more than so many arguments."""
    target = "/?" + "&".join(f"a{number}=1" for number in range(1100))
    for request in (get(target), post(100_000, target=target)):
        async with serve([("/", web.RequestHandler)]) as port, connect(port) as client:
            await client.send(request)
            assert (await client.receive()).startswith(b"HTTP/1.1 400 ")


class FindsFault(Abrupt):
    def data_received(self, chunk: bytes) -> Awaitable[None] | None:  # type: ignore[override]
        super().data_received(chunk)
        raise httputil.HTTPInputError("no good")


class FindsFaultLater(Streamed):
    async def data_received(self, chunk: bytes) -> None:
        await super().data_received(chunk)
        await asyncio.sleep(0.01)
        raise httputil.HTTPInputError("no good")


@pytest.mark.parametrize("handler", [FindsFault, FindsFaultLater])
async def test_what_a_handler_finds_wrong_with_a_body_is_400(handler: type[Streamed]) -> None:
    for serve in SERVERS.values():
        log = Log()
        log.ready.set()
        async with serve([("/", handler, {"log": log})]) as port, connect(port) as client:
            await client.send(post(1000) + b"some")
            assert (await client.receive()).startswith(b"HTTP/1.1 400 ")
            await asyncio.wait_for(log.gone.wait(), 2)
            assert "post" not in log.events


class Fails(Abrupt):
    def data_received(self, chunk: bytes) -> Awaitable[None] | None:  # type: ignore[override]
        super().data_received(chunk)
        raise RuntimeError("a fault of this handler")


class FailsLater(Streamed):
    async def data_received(self, chunk: bytes) -> None:
        await super().data_received(chunk)
        await asyncio.sleep(0.01)
        raise RuntimeError("a fault of this handler")


@pytest.mark.parametrize(
    "handler",
    [
        Fails,
        FailsLater,
    ],
)
async def test_a_handler_that_fails_while_it_reads(handler: type[Streamed], expected_log: list[str]) -> None:
    """Its error is logged once, the connection closes, and the handler ends."""
    for serve in SERVERS.values():
        log = Log()
        log.ready.set()
        expected_log.append("a fault of the application" if serve is on_wire else "Uncaught exception")
        async with serve([("/", handler, {"log": log})]) as port, connect(port) as client:
            await client.send(post(1000) + b"some")
            assert await client.rest() == b""
            await asyncio.wait_for(log.gone.wait(), 2)
            assert "post" not in log.events


async def test_a_handler_whose_prepare_fails(serve: Serve, expected_log: list[str]) -> None:
    class Unprepared(Streamed):
        async def prepare(self) -> None:
            await asyncio.sleep(0.01)
            raise RuntimeError("a fault of this handler")

    expected_log.append("Uncaught exception POST /")
    log = Log()
    async with serve([("/", Unprepared, {"log": log})]) as port, connect(port) as client:
        await client.send(post(1000) + b"some")
        assert (await client.answer()).status == 500
        await client.send(b"x" * 996)
        await log.gone.wait()


@pytest.mark.parametrize("handler", [Streamed, Abrupt])
async def test_a_body_that_turns_out_to_be_none(serve: Serve, handler: type[Streamed]) -> None:
    log = Log()
    log.ready.set()
    async with serve([("/", handler, {"log": log})]) as port, connect(port) as client:
        await client.send(CHUNKED + b"2\r\nok\r\n")
        await settle()
        await client.send(b"what is this?\r\n")
        assert (await client.receive()).startswith(b"HTTP/1.1 400 ")
        await log.gone.wait()
    assert "post" not in log.events
    assert log.body == b"ok"


async def test_a_body_that_does_not_come_in_time() -> None:
    log = Log()
    timeouts = Timeouts(body=0.05)
    async with on_wire([("/", Abrupt, {"log": log})], timeouts=timeouts) as port, connect(port) as client:
        await client.send(post(10) + b"some")
        assert (await client.answer()).status == 408
        await log.gone.wait()
    assert log.events == ["prepare", "data", "gone"]


@pytest.mark.parametrize("how", ["close", "half-close", "reset"])
@pytest.mark.parametrize("handler", [Streamed, Abrupt])
async def test_a_client_that_leaves_within_its_body(serve: Serve, handler: type[Streamed], how: str) -> None:
    log = Log()
    log.ready.set()
    async with serve([("/", handler, {"log": log})]) as port, connect(port) as client:
        await client.send(post(10) + b"some")
        await settle()
        {"close": client.close, "half-close": client.half_close, "reset": client.reset}[how]()
        await log.gone.wait()
    assert "post" not in log.events
    assert log.events[-1] == "gone"


@pytest.mark.parametrize("when", ["prepare", "data"])
async def test_a_client_that_leaves_while_the_handler_takes_its_time(serve: Serve, when: str) -> None:
    """It may be told at once, as the wire does it, or once it asks for more."""

    class Lenient(Log):
        def note(self, event: str) -> None:
            self.events.append(event)

    log = Lenient()
    async with serve([("/", Streamed, {"log": log})]) as port, connect(port) as client:
        await client.send(post(10))
        await settle()
        if when == "data":
            log.ready.set()
            await eventually(lambda: "prepared" in log.events)
            log.ready.clear()
        await client.send(b"some")
        await settle()
        assert log.events[-1] == ("begin" if when == "data" else "prepare")
        client.close()
        await asyncio.sleep(0.02)
        if serve is on_wire:
            assert log.events[-1] == "gone"
        log.ready.set()
        await log.gone.wait()
        await settle()
    assert "post" not in log.events
    assert log.events.count("gone") == 1


async def test_a_server_that_is_closed_in_the_middle_of_a_body(serve: Serve) -> None:
    log = Log()
    log.ready.set()
    async with serve([("/", Streamed, {"log": log})]) as port, connect(port) as client:
        await client.send(post(10) + b"some")
        await settle()
    await log.gone.wait()
    assert log.events[-1] == "gone"
