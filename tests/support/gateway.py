"""A real gateway before a real simulator, both on one background loop, for plain blocking tests.

Which server serves it, on which event loop, is the way (``support.ways``) that the test's folder has chosen.

    with gateway({"MINUTE_LIMIT": "3"}) as running:
        requests.get(running.url + "/chatgpt", params={"prompt": "Hello"})
        running.simulator.stats.served
        running.records()            # the access log so far

Log lines above INFO that a test does not announce in ``running.expected`` fail it when it leaves.
"""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chatgpt_platform.observe.logs import Logs
from chatgpt_platform.observe.redact import Redactor
from chatgpt_platform.settings.load import load
from chatgpt_platform.settings.schema import Settings
from chatgpt_platform.simulator.server import Behaviour, Simulator
from chatgpt_platform.web.service import Service
from support.background import Background
from support.ways import AnyServer, Way, chosen

KEY = "test-key-1"
NOWHERE = Path("/nonexistent-directory-of-the-tests")
_LOUD = re.compile(r"^\S+ (WARNING|ERROR|CRITICAL)\s+(.*)$")


def settings_of(environment: Mapping[str, str]) -> Settings:
    """Settings from environment names alone."""
    return load(environment, directory=NOWHERE).settings


class Running:
    """What a test can reach of a running gateway."""

    def __init__(
        self, background: Background, simulator: Simulator, environment: Mapping[str, str], way: Way
    ) -> None:
        self.way = way
        self.background = background
        self.simulator = simulator
        self.environment = environment
        self.expected: list[str] = []
        """Parts of the warnings and errors that this test provokes on purpose."""
        self.port = 0
        self._out = io.StringIO()
        self.logs = Logs("", "info", 0, 0, Redactor([KEY]), self._out)
        self.service: Service
        self.server: AnyServer

    async def start(self) -> None:
        """Listen on a free port."""
        self.service = Service(settings_of(self.environment), self.logs)
        self.server = self.way.server(self.service)
        self.port = self.server.listen("127.0.0.1", 0)

    async def stop(self) -> None:
        """Cut what is open; the end of each call is in the log then."""
        await self.server.close()
        await self.service.close()
        self.logs.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def output(self) -> str:
        """Everything logged so far."""
        self.logs.flush()
        return self._out.getvalue()

    def records(self) -> list[dict[str, Any]]:
        """The access log so far."""
        return [json.loads(line) for line in self.output().splitlines() if line.startswith("{")]

    def record(self) -> dict[str, Any]:
        """The access line of the only call so far, awaited."""
        wait_until(lambda: len(self.records()) >= 1)
        (only,) = self.records()
        return only

    def loud(self) -> list[str]:
        """Warnings and errors that were not announced."""
        found = [match[0] for line in self.output().splitlines() if (match := _LOUD.match(line))]
        return [line for line in found if not any(part in line for part in self.expected)]


@contextmanager
def gateway(
    environment: Mapping[str, str] | None = None,
    behaviour: Behaviour | None = None,
    *,
    key: str = KEY,
    way: Way | None = None,
) -> Iterator[Running]:
    """A gateway on 127.0.0.1 whose upstream is a simulator; ``environment`` adds to its settings."""
    way = way or chosen.get()
    with Background(way.loop_factory) as background:
        simulator = Simulator(behaviour or Behaviour())

        async def listen() -> int:
            return simulator.listen()

        upstream = background.run(listen())
        base = {"API_KEY": key, "BASE_URL": f"http://127.0.0.1:{upstream}/v1", **(environment or {})}
        running = Running(background, simulator, base, way)
        background.run(running.start())
        try:
            yield running
        finally:
            background.run(running.stop())
            background.run(simulator.stop())
    assert running.loud() == []


def wait_until(condition: Callable[[], bool], patience: float = 10.0, pause: float = 0.005) -> None:
    """Poll for what no event tells, every ``pause`` seconds; the deadline only guards against hanging."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(pause)
