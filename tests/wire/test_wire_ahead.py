"""Bytes that come in the turn of the loop between an answer and the request behind it.

uvloop polls its sockets in between; the stock loop may have read already. So this is driven without sockets.
"""

from __future__ import annotations

import asyncio
import logging

import pytest
import trustme

from chatgpt_platform.wire.connection import MAX_AHEAD, Connection
from chatgpt_platform.wire.server import Server
from support.answers import connect, connect_tls, read_answers
from support.recorder import Recorder, get, post, serving, settle
from support.tls import served, trusting


class Sink(asyncio.Transport):
    """A transport that keeps what is written, and notes who is made to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closing = False
        self.paused = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is buffered."""

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    abort = close

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


async def test_no_part_of_a_body_is_ever_read_as_a_request() -> None:
    """The smuggling property: whatever is done with the bytes in between, what follows them is no request."""
    recorder, transport = Recorder(), Sink()
    server = Server(recorder, logging.getLogger("wire"))
    connection = Connection(server, "127.0.0.1", secure=False)
    connection.connection_made(transport)
    hidden = get("/hidden")
    first, between = b"a" * 1000, b"b" * (MAX_AHEAD + 1)
    head = post(len(first) + len(between) + len(hidden), target="/body")
    connection.data_received(get("/first") + head + first)  # answered at once; the rest waits for a turn
    connection.data_received(between)
    await settle()
    connection.data_received(hidden)
    await settle()
    targets = [call.target for call in recorder.calls]
    connection.connection_lost(None)
    assert "/hidden" not in targets
    answers = read_answers(transport.written)
    assert answers[0].body == b"/first "
    if targets == ["/first", "/body"]:
        assert answers[1].body == b"/body " + first + between + hidden
    else:
        assert transport.closing, "it may be dropped, but then the connection is over"


@pytest.mark.parametrize("size", [10, 100_000, 3_000_000])
async def test_a_large_body_behind_another_request(size: int) -> None:
    """A client may pipeline an upload; all of it, in whatever pieces it comes."""
    async with serving(Recorder()) as running, connect(running.port) as client:
        data = get("/1") + post(b"a" * size, target="/2") + get("/3")
        sending = asyncio.create_task(client.send(data), name="send")
        assert [len(answer.body) for answer in await client.answers(3)] == [3, 3 + size, 3]
        await sending


async def test_a_large_body_behind_another_request_under_tls() -> None:
    """uvloop hands on one record after another in the same turn."""
    authority = trustme.CA()
    async with (
        serving(Recorder(), tls=served(authority)) as running,
        connect_tls(running.port, trusting(authority)) as client,
    ):
        body = b"a" * 3_000_000
        await client.send(get("/1") + post(body, target="/2") + get("/3"))
        assert [(await client.answer()).body for _ in range(3)] == [b"/1 ", b"/2 " + body, b"/3 "]
