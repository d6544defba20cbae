"""Attackers that send little and wait: each phase ends in its time, beside a healthy client."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from support.answers import Answer, read_answers
from support.attacked import PATIENCE, Target, assert_refusal, attacked
from support.attacks import FIRST_LINES, GOOD, JSON, TYPE

TIMES = {
    "CHATGPT_SERVER__TIMEOUTS__HEADER": "300ms",
    "CHATGPT_SERVER__TIMEOUTS__BODY": "300ms",
    "CHATGPT_SERVER__TIMEOUTS__IDLE": "1s",  # the healthy client asks more often
}
GAP = 0.02  # seconds between two bytes
ENDLESS = 400  # bytes that take longer than any of the times


class Slow:
    """An attacker that sends its first bytes at once and then one at a time."""

    def __init__(self, target: Target, at_once: bytes, drops: bytes) -> None:
        self._socket = target.connect()
        self._socket.sendall(at_once)
        self._socket.setblocking(False)
        self._drops = drops
        self._got = b""
        self.ended = False

    def step(self) -> None:
        """Send a byte, and read what has come."""
        if self.ended:
            return
        drop, self._drops = self._drops[:1], self._drops[1:]
        try:
            self._socket.send(drop)
            while data := self._socket.recv(65536):
                self._got += data
        except BlockingIOError:
            return
        except ConnectionError:
            pass  # it may be cut, but not in the middle of an answer
        self.ended = True

    def answers(self) -> list[Answer]:
        self._socket.close()
        return read_answers(self._got)


def run(target: Target, attackers: list[Slow]) -> None:
    """Until all of them have been sent away."""
    deadline = time.monotonic() + PATIENCE
    while not all(each.ended for each in attackers):
        assert time.monotonic() < deadline, "some are still connected"
        for each in attackers:
            each.step()
        target.serves_others()
        time.sleep(GAP)


@pytest.fixture
def target() -> Iterator[Target]:
    with attacked(TIMES) as target:
        yield target
        target.serves_others()


HEAD = b"\r\n".join((FIRST_LINES["openai"], b"Host: x", TYPE, b""))
LENGTH = HEAD + b"Content-Length: %d\r\n\r\n" % len(JSON)
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

DRIBBLES = {
    "nothing": (b"", b"", None),
    "empty lines": (b"", b"\r\n" * ENDLESS, None),
    "a method": (b"", b"A" * 10, (408, "platform")),
    "a target": (b"GET /", b"a" * ENDLESS, (408, "platform")),
    "a request line without its end": (b"GET / HTTP/1.1", b"\r", (408, "platform")),
    "a request line": (b"GET / HTTP/1.1\r\n", b"", (408, "platform")),
    "a header": (HEAD + b"X: ", b"a" * ENDLESS, (408, "openai")),
    "header lines": (HEAD, b"X:y\r\n" * ENDLESS, (408, "openai")),
    "a name": (HEAD, b"a" * ENDLESS, (408, "openai")),
    "spaces": (HEAD + b"X:", b" " * ENDLESS, (408, "openai")),
    "a body": (LENGTH, JSON[:-1], (408, "openai")),
    "a long body": (HEAD + b"Content-Length: 100000\r\n\r\n", b"x" * ENDLESS, (408, "openai")),
    "no body": (LENGTH, b"", (408, "openai")),
    "a body that was invited": (
        HEAD + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n", b"", (408, "openai")
    ),
    "a size": (CHUNKED, b"0" * ENDLESS, (408, "openai")),
    "an extension": (CHUNKED + b"1;x", b"y" * ENDLESS, (408, "openai")),
    "chunks": (CHUNKED, b"1\r\nx\r\n" * ENDLESS, (408, "openai")),
    "a chunk": (CHUNKED + b"fff\r\n", b"x" * ENDLESS, (408, "openai")),
    "an end": (CHUNKED + b"0\r\n", b"\r", (408, "openai")),
    "a trailer": (CHUNKED + b"0\r\n", b"X: y\r\n\r\n", (400, "openai")),
    "a handshake": (b"", b"\x16\x03\x01\x02\x00\x01", (400, "platform")),
    "a bad header": (HEAD, b"X : y\r\n", (400, "openai")),
}  # fmt: skip


@pytest.mark.parametrize("before", [b"", GOOD], ids=["at first", "behind a good one"])
def test_dribbles(target: Target, before: bytes) -> None:
    attackers = {name: Slow(target, before + at_once, drops) for name, (at_once, drops, _) in DRIBBLES.items()}
    run(target, list(attackers.values()))
    count = 0
    for name, (_, _, expected) in DRIBBLES.items():
        answers = [answer for answer in attackers[name].answers() if answer.status != 100]
        if before:
            assert answers.pop(0).status == 200, name
        assert len(answers) == (expected is not None), name
        if expected is not None:
            assert_refusal(answers[0], *expected)
        count += (expected is not None) + bool(before)
    target.new_records(count)
    assert target.upstream == (len(DRIBBLES) if before else 0, 0, 0)


@pytest.mark.parametrize("chunked", [False, True])
def test_who_stops_anywhere_is_told_so(target: Target, chunked: bool) -> None:
    """At each byte of a request that the upstream would have answered, had it come."""
    whole = CHUNKED + b"%x;x=y\r\n%b\r\n0\r\n\r\n" % (len(JSON), JSON) if chunked else LENGTH + JSON
    attackers = [Slow(target, whole[:size], b"") for size in range(1, len(whole))]
    run(target, attackers)
    for size, attacker in enumerate(attackers, start=1):
        (answer,) = attacker.answers()
        assert_refusal(answer, 408, "openai" if size >= len(b"POST /v1") else "platform")
    target.new_records(len(attackers))
    assert target.upstream == (0, 0, 0)


def test_who_leaves_anywhere_leaves_nothing(target: Target) -> None:
    """A half-close counts as leaving; what had no head is no call."""
    whole = LENGTH + JSON
    attackers = []
    for size in range(len(whole)):
        attacker = target.connect()
        attacker.sendall(whole[:size])
        attacker.shutdown(socket.SHUT_WR)
        attackers.append(attacker)
    for attacker in attackers:
        assert attacker.recv(65536) == b""
        attacker.close()
    records = target.new_records(len(JSON))
    assert {record["status"] for record in records} == {499}
    assert target.upstream == (0, 0, 0)
