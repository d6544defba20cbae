"""Clients that vanish without a word are noticed; those that read slowly are not taken for them."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import trustme

from chatgpt_platform.wire import liveness
from chatgpt_platform.wire.connection import Timeouts
from support.answers import connect, connect_tls
from support.cable import MISSING, Cable
from support.recorder import Call, Recorder, Running, eventually, get, serving, settle, silent
from support.tls import served, trusting

SHORT = 0.2
LONG = Timeouts(header=20, body=20, write=20, idle=20)
CLIENT = """
import socket, sys
connection = socket.socket()
connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
connection.connect(({here!r}, {port}))
connection.sendall({request!r})
for _ in sys.stdin:
    print(len(connection.recv(1)), flush=True)
"""


class Told:
    """Stands for a connection whose system tells ``info``."""

    def __init__(self, retransmits: int = 0, probes: int = 0, last_ack: int = 0) -> None:
        self._info = [0, 0, retransmits, probes, *[0] * 16, last_ack]

    def setsockopt(self, *_: Any) -> None:
        raise OSError("gone")

    def getsockopt(self, *_: Any) -> bytes:
        return liveness._INFO.pack(*self._info)


def options(running: Running) -> Iterator[Any]:
    for connection in running.server._connections:
        yield connection._transport.get_extra_info("socket")


async def test_the_system_watches_each_client() -> None:
    authority = trustme.CA()
    async with (
        serving(Recorder()) as plain,
        serving(Recorder(), tls=served(authority)) as secure,
        connect(plain.port),
        connect_tls(secure.port, trusting(authority)),
    ):
        await eventually(lambda: bool(plain.connections and secure.connections))
        for told in [*options(plain), *options(secure)]:
            assert told.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
            if sys.platform == "linux":
                names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
                assert [told.getsockopt(socket.IPPROTO_TCP, name) for name in names] == [15, 5, 4]


@pytest.mark.interpreted("replaces constants, which are compiled in")
async def test_where_connections_inherit_nothing_each_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    watched: list[object] = []
    monkeypatch.setattr(liveness, "LINUX", False)
    monkeypatch.setattr(liveness, "watch", watched.append)
    async with serving(Recorder()) as running, connect(running.port):
        await eventually(lambda: bool(running.connections))
        assert len(watched) == 2  # the listening one, and the other


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO as Linux has it")
@pytest.mark.parametrize(
    ("info", "over"),
    [
        (Told(retransmits=3, last_ack=1000), True), (Told(probes=3, last_ack=1000), True),
        (Told(retransmits=3, last_ack=999), False), (Told(retransmits=2, last_ack=9000), False),
        (Told(probes=1, last_ack=100_000), False), (Told(), False),
    ],
)  # fmt: skip
def test_when_a_peer_has_vanished(info: Told, over: bool) -> None:
    assert liveness.vanished(info, 1.0) is over


@pytest.mark.interpreted("takes another system's way, which is not compiled in")
def test_windows_is_asked_about_no_more_sockets_than_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ``select`` as Python has it: at most FD_SETSIZE sockets, at least one."""

    def select(readable: Sequence[int], *_: object) -> tuple[list[int], list[int], list[int]]:
        if len(readable) > 512:
            raise ValueError("too many file descriptors in select()")
        if not readable:
            raise OSError(10022, "an invalid argument")
        return [each for each in readable if each % 3 == 0], [], []

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr("select.select", select)
    for count in (0, 1, 512, 513, 5000):
        assert list(liveness.heard(range(count))) == list(range(0, count, 3))


def test_a_connection_that_is_gone_is_no_trouble() -> None:
    liveness.watch(Told())
    liveness.give_up_after(Told(), 1)
    with socket.socket() as closed:
        pass
    assert not liveness.vanished(closed, 0)


async def test_a_client_that_only_reads_slowly_stays() -> None:
    """Its system answers all the time; what it has taken in ``write`` is for the connection to judge."""

    def begin(call: Call) -> None:
        call.exchange.start(200, b"")

    async with (
        serving(Recorder(complete=begin), replace(LONG, write=1.0)) as running,
        connect(running.port, small=True) as client,
    ):
        await client.send(get())
        call = await running.call()
        await call.happened("complete")
        for _ in range(30):
            while not call.exchange.connection.congested:
                call.exchange.write(b"x" * 100_000)
            await asyncio.sleep(0.1)
            await client.take(10_000)
        assert call.events == ["complete"]


@pytest.mark.interpreted("replaces constants, which are compiled in")
async def test_many_are_looked_at_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[object] = []

    def look(told: object, _: float) -> bool:
        looked.append(told)
        return False

    monkeypatch.setattr("chatgpt_platform.wire.server.LOOKED_AFTER", 2)
    monkeypatch.setattr(liveness, "vanished", look)
    monkeypatch.setattr(liveness, "LINUX", True)
    async with serving(Recorder(complete=silent), replace(LONG, write=SHORT)) as running:
        async with (
            connect(running.port) as one, connect(running.port) as two,
            connect(running.port) as three, connect(running.port),
        ):  # fmt: skip
            for client in (one, two, three):
                await client.send(get())
                await (await running.call()).happened("complete")
            await settle()
            looked.clear()
            await eventually(lambda: len(looked) >= 6)
        await running.deserted()


@pytest.mark.interpreted("replaces constants, which are compiled in")
@pytest.mark.skipif(bool(MISSING), reason=MISSING)
@pytest.mark.parametrize("reads", [True, False], ids=["reads", "does not read"])
@pytest.mark.parametrize("silence", [False, True], ids=["a stream", "no answer yet"])
async def test_the_cable_is_pulled(reads: bool, silence: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call ends: within ``write`` where something is written to the client."""
    monkeypatch.setattr(liveness, "IDLE", 1)
    monkeypatch.setattr(liveness, "INTERVAL", 1)
    monkeypatch.setattr(liveness, "COUNT", 2)
    with Cable() as cable:
        async with serving(Recorder(complete=silent), replace(LONG, write=4), host=cable.here) as running:
            process = cable.run(CLIENT.format(here=cable.here, port=running.port, request=get()))
            call = await running.call()
            await call.happened("complete")
            if not silence:
                call.exchange.start(200, b"")
                call.exchange.write(b"x" * (20 if reads else 30_000))
                await asyncio.sleep(0.2)
                if reads:
                    assert process.stdin is not None
                    assert process.stdout is not None
                    print("read", file=process.stdin, flush=True)
                    process.stdout.readline()
            cable.pull()
            loop = asyncio.get_running_loop()
            begun = loop.time()
            while "left" not in call.events:
                if not silence:
                    call.exchange.write(b"event")
                await asyncio.sleep(0.1)
            assert loop.time() - begun < 12
            await running.deserted()
