"""Through a proxy: what it is asked, what goes through it, and all that it may do wrong."""

from __future__ import annotations

import asyncio
import errno
import gc
import importlib
import pkgutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import python_socks
import trustme
from python_socks.async_ import asyncio as ways

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.upstream.client import Client, Timeouts
from support.proxies import ConnectProxy, Proxy, Socks5Proxy
from support.scripted import Peer, RawServer, answers, ask
from support.tls import served, trusting

SLOW = Timeouts(10, 10, 10, 20)
AUTHORITY = trustme.CA()
KINDS = [ConnectProxy, Socks5Proxy]
SECRET = "s:e c@r/e%t"  # each needs its percent sign


async def never(_: Peer) -> None:
    raise AssertionError("the upstream was reached")


async def problem_of(client: Client) -> Problem:
    with pytest.raises(Problem) as caught:
        await ask(client)
    text = str(caught.value) + repr(caught.value.__cause__) + repr(caught.value.__context__)
    assert not [word for word in ("test-key", SECRET, "s%3A", "czpl") if word in text]
    assert caught.value.safe is (not caught.value.detail.endswith("total timeout"))
    return caught.value


def detail_of(problem: Problem) -> str:
    assert (problem.kind, problem.text) == (Kind.BAD_UPSTREAM, "upstream_unreachable")
    return problem.detail


# What goes through.


@pytest.mark.gen_test
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("user", ["", "ann"])
async def test_a_name_goes_through_as_it_is(kind: Callable[..., Proxy], secure: bool, user: str) -> None:
    """No look-up here, with no scheme: the name exists behind the proxy only."""
    name = "localhost" if secure else "model.example"
    tls = served(AUTHORITY) if secure else None
    password = SECRET if user else ""
    async with (
        RawServer(answers, tls=tls) as server,
        kind(user=user, password=password, hosts={name: "127.0.0.1"}) as proxy,
    ):
        url = f"{'https' if secure else 'http'}://{name}:{server.port}"
        client = Client(url, SLOW, tls=trusting(AUTHORITY) if secure else None, proxy=proxy.url)
        for _ in range(3):
            assert await ask(client) == b"ok"
        assert proxy.asked == [(name, server.port)], "one connection serves again"
        assert proxy.credentials == ([f"{user}:{password}"] if user else [])
        assert b"\r\nHost: %s:%d\r\n" % (name.encode(), server.port) in server.peers[0].requests[0]
        assert b"proxy" not in server.peers[0].requests[0].lower()
        (idle,) = client._idle
        options = idle._transport.get_extra_info("socket")
        assert options.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        assert options.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
        await client.close()
        await proxy.deserted()


@pytest.mark.gen_test
@pytest.mark.parametrize("kind", KINDS)
async def test_an_address_goes_through(kind: Callable[..., Proxy]) -> None:
    async with RawServer(answers, host="::1") as server, kind() as proxy:
        client = Client(server.url, SLOW, proxy=proxy.url)
        assert await ask(client) == b"ok"
        assert proxy.asked == [("::1", server.port)]
        await client.close()


@pytest.mark.gen_test
async def test_socks5h_is_the_same() -> None:
    async with RawServer(answers) as server, Socks5Proxy(hosts={"model.example": "127.0.0.1"}) as proxy:
        url = proxy.url.replace("socks5:", "socks5h:")
        client = Client(f"http://model.example:{server.port}", SLOW, proxy=url)
        assert await ask(client) == b"ok"
        assert proxy.asked == [("model.example", server.port)]
        await client.close()


@pytest.mark.gen_test
@pytest.mark.parametrize("kind", KINDS)
async def test_a_large_question_and_a_large_answer(kind: Callable[..., Proxy]) -> None:
    body = b"x" * 2_000_000

    async def script(peer: Peer) -> None:
        request = await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(request))
        await peer.send(request)
        await peer.gone()

    async with RawServer(script, tls=served(AUTHORITY)) as server, kind() as proxy:
        url = f"https://localhost:{server.port}"
        client = Client(url, SLOW, tls=trusting(AUTHORITY), proxy=proxy.url)
        response = await client.open(b"POST", b"/x", b"", body)
        assert (await response.read_all(3_000_000)).endswith(body)
        response.close()
        await client.close()


@pytest.mark.gen_test
async def test_only_the_upstream_is_trusted_by_name() -> None:
    """TLS runs inside the tunnel: a proxy cannot pass itself off as the upstream."""
    async with (
        RawServer(never, tls=served(trustme.CA())) as other,
        ConnectProxy(hosts={"localhost": "127.0.0.1"}) as proxy,
    ):
        url = f"https://localhost:{other.port}"
        problem = await problem_of(Client(url, SLOW, tls=trusting(AUTHORITY), proxy=proxy.url))
        assert "verif" in detail_of(problem)
        await proxy.deserted()


# What goes wrong.


@pytest.mark.gen_test
@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_proxy_that_is_not_there(scheme: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    client = Client("http://model.example", SLOW, proxy=f"{scheme}://ann:{'x' * 9}@127.0.0.1:{port}")
    detail = detail_of(await problem_of(client))
    assert f"model.example:80 through the proxy 127.0.0.1:{port}" in detail
    assert "the proxy cannot be reached: ConnectionRefusedError" in detail


@pytest.mark.gen_test
async def test_a_proxy_whose_name_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def getaddrinfo(host: str, *_: Any, **__: Any) -> Any:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    detail = detail_of(await problem_of(Client("http://model.example", SLOW, proxy="http://nowhere.invalid")))
    assert "through the proxy nowhere.invalid:80" in detail
    assert "the proxy's name is not known" in detail
    assert asked == ["nowhere.invalid"]


@pytest.mark.gen_test
async def test_the_addresses_of_a_proxy_are_tried_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    async with RawServer(answers) as server, Socks5Proxy() as proxy:
        real = asyncio.get_running_loop().getaddrinfo

        async def getaddrinfo(host: str, *arguments: Any, **options: Any) -> Any:
            if host != "proxy.example":
                return await real(host, *arguments, **options)
            return [(socket.AF_INET, 1, 6, "", (f"127.0.0.{n}", proxy.port)) for n in (9, 1)]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        client = Client(server.url, SLOW, proxy=f"socks5://proxy.example:{proxy.port}")
        assert await ask(client) == b"ok"
        await client.close()


@pytest.mark.gen_test
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("given", ["", "ann:wrong@"])
async def test_who_may_not_use_it(kind: Callable[..., Proxy], given: str) -> None:
    async with RawServer(never) as server, kind(user="ann", password=SECRET) as proxy:
        url = f"{proxy.scheme}://{given}127.0.0.1:{proxy.port}"
        detail = detail_of(await problem_of(Client(server.url, SLOW, proxy=url)))
        assert "the proxy refused: " in detail
        assert ("407 (user and password)" in detail) is (kind is ConnectProxy)
        assert "wrong" not in detail
        await proxy.deserted()


@pytest.mark.gen_test
@pytest.mark.parametrize(("code", "words"), [(2, "not allowed by ruleset"), (4, "Host unreachable"), (99, "0X63")])
async def test_socks5_refuses_the_destination(code: int, words: str) -> None:
    async with RawServer(never) as server, Socks5Proxy() as proxy:
        proxy.refuse = code
        detail = detail_of(await problem_of(Client(server.url, SLOW, proxy=proxy.url)))
        assert "the proxy refused: " in detail
        assert words in detail
        await proxy.deserted()


@pytest.mark.gen_test
@pytest.mark.parametrize("status", [b"403 Forbidden", b"502 Bad Gateway", b"100 Continue", b"204 Nothing"])
@pytest.mark.parametrize("body", [b"", b"<p>" + b"x" * 300_000], ids=["empty", "large"])
async def test_connect_is_refused(status: bytes, body: bytes) -> None:
    async with RawServer(never) as server, ConnectProxy() as proxy:
        proxy.refuse = b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)
        detail = detail_of(await problem_of(Client(server.url, SLOW, proxy=proxy.url)))
        assert detail.endswith(f"the proxy refused: {status[:3].decode()}")
        await proxy.deserted()


SAYS = {
    ConnectProxy: [
        (b"", "closed the connection"),
        (b"HTTP/1.1 20", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\nX", "closed the connection"),
        (b"SSH-2.0-x\r\n", "not HTTP"),
        (b"\x05\x00", "not HTTP"),
        (b"HTTP/9 200 OK\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 +200 OK\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", "more than its answer"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000, "does not end"),
        (b"HTTP/1.1 407 \x1b[31m" + SECRET.encode() + b"\r\n\r\n", "407 (user and password)"),
    ],
    Socks5Proxy: [
        (b"", "Connection closed"),
        (b"\x05", "Connection closed"),
        (b"\x04\x00", "version number"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "version number"),
        (b"\x05\x02\x01\x00", "authentication method"),
        (b"\x05\x07", "authentication method"),
        (b"\x05\x00\x05", "Connection closed"),
        (b"\x05\x00\x05\x00\x00\x01\x7f", "Connection closed"),
        (b"\x05\x00\x05\x00\x00\x09\x7f", "address type"),
        (b"\x05\x00\x05\x00\x09", "reserved byte"),
        (b"\x05\x00\x05\x00\x00\x03\x02\xff\xfe\x00\x00", "cannot be used"),
    ],
}


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [pytest.param(kind, *said, id=f"{kind.__name__} {n}") for kind in SAYS for n, said in enumerate(SAYS[kind])],
)
async def test_a_proxy_that_speaks_nonsense(kind: Callable[..., Proxy], data: bytes, words: str) -> None:
    async def says(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(data)
        if "closed" in words:
            writer.write_eof()

    async with RawServer(never) as server, kind(answer=says) as proxy:
        detail = detail_of(await problem_of(Client(server.url, SLOW, proxy=proxy.url)))
        assert words in detail
        assert "the proxy" in detail
        assert "\x1b" not in detail
        await proxy.deserted()


@pytest.mark.gen_test
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("after", [0, 1])
async def test_a_proxy_that_resets(kind: Callable[..., Proxy], after: int) -> None:
    async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(after)
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    async with RawServer(never) as server, kind(answer=resets) as proxy:
        detail = detail_of(await problem_of(Client(server.url, SLOW, proxy=proxy.url)))
        assert "the proxy broke off: ConnectionResetError" in detail or "proxy cannot be reached" in detail


@pytest.mark.gen_test
@pytest.mark.parametrize("how", ["end", "reset"])
@pytest.mark.parametrize("kind", KINDS)
async def test_the_way_breaks_off_in_the_middle_of_tls(kind: Callable[..., Proxy], how: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.read(20)  # the client's greeting
        await peer.send(b"\x16\x03\x03\x00\x7a\x02")
        peer.end() if how == "end" else peer.reset()

    async with RawServer(script) as server, kind() as proxy:
        url = f"https://127.0.0.1:{server.port}"
        detail = detail_of(await problem_of(Client(url, SLOW, tls=trusting(AUTHORITY), proxy=proxy.url)))
        assert f"127.0.0.1:{server.port} through the proxy" in detail
        await proxy.deserted()


@pytest.mark.gen_test
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("said", [b"", b"\x05\x00", b"HTTP/1.1 200 OK\r\n"])
@pytest.mark.parametrize(("phase", "times"), [("connect", (0.1, 9)), ("total", (9, 0.1))])
async def test_a_proxy_that_hangs(
    kind: Callable[..., Proxy], said: bytes, phase: str, times: tuple[float, float]
) -> None:
    async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if said[:1] == (b"\x05" if kind is Socks5Proxy else b"H"):
            writer.write(said)

    async with RawServer(never) as server, kind(answer=hangs) as proxy:
        client = Client(server.url, Timeouts(times[0], 9, 9, times[1]), proxy=proxy.url)
        problem = await problem_of(client)
        assert problem.kind is Kind.UPSTREAM_TIMEOUT
        assert problem.detail.endswith(f"through the proxy 127.0.0.1:{proxy.port} was too slow: {phase} timeout")
        await asyncio.wait_for(proxy.deserted(), 5)


@pytest.mark.gen_test
@pytest.mark.parametrize("kind", KINDS)
async def test_tls_behind_a_proxy_that_hangs(kind: Callable[..., Proxy]) -> None:
    async with RawServer(lambda peer: peer.gone()) as server, kind() as proxy:
        url = f"https://127.0.0.1:{server.port}"
        client = Client(url, Timeouts(0.2, 9, 9, 9), tls=trusting(AUTHORITY), proxy=proxy.url)
        assert (await problem_of(client)).kind is Kind.UPSTREAM_TIMEOUT
        await asyncio.wait_for(proxy.deserted(), 5)


@pytest.mark.gen_test
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("said", [b"", b"\x05\x00", b"HTTP/1.1 200 OK\r\n"])
async def test_cancelled_on_the_way(kind: Callable[..., Proxy], said: bytes) -> None:
    reached = asyncio.Event()

    async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        if said[:1] == (b"\x05" if kind is Socks5Proxy else b"H"):
            writer.write(said)
            await asyncio.sleep(0.01)
        reached.set()

    async with RawServer(never) as server, kind(answer=hangs) as proxy:
        task = asyncio.create_task(ask(Client(server.url, SLOW, proxy=proxy.url)), name="call")
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(proxy.deserted(), 5)


# Every exception that there is.


def of_the_library() -> list[type[Exception]]:
    """Each exception class that any of its modules defines."""
    found: set[type[Exception]] = set()
    for module in pkgutil.walk_packages(python_socks.__path__, "python_socks."):
        if not {"trio", "anyio", "curio"} & set(module.name.split(".")):
            names = vars(importlib.import_module(module.name)).values()
            found.update(each for each in names if isinstance(each, type) and issubclass(each, Exception))
    return sorted(found, key=lambda each: each.__name__)


def others() -> Iterator[Exception]:
    yield from (UnicodeEncodeError("ascii", SECRET, 0, 1, "no"), AssertionError(SECRET), RuntimeError(SECRET))
    yield from (OSError(errno.ENETUNREACH, "no network"), ConnectionResetError(), EOFError(), IndexError("data"))
    yield ssl.SSLError("x")


def instances() -> list[Exception]:
    return [kind(SECRET) for kind in of_the_library()] + list(others())


def test_the_table_is_not_empty() -> None:
    names = {kind.__name__ for kind in of_the_library()}
    assert {"ProxyError", "ProxyConnectionError", "ProxyTimeoutError"} <= names
    assert {"ReplyError", "IncompleteReadError"} <= names


@pytest.mark.gen_test
@pytest.mark.parametrize("error", instances(), ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_no_error_of_the_library_is_left_unmapped(
    scheme: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(ways.Proxy, "connect", fails)
    if scheme == "socks5" and type(error) is python_socks.ProxyError:
        error = python_socks.ProxyError("No acceptable authentication methods were offered")
    detail = detail_of(await problem_of(Client("http://127.0.0.1:9", SLOW, proxy=f"{scheme}://127.0.0.1:8")))
    assert "127.0.0.1:9 through the proxy 127.0.0.1:8 cannot be reached: the proxy" in detail


# The URL, and what it costs to have none.


@pytest.mark.parametrize(
    "url",
    [
        "ftp://proxy", "proxy:8080", "https://proxy", "socks4://proxy", "http://", "http://proxy:0",
        "http://proxy:65536", "http://pro xy", "http://proxy/path", "http://proxy?x", "http://proxy#x", "http://prõxy",
        "http://[::1",
        "socks5://secret@proxy", "http://ann:x[secret]@proxy", "socks5://:secret@proxy",
        "socks5://%E9:secret@proxy", "http://a%3Ab:secret@proxy",
        "socks5://ann:" + "secret" * 50 + "@proxy", "http://:secret@proxy", "http://proxy:secret",
    ],
)  # fmt: skip
def test_what_is_no_proxy(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        Client("http://model.example", SLOW, proxy=url)
    assert "secret" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("http://proxy", "proxy:80"), ("socks5://proxy", "proxy:1080"), ("socks5h://proxy/", "proxy:1080"),
        ("http://[::1]:3128", "[::1]:3128"), ("HTTP://a:b@Proxy:8", "proxy:8"), ("http://ann@proxy:", "proxy:80"),
    ],
)  # fmt: skip
def test_what_is_one(url: str, where: str) -> None:
    client = Client("http://model.example", SLOW, proxy=url)
    assert client._connector._where == f"model.example:80 through the proxy {where}"


@pytest.mark.gen_test
async def test_credentials_are_sent_as_they_are_written() -> None:
    async with RawServer(answers) as server, ConnectProxy(user="jürgen", password="пароль") as proxy:
        client = Client(server.url, SLOW, proxy=proxy.url)
        assert await ask(client) == b"ok"
        assert proxy.credentials == ["jürgen:пароль"]
        await client.close()


def test_the_library_is_loaded_only_where_a_proxy_is_configured() -> None:
    code = (
        "import sys; from chatgpt_platform.cli import serve; from chatgpt_platform.upstream.client import *; "
        "t = Timeouts(1, 1, 1, 1); Client('http://h', t); assert 'python_socks' not in sys.modules; "
        "Client('http://h', t, proxy='http://p'); assert 'python_socks' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2], timeout=60)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
@pytest.mark.gen_test
@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_is_left_open(kind: Callable[..., Proxy]) -> None:
    """A hundred ways that end badly, in turn: no descriptor stays."""
    async with RawServer(lambda peer: peer.gone()) as server, kind() as proxy:
        url = f"https://127.0.0.1:{server.port}"
        client = Client(url, Timeouts(0.05, 9, 9, 9), tls=trusting(AUTHORITY), proxy=proxy.url)
        await asyncio.gather(*(problem_of(client) for _ in range(3)))
        await proxy.deserted()
        gc.collect()
        before = descriptors()
        for _ in range(5):
            await asyncio.gather(*(problem_of(client) for _ in range(10)))
        await proxy.deserted()
        for peer in server.peers:
            peer.cut()
        await asyncio.sleep(0.05)
        assert descriptors() <= before
