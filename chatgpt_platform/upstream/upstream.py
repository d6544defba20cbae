"""One upstream: the way to it, its keys, its circuit breaker, and how much it has to do."""

from __future__ import annotations

import logging
import re
from typing import Final

from chatgpt_platform.errors import Problem
from chatgpt_platform.settings import schema
from chatgpt_platform.upstream import dialect
from chatgpt_platform.upstream.breaker import Breaker
from chatgpt_platform.upstream.client import Client, Response, Timeouts
from chatgpt_platform.upstream.keys import Key, KeyPool


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
        self._concurrency: Final = settings.concurrency
        self._rename: Final = settings.rename
        self._serves: Final = _matcher(settings.models)

    def __repr__(self) -> str:
        return f"<Upstream {self.name}>"

    def serves(self, model: str) -> bool:
        """Whether the model, by the name that callers use, is one of its own."""
        return self._serves.fullmatch(model) is not None

    def own_key(self, key: str) -> Key:
        """A caller's key, as this upstream takes it."""
        return Key(key, self.dialect.key_line(key))

    def name_of(self, model: str) -> str:
        """What this upstream calls the model."""
        return self._rename.get(model, model)

    @property
    def full(self) -> bool:
        """Whether it has as many calls as it may."""
        return 0 < self._concurrency <= self.under_way

    def admits(self, now: float) -> bool:
        """Whether it can take a call now that brings its key."""
        return not self.full and (self.breaker.closed or self.breaker.admits(now))

    def begin(
        self, method: bytes, path: bytes, model: str, key: Key, lines: bytes, body: bytes,
        trace: bytes, spent: float,
    ) -> Response:  # fmt: skip
        """Send a call, which ``release`` must follow once. The arguments as for ``Client.begin``.

        ``model``: what this upstream calls it, which ``body`` names already.
        """
        self.under_way += 1
        self.breaker.began()
        where = self.dialect.path(path, model)
        return self.client.begin(method, where, lines, body, key_line=key.header_line, trace=trace, spent=spent)

    def release(self) -> None:
        """A call is over, whatever came of it."""
        self.under_way -= 1

    # What came of it.

    def answered(self, key: Key) -> None:
        """Well, or with a fault that is the caller's."""
        if key.waited or key.aside:
            if key.aside and not key.own:
                self.logger.warning("%s: key %d works again", self.name, key.number)
            self.keys.works(key)
        if self.breaker.succeeded():
            self.logger.warning("%s: answers again", self.name)

    def failed(self, problem: Problem, now: float, rest: float | None = None) -> None:
        """Not, or with a fault of its own. ``rest``: seconds for which it asked to be left alone."""
        self.last_problem = problem
        if rest:
            self.rests_until = now + rest
        if self.breaker.failed(now):
            self.logger.warning(
                "%s: is taken to be down, and left alone for %.3g s: %s",
                self.name, self.breaker.opens_in(now), problem,
            )  # fmt: skip

    def busy(self, key: Key, now: float, seconds: float | None) -> None:
        """With 429. ``seconds``: its Retry-After."""
        self.breaker.abandoned()
        if not key.own:
            self.keys.rest(key, now, seconds)

    def refused(self, key: Key, now: float, why: str) -> None:
        """The key does not work."""
        self.breaker.abandoned()
        if not key.own and self.keys.set_aside(key, now):
            others = "set aside" if len(self.keys.keys) > 1 else "the only one, and used all the same"
            self.logger.warning("%s: key %d does not work (%s): it is %s", self.name, key.number, why, others)


def _matcher(models: tuple[str, ...]) -> re.Pattern[str]:
    """``*`` stands for any text and ``?`` for one character; all else for itself."""
    patterns = (re.escape(each).replace(r"\*", ".*").replace(r"\?", ".") for each in models)
    return re.compile("|".join(patterns), re.DOTALL)
