"""A connection that the upstream closed while it was idle never costs a call, whenever it closed it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from chatgpt_platform.upstream.client import Client, Timeouts
from support.background import Background
from support.scripted import Peer, RawServer, answers

SLOW = Timeouts(10, 10, 10, 20)


class Elsewhere:
    """An upstream on a loop in another thread: it acts while the loop of the test has no turn."""

    def __init__(self, background: Background) -> None:
        self._background = background
        self.server = RawServer(answers)
        self._closed: set[Peer] = set()
        background.run(self.server.__aenter__())

    @property
    def requests(self) -> int:
        return sum(len(peer.requests) for peer in self.server.peers)

    def close(self, how: str, every: int) -> None:
        """One of so many of its connections; returns when that is done."""

        async def close() -> None:
            some = [peer for peer in self.server.peers if peer not in self._closed][::every]
            self._closed.update(some)
            for peer in some:
                peer.cut() if how == "end" else peer.reset()
            await asyncio.sleep(0)
            await asyncio.sleep(0)

        self._background.run(close())


@contextmanager
def elsewhere() -> Iterator[Elsewhere]:
    with Background() as background:
        upstream = Elsewhere(background)
        try:
            yield upstream
        finally:
            background.run(upstream.server.__aexit__(None, None, None))


async def ask(client: Client) -> None:
    response = client.begin(b"POST", b"/x", b"", b"{}")
    await response.head()
    assert await response.read_all(10) == b"ok"
    response.close()


@pytest.mark.gen_test
@pytest.mark.parametrize("how", ["end", "reset"])
@pytest.mark.parametrize("idle", [0.0, 1.0], ids=["just now", "a while ago"])
async def test_closed_in_the_same_turn_of_the_loop(idle: float, how: str) -> None:
    with elsewhere() as upstream:
        client = Client(upstream.server.url, SLOW)
        await ask(client)
        client._idle[0].idle_since -= idle
        upstream.close(how, 1)
        await ask(client)
        assert upstream.requests == 2
        assert len(upstream.server.peers) == 2
        await client.close()


@pytest.mark.gen_test
@pytest.mark.parametrize("how", ["end", "reset"])
async def test_many_closed_under_load(how: str) -> None:
    """Half of the connections close while the loop is busy: each call is answered, and was sent once."""
    rounds, calls = 10, 40
    with elsewhere() as upstream:
        client = Client(upstream.server.url, SLOW)
        for _ in range(rounds):
            async with asyncio.TaskGroup() as group:
                for _ in range(calls):
                    group.create_task(ask(client), name="call")
            upstream.close(how, 2)
        assert upstream.requests == rounds * calls
        await client.close()
