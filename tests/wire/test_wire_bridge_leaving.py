"""Clients that leave before their answer, or do not read it: a handler sees what it would on Tornado's server."""

from __future__ import annotations

import asyncio

import pytest
from tornado import web
from tornado.iostream import StreamClosedError

from support.answers import connect
from support.applications import Serve, on_wire
from support.handlers import Log
from support.recorder import eventually, get, settle


class Waits(web.RequestHandler):
    """Answers only when it is told to, or ends when its client has left."""

    def initialize(self, log: Log) -> None:
        self.log = log

    async def get(self) -> None:
        self.log.note("get")
        await self.log.ready.wait()
        try:
            self.write("late")
            await self.flush()
            await self.finish()
        except StreamClosedError:
            self.log.events.append("closed")
        else:
            self.log.note("finished")

    def on_connection_close(self) -> None:
        self.log.note("gone")
        self.log.gone.set()


@pytest.mark.parametrize("how", ["close", "half-close", "reset"])
async def test_a_client_that_leaves_before_its_answer(serve: Serve, how: str) -> None:
    log = Log()
    async with serve([("/", Waits, {"log": log})]) as port, connect(port) as client:
        await client.send(get())
        await eventually(lambda: log.events == ["get"])
        {"close": client.close, "half-close": client.half_close, "reset": client.reset}[how]()
        await log.gone.wait()
        log.ready.set()
        await eventually(lambda: "closed" in log.events)
    assert log.events == ["get", "gone", "closed"]


async def test_a_client_that_leaves_after_its_answer(serve: Serve) -> None:
    """Nobody is told."""
    log = Log()
    log.ready.set()
    async with serve([("/", Waits, {"log": log})]) as port:
        async with connect(port) as client:
            await client.send(get())
            assert (await client.answer()).body == b"late"
        await settle()
    assert log.events == ["get", "finished"]


async def test_a_server_that_is_closed_before_the_answer(serve: Serve) -> None:
    log = Log()
    async with serve([("/", Waits, {"log": log})]) as port, connect(port) as client:
        await client.send(get())
        await eventually(lambda: log.events == ["get"])
    await log.gone.wait()
    log.ready.set()
    await eventually(lambda: "closed" in log.events)


async def test_a_handler_that_writes_to_a_client_that_does_not_read(serve: Serve) -> None:
    """A thousand pieces of 100 KB: no more of them are made than the sockets take in, and a little."""
    piece = b"x" * 100_000
    flushed = 0
    ended = asyncio.Event()

    class Pours(web.RequestHandler):
        async def get(self) -> None:
            nonlocal flushed
            try:
                for _ in range(1000):
                    self.write(piece)
                    await self.flush()
                    flushed += 1
            except StreamClosedError:
                ended.set()

    async with serve([("/", Pours)]) as port:
        async with connect(port, small=True) as client:
            await client.send(get())
            await asyncio.sleep(0.1)
            stood = flushed
            await asyncio.sleep(0.1)
            assert flushed == stood
            assert stood < (10 if serve is on_wire else 100)
            await client.take(30_000_000)
            assert flushed >= 290
        await ended.wait()
    assert flushed < 500


async def test_each_of_several_flushes_may_be_awaited() -> None:
    """On Tornado's own server all but the last would be awaited for ever."""
    done = asyncio.Event()

    class Pours(web.RequestHandler):
        async def get(self) -> None:
            flushes = []
            for _ in range(4):
                self.write(b"x" * 1_000_000)
                flushes.append(self.flush())
            await asyncio.gather(*flushes)
            done.set()

    async with on_wire([("/", Pours)]) as port, connect(port, small=True) as client:
        await client.send(get())
        await asyncio.sleep(0.05)
        assert not done.is_set()
        assert len((await client.answer()).body) == 4_000_000
        await done.wait()


async def test_a_flush_that_is_given_up_does_not_harm_another() -> None:
    """Two tasks of one handler wait for the client; the one that is cancelled must not end the other."""
    outcome: list[str] = []

    class Pours(web.RequestHandler):
        async def get(self) -> None:
            self.write(b"x" * 4_000_000)
            first = asyncio.ensure_future(self.pour())
            second = asyncio.ensure_future(self.pour())
            await asyncio.sleep(0.05)
            first.cancel()
            await asyncio.wait([first, second])
            outcome.append("cancelled" if second.cancelled() else "written")

        async def pour(self) -> None:
            self.write(b"y")
            await self.flush()

    async with on_wire([("/", Pours)]) as port, connect(port, small=True) as client:
        await client.send(get())
        await asyncio.sleep(0.1)
        assert len((await client.answer()).body) == 4_000_002
        await eventually(lambda: bool(outcome))
    assert outcome == ["written"]
