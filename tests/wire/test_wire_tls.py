"""The wire under TLS: the same service, and handshakes that come to nothing."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace

import pytest
import trustme

from chatgpt_platform.wire.connection import Timeouts
from support.answers import connect, connect_tls
from support.recorder import Recorder, get, post, serving, settle, silent
from support.tls import served, trusting

AUTHORITY = trustme.CA()
LONG = Timeouts(header=20, body=20, write=20, idle=20)


async def test_requests_and_answers() -> None:
    async with (
        serving(Recorder(), tls=served(AUTHORITY)) as running,
        connect_tls(running.port, trusting(AUTHORITY)) as client,
    ):
        body = b"a" * 3_000_000
        await client.send(get("/1"))
        assert (await client.answer()).body == b"/1 "
        await client.send(post(body, target="/2") + get("/3", "Connection: close"))
        assert (await client.answer()).body == b"/2 " + body
        assert (await client.answer()).closes
        await client.ended()
        assert [(call.exchange.secure, call.exchange.peer) for call in running.recorder.calls] == [
            (True, "127.0.0.1")
        ] * 3


async def test_a_slow_reader_makes_the_writer_wait() -> None:
    async with (
        serving(Recorder(complete=silent), tls=served(AUTHORITY)) as running,
        connect_tls(running.port, trusting(AUTHORITY)) as client,
    ):
        await client.send(get())
        exchange = (await running.call()).exchange
        exchange.start(200, b"")
        congestion, written = None, 0
        while congestion is None:
            written += 100_000
            assert written < 100_000_000, "more than what the sockets and the reader's own buffer take in"
            congestion = exchange.write(b"x" * 100_000)
            await asyncio.sleep(0)
        waiting = asyncio.ensure_future(congestion)
        await settle()
        assert not waiting.done()
        reading = asyncio.create_task(client.answer(), name="read")
        await waiting
        exchange.finish()
        assert len((await reading).body) == written


async def test_a_client_that_sends_on_reads_its_refusal() -> None:
    recorder = Recorder(begin=lambda call: call.answer(413))
    async with (
        serving(recorder, tls=served(AUTHORITY)) as running,
        connect_tls(running.port, trusting(AUTHORITY)) as client,
    ):
        sending = asyncio.create_task(client.send(post(b"a" * 5_000_000)), name="send")
        answer = await client.answer()
        assert (answer.status, answer.closes) == (413, True)
        await asyncio.gather(sending, return_exceptions=True)


@pytest.mark.parametrize("abrupt", [False, True])
@pytest.mark.parametrize("ahead", [b"", get("/2")])
async def test_a_client_that_leaves(ahead: bytes, abrupt: bool) -> None:
    async with (
        serving(Recorder(complete=silent), tls=served(AUTHORITY)) as running,
        connect_tls(running.port, trusting(AUTHORITY)) as client,
    ):
        await client.send(get("/1") + ahead)
        call = await running.call()
        await call.happened("complete")
        await settle()
        if abrupt:
            client.writer.transport.abort()
        else:
            client.writer.close()
        await call.happened("left")
        await running.deserted()
        assert call.events == ["complete", "left"]


async def test_a_client_that_speaks_plain_http() -> None:
    """Nothing is ever said in plain text, and the log is not a place to complain of it."""
    async with serving(Recorder(), tls=served(AUTHORITY)) as running, connect(running.port) as client:
        await client.send(get())
        try:
            got = await client.rest()
        except ConnectionError:
            got = b""
        assert b"HTTP" not in got
        assert running.recorder.calls == []
        async with connect_tls(running.port, trusting(AUTHORITY)) as other:
            await other.send(get())
            assert (await other.answer()).status == 200


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"])
async def test_a_handshake_that_stalls(sent: bytes) -> None:
    async with (
        serving(Recorder(), replace(LONG, header=0.3), tls=served(AUTHORITY)) as running,
        connect(running.port) as client,
    ):
        await client.send(sent)
        await client.cut()
        assert running.connections == 0


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01"])
async def test_a_client_that_leaves_in_the_handshake(sent: bytes) -> None:
    async with serving(Recorder(), LONG, tls=served(AUTHORITY)) as running:
        async with connect(running.port) as client:
            await client.send(sent)
            await settle()
            client.reset()
            await settle()
        assert running.connections == 0


async def test_a_client_that_does_not_trust_us() -> None:
    async with serving(Recorder(), LONG, tls=served(AUTHORITY)) as running:
        with pytest.raises(ssl.SSLCertVerificationError):
            async with connect_tls(running.port, trusting(trustme.CA())):
                pass
        await settle()


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 20])
async def test_close_in_the_midst_of_handshakes(turns: int) -> None:
    async with (
        serving(Recorder(), LONG, tls=served(AUTHORITY)) as running,
        connect(running.port) as client,
    ):
        await client.send(b"\x16\x03\x01")
        for _ in range(turns):
            await asyncio.sleep(0)
        await running.server.close()
        await client.cut()


async def test_a_renewed_certificate_is_for_new_connections() -> None:
    renewed = trustme.CA()
    async with serving(Recorder(), LONG, tls=served(AUTHORITY)) as running:
        async with connect_tls(running.port, trusting(AUTHORITY)) as former:
            await former.send(get())
            await former.answer()
            running.server.tls = served(renewed)
            async with connect_tls(running.port, trusting(renewed)) as client:
                await client.send(get())
                assert (await client.answer()).status == 200
            await former.send(get())
            assert (await former.answer()).status == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            async with connect_tls(running.port, trusting(AUTHORITY)):
                pass
        await settle()


async def test_a_drain() -> None:
    async with (
        serving(Recorder(complete=silent), LONG, tls=served(AUTHORITY)) as running,
        connect_tls(running.port, trusting(AUTHORITY)) as idle,
        connect_tls(running.port, trusting(AUTHORITY)) as busy,
    ):
        await busy.send(get())
        call = await running.call()
        draining = asyncio.create_task(running.server.drain(20), name="drain")
        await idle.ended()
        call.answer()
        assert (await busy.answer()).closes
        await busy.ended()
        assert await draining == 0
