"""How a connection comes about: whom one believes, which headers go along, what this machine may lack."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.upstream import authorities, faults
from chatgpt_platform.upstream.client import Client, Timeouts
from support.scripted import OK, Peer, RawServer, answers, ask
from support.tls import served

SLOW = Timeouts(10, 10, 10, 20)
OWNED = [b"A: b\r\nHost: x\r\n", b"content-length: 1\r\n", b"Transfer-Encoding: chunked\r\n"]
OURS, THEIRS = trustme.CA(), trustme.CA()


async def problem_of(client: Client) -> Problem:
    with pytest.raises(Problem) as caught:
        await ask(client)
    return caught.value


def pem(folder: Path, *authorities: trustme.CA) -> str:
    file = folder / "own.pem"
    file.write_bytes(b"".join(each.cert_pem.bytes() for each in authorities))
    return str(file)


# Own authorities.


@pytest.mark.gen_test
async def test_own_authorities_are_believed_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "system.pem").write_bytes(THEIRS.cert_pem.bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "system.pem"))
    own = pem(tmp_path, trustme.CA(), OURS)
    async with RawServer(answers, tls=served(OURS)) as ours, RawServer(answers, tls=served(THEIRS)) as theirs:
        to_ours, to_theirs = (f"https://localhost:{server.port}" for server in (ours, theirs))
        for url, file in ((to_ours, own), (to_theirs, "")):
            client = Client(url, SLOW, ca_file=file)
            assert await ask(client) == b"ok"
            await client.close()
        for url, file in ((to_theirs, own), (to_ours, "")):
            problem = await problem_of(Client(url, SLOW, ca_file=file))
            assert (problem.kind, problem.text, problem.safe) == (Kind.BAD_UPSTREAM, "upstream_unreachable", True)
            assert "verif" in problem.detail
        assert not [peer for peer in ours.peers[1:] + theirs.peers[1:] if peer.requests]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        (b"", "no PEM certificate"),
        (b"\xff\0", "no PEM certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no PEM certificate"),
    ],
)
def test_a_file_that_holds_no_authority(content: bytes | None, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "own.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=reason) as caught:
        Client("http://model.example", SLOW, ca_file=str(file))
    assert str(caught.value).startswith(f"{file}: ")


def test_checks_are_on_with_own_authorities(tmp_path: Path) -> None:
    made = Client("https://model.example", SLOW, ca_file=pem(tmp_path, OURS))._connector._context()
    assert made.check_hostname
    assert made.verify_mode is ssl.CERT_REQUIRED
    assert made.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.interpreted("replaces a function of ours")
def test_no_authorities_are_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when no file could be opened just then: the next connection looks again."""
    monkeypatch.setattr(authorities, "has_authorities", lambda _: False)
    connector = Client("https://model.example", SLOW)._connector
    assert connector._context() is not connector._context()


# Own headers.


@pytest.mark.gen_test
async def test_own_headers_go_along_each_time() -> None:
    async with RawServer(answers) as server:
        client = Client(server.url, SLOW, headers=b"X-Team: blue\r\nX-Empty:\r\n")
        for _ in range(2):
            assert await ask(client) == b"ok"
        for request in server.peers[0].requests:
            assert request.count(b"\r\nX-Team: blue\r\nX-Empty:\r\nAuthorization: Bearer test-key-1\r\n") == 1
        await client.close()


@pytest.mark.parametrize(
    "headers", [b"X: y", b"X: y\n", b"X : y\r\n", b"X: y\r\n\r\n", b"X: a\0\r\n", b": y\r\n", *OWNED]
)
def test_headers_that_would_break_the_framing(headers: bytes) -> None:
    with pytest.raises(ValueError, match="framing"):
        Client("http://model.example", SLOW, headers=headers)


# Addresses.


@pytest.mark.gen_test
async def test_an_address_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is looked up for each new connection; no old one outlives its upstream."""
    moved = False

    async def last(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        peer.end()

    async with RawServer(last) as old, RawServer(answers, host="127.0.0.2") as new:

        async def getaddrinfo(*_: Any, **__: Any) -> Any:
            return [(socket.AF_INET, 1, 6, "", ("127.0.0.2" if moved else "127.0.0.1", 0))]

        async def create_connection(factory: Any, host: str, port: int, **options: Any) -> Any:
            return await connect(factory, host, new.port if host == "127.0.0.2" else port, **options)

        loop = asyncio.get_running_loop()
        connect = loop.create_connection
        monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
        monkeypatch.setattr(loop, "create_connection", create_connection)
        client = Client(f"http://model.example:{old.port}", SLOW)
        assert await ask(client) == b"ok"
        moved = True
        assert await ask(client) == b"ok"
        assert [len(server.peers) for server in (old, new)] == [1, 1]
        await client.close()


@pytest.mark.gen_test
async def test_many_calls_wait_for_one_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes one of a few threads, which the other upstreams need as well."""
    looked_up: list[str] = []
    looking = asyncio.Event()
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def getaddrinfo(host: str, *_: Any, **__: Any) -> Any:
        looked_up.append(host)
        looking.set()
        return await answer

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    async with RawServer(answers) as server:
        client = Client(f"http://model.example:{server.port}", SLOW)
        asking = [asyncio.create_task(ask(client), name=f"call {number}") for number in range(20)]
        leaving = asyncio.create_task(ask(client), name="a call whose client leaves")
        await looking.wait()
        leaving.cancel()
        answer.set_result([(socket.AF_INET, 1, 6, "", ("127.0.0.1", 0))])
        assert await asyncio.gather(*asking) == [b"ok"] * 20
        assert looked_up == ["model.example"]
        await client.close()


@pytest.mark.gen_test
@pytest.mark.parametrize("stays", [True, False])
async def test_a_reload_leaves_a_look_up_to_those_who_wait(stays: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    looking = asyncio.Event()

    async def getaddrinfo(*_: Any, **__: Any) -> Any:
        looking.set()
        return await answer

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    async with RawServer(answers) as server:
        client = Client(f"http://model.example:{server.port}", SLOW)
        asking = asyncio.create_task(ask(client), name="a call under way")
        await looking.wait()
        await client.close()
        if stays:
            answer.set_result([(socket.AF_INET, 1, 6, "", ("127.0.0.1", 0))])
            assert await asking == b"ok"
        else:
            asking.cancel()
            await asyncio.wait((asking, answer))
            assert answer.cancelled()


@pytest.mark.gen_test
async def test_a_look_up_that_fails_when_nobody_waits_any_more_is_nobodys_trouble(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def getaddrinfo(*_: Any, **__: Any) -> Any:
        return await answer

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    client = Client("http://model.example", Timeouts(0.05, 1, 1, 1))
    assert "connect timeout" in (await problem_of(client)).detail
    answer.set_exception(socket.gaierror(-3, "late"))
    await asyncio.sleep(0)
    await client.close()


@pytest.mark.gen_test
async def test_an_upstream_that_accepts_and_never_reads() -> None:
    async def script(peer: Peer) -> None:
        peer.pause()
        await gone.wait()

    gone = asyncio.Event()
    async with RawServer(script) as server:
        client = Client(server.url, Timeouts(10, 0.3, 10, 20))
        with pytest.raises(Problem) as caught:
            await client.open(b"POST", b"/x", b"", b"x" * 20_000_000)
        gone.set()
        assert (caught.value.kind, caught.value.safe) == (Kind.UPSTREAM_TIMEOUT, False)
        assert "first_byte" in caught.value.detail


# What may be sent again.


@pytest.mark.gen_test
@pytest.mark.parametrize("phase", ["connect", "first_byte", "idle", "total"])
async def test_only_a_connection_that_never_was_is_safe(phase: str) -> None:
    assert faults.too_slow("h:1", phase).safe is (phase == "connect")
    assert faults.unreachable("h:1", OSError()).safe
    assert faults.unanswered("h:1", None, untouched=True).safe
    for problem in (
        faults.unanswered("h:1", None, untouched=False), faults.broke_off("h:1", None), faults.let_go("h:1"),
        faults.nonsense("h:1", "x"), faults.too_large("h:1", 1),
    ):  # fmt: skip
        assert not problem.safe


@pytest.mark.gen_test
async def test_a_question_that_was_written_is_not_safe() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.end()

    async with RawServer(script) as server:
        assert not (await problem_of(Client(server.url, SLOW))).safe


@pytest.mark.gen_test
async def test_a_connection_that_closed_before_the_question_is_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    async with RawServer(lambda peer: peer.gone()) as server:
        loop = asyncio.get_running_loop()
        connect = loop.create_connection

        async def closes(*arguments: Any, **options: Any) -> Any:
            transport, protocol = await connect(*arguments, **options)
            transport.abort()
            return transport, protocol

        monkeypatch.setattr(loop, "create_connection", closes)
        assert (await problem_of(Client(server.url, SLOW))).safe


# What this machine may run out of.


@pytest.mark.gen_test
@pytest.mark.parametrize("name", ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EADDRNOTAVAIL"])
@pytest.mark.parametrize("host", ["127.0.0.1", "model.example"])
@pytest.mark.parametrize("scheme", ["", "http", "socks5"])
async def test_out_of_what_a_connection_takes(
    scheme: str, host: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = getattr(errno, name)

    async def fails(*_: Any, **__: Any) -> Any:
        raise OSError(number, "none left")

    async def getaddrinfo(*_: Any, **__: Any) -> Any:
        return [(socket.AF_INET, 1, 6, "", ("127.0.0.1", 9))] * 2

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(loop, "create_connection", fails)
    monkeypatch.setattr(loop, "sock_connect", fails)
    proxy = f"{scheme}://127.0.0.1:8" if scheme else ""
    problem = await problem_of(Client(f"http://{host}:9", SLOW, proxy=proxy))
    assert (problem.kind, problem.text, problem.retry_after) == (Kind.UNAVAILABLE, "overloaded", 1)
    assert problem.values == {"seconds": 1}
    assert "none left" in problem.detail
    assert "no connection to " in problem.detail
    assert ("LimitNOFILE" in problem.detail) is (name == "EMFILE")
    assert ("local port" in problem.detail) is (name == "EADDRNOTAVAIL")


@pytest.mark.gen_test
async def test_a_machine_without_ipv6_is_not_out_of_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", fails)
    problem = await problem_of(Client("http://[2001:db8::1]", SLOW))
    assert (problem.kind, problem.text) == (Kind.BAD_UPSTREAM, "upstream_unreachable")
    assert "IPv6" in problem.detail


@pytest.mark.gen_test
async def test_an_unknown_name_is_no_lack_of_memory() -> None:
    """The numbers of look-ups are others: on macOS 12 is one of them."""
    problem = faults.unreachable("h:1", socket.gaierror(errno.ENOMEM, "bad hints"))
    assert problem.kind is Kind.BAD_UPSTREAM


OUT_OF_FILES = """
import asyncio, resource, socket, sys
from chatgpt_platform.errors import Problem
from chatgpt_platform.upstream.client import Client, Timeouts
from support.loops import LOOPS

async def ask(client):
    response = await client.open(b"GET", b"/", b"", b"")
    assert await response.read_all(10) == b"ok"
    response.close()

async def answer(reader, writer):
    while await reader.read(65536):
        writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
    writer.close()
    await writer.wait_closed()
    gone.set()

gone = asyncio.Event()

async def main(proxy):
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = "http://%s:{}".format(server.sockets[0].getsockname()[1])
    timeouts = Timeouts(5, 5, 5, 10)
    clients = [Client(url % host, timeouts, proxy=proxy) for host in ("127.0.0.1", "localhost")]
    if not proxy:
        await ask(clients[0])
        await clients[0].close()
        await gone.wait()
    resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
    taken = []
    try:
        while True:
            taken.append(socket.socket())
    except OSError:
        pass
    for client in clients:
        try:
            await ask(client)
        except Problem as problem:
            print(problem.kind.name, problem.text, problem.safe, problem.detail)
    for each in taken:
        each.close()
    if not proxy:
        await ask(Client(url % "localhost", timeouts))
        print("recovered")

with asyncio.Runner(loop_factory=LOOPS[sys.argv[1]]) as runner:
    runner.run(main(sys.argv[2]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the resource module is POSIX only")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("proxy", ["", "http://127.0.0.1:9"])
def test_no_descriptors_left(loop: str, proxy: str) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", OUT_OF_FILES, loop, proxy],
        cwd=root, env={"PYTHONPATH": f"{root}:{root / 'tests'}"}, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == (2 if proxy else 3), done.stderr
    for line in lines[:2]:
        assert line.startswith("UNAVAILABLE overloaded True no connection to "), done.stderr
        assert "LimitNOFILE" in line
