"""TLS: who may be trusted, and that nothing is ever said in plain text instead."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
from typing import Any

import pytest
import trustme

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.upstream.client import Client, Timeouts
from support.scripted import OK, Peer, RawServer, answers, ask

SLOW = Timeouts(10, 10, 10, 20)
HEAD = b"HTTP/1.1 200 OK\r\n"
LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
AUTHORITY = trustme.CA()


def served(*names: str, authority: trustme.CA = AUTHORITY, expired: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names, not_after=LONG_AGO if expired else None).configure_cert(context)
    context.set_alpn_protocols(["http/1.1"])
    return context


def trusting(authority: trustme.CA = AUTHORITY) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def problem_of(client: Client) -> Problem:
    with pytest.raises(Problem) as caught:
        await ask(client)
    assert "test-key" not in str(caught.value)
    return caught.value


@pytest.mark.gen_test
async def test_a_trusted_upstream_and_its_connection_serve_again() -> None:
    async with RawServer(answers, tls=served("127.0.0.1")) as server:
        client = Client(server.url, SLOW, tls=trusting())
        for _ in range(3):
            assert await ask(client) == b"ok"
        assert len(server.peers) == 1
        await client.close()


@pytest.mark.gen_test
async def test_a_host_name_is_sent_and_checked() -> None:
    async with RawServer(answers, tls=served("localhost")) as server:
        named: list[str | None] = []
        assert server._tls is not None
        server._tls.sni_callback = lambda _, name, __: named.append(name)
        client = Client(f"https://localhost:{server.port}", SLOW, tls=trusting())
        assert await ask(client) == b"ok"
        assert named == ["localhost"]
        await client.close()


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("context", "word"),
    [
        (served("other.example"), "IP address mismatch"),
        (served("127.0.0.1", authority=trustme.CA()), "verif"),
        (served("127.0.0.1", expired=True), "expired"),
    ],
    ids=["other name", "unknown authority", "expired"],
)
async def test_who_is_not_trusted(context: ssl.SSLContext, word: str) -> None:
    async with RawServer(answers, tls=context) as server:
        problem = await problem_of(Client(server.url, SLOW, tls=trusting()))
        assert (problem.kind, problem.text) == (Kind.BAD_UPSTREAM, "upstream_unreachable")
        assert word in problem.detail
        assert all(peer.requests == [] for peer in server.peers)


@pytest.mark.gen_test
async def test_who_is_not_trusted_is_not_tried_at_its_other_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    async with RawServer(answers, tls=served("other.example")) as server:

        async def getaddrinfo(*_: object, **__: object) -> list[Any]:
            return [(socket.AF_INET, 1, 6, "", ("127.0.0.1", server.port))] * 3

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        tried = 0
        loop = asyncio.get_running_loop()
        connect = loop.create_connection

        async def create_connection(*arguments: Any, **options: Any) -> Any:
            nonlocal tried
            tried += 1
            return await connect(*arguments, **options)

        monkeypatch.setattr(loop, "create_connection", create_connection)
        client = Client(f"https://model.example:{server.port}", SLOW, tls=trusting())
        assert "mismatch" in (await problem_of(client)).detail
        assert tried == 1


@pytest.mark.gen_test
async def test_the_default_context() -> None:
    connector = Client("https://model.example", SLOW)._connector
    assert connector._tls is None  # reading the authorities takes a while: only when they are needed
    context = connector._context()
    assert context is connector._context()
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    async with RawServer(answers, tls=served("127.0.0.1")) as server:  # an authority that no system knows
        assert (await problem_of(Client(server.url, SLOW))).text == "upstream_unreachable"


@pytest.mark.gen_test
@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Speak plainly\r\n\r\n", b"", b"\x15\x03\x03\x00\x02\x02\x28"])
async def test_a_server_without_tls_hears_no_word(data: bytes) -> None:
    heard = b""

    async def script(peer: Peer) -> None:
        nonlocal heard
        heard = await peer.read(5)
        await peer.send(data)
        peer.end()

    async with RawServer(script) as server:
        problem = await problem_of(Client(f"https://127.0.0.1:{server.port}", SLOW, tls=trusting()))
        assert problem.text == "upstream_unreachable"
        assert heard[:2] == b"\x16\x03"  # a handshake, and nothing after it
        assert len(server.peers) == 1


@pytest.mark.gen_test
async def test_a_handshake_that_stalls() -> None:
    async with RawServer(lambda peer: peer.gone()) as server:
        client = Client(f"https://127.0.0.1:{server.port}", Timeouts(0.1, 9, 9, 9), tls=trusting())
        problem = await problem_of(client)
        assert problem.kind is Kind.UPSTREAM_TIMEOUT
        assert "connect" in problem.detail
        await asyncio.wait_for(asyncio.gather(*server._tasks), 5)


@pytest.mark.gen_test
async def test_cancelled_in_the_handshake() -> None:
    reached, gone = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.read(5)
        reached.set()
        await peer.gone()
        gone.set()

    async with RawServer(script) as server:
        client = Client(f"https://127.0.0.1:{server.port}", SLOW, tls=trusting())
        task = asyncio.create_task(ask(client), name="call")
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(gone.wait(), 5)


@pytest.mark.gen_test
async def test_cancelled_in_an_answer() -> None:
    reached, gone = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK[:-1])
        reached.set()
        await peer.gone()
        gone.set()

    async with RawServer(script, tls=served("127.0.0.1")) as server:
        task = asyncio.create_task(ask(Client(server.url, SLOW, tls=trusting())), name="call")
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(gone.wait(), 5)


@pytest.mark.gen_test
@pytest.mark.parametrize("how", ["end", "cut"])
@pytest.mark.parametrize("size", [4, 50_000])
async def test_an_end_without_close_notify_is_no_end(how: str, size: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + b"Connection: close\r\n\r\n" + b"x" * size)
        await taken.wait()
        peer.end() if how == "end" else peer.cut()

    taken = asyncio.Event()
    async with RawServer(script, tls=served("127.0.0.1")) as server:
        response = await Client(server.url, SLOW, tls=trusting()).open(b"GET", b"/", b"", b"")
        read = b""
        while len(read) < size:
            read += await response.read()
        taken.set()
        if how == "end":
            assert await response.read() == b""
        else:
            with pytest.raises(Problem) as caught:
                await response.read()
            assert caught.value.text == "upstream_broke_off"
        response.close()


@pytest.mark.gen_test
@pytest.mark.parametrize("how", ["end", "cut", "reset"])
async def test_an_answer_that_breaks_off(how: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK[:-1])
        {"end": peer.end, "cut": peer.cut, "reset": peer.reset}[how]()

    async with RawServer(script, tls=served("127.0.0.1")) as server:
        assert (await problem_of(Client(server.url, SLOW, tls=trusting()))).kind is Kind.BAD_UPSTREAM


@pytest.mark.gen_test
async def test_a_large_question_and_a_large_answer() -> None:
    body = b"x" * 3_000_000

    async def script(peer: Peer) -> None:
        request = await peer.request()
        await peer.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(request))
        await peer.send(request)
        await peer.gone()

    async with RawServer(script, tls=served("127.0.0.1")) as server:
        client = Client(server.url, SLOW, tls=trusting())
        response = await client.open(b"POST", b"/x", b"", body)
        answer = await response.read_all(4_000_000)
        assert answer.endswith(body)
        response.close()
        assert len(client._idle) == 1
        await client.close()


@pytest.mark.gen_test
async def test_an_upstream_waits_for_a_slow_reader() -> None:
    size = 20_000_000
    sent = [0]
    stuck = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + b"Content-Length: %d\r\n\r\n" % size)
        while sent[0] < size:
            sending = asyncio.ensure_future(peer.send(b"x" * 100_000))
            if not (await asyncio.wait((sending,), timeout=0.3))[0]:
                stuck.set()
            await sending
            sent[0] += 100_000
        await peer.gone()

    async with RawServer(script, tls=served("127.0.0.1")) as server:
        client = Client(server.url, SLOW, tls=trusting())
        response = await client.open(b"GET", b"/", b"", b"")
        await asyncio.wait_for(stuck.wait(), 10)
        assert sent[0] < size * 0.75
        received = 0
        while data := await response.read():
            received += len(data)
            assert len(data) < 1_000_000
        assert received == size
        response.close()
        await client.close()
