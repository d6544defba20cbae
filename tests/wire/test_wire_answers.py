"""The forms of an answer: with a length, chunked, up to the close, without a body; and a reader that is slow."""

from __future__ import annotations

import asyncio

import pytest

from chatgpt_platform.wire.output import HIGH_WATER
from support.answers import Answer, Unfinished, connect, read_answer
from support.recorder import Call, Recorder, get, serving, settle, silent

PIECES = [b"one", b"", b"two\r\n\r\n", b"0\r\n\r\n", bytes(range(256))]
WHOLE = b"".join(PIECES)


def streams(length: int | None = None, status: int = 200) -> Recorder:
    def stream(call: Call) -> None:
        call.exchange.start(status, b"X-Test: y\r\n", length)
        for piece in PIECES:
            call.exchange.write(piece)
        call.exchange.finish()

    return Recorder(complete=stream)


async def two_answers(recorder: Recorder, method: str = "GET", version: str = "1.1") -> tuple[Answer, bool]:
    """The answer to this request, and whether another came behind it on the same connection."""
    async with serving(recorder) as running, connect(running.port) as client:
        request = f"{method} / HTTP/{version}\r\nHost: x\r\n\r\n".encode()
        await client.send(request)
        answer = await client.answer(method)
        if answer.closes:
            await client.ended()
            return answer, False
        await client.send(request)
        assert await client.answer(method) == answer
        return answer, True


async def test_a_body_of_known_length() -> None:
    answer, stays = await two_answers(streams(len(WHOLE)))
    assert (answer.body, stays) == (WHOLE, True)
    assert answer.fields == {b"x-test": b"y", b"content-length": b"%d" % len(WHOLE)}


async def test_a_chunked_body() -> None:
    answer, stays = await two_answers(streams())
    assert (answer.body, stays) == (WHOLE, True)
    assert answer.fields == {b"x-test": b"y", b"transfer-encoding": b"chunked"}


async def test_a_piece_that_is_framed_already() -> None:
    passed: list[bool] = []
    chunk = b"3\r\nabc\r\n"

    def stream(call: Call) -> None:
        passed.append(call.exchange.pass_chunk(chunk, 3))  # before the head
        call.exchange.start(200, b"")
        call.exchange.write(b"one")
        passed.append(call.exchange.pass_chunk(chunk, 3))
        assert call.exchange.sent == 6
        call.exchange.finish()
        passed.append(call.exchange.pass_chunk(chunk, 3))

    answer, stays = await two_answers(Recorder(complete=stream))
    assert (answer.body, stays) == (b"oneabc", True)
    assert passed == [False, True, False] * 2


@pytest.mark.parametrize(
    ("length", "method", "version"), [(3, "GET", "1.1"), (None, "HEAD", "1.1"), (None, "GET", "1.0")]
)
async def test_a_framed_piece_does_not_go_where_there_are_no_chunks(
    length: int | None, method: str, version: str
) -> None:
    def stream(call: Call) -> None:
        call.exchange.start(200, b"", length)
        assert not call.exchange.pass_chunk(b"3\r\nabc\r\n", 3)
        call.exchange.write(b"abc")
        call.exchange.finish()

    answer, _ = await two_answers(Recorder(complete=stream), method, version)
    assert answer.body == (b"" if method == "HEAD" else b"abc")


async def test_a_body_that_ends_with_the_connection() -> None:
    """HTTP/1.0 knows no chunks."""
    answer, stays = await two_answers(streams(), version="1.0")
    assert (answer.body, stays, answer.ends_connection) == (WHOLE, False, True)
    assert answer.fields == {b"x-test": b"y", b"connection": b"close"}


async def test_an_old_client_that_would_stay_cannot_where_the_close_ends_the_body() -> None:
    async with serving(streams()) as running, connect(running.port) as client:
        await client.send(get("/", "Connection: keep-alive", version="1.0"))
        answer = await client.answer()
        assert (answer.body, answer.fields[b"connection"]) == (WHOLE, b"close")
    async with serving(streams(len(WHOLE))) as running, connect(running.port) as client:
        await client.send(get("/", "Connection: keep-alive", version="1.0") * 2)
        for answer in await client.answers(2):
            assert (answer.body, answer.fields[b"connection"]) == (WHOLE, b"keep-alive")


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("length", [None, len(WHOLE)])
async def test_head_of_a_stream(length: int | None, version: str) -> None:
    answer, stays = await two_answers(streams(length), "HEAD", version)
    assert (answer.status, answer.body, stays) == (200, b"", version == "1.1")
    if length is not None:
        assert answer.fields[b"content-length"] == b"%d" % length


async def test_head_of_a_whole_answer() -> None:
    answer, stays = await two_answers(Recorder(), "HEAD")
    assert (answer.fields, stays) == ({b"x-test": b"y", b"content-length": b"2"}, True)


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("whole", [True, False])
async def test_answers_without_body(status: int, whole: bool) -> None:
    recorder = Recorder(complete=lambda call: call.answer(status, b"body")) if whole else streams(None, status)
    answer, stays = await two_answers(recorder)
    assert (answer.status, answer.fields, stays) == (status, {b"x-test": b"y"}, True)


async def test_a_status_that_nobody_knows() -> None:
    recorder = Recorder(complete=lambda call: call.answer(499, b"x"))
    async with serving(recorder) as running, connect(running.port) as client:
        await client.send(get())
        assert (await client.receive()).startswith(b"HTTP/1.1 499 Unknown\r\n")


@pytest.mark.parametrize(("length", "said"), [(3, "longer"), (10, "shorter")])
async def test_an_answer_that_does_not_keep_to_its_length(length: int, said: str, expected_log: list[str]) -> None:
    """It is broken off, since there is no other way to tell the client."""

    def stream(call: Call) -> None:
        call.exchange.start(200, b"", length)
        call.exchange.write(b"four")
        call.exchange.finish()

    expected_log.append("a fault of the application")
    async with serving(Recorder(complete=stream)) as running, connect(running.port) as client:
        await client.send(get() + get("/2"))
        with pytest.raises((AssertionError, ConnectionError)):
            await client.answer()
        assert len(running.recorder.calls) == 1


async def test_an_answer_that_is_broken_off_is_not_whole() -> None:
    async with serving(Recorder(complete=silent)) as running, connect(running.port) as client:
        await client.send(get())
        exchange = (await running.call()).exchange
        exchange.start(200, b"")
        exchange.write(b"part")
        exchange.abort()
        exchange.write(b"more")
        exchange.finish()
        exchange.answer(200, b"", b"again")
        got = await client.rest()
        assert got.endswith(b"4\r\npart\r\n")
        with pytest.raises(Unfinished):
            read_answer(got)
        assert running.recorder.calls[0].events == ["complete"]


async def test_each_piece_goes_out_at_once() -> None:
    async with serving(Recorder(complete=silent)) as running, connect(running.port) as client:
        await client.send(get())
        exchange = (await running.call()).exchange
        exchange.start(200, b"")
        assert (await client.receive()).endswith(b"\r\n\r\n")
        for number in range(5):
            exchange.write(b"%d" % number)
            assert await client.receive() == b"1\r\n%d\r\n" % number
        exchange.finish()
        assert await client.receive() == b"0\r\n\r\n"


async def test_a_slow_reader_makes_the_writer_wait() -> None:
    """However much there is to say, no more is kept for the client than a bound."""
    piece, count = b"x" * 16_384, 2000
    written = 0

    async with serving(Recorder(complete=silent)) as running, connect(running.port, small=True) as client:
        await client.send(get())
        exchange = (await running.call()).exchange

        async def stream() -> None:
            nonlocal written
            exchange.start(200, b"", len(piece) * count)
            for _ in range(count):
                congestion = exchange.write(piece)
                written += len(piece)
                if congestion is not None:
                    await congestion
            exchange.finish()

        streaming = asyncio.create_task(stream(), name="stream")
        buffered = exchange.connection._transport.get_write_buffer_size
        read, most = 0, 0
        for _ in range(50):
            await settle()
            most = max(most, buffered())
            read += len(await client.receive(16_384))
        assert most <= HIGH_WATER + len(piece) + 1000
        assert written < len(piece) * count / 2, "the sockets' own buffers hold the rest"
        await client.take(len(piece) * count - read)
        await streaming


async def test_a_flood_of_requests_whose_answers_nobody_reads_keeps_memory_flat() -> None:
    """Pipelined requests wait while the answers before them are not taken."""
    body = b"x" * 20_000
    recorder = Recorder(complete=lambda call: call.answer(200, body))
    async with serving(recorder) as running, connect(running.port, small=True) as client:
        sending = asyncio.create_task(client.send(get() * 1000), name="flood")
        call = await running.call()
        buffered = call.exchange.connection._transport.get_write_buffer_size
        for _ in range(10):
            await settle()
        assert buffered() <= 4 * HIGH_WATER
        await client.take(1000 * len(body))
        await sending
