"""Runs a coroutine without a task, for calls that wait: most do so once, and a task takes more time than that.

What a course cannot do is what needs to know the present task, such as ``asyncio.timeout``: that belongs into a
task which the coroutine awaits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Course:
    """Takes a coroutine on, each time that what it waits for is there."""

    __slots__ = ("_awaited", "_cancelled", "_coroutine")

    def __init__(self) -> None:
        self._coroutine: Coroutine[Any, Any, None] | None = None
        self._awaited: asyncio.Future[Any] | None = None
        self._cancelled = False

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run it, now, up to the first thing that it waits for.

        ``coroutine`` must not raise, not even its cancellation: nobody would be told.
        """
        self._coroutine = coroutine
        self._go_on(None)

    def cancel(self) -> None:
        """As ``Task.cancel``: what it waits for is cancelled, and so ``CancelledError`` raised where it waits."""
        if self._awaited is None or not self._awaited.cancel():
            self._cancelled = True  # once it goes on, which may be under way

    def _go_on(self, _: object) -> None:
        coroutine = self._coroutine
        assert coroutine is not None
        self._awaited = None
        try:
            if self._cancelled:
                self._cancelled = False  # once: what it does about it may wait in peace
                awaited = coroutine.throw(asyncio.CancelledError())
            else:
                awaited = coroutine.send(None)
        except StopIteration:
            self._coroutine = None
            return
        if awaited is None:  # asyncio.sleep(0)
            asyncio.get_running_loop().call_soon(self._go_on, None)
            return
        # What a future and whoever drives its waiter agree on (asyncio.futures, "_asyncio_future_blocking").
        awaited._asyncio_future_blocking = False
        awaited.add_done_callback(self._go_on)
        self._awaited = awaited
        if self._cancelled and awaited.cancel():
            self._cancelled = False
