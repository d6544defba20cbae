"""When a stream has been silent for so long that somebody between here and its reader might take it for dead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

_LOOKS: Final = 4
"""Looks in the time of a heartbeat: one is due where all but the first found nothing new, so never too late."""


class Pulse:
    """Asks for a heartbeat where nothing was sent for a while. To look now and then costs a busy stream
    nothing."""

    __slots__ = ("_beat", "_every", "_loop", "_sent", "_silent", "_so_far", "_timer")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, every: float, sent: Callable[[], int], beat: Callable[[], None]
    ) -> None:
        """``every``: seconds. ``sent``: bytes so far. ``beat``: sends some."""
        self._loop: Final = loop
        self._every: Final = every / _LOOKS
        self._sent: Final = sent
        self._beat: Final = beat
        self._so_far = sent()
        self._silent = 0
        self._timer = loop.call_later(self._every, self._look)

    def stop(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        self._timer = self._loop.call_later(self._every, self._look)
        sent = self._sent()
        if sent != self._so_far:
            self._so_far, self._silent = sent, 0
            return
        self._silent += 1
        if self._silent >= _LOOKS - 1:
            self._beat()
            self._so_far, self._silent = self._sent(), 0
