"""The client of ours leaves at any moment, or reads slowly: the upstream notices, memory does not."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from chatgpt_platform.errors import Problem
from chatgpt_platform.upstream.client import Client, Response, Timeouts
from chatgpt_platform.upstream.connection import Connection
from support.scripted import Peer, RawServer

SLOW = Timeouts(10, 10, 10, 20)
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


class Phases:
    """A server that stops where it is told, and says when it sees the client go."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reached = asyncio.Event()
        self.gone = asyncio.Event()

    async def __call__(self, peer: Peer) -> None:
        await peer.request()
        await peer.send(self.data)
        self.reached.set()
        await peer.gone()
        self.gone.set()


async def read_on(client: Client, body: bytes = b"{}") -> None:
    """As the gateway does it: close in finally."""
    response = await client.open(b"POST", b"/x", b"", body)
    try:
        while await response.read():
            pass
    finally:
        response.close()


@pytest.mark.gen_test
@pytest.mark.parametrize("data", [b"", HEAD, CHUNKED, CHUNKED + b"1\r\nx\r\n"])
async def test_cancelled_in_any_phase(data: bytes) -> None:
    phases = Phases(data)
    async with RawServer(phases) as server:
        client = Client(server.url, SLOW)
        task = asyncio.create_task(read_on(client), name="call")
        await phases.reached.wait()
        await asyncio.sleep(0)
        begun = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(phases.gone.wait(), 5)
        assert time.monotonic() - begun < 1
        assert client._idle == []


@pytest.mark.gen_test
async def test_cancelled_read_closes_before_anybody_calls_close() -> None:
    phases = Phases(CHUNKED)
    async with RawServer(phases) as server:
        response = await Client(server.url, SLOW).open(b"GET", b"/", b"", b"")
        task = asyncio.create_task(response.read(), name="read")
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(phases.gone.wait(), 5)
        with pytest.raises(Problem):
            await response.read()
        response.close()


@pytest.mark.gen_test
async def test_cancelled_at_every_turn_of_the_loop() -> None:
    """However many turns a call has had, cancelling it leaves nothing behind."""

    async def script(peer: Peer) -> None:
        try:
            while True:
                await peer.request()
                await peer.send(CHUNKED + b"1\r\nx\r\n")
                await peer.send(b"0\r\n\r\n")
        except (asyncio.IncompleteReadError, OSError):
            return

    async with RawServer(script) as server:
        for fresh in (True, False):
            client = Client(server.url, SLOW)
            for turns in range(30):
                if fresh:
                    client = Client(server.url, SLOW)
                task = asyncio.create_task(read_on(client), name="call")
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait((task,))
                await client.close() if fresh else None
            await read_on(client)
            await client.close()
        await asyncio.wait_for(asyncio.gather(*server._tasks), 5)  # each connection was closed


@pytest.mark.gen_test
@pytest.mark.parametrize("turns", [1, 2])
async def test_cancelled_while_a_pooled_connection_is_looked_at(turns: int) -> None:
    phases = Phases(HEAD + b"Content-Length: 0\r\n\r\n")
    async with RawServer(phases) as server:
        client = Client(server.url, SLOW)
        await read_on(client)
        (idle,) = client._idle
        idle.idle_since -= 1
        task = asyncio.create_task(read_on(client), name="call")
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not idle.usable
        await asyncio.wait_for(phases.gone.wait(), 5)


@pytest.mark.gen_test
@pytest.mark.parametrize("what", ["create_connection", "getaddrinfo"])
async def test_cancelled_while_connecting(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reached = asyncio.Event()

    async def hangs(*_: Any, **__: Any) -> None:
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), what, hangs)
    task = asyncio.create_task(read_on(Client("http://model.example:9", SLOW)), name="call")
    if what == "create_connection":
        task.cancel()
        task = asyncio.create_task(read_on(Client("http://127.0.0.1:9", SLOW)), name="call")
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.gen_test
async def test_cancelled_while_a_large_question_goes_out() -> None:
    reached, gone = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.read(100)
        reached.set()
        await peer.gone()
        gone.set()

    async with RawServer(script) as server:
        task = asyncio.create_task(read_on(Client(server.url, SLOW), b"x" * 50_000_000), name="call")
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(gone.wait(), 5)


@pytest.mark.gen_test
async def test_closed_by_another_task_while_it_is_read() -> None:
    phases = Phases(CHUNKED)
    async with RawServer(phases) as server:
        response = await Client(server.url, SLOW).open(b"GET", b"/", b"", b"")
        task = asyncio.create_task(response.read(), name="read")
        await asyncio.sleep(0)
        response.close()
        with pytest.raises(Problem, match="closed here"):
            await task
        await asyncio.wait_for(phases.gone.wait(), 5)


@pytest.mark.interpreted("replaces a function of ours")
@pytest.mark.gen_test
@pytest.mark.parametrize("linger", [False, True])
async def test_a_whole_answer_closed_before_its_reader_wakes_is_no_end(linger: bool) -> None:
    finish, sent = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        await finish.wait()
        await peer.send(b"1\r\nx\r\n0\r\n\r\n")
        sent.set()
        await peer.gone()

    async with RawServer(script) as server:
        client = Client(server.url, SLOW)
        response = await client.open(b"GET", b"/", b"", b"")
        task = asyncio.create_task(response.read(), name="read")
        await asyncio.sleep(0)
        connection = response._connection
        assert connection is not None
        connection._wake = lambda: close_in_between(response, connection, wake)  # type: ignore[method-assign]
        wake = type(connection)._wake
        finish.set()
        with pytest.raises(Problem):
            await task
        await client.close()


def close_in_between(response: Response, connection: Any, wake: Any) -> None:
    """Wake the reader, and close before it runs."""
    wake(connection)
    if connection.answer.complete:
        response.close()


# Back-pressure.


@pytest.mark.gen_test
async def test_an_upstream_waits_for_a_slow_reader() -> None:
    size, piece = 100 * 1024 * 1024, b"x" * 65536
    sent = [0]
    stuck = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + b"Content-Length: %d\r\n\r\n" % size)
        while sent[0] < size:
            sending = asyncio.ensure_future(peer.send(piece))
            if not (await asyncio.wait((sending,), timeout=0.3))[0]:
                stuck.set()
            await sending
            sent[0] += len(piece)
        await peer.gone()

    async with RawServer(script) as server:
        client = Client(server.url, SLOW)
        response = await client.open(b"GET", b"/", b"", b"")
        await asyncio.wait_for(stuck.wait(), 10)
        assert sent[0] < size / 4  # the kernel's buffers, and one read of ours
        connection = response._connection
        assert connection is not None
        assert connection.answer.buffered <= 64 * 1024 + 256 * 1024
        received, largest = 0, 0
        while data := await response.read():
            received += len(data)
            largest = max(largest, len(data))
        assert received == size
        assert largest <= 64 * 1024 + 256 * 1024
        response.close()
        assert len(client._idle) == 1
        await client.close()


@pytest.mark.gen_test
async def test_a_slow_upstream_is_sent_no_more_than_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b"x" * 30_000_000
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.read(100)
        await go_on.wait()
        await peer.read(len(body))
        await peer.send(HEAD + b"Content-Length: 0\r\n\r\n")
        await peer.gone()

    async with RawServer(script) as server:
        client = Client(server.url, SLOW)
        waiting: list[Connection] = []
        paused = asyncio.Event()
        pause = Connection.pause_writing

        def noted(connection: Connection) -> None:
            pause(connection)
            waiting.append(connection)
            paused.set()

        monkeypatch.setattr(Connection, "pause_writing", noted)
        task = asyncio.create_task(client.open(b"POST", b"/x", b"", body), name="call")
        await paused.wait()
        assert waiting[0]._transport.get_write_buffer_size() <= 256 * 1024
        go_on.set()
        (await task).close()
        await client.close()
