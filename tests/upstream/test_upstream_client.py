"""The upstream client on real sockets: every way an answer can come, or not."""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.upstream import connection
from chatgpt_platform.upstream.client import Client, Timeouts
from support.rawserver import RawServer, Script, say

QUICK = Timeouts(connect=2, first_byte=0.2, idle=0.2, total=10)
PATIENT = Timeouts(connect=5, first_byte=20, idle=20, total=60)
HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n"


@pytest.fixture(autouse=True)
def silence(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing is logged and no task is lost, whatever happens."""
    yield
    gc.collect()
    assert caplog.records == []


async def ask(client: Client, body: bytes = b"{}") -> tuple[int, bytes]:
    response = await client.open(b"POST", b"/chat", b"X-A: b\r\n", body)
    try:
        return response.status, await response.read_all(1 << 30)
    finally:
        response.close()


async def problem_of(script: Script, timeouts: Timeouts = PATIENT) -> Problem:
    """What a call to such a server fails with."""
    async with RawServer(script) as server:
        client = Client(f"http://127.0.0.1:{server.port}/v1", timeouts)
        with pytest.raises(Problem) as caught:
            await ask(client)
        assert len(server.requests) == 1, "nothing is sent again"
        await client.close()
    return caught.value


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        HELLO,
        CHUNKED,
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + HELLO,
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        HELLO + b"HTTP/1.1 200 OK\r\nGarbage behind the end",
    ],
)
@pytest.mark.gen_test
async def test_sound_answers(answer: bytes, bytewise: bool) -> None:
    async with RawServer(say(answer, then="close", bytewise=bytewise)) as server:
        client = Client(f"http://127.0.0.1:{server.port}/v1/", PATIENT)
        assert await ask(client) == (200, b"hello")
        (request,) = server.requests
        head, _, body = request.partition(b"\r\n\r\n")
        assert body == b"{}"
        assert head.startswith(b"POST /v1/chat HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % server.port)
        assert b"\r\nX-A: b" in head
        assert b"\r\nAccept-Encoding: identity\r\n" in head
        await client.close()


@pytest.mark.gen_test
async def test_headers_and_an_empty_body() -> None:
    answer = b"HTTP/1.1 204 No Content\r\nX-One:  a \r\nx-one: b\r\n\r\n"
    async with RawServer(say(answer)) as server:
        client = Client(f"http://127.0.0.1:{server.port}", PATIENT)
        response = await client.open(b"GET", b"/models", b"", b"")
        assert await response.read() == b""
        assert response.header(b"x-one") == b"a"
        assert response.headers == [(b"x-one", b"a"), (b"x-one", b"b")]
        assert response.header(b"none") is None
        response.close()
        await client.close()


@pytest.mark.parametrize(
    ("answer", "then", "text"),
    [
        (b"", "close", "bad_upstream"),
        (b"", "reset", "bad_upstream"),
        (HELLO[:20], "close", "bad_upstream"),
        (HELLO[:-1], "close", "upstream_broke_off"),
        (HELLO[:-1], "reset", "upstream_broke_off"),
        (CHUNKED[:-30], "close", "upstream_broke_off"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "reset", "upstream_broke_off"),
        (b"SSH-2.0-x\r\n\r\n", "close", "bad_upstream"),
        (b"HTTP/1.1 101 Switch\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "close", "bad_upstream"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20 + HELLO, "close", "bad_upstream"),
        (b"HTTP/1.1 700 Odd\r\nContent-Length: 0\r\n\r\n", "close", "bad_upstream"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "close", "bad_upstream"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", "close", "bad_upstream"),
        (CHUNKED.replace(b"chunked", b"chunked\r\nContent-Length: 5"), "close", "bad_upstream"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "close", "bad_upstream"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "close", "bad_upstream"),
        (CHUNKED.replace(b"5;", b"zz;"), "close", "upstream_broke_off"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000, "wait", "bad_upstream"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 300 + b"\r\n", "wait", "bad_upstream"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", "wait", "bad_upstream"),
    ],
)  # fmt: skip
@pytest.mark.gen_test
async def test_answers_that_cannot_be_used(answer: bytes, then: str, text: str) -> None:
    problem = await problem_of(say(answer, then=then))
    assert problem.kind is Kind.BAD_UPSTREAM
    # A parser that fails in the body also means that the answer broke off; both are a 502.
    assert problem.text == text or (text == "upstream_broke_off" and problem.text == "bad_upstream")
    assert "127.0.0.1" in problem.detail


@pytest.mark.parametrize(
    ("answer", "phase"), [(b"", "first byte"), (HELLO[:30], "first byte"), (HELLO[:-1], "next byte")]
)
@pytest.mark.gen_test
async def test_an_upstream_that_stalls(answer: bytes, phase: str) -> None:
    problem = await problem_of(say(answer, then="wait"), QUICK)
    assert problem.kind is Kind.UPSTREAM_TIMEOUT
    assert phase in problem.detail


@pytest.mark.gen_test
async def test_the_total_timeout_counts_everything() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(0.02)
        return False

    problem = await problem_of(drip, Timeouts(connect=2, first_byte=2, idle=2, total=0.3))
    assert problem.kind is Kind.UPSTREAM_TIMEOUT
    assert "total" in problem.detail


@pytest.mark.gen_test
async def test_a_slow_reader_of_ours_is_no_fault_of_the_upstream() -> None:
    async with RawServer(say(HELLO[:-1], then="wait")) as server:
        client = Client(f"http://127.0.0.1:{server.port}", QUICK)
        response = await client.open(b"POST", b"/", b"", b"{}")
        await asyncio.sleep(2.5 * QUICK.idle)  # longer than both timeouts, and nobody reads
        assert await response.read() == b"hell"
        response.close()
        await client.close()


@pytest.mark.gen_test
async def test_a_host_that_cannot_be_reached() -> None:
    async with RawServer(say(HELLO)) as server:
        port = server.port
    hosts = (f"127.0.0.1:{port}", "no-such-host.invalid", f"[::1]:{port}", "a" * 70 + ".example")
    for host in hosts:
        with pytest.raises(Problem) as caught:
            await ask(Client(f"http://{host}/v1", PATIENT))
        assert caught.value.text == "upstream_unreachable"


@pytest.mark.gen_test
async def test_connections_are_kept_alive_and_used_again() -> None:
    async with RawServer(say(HELLO)) as server:
        client = Client(f"http://127.0.0.1:{server.port}", PATIENT)
        for _ in range(5):
            assert await ask(client) == (200, b"hello")
        assert (server.connections, len(server.requests)) == (1, 5)
        await asyncio.gather(*(ask(client) for _ in range(4)))
        assert server.connections == 4
        await client.close()
        await server.closed.wait()


@pytest.mark.parametrize(
    "answer",
    [
        HELLO.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        HELLO.replace(b"\r\n\r\n", b"\r\nKeep-Alive: timeout=1\r\n\r\n"),
        HELLO + b"unasked",
        HELLO.replace(b"1.1", b"1.0"),
    ],
)
@pytest.mark.gen_test
async def test_connections_that_are_not_used_again(answer: bytes) -> None:
    async with RawServer(say(answer)) as server:
        client = Client(f"http://127.0.0.1:{server.port}", PATIENT)
        for _ in range(3):
            assert await ask(client) == (200, b"hello")
        assert (server.connections, len(server.requests)) == (3, 3)
        await client.close()


@pytest.mark.gen_test
async def test_a_pooled_connection_that_was_closed_is_replaced_without_a_failure() -> None:
    async with RawServer(say(HELLO, then="close")) as server:
        client = Client(f"http://127.0.0.1:{server.port}", PATIENT)
        for _ in range(3):
            assert await ask(client) == (200, b"hello")
            await server.closed.wait()
            await asyncio.sleep(0.01)  # the close crosses the wire
        assert len(server.requests) == 3
        await client.close()


@pytest.mark.gen_test
async def test_idle_connections_retire_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "KEEP_ALIVE", 0.05)
    async with RawServer(say(HELLO)) as server:
        client = Client(f"http://127.0.0.1:{server.port}", PATIENT)
        await ask(client)
        await asyncio.wait_for(server.closed.wait(), 10)
        assert await ask(client) == (200, b"hello")
        assert server.connections == 2
        await client.close()


@pytest.mark.parametrize("sent", [b"", HELLO[:-1]])
@pytest.mark.gen_test
async def test_cancelling_closes_the_upstream_at_once(sent: bytes) -> None:
    waiting = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(sent)
        await writer.drain()
        waiting.set()
        await reader.read()
        return False

    async with RawServer(script) as server:
        client = Client(f"http://127.0.0.1:{server.port}", PATIENT)
        task = asyncio.create_task(ask(client), name="a call")
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.closed.wait(), 10)


@pytest.mark.gen_test
async def test_lingering_lets_a_message_end() -> None:
    ended = asyncio.Event()
    piece = CHUNKED.partition(b"0\r\n")[0]

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        ended.set()
        return True

    async with RawServer(late) as server:
        client = Client(f"http://127.0.0.1:{server.port}", PATIENT)
        for _ in range(2):
            response = await client.open(b"POST", b"/", b"", b"{}")
            assert await response.read() == b"hello"
            response.close(linger=True)
            await ended.wait()
            ended.clear()
            await asyncio.sleep(0.05)  # the end crosses the wire
        assert server.connections == 1
        await client.close()


@pytest.mark.gen_test
async def test_a_reader_that_does_not_read_slows_the_upstream() -> None:
    total, sent = 50_000_000, 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        while sent < total:
            writer.write(b"x" * 100_000)
            sent += 100_000
            await writer.drain()
        return True

    async with RawServer(flood) as server:
        client = Client(f"http://127.0.0.1:{server.port}", PATIENT)
        response = await client.open(b"POST", b"/", b"", b"{}")
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < total / 2
        got = 0
        while data := await response.read():
            got += len(data)
        assert got == total
        response.close()
        await client.close()


@pytest.mark.gen_test
async def test_an_answer_longer_than_wanted() -> None:
    async with RawServer(say(HELLO)) as server:
        client = Client(f"http://127.0.0.1:{server.port}", PATIENT)
        response = await client.open(b"POST", b"/", b"", b"{}")
        with pytest.raises(Problem) as caught:
            await response.read_all(4)
        assert caught.value.text == "upstream_too_large"
        response.close()
        await client.close()


@pytest.mark.gen_test
async def test_an_early_answer_to_a_large_request_is_delivered() -> None:
    async with RawServer(say(HELLO, then="wait"), reads_bodies=False) as server:
        client = Client(f"http://127.0.0.1:{server.port}", PATIENT)
        assert await ask(client, b"x" * 8_000_000) == (200, b"hello")
        await client.close()


class TestTls:
    """Certificates and host names are checked, and plain text never takes their place."""

    authority = trustme.CA()

    def server_context(self, certificate: trustme.LeafCert) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        return context

    def client_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context

    @pytest.mark.gen_test
    async def test_a_right_certificate(self) -> None:
        context = self.server_context(self.authority.issue_cert("127.0.0.1"))
        async with RawServer(say(HELLO), tls=context) as server:
            client = Client(f"https://127.0.0.1:{server.port}", PATIENT, tls=self.client_context())
            for _ in range(3):
                assert await ask(client) == (200, b"hello")
            assert server.connections == 1
            await client.close()
            await server.closed.wait()

    @pytest.mark.parametrize("fault", ["another host", "unknown authority", "expired"])
    @pytest.mark.gen_test
    async def test_a_wrong_certificate(self, fault: str) -> None:
        yesterday = datetime.now(UTC) - timedelta(days=1)
        certificate = {
            "another host": lambda: self.authority.issue_cert("10.0.0.1"),
            "unknown authority": lambda: trustme.CA().issue_cert("127.0.0.1"),
            "expired": lambda: self.authority.issue_cert(
                "127.0.0.1", not_before=yesterday - timedelta(days=1), not_after=yesterday
            ),
        }[fault]()
        async with RawServer(say(HELLO), tls=self.server_context(certificate)) as server:
            client = Client(f"https://127.0.0.1:{server.port}", PATIENT, tls=self.client_context())
            with pytest.raises(Problem) as caught:
                await ask(client)
            assert caught.value.text == "upstream_unreachable"
            assert "certificate" in caught.value.detail.lower()
            assert server.requests == []

    @pytest.mark.gen_test
    async def test_a_plain_server_on_a_tls_port(self) -> None:
        async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(HELLO)
            writer.close()

        server = await asyncio.start_server(speak, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Problem) as caught:
            await ask(Client(f"https://127.0.0.1:{port}", PATIENT, tls=self.client_context()))
        assert caught.value.text == "upstream_unreachable"
        server.close()

    @pytest.mark.gen_test
    async def test_a_handshake_that_stalls(self) -> None:
        # A plain server waits for the end of a request, which no TLS hello is.
        timeouts = Timeouts(connect=0.2, first_byte=20, idle=20, total=60)
        async with RawServer(say(HELLO)) as server:
            with pytest.raises(Problem) as caught:
                await ask(Client(f"https://127.0.0.1:{server.port}", timeouts, tls=self.client_context()))
        assert caught.value.kind is Kind.UPSTREAM_TIMEOUT
        assert server.requests == []


@pytest.mark.gen_test
async def test_every_foreign_exception_of_connecting_becomes_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = [
        OSError("x"), ConnectionRefusedError("x"), ConnectionResetError("x"), PermissionError("x"),
        ssl.SSLError("x"), ssl.SSLCertVerificationError("x"), ssl.SSLZeroReturnError("x"),
        UnicodeError("x"), ValueError("x"), TimeoutError("x"),
    ]  # fmt: skip
    loop = asyncio.get_running_loop()
    for error in foreign:

        async def fail(*_: object, error: BaseException = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(loop, "create_connection", fail)
        with pytest.raises(Problem):
            await ask(Client("https://127.0.0.1:1", PATIENT))


@pytest.mark.gen_test
async def test_every_foreign_exception_of_a_lost_connection_becomes_a_problem() -> None:
    for error in (ConnectionResetError("x"), ssl.SSLError("x"), OSError("x"), RuntimeError("x"), None):
        made = connection.Connection("host:1", lambda _: False)
        made.state = connection.State.HEAD
        made.connection_lost(error)
        with pytest.raises(Problem):
            await made.head(1)
