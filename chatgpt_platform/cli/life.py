"""Signals, on each platform: what asks the process to stop, and what asks it to read its settings again."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from typing import Final


def on_stop(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    """Call ``stop`` on the loop at each SIGTERM and Ctrl-C, and on Windows at each Ctrl-Break too."""
    for name in ("SIGTERM", "SIGINT", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None:
            _handle(loop, number, stop)


def on_reload(loop: asyncio.AbstractEventLoop, reload: Callable[[], None]) -> None:
    """Call ``reload`` on the loop at each SIGHUP; Windows has no such signal."""
    number = getattr(signal, "SIGHUP", None)
    if number is not None:
        _handle(loop, number, reload)


def _handle(loop: asyncio.AbstractEventLoop, number: int, act: Callable[[], None]) -> None:
    if sys.platform == "win32":
        signal.signal(number, lambda *_: _pass_on(loop, act))
    else:
        loop.add_signal_handler(number, act)


def _pass_on(loop: asyncio.AbstractEventLoop, act: Callable[[], None]) -> None:
    if not loop.is_closed():  # the handler outlives the loop
        loop.call_soon_threadsafe(act)


class Stop:
    """The wish to stop: once to drain, twice to end at once."""

    def __init__(self) -> None:
        self.wanted: Final = asyncio.Event()
        self.at_once: Final = asyncio.Event()

    def __call__(self) -> None:
        (self.at_once if self.wanted.is_set() else self.wanted).set()
