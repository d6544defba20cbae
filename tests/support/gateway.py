"""A real gateway before a real simulator, both on one background loop, for plain blocking tests.

Which server serves it, on which event loop, is the way (``support.ways``) that the test's folder has chosen.

    with gateway({"MINUTE_LIMIT": "3"}) as running:
        requests.get(running.url + "/chatgpt", params={"prompt": "Hello"})
        running.simulator.stats.served
        running.records()            # the access log so far

Log lines above INFO that a test does not announce in ``running.expected`` fail it when it leaves; so do calls that
have not given back what they held, and a key in the log. Several upstreams: see ``support.fleet``.
"""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
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
        self,
        background: Background,
        simulators: Mapping[str, Simulator],
        environment: Mapping[str, str],
        way: Way,
    ) -> None:
        """``simulators``: by the names of the upstreams that they are."""
        self.way = way
        self.background = background
        self.simulators = simulators
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

    def flush(self) -> None:
        """What the owner's timer does: hand on to the disk what there is."""

        async def flush() -> None:
            self.service.flush()

        self.background.run(flush())

    @property
    def simulator(self) -> Simulator:
        """The first."""
        return next(iter(self.simulators.values()))

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

    def held(self) -> dict[str, int]:
        """What calls hold, by its name: places in the gateway and its queue, the upstreams' calls, and what they
        may use of their accounts."""
        load = self.service.load
        figures = {each.name: each.under_way for each in self.service.fleet.upstreams}
        figures |= {"under way": load.under_way, "waiting": len(load.queue)}
        accounts = self.service.accounts
        for each in (accounts.anonymous, *accounts.ring.accounts.values()):
            figures |= {f"calls of {each.name}": len(each.under_way), f"waiting of {each.name}": len(each.waiting)}
            figures |= {f"{item.name} of {each.name}": item.allowance.held for item in each.items}
        return {name: figure for name, figure in figures.items() if figure}

    def keys_shown(self) -> list[str]:
        """The keys of upstreams and callers that stand in the log: by their places, lest a failing test shows
        them."""
        output = self.output()
        virtual = [f"key of {each.name}" for each in self.service.settings.keys if each.key.reveal() in output]
        return virtual + [
            f"key {number} of {upstream.name}"
            for upstream in self.service.settings.upstreams
            for number, key in enumerate(upstream.api_keys, 1)
            if key.reveal() in output
        ]


@contextmanager
def gateway(
    environment: Mapping[str, str] | None = None,
    behaviour: Behaviour | None = None,
    *,
    key: str = KEY,
    way: Way | None = None,
) -> Iterator[Running]:
    """A gateway on 127.0.0.1 whose upstream is a simulator; ``environment`` adds to its settings."""
    simulator = Simulator(behaviour or Behaviour())
    way = way or chosen.get()
    with Background(way.loop_factory) as background, ExitStack() as stack:
        base = {"API_KEY": key, "BASE_URL": listening(simulator, background, stack), **(environment or {})}
        with served(Running(background, {"openai": simulator}, base, way)) as running:
            yield running


def listening(simulator: Simulator, background: Background, stack: ExitStack) -> str:
    """Its base URL; it stops with the stack."""

    async def listen() -> int:
        return simulator.listen()

    port = background.run(listen())
    stack.callback(lambda: background.run(simulator.stop()))
    return f"http://127.0.0.1:{port}/v1"


@contextmanager
def served(running: Running) -> Iterator[Running]:
    """Let it serve, and look at what it leaves behind."""
    running.background.run(running.start())
    try:
        yield running
    finally:
        running.background.run(running.stop())
    assert running.loud() == []
    assert running.held() == {}, "not given back"
    assert running.keys_shown() == []


def wait_until(condition: Callable[[], bool], patience: float = 10.0, pause: float = 0.005) -> None:
    """Poll for what no event tells, every ``pause`` seconds; the deadline only guards against hanging."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(pause)
