"""One connection: which answers it gives, in which order, and when it stays open."""

from __future__ import annotations

import asyncio

import pytest

from chatgpt_platform.wire.connection import MAX_AHEAD, MAX_DROPPED
from support.answers import connect
from support.recorder import Call, Recorder, get, post, serving, settle, silent

CLOSE = "Connection: close"
KEEP = "Connection: keep-alive"
EXPECT = "Expect: 100-continue"


async def test_one_connection_serves_many_requests() -> None:
    async with serving(Recorder()) as running, connect(running.port) as client:
        for number in range(5):
            await client.send(get(f"/{number}"))
            answer = await client.answer()
            assert (answer.status, answer.body) == (200, b"/%d " % number)
            assert b"connection" not in answer.fields
            await client.send(post(b"a" * number, target="/p"))
            assert (await client.answer()).body == b"/p " + b"a" * number
        assert running.connections == 1
        assert len({id(call.exchange.connection) for call in running.recorder.calls}) == 1
    (closed,) = running.recorder.closed_connections
    assert closed is running.recorder.calls[0].exchange.connection


async def test_where_a_call_came_from() -> None:
    async with serving(Recorder()) as running, connect(running.port) as client:
        await client.send(get())
        call = await running.call()
        assert (call.exchange.peer, call.exchange.secure) == ("127.0.0.1", False)


async def test_a_connection_closes_when_the_client_asks_for_it() -> None:
    async with serving(Recorder()) as running, connect(running.port) as client:
        await client.send(get("/1") + get("/2", CLOSE) + get("/3"))
        first, second = await client.answers(2)
        assert (first.closes, second.closes) == (False, True)
        await client.ended()
        assert [call.target for call in running.recorder.calls] == ["/1", "/2"]


@pytest.mark.parametrize("keep", [True, False])
async def test_http_1_0(keep: bool) -> None:
    async with serving(Recorder()) as running, connect(running.port) as client:
        await client.send(get("/1", *([KEEP] if keep else []), version="1.0"))
        answer = await client.answer()
        assert (answer.status, answer.fields[b"connection"]) == (200, b"keep-alive" if keep else b"close")
        if keep:
            await client.send(get("/2", version="1.0"))
            assert (await client.answer()).closes
        await client.ended()


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    async with serving(Recorder(complete=silent)) as running, connect(running.port) as client:
        await client.send(get("/1") + post(b"two", target="/2") + get("/3"))
        for number, body in ((1, b""), (2, b"two"), (3, b"")):
            call = await running.call()
            await call.happened("complete")
            assert len(running.recorder.calls) == number, "the next is not begun before this is answered"
            call.answer()
            assert (await client.answer()).body == b"/%d %b" % (number, body)
        assert running.connections == 1


async def test_pipelined_requests_that_are_cut_anywhere() -> None:
    data = get("/1") + post(b"\r\n\r\n", target="/2") + get("/3")
    async with serving(Recorder()) as running:
        for at in range(1, len(data), 7):
            async with connect(running.port) as client:
                await client.send(data[:at])
                await asyncio.sleep(0)
                await client.send(data[at:])
                assert [each.body for each in await client.answers(3)] == [b"/1 ", b"/2 \r\n\r\n", b"/3 "]


async def test_a_flood_of_pipelined_requests_lets_others_in() -> None:
    count, turns = 1000, 0

    def answer(call: Call) -> None:
        nonlocal turns
        if call.target == "/other":
            turns = len([each for each in running.recorder.calls if each.target == "/f"])
        call.answer(200, b"x")

    async with (
        serving(Recorder(complete=answer)) as running,
        connect(running.port) as other,
        connect(running.port) as client,
    ):
        await client.send(get("/f") * count)
        await running.call()  # the flood is being served
        await other.send(get("/other"))
        assert (await other.answer()).status == 200
        assert turns < count / 2, "the other was served in the midst of it"
        assert len(await client.answers(count)) == count


async def test_too_much_sent_ahead_ends_the_connection_behind_the_answer() -> None:
    async with serving(Recorder(complete=silent)) as running, connect(running.port) as client:
        await client.send(get("/1"))
        call = await running.call()
        await call.happened("complete")
        await client.send(get("/2") * (2 * MAX_AHEAD // len(get("/2"))))
        await settle()
        call.answer(200, b"whole" * 1000)
        answer = await client.answer()
        assert (answer.body, answer.closes) == (b"whole" * 1000, True)
        await client.ended()
        assert len(running.recorder.calls) == 1


async def test_just_enough_sent_ahead_is_answered() -> None:
    ahead = post(b"a" * (MAX_AHEAD - 200), target="/2")
    async with serving(Recorder(complete=silent)) as running, connect(running.port) as client:
        await client.send(get("/1"))
        call = await running.call()
        await call.happened("complete")
        running.recorder.acts["complete"] = Call.answer
        await client.send(ahead)
        await settle()
        call.answer()
        first, second = await client.answers(2)
        assert (first.body, len(second.body), second.closes) == (b"/1 ", MAX_AHEAD - 200 + 3, False)


async def test_bytes_ahead_of_the_last_answer_are_dropped() -> None:
    async with serving(Recorder(complete=silent)) as running, connect(running.port) as client:
        await client.send(get("/1", CLOSE))
        call = await running.call()
        await client.send(get("/2") + b"\0 no HTTP")
        await settle()
        call.answer()
        assert (await client.answer()).closes
        await client.ended()
        assert (len(running.recorder.calls), running.recorder.refused) == (1, [])


async def test_a_good_request_before_a_bad_one_is_answered_first() -> None:
    async with serving(Recorder(complete=silent)) as running, connect(running.port) as client:
        await client.send(get("/1") + b"garbage\r\n\r\n" + get("/3"))
        call = await running.call()
        await call.happened("complete")
        assert running.recorder.refused == []
        call.answer()
        first, second = await client.answers(2)
        assert (first.status, first.closes) == (200, False)
        assert (second.status, second.closes) == (400, True)
        await client.ended()
        assert (len(running.recorder.calls), len(running.recorder.refused)) == (1, 1)


async def test_a_body_that_turns_out_bad() -> None:
    async with serving(Recorder()) as running, connect(running.port) as client:
        await client.send(b"POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        call = await running.call()
        await call.happened("received")
        await client.send(b"-1\r\n")
        answer = await client.answer()
        assert (answer.status, answer.closes) == (400, True)
        await client.ended()
        assert call.events == ["received", "failed 400"]


# Expect: 100-continue


async def test_a_body_is_invited() -> None:
    async with serving(Recorder()) as running, connect(running.port) as client:
        await client.send(post(3, EXPECT))
        assert (await client.answer()).status == 100
        await client.send(b"abc")
        answer = await client.answer()
        assert (answer.status, answer.body, answer.closes) == (200, b"/ abc", False)
        await client.send(post(0, EXPECT) + get("/2"))
        assert [each.status for each in await client.answers(2)] == [200, 200], "no body, no invitation"


async def test_a_refused_body_is_not_invited() -> None:
    """Nobody knows then whether it comes all the same: so the connection closes."""
    async with serving(Recorder(begin=lambda call: call.answer(403))) as running, connect(running.port) as client:
        await client.send(post(3, EXPECT))
        answer = await client.answer()
        assert (answer.status, answer.closes) == (403, True)
        await client.ended()
        (call,) = running.recorder.calls
        assert call.events == []


async def test_a_body_that_comes_unasked() -> None:
    async with serving(Recorder(begin=lambda call: call.answer(403))) as running:
        async with connect(running.port) as client:
            await client.send(post(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", EXPECT) + get("/2"))
            assert (await client.answer()).status == 403
            await client.ended()
        assert len(running.recorder.calls) == 1
        del running.recorder.acts["begin"]
        async with connect(running.port) as client:
            await client.send(post(b"abc", EXPECT) + get("/2"))
            statuses = [(await client.answer()).status]
            statuses += [(await client.answer()).status] if statuses == [100] else []
            assert statuses[-1] == 200
            assert (await client.answer()).body == b"/2 "


# Answers before their body has come


@pytest.mark.parametrize("length", [1, MAX_DROPPED])
async def test_a_small_refused_body_keeps_the_connection(length: int) -> None:
    async with serving(Recorder(begin=lambda call: call.answer(403))) as running, connect(running.port) as client:
        await client.send(post(length))
        answer = await client.answer()
        assert (answer.status, answer.closes) == (403, False)
        await client.send(b"a" * length + get("/2"))
        assert (await client.answer()).body == b"/2 "
        first, second = running.recorder.calls
        assert (first.events, second.target) == ([], "/2"), "the dropped body is not told"


@pytest.mark.parametrize("size", [MAX_DROPPED + 1, 20_000_000])
async def test_a_client_that_sends_on_still_reads_its_answer(size: int) -> None:
    """Without a reset, which could destroy the answer on its way."""
    async with serving(Recorder(begin=lambda call: call.answer(413))) as running, connect(running.port) as client:
        sending = asyncio.create_task(client.send(post(b"a" * size)), name="send")
        answer = await client.answer()
        assert (answer.status, answer.closes) == (413, True)
        await sending
        await client.ended()
    assert running.recorder.calls[0].events == []


async def test_an_answer_in_the_middle_of_a_body() -> None:
    recorder = Recorder(received=lambda call: call.answer(413))
    async with serving(recorder) as running, connect(running.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n")
        answer = await client.answer()
        assert (answer.status, answer.closes) == (413, True), "nobody knows how much a chunked body is"
        await client.send(b"5\r\nabcde\r\n")
        await client.ended()
        assert running.recorder.calls[0].events == ["received"]
