"""On Windows' kind of event loop, whose transports hand out bytearrays with Python 3.11."""

from __future__ import annotations

import asyncio
import sys

import pytest

from chatgpt_platform.cli import life
from chatgpt_platform.upstream.client import Client, Timeouts
from support.proactor import ProactorLoop
from support.scripted import Peer, RawServer

CHUNK = b"4\r\nhalf\r\n"


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="bytes come out there")
@pytest.mark.filterwarnings("ignore:unclosed transport", "ignore:Exception ignored in")
def test_what_comes_is_bytes() -> None:
    kinds: list[type] = []

    async def exchange() -> None:
        taken, offered = asyncio.Event(), asyncio.Event()

        def sink(_: bytes) -> None:
            taken.set()

        def offer(data: bytes) -> bool:
            kinds.append(type(data))
            offered.set()
            return True

        async def answer(peer: Peer) -> None:
            await peer.request()
            await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNK)
            await taken.wait()  # only what comes alone is offered
            await peer.send(CHUNK)
            await peer.gone()

        asyncio.get_running_loop().set_exception_handler(life.let_go)
        async with RawServer(answer) as server:
            client = Client(server.url, Timeouts(10, 10, 10, 20))
            response = await client.open(b"POST", b"/x", b"", b"{}")
            pumping = asyncio.create_task(response.pump(sink, offer), name="pump")
            async with asyncio.timeout(10):
                await offered.wait()
            pumping.cancel()
            await asyncio.gather(pumping, return_exceptions=True)
            response.close()
            await client.close()

    with asyncio.Runner(loop_factory=ProactorLoop) as runner:
        runner.run(exchange())
    assert kinds == [bytes]
