"""Faults below the events, byte by byte: heads, lengths, chunks, and what stands behind an answer."""

from __future__ import annotations

import http.client
import json
import re
import select
import socket
from contextlib import closing

import pytest

from chatgpt_platform.simulator.server import Behaviour
from support.gateway import wait_until
from support.simulated import CHAT, HEADERS, Simulated, simulated


def until_silent(connection: socket.socket) -> tuple[bytes, bool]:
    """What came, and whether the connection ended; else it is silent."""
    got = b""
    while select.select([connection], [], [], 0.3)[0]:
        piece = connection.recv(1 << 16)
        if not piece:
            return got, True
        got += piece
    return got, False


def asked(running: Simulated, *, stream: bool) -> tuple[bytes, bool]:
    with running.ask(stream=stream) as connection:
        return until_silent(connection)


def whole(running: Simulated, *, stream: bool) -> bytes:
    """The body, as a strict client reads it."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    with closing(connection):
        connection.request("POST", "/v1/chat/completions", json.dumps({**CHAT, "stream": stream}), dict(HEADERS))
        with connection.getresponse() as answer:
            assert answer.status == 200
            return answer.read()


def is_sound(body: bytes, *, stream: bool) -> bool:
    if stream:
        return body.endswith(b"data: [DONE]\n\n")
    return bool(json.loads(body)["choices"])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", ["dribble", "http10", "close-after", "silent-start"])
def test_odd_but_whole_answers(fault: str, stream: bool) -> None:
    with simulated(Behaviour(fail=fault, silence=0.1)) as running:
        assert is_sound(whole(running, stream=stream), stream=stream)
        wait_until(lambda: running.simulator.stats.served == 1)
        assert running.simulator.stats.cancelled == 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_head_that_dribbles(stream: bool) -> None:
    with simulated(Behaviour(fail="dribble", silence=600)) as running, running.ask(stream=stream) as connection:
        got = connection.recv(1)
        assert got == b"H"
        assert not select.select([connection], [], [], 0.2)[0], "the next byte takes seconds"


@pytest.mark.parametrize("stream", [False, True])
def test_answers_before_the_answer(stream: bool) -> None:
    with simulated(Behaviour(fail="early-hints")) as running:
        got, ended = asked(running, stream=stream)
        assert re.findall(rb"HTTP/1.1 (\d+) ", got) == [b"100", b"103", b"200"]
        assert ended
        wait_until(lambda: running.simulator.stats.served == 1)


def test_close_after_does_not_announce_the_close() -> None:
    with simulated(Behaviour(fail="close-after")) as running:
        got, ended = asked(running, stream=False)
        assert b"Connection: keep-alive\r\n" in got
        assert ended


@pytest.mark.parametrize("stream", [False, True])
def test_bytes_behind_an_answer(stream: bool) -> None:
    with simulated(Behaviour(fail="extra-bytes")) as running:
        got, ended = asked(running, stream=stream)
        assert got.endswith(b"belong to no answer\r\n")
        assert not ended
        running.simulator.behaviour = Behaviour(fail="extra-answer")
        got, ended = asked(running, stream=stream)
        assert got.count(b"HTTP/1.1 ") == 2
        assert not ended
        second = got[got.rindex(b"HTTP/1.1 ") :]
        head, _, body = second.partition(b"\r\n\r\n")
        assert b"Content-Length: %d" % len(body) in head
        assert json.loads(body)["error"]["message"] == "Nobody asked this."


@pytest.mark.parametrize("stream", [False, True])
def test_a_length_that_is_too_short(stream: bool) -> None:
    with simulated(Behaviour(fail="length-short")) as running:
        got, ended = asked(running, stream=stream)
        head, _, body = got.partition(b"\r\n\r\n")
        told = re.search(rb"Content-Length: (\d+)", head)
        assert told is not None
        assert int(told[1]) == len(body) // 2
        assert not ended


@pytest.mark.parametrize("stream", [False, True])
def test_a_chunk_without_a_size(stream: bool) -> None:
    with simulated(Behaviour(fail="bad-chunk")) as running, pytest.raises(http.client.IncompleteRead):
        whole(running, stream=stream)


@pytest.mark.parametrize("stream", [False, True])
def test_a_connection_that_is_half_closed_after_the_head(stream: bool) -> None:
    with simulated(Behaviour(fail="half-close")) as running, running.ask(stream=stream) as connection:
        got, ended = until_silent(connection)
        assert got.endswith(b"\r\n\r\n")
        assert got.startswith(b"HTTP/1.1 200 OK\r\n")
        assert ended
        connection.sendall(b"more")  # the other direction is open still
        assert running.simulator.stats.under_way == 1


@pytest.mark.parametrize("stream", [False, True])
def test_heads_that_are_none_or_too_long(stream: bool) -> None:
    with simulated(Behaviour(fail="bad-head")) as running:
        assert asked(running, stream=stream) == (b"SSH-2.0-OpenSSH_9.2\r\n", True)
        running.simulator.behaviour = Behaviour(fail="long-head")
        got, ended = asked(running, stream=stream)
        assert len(got.partition(b"\r\n\r\n")[0]) > 1 << 20
        assert not ended


@pytest.mark.parametrize("stream", [False, True])
def test_no_body(stream: bool) -> None:
    with simulated(Behaviour(fail="empty")) as running:
        assert whole(running, stream=stream) == b""
        running.simulator.behaviour = Behaviour(fail="no-content")
        got, ended = asked(running, stream=stream)
        assert got.startswith(b"HTTP/1.1 204 No Content\r\n")
        assert got.endswith(b"\r\n\r\n")
        assert not ended
