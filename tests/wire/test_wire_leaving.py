"""Clients that leave, in each way and at each stage: the receiver is told once, and nothing stays open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from chatgpt_platform.wire.connection import MAX_AHEAD
from support.answers import Client, connect
from support.recorder import Call, Recorder, Running, get, post, serving, settle, silent

HOWS: dict[str, Callable[[Client], None]] = {
    "close": Client.close,
    "half-close": Client.half_close,
    "reset": Client.reset,
}
BODY = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
how = pytest.mark.parametrize("leave", HOWS.values(), ids=HOWS)


async def left_once(running: Running, call: Call, *before: str) -> None:
    await call.happened("left")
    await settle()
    assert call.events == [*before, "left"]
    # Nobody is there any more: all of this does nothing.
    call.exchange.start(200, b"")
    assert call.exchange.write(b"x") is None
    call.exchange.finish()
    call.answer()
    call.exchange.abort()
    call.exchange.release()


@how
@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET", get()[:-2], b"GET / HTTP/1.1\r\nX"])
async def test_before_a_request_is_one(sent: bytes, leave: Callable[[Client], None]) -> None:
    async with serving(Recorder()) as running, connect(running.port) as client:
        await client.send(sent)
        await settle()
        assert running.connections == 1
        leave(client)
        await running.deserted()
        assert (running.recorder.calls, running.recorder.refused) == ([], [])
        assert len(running.recorder.closed_connections) == 1


@how
async def test_between_two_requests(leave: Callable[[Client], None]) -> None:
    async with serving(Recorder()) as running, connect(running.port) as client:
        await client.send(get())
        await client.answer()
        leave(client)
        await running.deserted()
        assert running.recorder.calls[0].events == ["complete"]


@how
@pytest.mark.parametrize("sent", [post(3), post(3) + b"ab", BODY, BODY + b"0\r\n"])
async def test_in_a_body(sent: bytes, leave: Callable[[Client], None]) -> None:
    async with serving(Recorder()) as running, connect(running.port) as client:
        await client.send(sent)
        call = await running.call()
        await settle()
        leave(client)
        await left_once(running, call, *(["received"] if call.body else []))
        await running.deserted()


@how
async def test_while_a_body_is_held(leave: Callable[[Client], None]) -> None:
    recorder = Recorder(received=lambda call: call.exchange.hold())
    async with serving(recorder) as running, connect(running.port) as client:
        await client.send(post(b"abc") + b"more")
        call = await running.call()
        await call.happened("received")
        leave(client)
        await left_once(running, call, "received")
        await running.deserted()


@how
async def test_while_a_body_is_invited(leave: Callable[[Client], None]) -> None:
    async with serving(Recorder()) as running, connect(running.port) as client:
        await client.send(post(3, "Expect: 100-continue"))
        assert (await client.answer()).status == 100
        leave(client)
        await left_once(running, await running.call())
        await running.deserted()


@how
@pytest.mark.parametrize(
    "ahead", [b"", b"\r\n", b"GET /", get("/2"), b"\0", get("/2") * 100, b"a" * (MAX_AHEAD + 1)]
)
async def test_while_the_answer_is_awaited(ahead: bytes, leave: Callable[[Client], None]) -> None:
    """Bytes sent ahead do not hide it, and are not served."""
    async with serving(Recorder(complete=silent)) as running, connect(running.port) as client:
        await client.send(get("/1") + ahead)
        call = await running.call()
        await settle()
        leave(client)
        await left_once(running, call, "complete")
        await running.deserted()
        assert (running.recorder.calls, running.recorder.refused) == ([call], [])


@how
@pytest.mark.parametrize("ahead", [b"", get("/2")])
async def test_in_the_middle_of_an_answer(ahead: bytes, leave: Callable[[Client], None]) -> None:
    async with serving(Recorder(complete=silent)) as running, connect(running.port) as client:
        await client.send(get("/1") + ahead)
        call = await running.call()
        call.exchange.start(200, b"")
        call.exchange.write(b"part")
        await client.take(20)
        leave(client)
        await left_once(running, call, "complete")
        await running.deserted()
        assert running.recorder.calls == [call]


@how
async def test_without_reading_the_answer(leave: Callable[[Client], None]) -> None:
    """Whoever waits for the slow reader is let go."""
    async with serving(Recorder(complete=silent)) as running, connect(running.port, small=True) as client:
        await client.send(get("/1"))
        call = await running.call()
        call.exchange.start(200, b"")
        congestion = call.exchange.write(b"x" * 10_000_000)
        assert congestion is not None
        waiting = asyncio.ensure_future(congestion)
        await settle()
        assert not waiting.done()
        leave(client)
        await waiting
        await left_once(running, call, "complete")
        if leave is Client.half_close:
            await client.rest()  # what was written still goes out
        await running.deserted()


@how
async def test_after_the_answer_nobody_is_told(leave: Callable[[Client], None]) -> None:
    async with serving(Recorder()) as running, connect(running.port, small=True) as client:
        await client.send(get("/1"))
        call = await running.call()
        await settle()
        leave(client)
        if leave is Client.half_close:
            assert (await client.answer()).body == b"/1 "
        await running.deserted()
        assert call.events == ["complete"]


@how
async def test_pipelined_requests_behind_the_one_that_is_served(leave: Callable[[Client], None]) -> None:
    """A half-close counts as leaving, whatever came before it."""
    async with serving(Recorder(complete=silent)) as running, connect(running.port) as client:
        await client.send(get("/1") + get("/2"))
        first = await running.call()
        first.answer()
        second = await running.call()
        await second.happened("complete")
        leave(client)
        await left_once(running, second, "complete")
        await running.deserted()
        assert first.events == ["complete"]


@how
async def test_while_a_refused_body_is_dropped(leave: Callable[[Client], None]) -> None:
    recorder = Recorder(begin=lambda call: call.answer(403))
    async with serving(recorder) as running:
        for size in (1000, 10_000_000):
            async with connect(running.port) as client:
                await client.send(post(size) + b"part")
                assert (await client.answer()).status == 403
                leave(client)
                await running.deserted()
        assert [call.events for call in recorder.calls] == [[], []]


async def test_the_application_hears_of_a_client_that_leaves_while_it_answers() -> None:
    """``left`` may come from within: an application that reacts to it in any way harms nobody."""

    def react(call: Call) -> None:
        call.answer()
        call.exchange.abort()
        call.exchange.finish()

    async with serving(Recorder(complete=silent, left=react)) as running, connect(running.port) as client:
        await client.send(get())
        call = await running.call()
        client.reset()
        await call.happened("left")
        await running.deserted()
        assert call.events == ["complete", "left"]
