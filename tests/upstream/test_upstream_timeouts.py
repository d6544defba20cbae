"""Each phase has its time, and only that phase's silence uses it up."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.upstream.client import Client, Timeouts
from chatgpt_platform.upstream.deadline import Deadline
from chatgpt_platform.wire import deadline as timing
from support.scripted import Peer, RawServer

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


async def timeout_of(client: Client, body: bytes = b"{}") -> str:
    """The detail of the timeout that a call ends with."""
    with pytest.raises(Problem) as caught:
        response = await client.open(b"POST", b"/x", b"", body)
        try:
            while await response.read():
                pass
        finally:
            response.close()
    assert caught.value.kind is Kind.UPSTREAM_TIMEOUT
    return caught.value.detail


async def silent(peer: Peer, data: bytes = b"") -> None:
    await peer.request()
    await peer.send(data)
    await peer.gone()


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("phase", "data"),
    [
        ("first_byte", b""), ("first_byte", HEAD), ("first_byte", b"HTTP/1.1 100 X\r\n\r\n"),
        ("idle", CHUNKED), ("idle", CHUNKED + b"1\r\nx\r\n"), ("idle", HEAD + b"Content-Length: 9\r\n\r\nx"),
        ("total", b""), ("total", CHUNKED),
    ],
)  # fmt: skip
async def test_silence(phase: str, data: bytes) -> None:
    times = {"connect": 10.0, "first_byte": 10.0, "idle": 10.0, "total": 10.0, phase: 0.08}
    async with RawServer(lambda peer: silent(peer, data)) as server:
        detail = await timeout_of(Client(server.url, Timeouts(**times)))
        assert phase in detail
        assert f"127.0.0.1:{server.port}" in detail
        await asyncio.wait_for(asyncio.gather(*server._tasks), 5)  # the close was seen at once


@pytest.mark.gen_test
@pytest.mark.parametrize("what", ["create_connection", "getaddrinfo"])
@pytest.mark.parametrize(("phase", "times"), [("connect", (0.08, 9)), ("total", (9, 0.08))])
async def test_connecting(
    what: str, phase: str, times: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), what, hangs)
    host = "127.0.0.1" if what == "create_connection" else "model.example"
    assert phase in await timeout_of(Client(f"http://{host}:9", Timeouts(times[0], 9, 9, times[1])))


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("phase", "start", "drip"),
    [
        ("first_byte", HEAD, b"X: y\r\n"),
        ("idle", CHUNKED + b"1;", b"y"),  # a chunk extension without end: bytes, but no body
        ("total", CHUNKED, b"1\r\nx\r\n"),
    ],
)
async def test_dribbling_does_not_help(phase: str, start: bytes, drip: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(start)
        gone = asyncio.create_task(peer.gone(), name="gone")
        while not gone.done():
            await peer.send(drip)
            await asyncio.wait((gone,), timeout=0.02)

    times = {"connect": 10.0, "first_byte": 10.0, "idle": 10.0, "total": 10.0, phase: 0.15}
    async with RawServer(script) as server:
        assert phase in await timeout_of(Client(server.url, Timeouts(**times)))


@pytest.mark.gen_test
async def test_a_slow_client_of_ours_is_not_the_upstreams_fault() -> None:
    more = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + b"1\r\na\r\n")
        await more.wait()
        await peer.send(b"1\r\nb\r\n0\r\n\r\n")
        await peer.gone()

    async with RawServer(script) as server:
        client = Client(server.url, Timeouts(5, 5, 0.05, 10))
        response = await client.open(b"GET", b"/", b"", b"")
        assert await response.read() == b"a"
        await asyncio.sleep(0.15)  # three idle times in which nobody reads
        asyncio.get_running_loop().call_soon(more.set)
        assert await response.read() == b"b"
        assert await response.read() == b""
        response.close()
        await client.close()


@pytest.mark.gen_test
async def test_each_read_has_its_time_anew() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        for _ in range(8):
            await asyncio.sleep(0.1)
            await peer.send(b"1\r\nx\r\n")
        await peer.send(b"0\r\n\r\n")
        await peer.gone()

    async with RawServer(script) as server:
        client = Client(server.url, Timeouts(5, 5, 0.6, 10))
        response = await client.open(b"GET", b"/", b"", b"")
        assert await response.read_all(100) == b"x" * 8
        response.close()
        await client.close()


@pytest.mark.gen_test
async def test_the_total_runs_while_nobody_reads() -> None:
    async def script(peer: Peer) -> None:
        await silent(peer, CHUNKED + b"1\r\na\r\n")
        closed.set()

    closed = asyncio.Event()
    async with RawServer(script) as server:
        response = await Client(server.url, Timeouts(5, 5, 5, 0.1)).open(b"GET", b"/", b"", b"")
        await asyncio.wait_for(closed.wait(), 5)
        assert await response.read() == b"a"
        with pytest.raises(Problem) as caught:
            await response.read()
        assert "total" in caught.value.detail
        response.close()


@pytest.mark.gen_test
async def test_a_large_question_that_goes_out_slowly_is_no_late_answer() -> None:
    body = b"x" * 40_000_000

    async def script(peer: Peer) -> None:
        for _ in range(10):
            await peer.read(4_000_000)
            await asyncio.sleep(0.1)
        await peer.send(HEAD + b"Content-Length: 0\r\n\r\n")
        await peer.gone()

    async with RawServer(script) as server:
        client = Client(server.url, Timeouts(5, 0.7, 5, 10))
        (await client.open(b"POST", b"/x", b"", body)).close()
        await client.close()


@pytest.mark.gen_test
async def test_an_upstream_that_takes_nothing_in_is_late() -> None:
    async def script(peer: Peer) -> None:
        await peer.read(100)
        peer.pause()
        await released.wait()

    released = asyncio.Event()
    async with RawServer(script) as server:
        client = Client(server.url, Timeouts(5, 0.1, 5, 10))
        assert "first_byte" in await timeout_of(client, b"x" * 20_000_000)
        released.set()


@pytest.mark.gen_test
async def test_the_timer_is_set_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    set_at: list[float] = []
    call_at = loop.call_at

    def counted(when: float, *arguments: Any, **options: Any) -> Any:
        if arguments == (deadline._on_timer,):
            set_at.append(when)
        return call_at(when, *arguments, **options)

    monkeypatch.setattr(loop, "call_at", counted)
    expired: asyncio.Future[str] = loop.create_future()
    deadline = Deadline(loop, expired.set_result)
    deadline.begin(loop.time() + 10)
    for _ in range(100):
        deadline.expect(5, "idle")
        deadline.rest()
    assert len(set_at) == 1
    deadline.expect(0.05, "first")
    assert len(set_at) == 2
    deadline.expect(1, "second")  # later: the timer fires early, and is set again then
    assert len(set_at) == 2
    assert await asyncio.wait_for(expired, 5) == "second"
    assert len(set_at) == 3
    deadline.cancel()


@pytest.mark.gen_test
async def test_a_standstill_helps_no_silent_upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "STANDSTILL", 0.1)
    monkeypatch.setattr(timing, "GRACE", 0.1)

    async def script(peer: Peer) -> None:
        await peer.request()
        time.sleep(0.3)  # noqa: ASYNC251 - nothing of this process runs
        await peer.gone()

    async with RawServer(script) as server:
        assert "first_byte" in await timeout_of(Client(server.url, Timeouts(10, 0.1, 0.1, 10)))


@pytest.mark.gen_test
async def test_a_standstill_makes_no_idle_connection_younger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "STANDSTILL", 0.1)
    answer = HEAD + b"Keep-Alive: timeout=2\r\nContent-Length: 1\r\n\r\nx"
    served: list[Peer] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        served.append(peer)
        await peer.send(answer)
        await peer.gone()

    async with RawServer(script) as server:
        client = Client(server.url, Timeouts(10, 10, 10, 10))
        for _ in range(2):
            response = await client.open(b"GET", b"/", b"", b"")
            assert await response.read_all(9) == b"x"
            response.close()
            time.sleep(1.2)  # noqa: ASYNC251 - as above
        await client.close()
        assert len(served) == 2
