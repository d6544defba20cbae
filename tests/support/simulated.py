"""A simulator on a background loop, for plain blocking tests.

with simulated(Behaviour(tokens=5)) as running:
    requests.get(running.base_url + "/models", headers=HEADERS)
    running.simulator.stats.served
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from chatgpt_platform.simulator.server import Behaviour, Simulator
from support.background import Background

KEY = "test-key-1"
HEADERS = {"Authorization": f"Bearer {KEY}"}
CHAT: Mapping[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
SOUND = Behaviour()


@dataclass(frozen=True)
class Simulated:
    """What a test can reach of a running simulator."""

    background: Background
    simulator: Simulator
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def connect(self) -> socket.socket:
        """A raw connection that never waits for ever."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def ask(self, path: str = "/v1/chat/completions", **members: object) -> socket.socket:
        """A raw connection on which a chat has been asked for; ``members`` add to its body."""
        connection = self.connect()
        connection.sendall(request_bytes(path, {**CHAT, **members}))
        return connection


def request_bytes(path: str, members: Mapping[str, object]) -> bytes:
    """A POST as it goes over the wire."""
    body = json.dumps(members).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@contextmanager
def simulated(behaviour: Behaviour = SOUND, host: str = "127.0.0.1") -> Iterator[Simulated]:
    """A simulator on a free port; it is stopped, and nothing of it may be left running, at the end."""
    with Background() as background:
        simulator = Simulator(behaviour)

        async def listen() -> int:
            return simulator.listen(host=host)

        port = background.run(listen())
        try:
            yield Simulated(background, simulator, port)
        finally:
            background.run(simulator.stop())
