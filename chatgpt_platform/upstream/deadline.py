"""The one timer of a connection to an upstream, where no phase lasts longer than the whole may."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from chatgpt_platform.wire import deadline


class Deadline(deadline.Deadline):
    """A deadline for phases that all end with their exchange."""

    __slots__ = ("_total",)

    def __init__(self, loop: asyncio.AbstractEventLoop, expire: Callable[[str], None]) -> None:
        super().__init__(loop, expire)
        self._total = math.inf

    def begin(self, total: float, at: float = math.inf, phase: str = "") -> None:
        """From now on nothing lasts longer than until ``total``, whatever the phase.

        ``at``: when the first phase ends. Both in the loop's time.
        """
        self._total = total
        if at == math.inf:
            return
        self._at, self._phase = (at, phase) if at <= total else (total, "total")
        if self._fires > self._at:
            self._set()

    def expect(self, seconds: float, phase: str) -> None:
        """The phase ends within ``seconds``, or it has taken too long."""
        self._at = self._loop.time() + seconds
        self._phase = phase
        if self._at > self._total:
            self._at, self._phase = self._total, "total"
        if self._fires > self._at:
            self._set()

    def prolong(self, seconds: float) -> None:
        """The phase goes on, and ends within ``seconds`` from now: ``expect`` for a time that only moves on."""
        self._at = self._loop.time() + seconds

    def _on_timer(self) -> None:
        if self._at > self._total:
            self._at, self._phase = self._total, "total"
        super()._on_timer()

    def rest(self) -> None:
        """Nothing is waited for: only the time for the whole goes on running."""
        self._at, self._phase = self._total, "total"
