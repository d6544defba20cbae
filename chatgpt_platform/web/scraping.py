"""What /metrics takes besides the tallies: the library that writes them, and the measuring of the loop's lag."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from chatgpt_platform.gateway.call import Reply
from chatgpt_platform.observe.metrics import Metrics, Snapshot

if TYPE_CHECKING:
    from chatgpt_platform.observe.exposition import Exposition

LOOK_EVERY: Final = 0.5
"""Seconds between two looks at the event loop's lag."""


class Scraping:
    """The metrics as a Reply. Lives on one event loop, which its owner closes it on."""

    def __init__(self, metrics: Metrics, snapshot: Callable[[], Snapshot]) -> None:
        """``snapshot`` is asked once for each ``read``."""
        self.wanted = False
        """Whether somebody may read the metrics."""
        self._metrics: Final = metrics
        self._snapshot: Final = snapshot
        self._loading: asyncio.Task[Exposition] | None = None
        self._measuring: asyncio.Task[None] | None = None

    def switch(self, *, on: bool) -> None:
        """Measure the lag from now on, or no more."""
        self.wanted = on
        if on and self._measuring is None:
            self._measuring = asyncio.create_task(self._measure(), name="measure the event loop's lag")
        elif not on and self._measuring is not None:
            self._measuring.cancel()
            self._measuring = None

    async def read(self, accept: str) -> Reply:
        """All metrics as they are now. ``accept``: the header, or "". Raises what imports raise."""
        exposition = await self.load()
        await asyncio.to_thread(exposition.look)
        content_type, text = exposition.read(accept)
        return Reply(200, [(b"Content-Type", content_type)], text)

    async def load(self) -> Exposition:
        """Import what ``read`` needs, while calls go on. Raises what imports raise."""
        if self._loading is None or (self._loading.done() and self._loading.exception() is not None):
            # In a thread: it takes 50 ms, for which calls would wait.
            loading = asyncio.to_thread(_exposition, self._metrics, self._snapshot)
            self._loading = asyncio.create_task(loading, name="load the library of metrics")
        return await asyncio.shield(self._loading)

    async def close(self) -> None:
        """End what is under way."""
        self.switch(on=False)
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait((self._loading,))

    async def _measure(self) -> None:
        while True:
            due = time.monotonic() + LOOK_EVERY
            await asyncio.sleep(LOOK_EVERY)
            self._metrics.lag.add(max(0.0, time.monotonic() - due) * 1000)


def _exposition(metrics: Metrics, snapshot: Callable[[], Snapshot]) -> Exposition:
    from chatgpt_platform.observe.exposition import Exposition  # noqa: PLC0415 - few gateways need it

    return Exposition(metrics, snapshot)
