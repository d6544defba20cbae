"""A gateway under attack through raw sockets, and a client beside the attacker that must not feel it.

with attacked({}) as target:
    assert_refused(target, [b"G\\0T / HTTP/1.1"], 400, "platform")
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from chatgpt_platform.simulator.server import Behaviour
from support.answers import Answer, read_answers
from support.gateway import Running, gateway, wait_until

HEALTH = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"
PATIENCE = 20.0  # seconds: a guard against hanging


class Target:
    """A gateway under attack, and a client that it serves meanwhile."""

    def __init__(self, running: Running, healthy: socket.socket) -> None:
        self.running = running
        self._healthy = healthy
        self._seen = 0

    def forget(self) -> None:
        """What was logged so far belongs to another test."""
        self._seen = len(self.running.output())

    @property
    def upstream(self) -> tuple[int, int, int]:
        """What the upstream has seen: calls that were served, are under way, were cancelled."""
        stats = self.running.simulator.stats
        return stats.served, stats.under_way, stats.cancelled

    def serves_others(self) -> None:
        """On a connection that stays open all the time."""
        self._healthy.sendall(HEALTH)
        assert self._healthy.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.running.port), timeout=PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def send(self, pieces: Iterable[bytes], methods: Iterable[str] = ("GET",)) -> list[Answer]:
        """All answers up to the close, which must be one in good order. ``methods``: of the requests."""
        with self.connect() as attacker:
            for piece in pieces:
                attacker.sendall(piece)
            self.serves_others()
            return read_answers(rest_of(attacker), *methods)

    def new_records(self, count: int) -> list[dict[str, Any]]:
        """The access lines since the last time, without those of the healthy client; there is no other line."""

        def lines() -> list[str]:
            return [line for line in self.running.output()[self._seen :].splitlines() if "/readyz" not in line]

        wait_until(lambda: len(lines()) >= count)
        found = lines()
        self._seen = len(self.running.output())
        assert all(line.startswith("{") for line in found), found
        assert len(found) == count, found
        return [json.loads(line) for line in found]


def rest_of(connection: socket.socket) -> bytes:
    """Everything up to a close in good order."""
    got = b""
    while data := connection.recv(65536):
        got += data
    return got


@contextmanager
def attacked(environment: dict[str, str], behaviour: Behaviour | None = None) -> Iterator[Target]:
    """A gateway with these settings before this upstream, and the healthy client's connection."""
    with (
        gateway(environment, behaviour) as running,
        socket.create_connection(("127.0.0.1", running.port)) as healthy,
    ):
        healthy.settimeout(PATIENCE)
        yield Target(running, healthy)


def assert_refusal(answer: Answer, status: int, api: str, *, closes: bool = True) -> None:
    """A failure in the gateway's own shape, without a word of what is behind it."""
    assert (answer.status, answer.closes) == (status, closes), answer
    assert answer.fields[b"content-type"] == b"application/json; charset=utf-8"
    assert answer.fields[b"server"] == b"chatgpt-platform"
    assert b"Traceback" not in answer.body
    said = json.loads(answer.body)
    if api == "openai":
        assert set(said) == {"error"}
        assert set(said["error"]) == {"message", "type", "param", "code"}
        assert said["error"]["type"] == "invalid_request_error"
        assert said["error"]["message"]
    else:
        assert set(said) == {"code", "msg", "data"}
        assert (said["code"], said["msg"]) == (status, "failed")
        assert said["data"]["response"]


def assert_refused(target: Target, pieces: Iterable[bytes], status: int, api: str) -> None:
    answers = target.send(pieces)
    assert len(answers) == 1, answers
    assert_refusal(answers[0], status, api)
    (record,) = target.new_records(1)
    assert record["status"] == status
    assert record["request_id"].encode() == answers[0].fields[b"x-request-id"]


def bytewise(data: bytes) -> list[bytes]:
    """Its beginning byte by byte: there the parser decides."""
    return [*(data[at : at + 1] for at in range(min(len(data), 600))), *[data[600:]][: len(data) > 600]]
