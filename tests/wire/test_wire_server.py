"""The server around the connections: draining, closing, and an application that raises."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from chatgpt_platform.wire.exchange import Exchange
from chatgpt_platform.wire.head import BadRequest
from support.answers import connect
from support.recorder import Call, Recorder, answers, get, post, serving, settle, silent

CUT = (ConnectionError, AssertionError)
"""What reading an answer ends with where the server cuts the connection."""


def descriptors() -> int:
    """How many this process has open, or 0 where nothing tells."""
    return len(os.listdir("/dev/fd")) if Path("/dev/fd").is_dir() else 0  # noqa: PTH208


async def something_served() -> None:
    """What the loop opens once and keeps is open then."""
    async with serving(Recorder()) as running, connect(running.port) as client:
        await client.send(get())
        await client.answer()


async def test_open_connections_are_counted() -> None:
    async with serving(Recorder()) as running:
        assert running.server.connections == 0
        async with connect(running.port) as client, connect(running.port) as other:
            for each in (client, other):
                await each.send(get())
                await each.answer()
            assert running.server.connections == 2
        await running.deserted()
        assert running.server.connections == 0


# Draining


async def test_a_drain_closes_what_is_idle_and_waits_for_what_is_busy() -> None:
    async with (
        serving(Recorder(complete=silent)) as running,
        connect(running.port) as fresh,
        connect(running.port) as used,
        connect(running.port) as busy,
    ):
        await used.send(get("/used"))
        (await running.call()).answer()
        assert not (await used.answer()).closes
        await busy.send(get("/busy"))
        call = await running.call()
        draining = asyncio.create_task(running.server.drain(20), name="drain")
        await fresh.ended()
        await used.ended()
        assert not draining.done()
        call.answer()
        answer = await busy.answer()
        assert (answer.status, answer.closes) == (200, True)
        await busy.ended()
        assert await draining == 0


async def test_a_drain_of_nothing_ends_at_once() -> None:
    async with serving(Recorder()) as running:
        async with asyncio.timeout(5):
            assert await running.server.drain(60) == 0


async def test_a_request_that_has_reached_the_machine_is_served_in_a_drain() -> None:
    async with serving(Recorder()) as running, connect(running.port) as client:
        await client.send(get("/1"))
        await client.answer()
        await client.send(get("/2"))
        assert await running.server.drain(20) == 0
        answer = await client.answer()
        assert answer.body == b"/2 "
        await client.ended()


async def test_requests_that_come_during_a_drain_still_reach_the_application() -> None:
    async with (
        serving(Recorder(complete=silent)) as running,
        connect(running.port) as busy,
        connect(running.port) as begun,
    ):
        await busy.send(get("/busy"))
        await begun.send(b"GET /beg")
        call = await running.call()
        await settle()
        draining = asyncio.create_task(running.server.drain(20), name="drain")
        await settle()
        running.recorder.acts["complete"] = answers
        async with connect(running.port) as late:
            await late.send(get("/late"))
            assert (await late.answer()).closes
            await late.ended()
        assert not draining.done()
        await begun.send(b"un HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await begun.answer()
        assert (answer.body, answer.closes) == (b"/begun ", True)
        call.answer()
        assert (await busy.answer()).closes
        assert await draining == 0


async def test_a_stream_that_began_before_the_drain_closes_behind_its_end() -> None:
    """Its head could not announce it."""
    async with serving(Recorder(complete=silent)) as running, connect(running.port) as client:
        await client.send(get())
        exchange = (await running.call()).exchange
        exchange.start(200, b"")
        exchange.write(b"one")
        await settle()
        draining = asyncio.create_task(running.server.drain(1), name="drain")
        await settle()
        exchange.write(b"two")
        exchange.finish()
        assert (await client.answer()).body == b"onetwo"
        assert await draining == 0
        await client.ended()


async def test_pipelined_requests_end_with_the_drain() -> None:
    async with serving(Recorder(complete=silent)) as running, connect(running.port) as client:
        await client.send(get("/1") + get("/2"))
        call = await running.call()
        await settle()
        draining = asyncio.create_task(running.server.drain(20), name="drain")
        await settle()
        call.answer()
        assert (await client.answer()).closes
        await client.ended()
        client.close()
        assert await draining == 0
        assert len(running.recorder.calls) == 1


@pytest.mark.parametrize("timeout", [0.0, 0.1])
async def test_a_drain_tells_how_many_it_has_to_cut(timeout: float) -> None:
    async with (
        serving(Recorder(complete=silent)) as running,
        connect(running.port) as idle,
        connect(running.port) as one,
        connect(running.port) as two,
    ):
        for client in (one, two):
            await client.send(get())
            await (await running.call()).happened("complete")
        assert await running.server.drain(timeout) == 2
        await idle.ended()
        await running.server.close()
        for client in (one, two):
            await client.cut()
        assert [call.events for call in running.recorder.calls] == [["complete", "left"]] * 2


# Closing


async def test_close_leaves_nothing_behind() -> None:
    await something_served()
    before = descriptors()
    recorder = Recorder(complete=silent)
    async with (
        serving(recorder) as running,
        connect(running.port) as idle,
        connect(running.port) as head,
        connect(running.port) as body,
        connect(running.port) as busy,
        connect(running.port) as streaming,
        connect(running.port, small=True) as unread,
    ):
        await head.send(b"GET /")
        await body.send(post(3) + b"a")
        await busy.send(get("/busy") + get("/2"))
        for client in (streaming, unread):
            await client.send(get("/stream"))
        waiting: list[asyncio.Future[None]] = []
        for _ in range(4):
            call = await running.call()
            if call.target == "/stream":
                call.exchange.start(200, b"")
                congestion = call.exchange.write(b"x" * 8_000_000)
                assert congestion is not None
                waiting.append(asyncio.ensure_future(congestion))
        await settle()
        assert running.connections == 6
        await running.server.close()
        assert (running.connections, len(recorder.closed_connections)) == (0, 6)
        await asyncio.gather(*waiting)
        for client in (idle, head, body, busy, streaming, unread):
            await client.cut()
        with pytest.raises(ConnectionError):
            async with connect(running.port):
                pass
        await running.server.close()  # once more is as good as once
    assert [call.events[-1] for call in recorder.calls] == ["left"] * 4
    assert descriptors() == before


@pytest.mark.parametrize("turns", range(5))
async def test_close_at_any_moment_of_accepting(turns: int) -> None:
    """A socket that was accepted and has no connection yet is closed as well."""
    await something_served()
    before = descriptors()
    async with serving(Recorder()) as running, connect(running.port) as client:
        await client.send(get())
        for _ in range(turns):
            await asyncio.sleep(0)
        await running.server.close()
        await client.cut()
    assert descriptors() == before


async def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with serving(Recorder()) as running:
            with pytest.raises(OSError, match="in use"):
                running.server.listen("127.0.0.1", taken.getsockname()[1])


# An application that raises


class Broken(RuntimeError):
    """What it raises."""


def breaks(_: Call) -> None:
    raise Broken


@pytest.mark.parametrize("event", ["begin", "received", "complete", "failed"])
async def test_an_application_that_raises(event: str, expected_log: list[str]) -> None:
    expected_log.append("a fault of the application")
    bad = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n-1\r\n"
    recorder = Recorder(**{event: breaks})
    async with serving(recorder) as running, connect(running.port) as client, connect(running.port) as other:
        await client.send(bad if event == "failed" else post(b"abc") + get("/2"))
        with pytest.raises(CUT):
            await client.answer()
        recorder.acts[event] = answers if event == "complete" else silent
        await other.send(get("/other"))
        assert (await other.answer()).body == b"/other "
        assert running.connections == 1
        first, *others = recorder.calls
        assert len(others) == 1
        assert first.events.count("left") == (0 if event == "begin" else 1)
        first.exchange.finished = True  # never answered where ``begin`` raised


async def test_an_application_that_raises_instead_of_refusing(
    expected_log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Recorder, __: Exchange, ___: BadRequest) -> None:
        raise Broken

    expected_log.append("a fault of the application")
    monkeypatch.setattr(Recorder, "refuse", refuse)
    async with serving(Recorder()) as running, connect(running.port) as client:
        await client.send(b"\0")
        with pytest.raises(CUT):
            await client.answer()
        await running.deserted()


async def test_an_application_that_raises_in_the_middle_of_its_answer(expected_log: list[str]) -> None:
    def breaks_later(call: Call) -> None:
        call.exchange.start(200, b"")
        call.exchange.write(b"part")
        raise Broken

    expected_log.append("a fault of the application")
    async with serving(Recorder(complete=breaks_later)) as running, connect(running.port) as client:
        await client.send(get())
        with pytest.raises(CUT):
            await client.answer()
        await running.deserted()


async def test_an_application_that_raises_when_the_client_leaves(expected_log: list[str]) -> None:
    expected_log.append("a fault of the application")
    async with serving(Recorder(complete=silent, left=breaks)) as running, connect(running.port) as client:
        await client.send(get())
        call = await running.call()
        await call.happened("complete")
        client.reset()
        await call.happened("left")
        await settle()
        assert running.connections == 0


async def test_a_refusal_that_is_not_answered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """``refuse`` answers at once, or its connection would stay: the time of a head does not run any more."""
    monkeypatch.setattr(Recorder, "refuse", lambda *_: None)
    async with serving(Recorder()) as running, connect(running.port) as client:
        await client.send(b"\0")
        await settle()
        client.close()
        await running.deserted()
