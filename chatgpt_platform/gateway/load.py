"""How many calls are under way, in all and for each client, and the short queue of those that wait for a place.

A call that finds no place waits for one to be free; where too many wait, or it has waited for too long, it is
refused with 503. No client can fill the queue by itself.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final, NamedTuple

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.observe.metrics import Metrics
from chatgpt_platform.settings import schema

_SHARE: Final = 4
"""A client has at most a quarter of the queue."""


class Waiting(NamedTuple):
    """A call in the queue."""

    client: str
    attempt: Callable[[], bool]
    turn: asyncio.Future[bool]


class Load:
    """Places for calls. Outlives a configuration."""

    def __init__(self, settings: schema.Load, metrics: Metrics) -> None:
        self._metrics: Final = metrics
        self.under_way = 0
        self.entered = 0
        """Calls that have had a place, in all."""
        self._of_client: Final[dict[str, int]] = {}
        self.queue: Final[list[Waiting]] = []
        self.reconfigure(settings)

    def reconfigure(self, settings: schema.Load) -> None:
        self._calls = settings.calls or math.inf
        self._per_client = settings.calls_per_client
        self._most_waiting = settings.queue
        self._wait = settings.wait
        self.wake()

    def enter(self, client: str) -> bool:
        """Take a place, which ``leave`` must give back; False where there is none."""
        if self.under_way >= self._calls:
            return False
        if self._per_client:
            count = self._of_client.get(client, 0)
            if count >= self._per_client:
                return False
            self._of_client[client] = count + 1
        self.under_way += 1
        self.entered += 1
        return True

    def leave(self, client: str) -> None:
        """Give a place back."""
        self.under_way -= 1
        if self._of_client:
            count = self._of_client.pop(client, 0)
            if count > 1:
                self._of_client[client] = count - 1

    async def wait(self, client: str, attempt: Callable[[], bool]) -> None:
        """Until ``attempt``, which is made now and whenever something is free, succeeds.

        Raises Problem where too many wait already or it takes too long, and what ``attempt`` raises.
        """
        if attempt():
            return
        of_client = sum(each.client == client for each in self.queue)
        if len(self.queue) >= self._most_waiting:
            raise self._refused("queue", "too many calls wait already")
        if of_client * _SHARE >= self._most_waiting:
            raise self._refused("client", "too many calls of this client wait already")
        loop = asyncio.get_running_loop()
        waiting = Waiting(client, attempt, loop.create_future())
        timer = loop.call_later(self._wait, _give_up, waiting.turn)
        self.queue.append(waiting)
        try:
            if not await waiting.turn:
                raise self._refused("wait", f"no place was free within {self._wait:g} s")
        finally:
            timer.cancel()
            if waiting in self.queue:
                self.queue.remove(waiting)

    def wake(self) -> None:
        """Something is free: those who can go on do so, in the order in which they came."""
        for waiting in list(self.queue):
            if waiting.turn.done():
                continue
            try:
                if not waiting.attempt():
                    continue
            except Exception as error:  # noqa: BLE001 - it is that call's
                waiting.turn.set_exception(error)
            else:
                waiting.turn.set_result(True)
            self.queue.remove(waiting)

    def _refused(self, reason: str, why: str) -> Problem:
        self._metrics.shed(reason)
        seconds = max(1, math.ceil(self._wait))
        return Problem(Kind.UNAVAILABLE, "overloaded", retry_after=seconds, seconds=seconds, detail=why)


def _give_up(turn: asyncio.Future[bool]) -> None:
    if not turn.done():
        turn.set_result(False)
