"""A long-running command, on each platform: its event loop, and the signals that stop it and reload it."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final

from chatgpt_platform.cli import unpacked

if sys.platform == "win32":
    new_event_loop = asyncio.new_event_loop
else:
    from uvloop import new_event_loop


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run a command to its exit code: on uvloop where there is one, else on the stock loop."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)


def on_stop(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    """Call ``stop`` on the loop at each SIGTERM and Ctrl-C, and on Windows at each Ctrl-Break too.

    Also when the executable's launcher was killed: it is the process that people and supervisors know.
    """
    for name in ("SIGTERM", "SIGINT", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None:
            _handle(loop, number, stop)
    copy = unpacked.current()
    if copy is not None:
        copy.on_orphaned(loop, stop)


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
