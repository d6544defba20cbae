"""The time that each phase may take, and which progress counts. The bounds are small; nothing is measured."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from chatgpt_platform.wire.connection import LINGER, MAX_AHEAD, PORTION, Timeouts
from support.answers import connect
from support.recorder import Call, Recorder, get, post, serving, settle, silent

SHORT = 0.2
LONG = Timeouts(header=20, body=20, write=20, idle=20)
ALL_SHORT = Timeouts(header=SHORT, body=SHORT, write=SHORT, idle=SHORT)


async def test_an_idle_connection_closes_without_a_word() -> None:
    async with serving(Recorder(), replace(LONG, idle=SHORT)) as running:
        async with connect(running.port) as fresh, connect(running.port) as used:
            await used.send(get())
            await used.answer()
            await fresh.ended()
            await used.ended()
        assert running.recorder.refused == []


async def test_empty_lines_do_not_keep_a_connection_open() -> None:
    async with serving(Recorder(), replace(LONG, idle=SHORT)) as running, connect(running.port) as client:

        async def dribble() -> None:
            while True:
                await client.send(b"\r\n")
                await asyncio.sleep(SHORT / 4)

        dribbling = asyncio.create_task(dribble(), name="dribble")
        await client.cut()
        dribbling.cancel()
        await asyncio.gather(dribbling, return_exceptions=True)


@pytest.mark.parametrize("sent", [b"G", b"GET / HTTP/1.1\r\n", get()[:-1]])
async def test_a_head_that_does_not_end(sent: bytes) -> None:
    async with serving(Recorder(), replace(LONG, header=SHORT)) as running, connect(running.port) as client:
        await client.send(get())
        await client.answer()
        await client.send(sent)
        answer = await client.answer()
        assert (answer.status, answer.closes) == (408, True)
        await client.ended()
        assert [status for status, _ in running.recorder.refused] == [408]


async def test_a_head_that_dribbles() -> None:
    """Progress does not help: a head is small."""
    async with serving(Recorder(), replace(LONG, header=SHORT)) as running, connect(running.port) as client:
        for byte in get("/" + "a" * 100):
            if running.recorder.refused:
                break
            await client.send(bytes([byte]))
            await asyncio.sleep(SHORT / 10)
        assert (await client.answer()).status == 408
        await client.ended()


async def test_the_head_of_a_pipelined_request_has_its_own_time() -> None:
    async with (
        serving(Recorder(complete=silent), replace(LONG, header=SHORT)) as running,
        connect(running.port) as client,
    ):
        await client.send(get("/1") + b"GET /2")
        call = await running.call()
        await asyncio.sleep(2 * SHORT)
        assert running.recorder.refused == []
        call.answer()
        assert (await client.answer()).status == 200
        assert (await client.answer()).status == 408
        await client.ended()


CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("sent", [post(3), post(3) + b"ab", CHUNKED, CHUNKED + b"2\r\nab\r\n0\r\n"])
async def test_a_body_that_does_not_come(sent: bytes) -> None:
    async with serving(Recorder(), replace(LONG, body=SHORT)) as running, connect(running.port) as client:
        await client.send(sent)
        answer = await client.answer()
        assert (answer.status, answer.closes) == (408, True)
        await client.ended()
        assert running.recorder.calls[0].events[-1] == "failed 408"


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_that_dribbles(chunked: bool) -> None:
    async with serving(Recorder(), replace(LONG, body=SHORT)) as running, connect(running.port) as client:
        await client.send(CHUNKED if chunked else post(1000))
        call = await running.call()
        while "failed 408" not in call.events:
            await client.send(b"1\r\na\r\n" if chunked else b"a")
            await asyncio.sleep(SHORT / 10)
        assert (await client.answer()).status == 408
        await client.ended()
        assert 0 < len(call.body) < 1000


async def test_a_large_body_may_take_long_as_long_as_it_comes() -> None:
    time = 0.4
    async with serving(Recorder(), replace(LONG, body=time)) as running, connect(running.port) as client:
        await client.send(post(6 * PORTION))
        for _ in range(6):
            await asyncio.sleep(time / 3)
            await client.send(b"a" * PORTION)
        answer = await client.answer()
        assert (answer.status, len(answer.body)) == (200, 2 + 6 * PORTION)


async def test_a_refused_body_whose_rest_does_not_come() -> None:
    recorder = Recorder(begin=lambda call: call.answer(403))
    async with serving(recorder, replace(LONG, body=SHORT)) as running, connect(running.port) as client:
        await client.send(post(3))
        answer = await client.answer()
        assert (answer.status, answer.closes) == (403, False)
        await client.cut()
        assert recorder.calls[0].events == []


async def test_no_time_runs_while_the_application_works() -> None:
    async with serving(Recorder(complete=silent), ALL_SHORT) as running, connect(running.port) as client:
        await client.send(post(b"abc"))
        call = await running.call()
        await asyncio.sleep(3 * SHORT)
        call.exchange.start(200, b"")
        call.exchange.write(b"part")
        await asyncio.sleep(3 * SHORT)
        call.exchange.finish()
        assert (await client.answer()).body == b"part"
        assert call.events == ["received", "complete"]


async def test_no_time_runs_while_the_application_holds_the_body() -> None:
    recorder = Recorder(received=lambda call: call.exchange.hold())
    async with serving(recorder, ALL_SHORT) as running, connect(running.port) as client:
        await client.send(post(6))
        call = await running.call()
        await client.send(b"abc")
        await call.happened("received")
        await asyncio.sleep(3 * SHORT)
        assert call.events == ["received"]
        del recorder.acts["received"]
        call.exchange.release()
        await client.send(b"def")
        assert (await client.answer()).body == b"/ abcdef"


async def test_time_runs_again_once_the_body_is_released() -> None:
    recorder = Recorder(received=lambda call: call.exchange.hold())
    async with serving(recorder, replace(LONG, body=SHORT)) as running, connect(running.port) as client:
        await client.send(post(6))
        call = await running.call()
        await client.send(b"abc")
        await call.happened("received")
        call.exchange.release()
        async with asyncio.timeout(10 * SHORT):
            assert (await client.answer()).status == 408
        await client.ended()


async def test_a_held_body_makes_the_client_wait() -> None:
    recorder = Recorder(begin=lambda call: call.exchange.hold())
    body = b"a" * 20_000_000
    async with serving(recorder) as running, connect(running.port) as client:
        sending = asyncio.create_task(client.send(post(body)), name="send")
        call = await running.call()
        await settle()
        assert len(call.exchange.connection._ahead) <= MAX_AHEAD + 300_000, "one read more than the bound"
        assert not sending.done()
        call.exchange.release()
        await sending
        assert len((await client.answer()).body) == 2 + len(body)


# Readers


def large(call: Call) -> None:
    call.answer(200, b"x" * 5_000_000)


@pytest.mark.parametrize("streamed", [pytest.param(True), False])
async def test_an_answer_that_nobody_takes(streamed: bool) -> None:
    recorder = Recorder(complete=silent)
    async with (
        serving(recorder, replace(LONG, write=SHORT)) as running,
        connect(running.port, small=True) as client,
    ):
        await client.send(get())
        call = await running.call()
        if streamed:
            call.exchange.start(200, b"")
            congestion = call.exchange.write(b"x" * 5_000_000)
            assert congestion is not None
            await congestion
        else:
            large(call)
        await running.deserted()
        assert call.events == ["complete", "left"] if streamed else ["complete"]


@pytest.mark.parametrize("last", [False, True])
async def test_a_large_answer_may_take_long_as_long_as_it_is_taken(last: bool) -> None:
    lines = ["Connection: close"] if last else []
    async with (
        serving(Recorder(complete=large), replace(LONG, write=0.4)) as running,
        connect(running.port, small=True) as client,
    ):
        await client.send(get("/", *lines))
        taken = 0
        for _ in range(10):
            await asyncio.sleep(0.1)
            taken += await client.take(100_000)
        await client.take(5_000_000 - taken)


@pytest.mark.parametrize("phase", [pytest.param("header"), "idle"])
async def test_what_comes_behind_a_large_answer_has_its_time(phase: str) -> None:
    """The wait for a slow reader replaces no other."""
    timeouts = replace(LONG, **{phase: SHORT})
    async with (
        serving(Recorder(complete=large), timeouts) as running,
        connect(running.port, small=True) as client,
    ):
        await client.send(get())
        call = await running.call()
        await settle()
        assert call.exchange.connection.congested
        if phase == "header":
            await client.send(b"GET /2")
            await settle()
        await client.answer()
        async with asyncio.timeout(10 * SHORT):
            if phase == "header":
                assert (await client.answer()).status == 408
            await client.ended()


async def test_who_sends_on_behind_the_last_answer_is_cut_in_the_end() -> None:
    recorder = Recorder(begin=lambda call: call.answer(413))
    async with serving(recorder, replace(LONG, body=1.0)) as running, connect(running.port) as client:
        await client.send(post(10**9))
        assert (await client.answer()).status == 413
        await client.ended()  # our half of it
        assert running.connections == 1
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(5 * LINGER):
                while True:
                    await client.send(b"a" * 1000)
                    await asyncio.sleep(0.05)
        await running.deserted()
