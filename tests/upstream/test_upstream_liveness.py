"""An upstream whose machine vanished without a word: the call ends, however long its timeouts are."""

from __future__ import annotations

import asyncio
import socket
import sys

import pytest

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.upstream.client import Client, Timeouts
from chatgpt_platform.upstream.connection import TAKEN_AT_ONCE
from chatgpt_platform.wire import liveness
from support.cable import MISSING, Cable
from support.scripted import OK, Peer, RawServer, answers

USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", 0)
PATIENT = Timeouts(60, 600, 600, 600)
SERVER = """
import socket, sys
listening = socket.create_server(("", 0))
print(listening.getsockname()[1])
connection, _ = listening.accept()
for answer in {answers!r}:
    connection.recv(65536)
    connection.sendall(answer)
sys.stdin.read()
"""
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.gen_test
async def test_the_system_watches_each_connection() -> None:
    async with RawServer(answers) as server:
        client = Client(server.url, PATIENT)
        response = await client.open(b"POST", b"/", b"", b"{}")
        assert await response.read_all(10) == b"ok"
        response.close()
        options = client._idle[0]._transport.get_extra_info("socket")
        assert options.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
        if sys.platform == "linux":
            names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
            told = [options.getsockopt(socket.IPPROTO_TCP, name) for name in names]
            assert told == [15, 5, 4, 30_000]
        await client.close()


@pytest.mark.interpreted("replaces constants, which are compiled in")
@pytest.mark.skipif(sys.platform != "linux", reason="TCP_USER_TIMEOUT is Linux's")
@pytest.mark.gen_test
async def test_an_upstream_may_take_its_time_with_a_large_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there and does not read yet: that is for ``first_byte`` to judge."""
    monkeypatch.setattr(liveness, "GIVE_UP", 0.3)
    body = b"x" * 4_000_000

    async def slow(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        peer.pause()
        await asyncio.sleep(1.5)
        peer._transport.resume_reading()
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await peer.send(OK)
        await peer.gone()

    async with RawServer(slow) as server:
        client = Client(server.url, PATIENT)
        for sent, limit in ((b"{}", 300), (body, 0), (b"x" * TAKEN_AT_ONCE, 300)):
            response = await client.open(b"POST", b"/", b"", sent)
            assert await response.read_all(10) == b"ok"
            response.close()
            options = client._idle[0]._transport.get_extra_info("socket")
            assert options.getsockopt(socket.IPPROTO_TCP, USER_TIMEOUT) == limit
        assert len(server.peers) == 1
        await client.close()


@pytest.mark.interpreted("replaces constants, which are compiled in")
@pytest.mark.skipif(bool(MISSING), reason=MISSING)
@pytest.mark.gen_test
@pytest.mark.parametrize("when", ["before the question", "before the answer", "within the answer"])
async def test_the_cable_is_pulled(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "IDLE", 1)
    monkeypatch.setattr(liveness, "INTERVAL", 1)
    monkeypatch.setattr(liveness, "COUNT", 2)
    monkeypatch.setattr(liveness, "GIVE_UP", 2.0)
    said = {"before the question": [OK], "before the answer": [OK, b""], "within the answer": [OK, HEAD]}
    with Cable() as cable:
        process = cable.run(SERVER.format(answers=said[when]))
        assert process.stdout is not None
        port = int(process.stdout.readline())
        client = Client(f"http://{cable.there}:{port}", PATIENT)
        response = await client.open(b"POST", b"/", b"", b"{}")
        assert await response.read_all(10) == b"ok"
        response.close()
        if when == "before the question":
            cable.pull()
        response = client.begin(b"POST", b"/", b"", b"{}")
        assert response.under_way
        with pytest.raises(Problem) as caught:
            if when == "within the answer":
                await response.head()
            await asyncio.sleep(0.3)
            if when != "before the question":
                cable.pull()
            async with asyncio.timeout(10):
                await response.head()
                await response.read()
        response.close()
        assert caught.value.kind is Kind.BAD_UPSTREAM
        assert not caught.value.safe
        assert "TimeoutError" in caught.value.detail
        await client.close()
