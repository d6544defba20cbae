"""Whatever the upstream, the network or the resolver does: a Problem, and nothing else."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import httptools
import pytest

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.upstream.answer import Answer, BadAnswer
from chatgpt_platform.upstream.client import Client, Timeouts
from support.scripted import Peer, RawServer

SLOW = Timeouts(10, 10, 10, 20)
HEAD = b"HTTP/1.1 200 OK\r\n"
KEY = b"Authorization: Bearer test-key-1\r\n"


async def problem_of(client: Client, body: bytes = b"{}") -> tuple[Problem, bytes]:
    """The Problem that a call ends with, and the body that came before it."""
    read = b""
    with pytest.raises(Problem) as caught:
        response = await client.open(b"POST", b"/x", KEY, body)
        try:
            while data := await response.read():
                read += data
        finally:
            response.close()
    assert "test-key" not in str(caught.value)
    return caught.value, read


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.gen_test
async def test_refused() -> None:
    port = unused_port()
    problem, _ = await problem_of(Client(f"http://127.0.0.1:{port}", SLOW))
    assert (problem.kind, problem.text) == (Kind.BAD_UPSTREAM, "upstream_unreachable")
    assert f"127.0.0.1:{port}" in problem.detail
    assert "Refused" in problem.detail


@pytest.mark.gen_test
@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 64 + ".example", "a..b", "1.2.3.4.5"])
async def test_unresolvable(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def offline(name: Any, *arguments: Any, **options: Any) -> Any:
        if name in ("nowhere.invalid", "1.2.3.4.5"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(name, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", offline)
    problem, _ = await problem_of(Client(f"http://{host}", SLOW))
    assert (problem.kind, problem.text) == (Kind.BAD_UPSTREAM, "upstream_unreachable")


@pytest.mark.gen_test
async def test_several_addresses_are_tried_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first refuses, the second does not answer at all, the third is the one."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + b"Content-Length: 2\r\n\r\nok")
        await peer.gone()

    async with RawServer(script) as server:
        loop = asyncio.get_running_loop()
        connect = loop.create_connection
        tried: list[str] = []

        async def create_connection(factory: Any, host: str, port: int, **options: Any) -> Any:
            tried.append(host)
            if host == "127.0.0.2":
                raise ConnectionRefusedError(111, "Connection refused")
            if host == "127.0.0.3":
                await asyncio.Event().wait()
            return await connect(factory, host, port, **options)

        async def getaddrinfo(*_: Any, **__: Any) -> Any:
            return [(socket.AF_INET, 1, 6, "", (f"127.0.0.{n}", server.port)) for n in (2, 3, 1)]

        monkeypatch.setattr(loop, "create_connection", create_connection)
        monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
        client = Client(f"http://model.example:{server.port}", Timeouts(2, 5, 5, 10))
        response = await client.open(b"GET", b"/", b"", b"")
        assert await response.read_all(10) == b"ok"
        response.close()
        assert tried == ["127.0.0.2", "127.0.0.3", "127.0.0.1"]
        await client.close()


BEFORE_HEAD = [b"", b"H", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 100 Continue\r\n\r\n"]
IN_BODY = [HEAD + b"Content-Length: 6\r\n\r\nhalf", HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"]


@pytest.mark.gen_test
@pytest.mark.parametrize("how", ["end", "reset"])
@pytest.mark.parametrize("data", BEFORE_HEAD + IN_BODY)
async def test_an_upstream_that_breaks_off(data: bytes, how: str) -> None:
    read_it = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(data)
        if data in IN_BODY:
            await read_it.wait()  # a reset may overtake what was sent before it
        peer.end() if how == "end" else peer.reset()

    async with RawServer(script) as server:
        client = Client(server.url, SLOW)
        with pytest.raises(Problem) as caught:
            response = await client.open(b"POST", b"/x", KEY, b"{}")
            assert data in IN_BODY
            assert await response.read() == b"half"
            read_it.set()
            try:
                await response.read()
            finally:
                response.close()
        assert caught.value.kind is Kind.BAD_UPSTREAM
        assert caught.value.text == ("upstream_broke_off" if data in IN_BODY else "bad_upstream")
        assert f"127.0.0.1:{server.port}" in caught.value.detail
        assert client._idle == []


@pytest.mark.gen_test
async def test_what_came_before_the_fault_is_read_first() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nnonsense\r\n")
        await peer.gone()

    async with RawServer(script) as server:
        problem, read = await problem_of(Client(server.url, SLOW))
        assert read == b"half"
        assert (problem.kind, problem.text) == (Kind.BAD_UPSTREAM, "bad_upstream")


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "data",
    [
        b"<html>no</html>", b"\x15\x03\x01\0\x02\x02\x46", b"HTTP/1.1 101 X\r\n\r\n",
        b"HTTP/1.1 100 X\r\n\r\n" * 9,
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: 10\r\n\r\n\x1f\x8b", HEAD + b"X: y\r\n" * 202,
        b"HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n", HEAD + b"X: " + b"y" * 70_000,
        HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
    ],
)  # fmt: skip
async def test_an_answer_that_cannot_be_used_closes_at_once(data: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        try:
            await peer.send(data)
        except OSError:
            return
        await peer.gone()

    async with RawServer(script) as server:
        problem, _ = await problem_of(Client(server.url, SLOW))
        assert (problem.kind, problem.text) == (Kind.BAD_UPSTREAM, "bad_upstream")
        await asyncio.wait_for(asyncio.gather(*server._tasks), 5)


@pytest.mark.gen_test
async def test_a_server_that_speaks_first_is_not_listened_to() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"220 mail.example ESMTP\r\n")
        await peer.gone()

    async with RawServer(script) as server:
        problem, _ = await problem_of(Client(server.url, SLOW))
        assert problem.kind is Kind.BAD_UPSTREAM


# Every exception that there is.


def family(root: type[BaseException]) -> Iterator[type[BaseException]]:
    yield root
    for child in root.__subclasses__():
        yield from family(child)


def instances() -> list[Exception]:
    """One of each: the OSError family with ssl and socket, host names that cannot be ones, ends of file."""
    roots = (OSError, UnicodeError, EOFError)
    kinds = {kind for root in roots for kind in family(root) if kind.__module__ in (
        "builtins", "ssl", "socket", "asyncio.exceptions")}  # fmt: skip
    arguments: dict[type[BaseException], tuple[Any, ...]] = {
        UnicodeEncodeError: ("idna", "x", 0, 1, "label too long"),
        UnicodeDecodeError: ("idna", b"x", 0, 1, "no"),
        UnicodeTranslateError: ("x", 0, 1, "no"),
        asyncio.IncompleteReadError: (b"", 1),
    }
    made = [kind(*arguments.get(kind, ())) for kind in sorted(kinds, key=lambda kind: kind.__name__)]
    return [one for one in made if isinstance(one, Exception)] + [OSError(101, "Network is unreachable")]


def test_the_table_is_not_empty() -> None:
    kinds = {type(one) for one in instances()}
    assert {OSError, ConnectionResetError, TimeoutError, ssl.SSLError, ssl.SSLCertVerificationError} <= kinds
    assert {socket.gaierror, UnicodeError, asyncio.IncompleteReadError} <= kinds


@pytest.mark.gen_test
@pytest.mark.parametrize("error", instances(), ids=lambda error: type(error).__name__)
async def test_no_error_of_connecting_is_left_unmapped(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: Any, **__: Any) -> Any:
        raise error

    loop = asyncio.get_running_loop()
    for name, url in (("create_connection", "http://127.0.0.1:9"), ("getaddrinfo", "http://model.example")):
        with monkeypatch.context() as patch:
            patch.setattr(loop, name, fails)
            problem, _ = await problem_of(Client(url, SLOW))
        timed_out = isinstance(error, TimeoutError)
        assert problem.kind is (Kind.UPSTREAM_TIMEOUT if timed_out else Kind.BAD_UPSTREAM)
        assert "127.0.0.1:9" in problem.detail or "model.example:80" in problem.detail


@pytest.mark.gen_test
@pytest.mark.parametrize("error", instances(), ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("data", [b"", HEAD + b"Content-Length: 6\r\n\r\nhalf"])
async def test_no_error_of_the_transport_is_left_unmapped(
    error: Exception, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(data)
        await peer.gone()

    async with RawServer(script) as server:
        loop = asyncio.get_running_loop()
        connect = loop.create_connection

        async def create_connection(*arguments: Any, **options: Any) -> Any:
            transport: Any
            transport, protocol = await connect(*arguments, **options)
            # As a transport reports it: the connection is lost, and this is why.
            loop.call_later(0.02, transport._force_close, error)
            return transport, protocol

        monkeypatch.setattr(loop, "create_connection", create_connection)
        problem, read = await problem_of(Client(server.url, SLOW))
        assert problem.kind is Kind.BAD_UPSTREAM
        assert read == data[-4:]
        assert type(error).__name__ in problem.detail


@pytest.mark.parametrize("kind", [*family(httptools.HttpParserError), httptools.HttpParserUpgrade])
def test_no_error_of_the_parser_is_left_unmapped(kind: type[Exception]) -> None:
    class Failing:
        def feed_data(self, data: bytes) -> None:
            raise kind()

    answer = Answer()
    answer._parser = Failing()  # type: ignore[assignment]
    with pytest.raises(BadAnswer):
        answer.feed(HEAD)


# A question that is not all sent.


@pytest.mark.gen_test
async def test_an_early_answer_is_read_while_the_question_is_still_going_out() -> None:
    read_it = asyncio.Event()
    body = b"x" * 8_000_000

    async def script(peer: Peer) -> None:
        await peer.read(100)
        await peer.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nearly\r\n")
        await read_it.wait()
        await peer.read(len(body))
        await peer.send(b"0\r\n\r\n")
        await peer.gone()

    async with RawServer(script) as server:
        client = Client(server.url, SLOW)
        response = await client.open(b"POST", b"/x", KEY, body)
        assert await response.read() == b"early"
        read_it.set()
        assert await response.read() == b""
        response.close()
        await client.close()


@pytest.mark.gen_test
@pytest.mark.parametrize("how", ["end", "reset", "stay"])
async def test_a_refusal_of_a_large_question_arrives(how: str) -> None:
    told = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.read(100)
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        if how != "stay":
            await told.wait()
            peer.cut() if how == "end" else peer.reset()
        await peer.gone()

    async with RawServer(script) as server:
        client = Client(server.url, SLOW)
        response = await client.open(b"POST", b"/x", KEY, b"x" * 20_000_000)
        assert response.status == 413
        told.set()
        assert await response.read_all(10) == b"no"
        response.close()
        await asyncio.wait_for(asyncio.gather(*server._tasks), 5)
        assert client._idle == []


@pytest.mark.gen_test
async def test_a_question_that_was_refused_is_not_sent_on() -> None:
    body = b"x" * 40_000_000
    received = 0
    quiet = asyncio.Event()

    async def script(peer: Peer) -> None:
        nonlocal received
        await peer.read(100)
        await peer.send(b"HTTP/1.1 429 Slow Down\r\nContent-Length: 2\r\n\r\nno")
        await answered.wait()
        try:
            while True:
                await asyncio.wait_for(peer.read(10_000), 0.3)
                received += 10_000
        except TimeoutError:
            quiet.set()
        await peer.gone()

    answered = asyncio.Event()
    async with RawServer(script) as server:
        response = await Client(server.url, SLOW).open(b"POST", b"/x", KEY, body)
        answered.set()
        await asyncio.wait_for(quiet.wait(), 10)
        assert received < len(body) / 2  # what the kernel already held
        assert await response.read_all(10) == b"no"
        response.close()
