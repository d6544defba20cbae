"""Exchanges and the pool: what goes out, what comes back, which connection serves again."""

from __future__ import annotations

import asyncio
import socket

import pytest

from chatgpt_platform import __version__
from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.upstream import answer, connection
from chatgpt_platform.upstream.client import MAX_IDLE, Client, Response, Timeouts
from chatgpt_platform.upstream.connection import Connection
from support.scripted import Peer, RawServer

SLOW = Timeouts(10, 10, 10, 20)
HEAD = b"HTTP/1.1 200 OK\r\n"
OK = HEAD + b"Content-Length: 2\r\n\r\nok"


async def ask(client: Client, path: bytes = b"/x", body: bytes = b"{}") -> bytes:
    """One whole exchange."""
    response = await client.open(b"POST", path, b"", body)
    try:
        return await response.read_all(1000)
    finally:
        response.close()


async def answers(peer: Peer, data: bytes = OK, times: int = 100) -> None:
    """Answer each request with ``data`` until the client leaves."""
    try:
        for _ in range(times):
            await peer.request()
            await peer.send(data)
    except (asyncio.IncompleteReadError, OSError):
        return
    await peer.gone()


@pytest.mark.gen_test
async def test_the_request_as_it_is_written() -> None:
    async with RawServer(answers) as server:
        client = Client(server.url + "/v1/", SLOW)
        response = await client.open(b"POST", b"/chat", b"Authorization: Bearer test-key-1\r\n", b'{"a": 1}')
        response.close()
        await client.close()
        head, _, body = server.peers[0].requests[0].partition(b"\r\n\r\n")
        assert body == b'{"a": 1}'
        assert head.split(b"\r\n") == [
            b"POST /v1/chat HTTP/1.1",
            b"Host: 127.0.0.1:%d" % server.port,
            b"User-Agent: chatgpt-platform/" + __version__.encode(),
            b"Accept-Encoding: identity",
            b"Connection: keep-alive",
            b"Authorization: Bearer test-key-1",
            b"Content-Length: 8",
        ]


@pytest.mark.gen_test
async def test_connections_are_counted_while_they_are_open() -> None:
    async with RawServer(answers) as server:
        client = Client(server.url, SLOW)
        assert client.connections == 0
        first, second = [await client.open(b"GET", b"/", b"", b"") for _ in range(2)]
        assert client.connections == 2
        await first.read_all(10)
        first.close()
        assert client.connections == 2
        second.close()  # nobody has read it, but it was whole
        assert client.connections == 2
        third = await client.open(b"GET", b"/", b"", b"")
        assert client.connections == 2
        third.close()
        await client.close()
        assert client.connections == 0


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("method", "told"), [(b"GET", False), (b"HEAD", False), (b"POST", True), (b"DELETE", True)]
)
async def test_the_length_of_no_body(method: bytes, told: bool) -> None:
    async with RawServer(answers) as server:
        client = Client(server.url, SLOW)
        (await client.open(method, b"/", b"", b"")).close()
        await client.close()
        assert (b"Content-Length: 0\r\n" in server.peers[0].requests[0]) is told


@pytest.mark.gen_test
async def test_the_response() -> None:
    data = HEAD + b"X-Request-ID: 7\r\nx-request-id: 8\r\nContent-Length: 2\r\n\r\nok"
    async with RawServer(lambda peer: answers(peer, data)) as server:
        client = Client(server.url, SLOW)
        response = await client.open(b"GET", b"/", b"", b"")
        assert response.status == 200
        assert response.header(b"x-request-id") == b"7"
        assert response.header(b"missing") is None
        assert list(response.headers)[:2] == [(b"x-request-id", b"7"), (b"x-request-id", b"8")]
        assert await response.read() == b"ok"
        assert await response.read() == b""
        assert await response.read() == b""
        response.close()
        response.close()
        with pytest.raises(Problem):
            await response.read()
        await client.close()


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (b"/a b", b""), (b"/a\r\nX: y", b""), (b"/\xff", b""), (b"/", b"X: y"), (b"/", b"X: y\n"),
        (b"/", b"X y\r\n"),
        (b"/", b"X: a\0b\r\n"), (b"/", b"\r\n"), (b"/", b"X: y\r\n\r\n"), (b"/", b"X: y\r\n folded\r\n"),
        (b"/", b"X : y\r\n"), (b"/", b": y\r\n"), (b"/", b"X: a\rb\r\n"),
    ],
)  # fmt: skip
async def test_what_would_break_the_framing_is_never_written(path: bytes, headers: bytes) -> None:
    async with RawServer(answers) as server:
        with pytest.raises(ValueError, match="framing"):
            await Client(server.url, SLOW).open(b"POST", path, headers, b"")
        assert server.peers == []


@pytest.mark.gen_test
async def test_a_stream_is_read_as_it_comes() -> None:
    steps = [asyncio.Event() for _ in range(3)]

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        for number, step in enumerate(steps):
            await step.wait()
            await peer.send(b"1\r\n%d\r\n1\r\n.\r\n" % number)
        await peer.send(b"0\r\n\r\n")
        await peer.gone()

    async with RawServer(script) as server:
        client = Client(server.url, SLOW)
        response = await client.open(b"GET", b"/", b"", b"")
        for number, step in enumerate(steps):
            step.set()
            assert await response.read() == b"%d." % number  # several pieces at once, joined
        assert await response.read() == b""
        response.close()
        await client.close()


@pytest.mark.gen_test
async def test_every_cut_of_an_answer_on_the_wire() -> None:
    data = HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    cuts = iter(range(1, len(data)))

    async def script(peer: Peer) -> None:
        for cut in cuts:
            await peer.request()
            await peer.send(data[:cut])
            await asyncio.sleep(0)  # a turn of the loop, so that the parts are received apart
            await asyncio.sleep(0)
            await peer.send(data[cut:])
        await peer.gone()

    async with RawServer(script) as server:
        client = Client(server.url, SLOW)
        for _ in range(1, len(data)):
            assert await ask(client) == b"abcde"
        await client.close()
        assert len(server.peers) == 1


@pytest.mark.gen_test
async def test_the_limit_of_a_whole_body() -> None:
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    for data in (HEAD + b"Content-Length: 5\r\n\r\nhello", chunked):
        async with RawServer(lambda peer, data=data: answers(peer, data)) as server:  # type: ignore[misc]
            client = Client(server.url, SLOW)
            for limit in (5, 4):
                response = await client.open(b"GET", b"/", b"", b"")
                try:
                    if limit == 5:
                        assert await response.read_all(limit) == b"hello"
                        continue
                    with pytest.raises(Problem) as caught:
                        await response.read_all(limit)
                    assert (caught.value.kind, caught.value.text) == (Kind.BAD_UPSTREAM, "upstream_too_large")
                finally:
                    response.close()
            await client.close()


@pytest.mark.gen_test
async def test_an_upstream_of_http_1_0_ends_with_its_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.0 200 OK\r\n\r\nall ")
        await peer.send(b"of it")
        peer.end()

    async with RawServer(script) as server:
        client = Client(server.url, SLOW)
        assert await ask(client) == b"all of it"
        assert await ask(client) == b"all of it"
        assert len(server.peers) == 2


@pytest.mark.gen_test
async def test_an_ipv6_host() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    async with RawServer(answers, host="::1") as server:
        client = Client(server.url, SLOW)
        assert await ask(client) == b"ok"
        await client.close()
        assert b"\r\nHost: [::1]:%d\r\n" % server.port in server.peers[0].requests[0]


@pytest.mark.gen_test
async def test_no_delay_and_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with RawServer(answers) as server:
        client = Client(server.url, SLOW)
        assert await ask(client) == b"ok"
        (idle,) = client._idle
        transport_socket = idle._transport.get_extra_info("socket")
        assert transport_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        await client.close()


# The pool.


@pytest.mark.gen_test
async def test_a_connection_serves_again() -> None:
    async with RawServer(answers) as server:
        client = Client(server.url, SLOW)
        for _ in range(20):
            assert await ask(client) == b"ok"
        assert len(server.peers) == 1
        # Four at a time need four, and the one used last comes first.
        assert await asyncio.gather(*(ask(client) for _ in range(4))) == [b"ok"] * 4
        assert len(server.peers) == 4
        for _ in range(5):
            await ask(client)
        assert len(server.peers) == 4
        assert max(len(peer.requests) for peer in server.peers) >= 6
        await client.close()


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\nok",
        HEAD + b"Keep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nok",
        OK + b"surplus",
        OK + OK,
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    ],
)
async def test_what_does_not_serve_again(data: bytes) -> None:
    async with RawServer(lambda peer: answers(peer, data)) as server:
        client = Client(server.url, SLOW)
        assert await ask(client) == b"ok"
        assert await ask(client) == b"ok"
        assert len(server.peers) == 2


@pytest.mark.gen_test
async def test_an_unread_whole_answer_serves_again_and_a_half_one_does_not() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await peer.send(OK[:-1])
        await peer.gone()

    async with RawServer(script) as server:
        client = Client(server.url, SLOW)
        for _ in range(2):
            (await client.open(b"GET", b"/", b"", b"")).close()
        assert len(server.peers) == 1
        await asyncio.wait_for(asyncio.gather(*server._tasks), 5)  # the second close was seen there


@pytest.mark.gen_test
@pytest.mark.parametrize("farewell", ["end", "reset", "bytes"])
async def test_a_pooled_connection_that_the_upstream_gave_up_is_not_used(farewell: str) -> None:
    free = asyncio.Event()
    done = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        if peer.number == 1:
            await free.wait()
            if farewell == "bytes":
                await peer.send(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
            else:
                peer.end() if farewell == "end" else peer.reset()
            done.set()
        await peer.gone()

    async with RawServer(script) as server:
        client = Client(server.url, SLOW)
        assert await ask(client) == b"ok"
        (idle,) = client._idle
        free.set()
        await done.wait()
        await asyncio.wait_for(idle.wait_closed(), 5)
        assert client._idle == []
        assert await ask(client) == b"ok"
        assert len(server.peers) == 2
        await client.close()


@pytest.mark.gen_test
async def test_what_was_surely_not_written_goes_out_on_another_connection() -> None:
    async with RawServer(answers) as server:
        client = Client(server.url, SLOW)
        assert await ask(client) == b"ok"
        # Closed for writing, and no turn of the loop has shown it: the write itself fails.
        shared = client._idle[0]._transport.get_extra_info("socket")
        with socket.fromfd(shared.fileno(), shared.family, shared.type) as same:  # uvloop's has no shutdown
            same.shutdown(socket.SHUT_WR)
        assert client._idle[0].usable
        assert await ask(client) == b"ok"
        assert [len(peer.requests) for peer in server.peers] == [1, 1]
        await client.close()


@pytest.mark.gen_test
async def test_what_was_written_is_never_sent_again() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number == 1 and len(peer.requests) == 1:
            await peer.send(OK)
            await peer.request()
        peer.end()

    async with RawServer(script) as server:
        client = Client(server.url, SLOW)
        assert await ask(client) == b"ok"
        with pytest.raises(Problem) as caught:
            await ask(client)
        assert caught.value.kind is Kind.BAD_UPSTREAM
        assert [len(peer.requests) for peer in server.peers] == [2]


@pytest.mark.gen_test
async def test_idle_connections_retire(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer, "KEEP_ALIVE", 0.05)
    retired = asyncio.Event()

    async def script(peer: Peer) -> None:
        await answers(peer)
        retired.set()

    async with RawServer(script) as server:
        client = Client(server.url, SLOW)
        for _ in range(3):
            assert await ask(client) == b"ok"
        await asyncio.wait_for(retired.wait(), 5)
        assert client._idle == []
        assert await ask(client) == b"ok"
        assert len(server.peers) == 2
        await client.close()


@pytest.mark.gen_test
async def test_a_connection_that_was_idle_for_long_is_looked_at_before_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        if peer.number == 1:
            await free.wait()
            peer.cut()
        else:
            await peer.gone()

    async with RawServer(script) as server:
        client = Client(server.url, SLOW)
        assert await ask(client) == b"ok"
        client._idle[0].idle_since -= 1
        free.set()
        # The close and the next call happen in the same turns of the loop.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert await ask(client) == b"ok"
        assert len(server.peers) == 2
        await client.close()


@pytest.mark.gen_test
async def test_the_pool_is_bounded() -> None:
    async with RawServer(answers) as server:
        client = Client(server.url, SLOW)
        responses = await asyncio.gather(*(client.open(b"GET", b"/", b"", b"") for _ in range(MAX_IDLE + 3)))
        used = [response._connection for response in responses]
        for response in responses:
            await response.read_all(10)
            response.close()
        assert client._idle == used[3:]  # those idle for longest had to go
        await client.close()
        assert client._idle == []


@pytest.mark.gen_test
async def test_close_ends_the_idle_at_once_and_the_busy_with_their_calls() -> None:
    finish = asyncio.Event()
    gone = [asyncio.Event(), asyncio.Event()]

    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number == 1:
            await peer.send(OK[:-1])
            await finish.wait()
            await peer.send(OK[-1:])
        else:
            await peer.send(OK)
        await peer.gone()
        gone[peer.number - 1].set()

    async with RawServer(script) as server:
        client = Client(server.url, SLOW)
        busy = await client.open(b"GET", b"/", b"", b"")
        assert await ask(client) == b"ok"
        await client.close()
        await asyncio.wait_for(gone[1].wait(), 5)
        finish.set()
        assert await busy.read_all(10) == b"ok"
        busy.close()
        await asyncio.wait_for(gone[0].wait(), 5)
        assert client._idle == []


# Without a coroutine that waits.


async def begun(client: Client, path: bytes = b"/x", body: bytes = b"{}") -> tuple[Response, asyncio.Event]:
    """A request on a connection of before, and what is set when its answer is told of."""
    assert await ask(client) == b"ok"
    response = client.begin(b"POST", path, b"", body)
    assert response.under_way
    assert not response.take_head()
    told = asyncio.Event()
    response.tell(told.set)
    return response, told


@pytest.mark.gen_test
async def test_an_answer_on_a_connection_of_before_is_told_of() -> None:
    async with RawServer(answers) as server:
        client = Client(server.url, SLOW)
        for _ in range(3):
            response, told = await begun(client)
            await asyncio.wait_for(told.wait(), 5)
            assert response.take_head()
            assert response.status == 200
            assert response.ready(10) == b"ok"
            response.close()
        assert len(server.peers) == 1
        await client.close()


@pytest.mark.gen_test
async def test_without_a_connection_of_before_the_head_is_waited_for() -> None:
    async with RawServer(answers) as server:
        client = Client(server.url, SLOW)
        response = client.begin(b"POST", b"/x", b"", b"{}")
        assert not response.under_way
        assert not response.take_head()
        with pytest.raises(Problem, match="was closed here"):
            await response.read()  # an end now would not be the end of the message
        await response.head()
        assert await response.read_all(10) == b"ok"
        response.close()
        let_go = client.begin(b"POST", b"/x", b"", b"{}")
        let_go.close()
        assert not let_go.take_head()
        with pytest.raises(Problem, match="was closed here"):
            await let_go.head()
        await client.close()


@pytest.mark.gen_test
async def test_a_failure_is_told_of_and_raised_by_who_waits() -> None:
    async def broken(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        peer.cut()

    async with RawServer(broken) as server:
        client = Client(server.url, SLOW)
        response, told = await begun(client)
        await asyncio.wait_for(told.wait(), 5)
        assert not response.take_head()
        with pytest.raises(Problem) as caught:
            await response.head()
        assert caught.value.kind is Kind.BAD_UPSTREAM
        assert len(server.peers) == 1, "it may have acted on it: nothing is sent again"
        response.close()
        await client.close()


@pytest.mark.gen_test
async def test_what_was_surely_not_sent_is_sent_again_by_who_waits() -> None:
    async with RawServer(answers) as server:
        client = Client(server.url, SLOW)
        response, told = await begun(client)
        connection = response._connection
        assert connection is not None
        connection._transport.abort()  # before the turn in which the request would be written
        await asyncio.wait_for(told.wait(), 5)
        assert not response.take_head()
        await response.head()
        assert await response.read_all(10) == b"ok"
        response.close()
        assert [len(peer.requests) for peer in server.peers] == [1, 1]
        await client.close()


@pytest.mark.gen_test
async def test_to_let_an_answer_go_before_it_came_cuts_the_upstream_off() -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        asked.set()
        await peer.gone()
        gone.set()

    async with RawServer(script) as server:
        client = Client(server.url, SLOW)
        response, told = await begun(client)
        await asyncio.wait_for(asked.wait(), 5)
        response.close()
        assert told.is_set(), "nothing more will be told"
        await asyncio.wait_for(gone.wait(), 5)
        await client.close()


# Chunks that go by as they are.


@pytest.mark.gen_test
async def test_a_whole_chunk_may_be_taken_and_all_else_comes_as_ever() -> None:
    steps = [
        b"4\r\nhead\r\n",
        b"3\r\none\r\n",
        b"3\r\ntwo\r\n",
        b"3\r\nth",
        b"r\r\n",
        b"2\r\nee\r\n",
        b"2\r\nno\r\n",
    ]
    steps += [b"1\r\na\r\n1\r\nb\r\n", b"1\r\nc\r\n", b"1;x\r\nd\r\n", b"1\r\ne\r\n"]
    going = asyncio.Event()
    got: list[tuple[str, bytes]] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        for number, step in enumerate(steps):
            going.clear()
            await peer.send(step)
            while len(b"".join(data for _, data in got)) < wanted[number]:
                await going.wait()
                going.clear()
        await peer.send(b"0\r\n\r\n")
        await peer.gone()

    bodies = [b"head", b"one", b"two", b"th", b"r", b"ee", b"no", b"ab", b"c", b"d", b"e"]
    wanted = [len(b"".join(bodies[: number + 1])) for number in range(len(bodies))]

    def sink(data: bytes) -> None:
        got.append(("fed", data))
        going.set()

    def offer(data: bytes) -> bool:
        if data not in steps or b";" in data or data.count(b"\r\n") != 2 or b"no" in data:
            return False
        got.append(("taken", data[3:-2]))
        going.set()
        return True

    async with RawServer(script) as server:
        client = Client(server.url, SLOW)
        response = await client.open(b"GET", b"/", b"", b"")
        await asyncio.wait_for(response.pump(sink, offer), 10)
        response.close()
        assert b"".join(data for _, data in got) == b"".join(bodies)
        assert [data for how, data in got if how == "taken"] == [b"one", b"two", b"ee", b"c"]
        assert len(client._idle) == 1, "its answer was seen to end"
        await client.close()


@pytest.mark.gen_test
async def test_no_chunk_goes_by_after_the_sink_has_stopped() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        await peer.gone()

    async with RawServer(script) as server:
        client = Client(server.url, SLOW)
        response = await client.open(b"GET", b"/", b"", b"")
        connection = response._connection
        assert connection is not None
        offered: list[bytes] = []

        def offer(chunk: bytes) -> bool:
            offered.append(chunk)
            return b"more" in chunk

        pumping = asyncio.create_task(response.pump(lambda _: response.stop(), offer), name="pump")
        await asyncio.sleep(0)
        connection.data_received(b"4\r\nstop\r\n")
        connection.data_received(b"4\r\nmore\r\n")  # in the same turn, before the pump has ended
        await pumping
        response.close()
        assert offered == [b"4\r\nstop\r\n"]
        await client.close()


# An end that is near.


@pytest.mark.gen_test
async def test_lingering_saves_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\ndone\r\n")
        await closed.wait()
        await peer.send(b"1\r\n!\r\n0\r\n\r\n")
        await answers(peer)

    async with RawServer(script) as server:
        client = Client(server.url, SLOW)
        taken_back = asyncio.Event()
        take_back = Client.take_back

        def noted(client: Client, connection: Connection) -> bool:
            taken_back.set()
            return take_back(client, connection)

        monkeypatch.setattr(Client, "take_back", noted)
        response = await client.open(b"GET", b"/", b"", b"")
        assert await response.read() == b"done"
        response.close(linger=True)
        assert client._idle == []
        closed.set()
        await asyncio.wait_for(taken_back.wait(), 5)
        assert await ask(client) == b"ok"
        assert len(server.peers) == 1
        await client.close()


@pytest.mark.gen_test
@pytest.mark.parametrize("then", [b"", b"fffffff\r\n" + b"x" * 100_000, b"nonsense\r\n"])
async def test_lingering_has_an_end(then: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LINGER", 10.0 if then else 0.05)
    closed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\ndone\r\n")
        await closed.wait()
        await peer.send(then)
        await peer.gone()

    async with RawServer(script) as server:
        client = Client(server.url, SLOW)
        response = await client.open(b"GET", b"/", b"", b"")
        assert await response.read() == b"done"
        response.close(linger=True)
        closed.set()
        await asyncio.wait_for(asyncio.gather(*server._tasks), 5)
        assert client._idle == []
