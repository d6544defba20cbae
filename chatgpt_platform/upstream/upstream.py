"""One upstream: the way to it, its keys, its circuit breaker, and how much it has to do."""

from __future__ import annotations

import asyncio
import logging
import math
import re
from typing import Final

from chatgpt_platform.errors import Problem
from chatgpt_platform.settings import schema
from chatgpt_platform.settings.outbound import expression
from chatgpt_platform.upstream import dialect
from chatgpt_platform.upstream.breaker import Breaker
from chatgpt_platform.upstream.client import Client, Response, Timeouts
from chatgpt_platform.upstream.keys import Key, KeyPool

LONGEST_REST: Final = 300.0
"""Seconds: however long an upstream asks to be left alone, one call in this time looks whether it means it."""


class Upstream:
    """An upstream as its settings have it. What it remembers ends with it.

    ``under_way``: calls that it has now. ``credit``: of the turns that upstreams of one priority take.
    ``last_problem``: the failure for which its breaker may be open. ``rests_until``: it asked, by the Retry-After
    of a 503, to be left alone, so others are preferred. All times are the loop's, in seconds.
    """

    def __init__(self, settings: schema.Upstream, logger: logging.Logger) -> None:
        times = settings.timeouts
        self.settings: Final = settings
        self.name: Final = settings.name
        self.client: Final = Client(
            settings.base_url,
            Timeouts(times.connect, times.first_byte, times.idle, times.total),
            headers=b"".join(
                b"%b: %b\r\n" % (name.encode(), value.reveal().encode("latin-1"))
                for name, value in settings.headers.items()
            ),
            proxy=settings.proxy.reveal(),
            ca_file=settings.ca_file,
        )
        self.logger = logger
        self.dialect: Final = dialect.of(settings.api, settings.api_version)
        self.plain: Final = settings.api == "openai" and not settings.rename
        """Calls go to it as they are: its paths are OpenAI's, its models have the names that callers use."""
        self.keys: Final = KeyPool(
            [
                Key(key.reveal(), self.dialect.key_line(key.reveal()), number)
                for number, key in enumerate(settings.api_keys, 1)
            ]
        )
        self.breaker: Final = Breaker()
        self.last_problem: Problem | None = None
        self.rests_until = 0.0
        self.under_way = 0
        self.credit = 0
        self.weight: Final = settings.weight
        self.total: Final = times.total
        self.most: Final = settings.concurrency or math.inf
        """Calls at a time."""
        self.asks_usage = settings.stream_usage
        """Whether streams are asked for their usage, which it may turn out not to take."""
        self.rename: Final = settings.rename
        """What it calls models, by the names that callers use."""
        self._serves: Final = _matcher(settings.models)

    def __repr__(self) -> str:
        return f"<Upstream {self.name}>"

    def serves(self, model: str) -> bool:
        """Whether the model, by the name that callers use, is one of its own."""
        return self._serves.fullmatch(model) is not None

    def own_key(self, key: str) -> Key:
        """A caller's key, as this upstream takes it."""
        return Key(key, self.dialect.key_line(key))

    @property
    def full(self) -> bool:
        """Whether it has as many calls as it may."""
        return self.under_way >= self.most

    def admits(self, now: float) -> bool:
        """Whether it can take a call now that brings its key."""
        return self.under_way < self.most and (self.breaker.closed or self.breaker.admits(now))

    def begin(
        self, method: bytes, path: bytes, key: Key, lines: bytes, body: bytes, trace: bytes, spent: float
    ) -> Response:
        """Send a call, whose end must take it off ``under_way``. The arguments as for ``Client.begin``."""
        response = self.client.begin(method, path, lines, body, key.header_line, trace, spent)
        self.under_way += 1
        if not self.breaker.closed:
            self.breaker.began(response, asyncio.get_running_loop().time())
        return response

    # What came of it.

    def reached(self) -> None:
        """A new connection came about, which is all that was wanting where none had."""
        if self.last_problem is not None and self.last_problem.safe and self.breaker.succeeded():
            self.logger.warning("%s: can be reached again", self.name)

    def answered(self, key: Key) -> None:
        """Well, or with a fault that is the caller's."""
        if key.ready_at and self.keys.works(key, asyncio.get_running_loop().time()):
            self.logger.warning("%s: key %d works again", self.name, key.number)
        if self.breaker.failures and self.breaker.succeeded():
            self.logger.warning("%s: answers again", self.name)

    def there(self) -> None:
        """It said something of the key alone: nobody need take it to be down."""
        if not self.breaker.closed and self.breaker.succeeded():
            self.logger.warning("%s: answers again", self.name)

    def failed(self, call: object, problem: Problem, now: float) -> None:
        """Not, or with a fault of its own. ``call``: the Response of ``begin``."""
        self.last_problem = problem
        if self.breaker.failed(call, now):
            self.logger.warning(
                "%s: is taken to be down, and left alone for %.3g s: %s",
                self.name, self.breaker.opens_in(now), problem,
            )  # fmt: skip

    def refuses_usage(self) -> None:
        """It has refused to be asked for the usage of a stream, and took the same call without."""
        if self.asks_usage:
            self.asks_usage = False
            self.logger.warning(
                "%s: does not take stream_options: it is not asked for the usage of streams any more, which is "
                "estimated where it tells none; stream_usage: false spares the attempt", self.name,
            )  # fmt: skip

    def rest(self, now: float, seconds: float) -> None:
        """It asked to be left alone."""
        self.rests_until = now + min(seconds, LONGEST_REST)

    def busy(self, key: Key, now: float, seconds: float | None) -> None:
        """With 429. ``seconds``: its Retry-After."""
        if not key.own:
            self.keys.rest(key, now, seconds)

    def refused(self, key: Key, now: float, why: str) -> None:
        """The key does not work."""
        if not key.own and self.keys.set_aside(key, now):
            others = "set aside" if len(self.keys.keys) > 1 else "the only one, and used all the same"
            self.logger.warning("%s: key %d does not work (%s): it is %s", self.name, key.number, why, others)


def _matcher(models: tuple[str, ...]) -> re.Pattern[str]:
    """``*`` stands for any text and ``?`` for one character; all else for itself."""
    return re.compile("|".join(map(expression, models)))
