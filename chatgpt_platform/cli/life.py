"""A long-running command, on each platform: its event loop, and what stops it and reloads it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
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
        if sys.platform == "win32":
            runner.get_loop().set_exception_handler(let_go)
        return runner.run(main)


def let_go(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Handle what asyncio's transports on Windows raise where the peer has reset a connection that ends: nothing
    is wrong, but they leave the socket open. All else is handled as ever."""
    if isinstance(context.get("exception"), OSError) and "_call_connection_lost" in context.get("message", ""):
        transport = getattr(getattr(context.get("handle"), "_callback", None), "__self__", None)
        left = getattr(transport, "_sock", None)
        if left is not None:
            left.close()
    else:
        loop.default_exception_handler(context)


def on_stop(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    """Call ``stop`` on the loop at each SIGTERM and Ctrl-C, and on Windows at each Ctrl-Break too.

    Also when the executable's launcher was killed: it is the process that people and supervisors know.
    """
    copy = unpacked.current()
    if copy is not None:
        copy.on_orphaned(loop, stop)
    if copy is not None and sys.platform == "linux":
        _count_by_sender(loop, copy.launcher, stop)
        return
    for name in ("SIGTERM", "SIGINT", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None:
            _handle(loop, number, stop)


def on_reload(loop: asyncio.AbstractEventLoop, reload: Callable[[], None]) -> None:
    """Call ``reload`` on the loop at each SIGHUP; Windows has no such signal."""
    number = getattr(signal, "SIGHUP", None)
    if number is not None:
        _handle(loop, number, reload)


class Manager:
    """Who runs a command, asks it to stop or reload, and is told how it is: this one asks with signals and need
    not be told."""

    def on_stop(self, loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
        """Call ``stop`` on the loop at each wish to stop."""
        on_stop(loop, stop)

    def on_reload(self, loop: asyncio.AbstractEventLoop, reload: Callable[[], None]) -> None:
        """Call ``reload`` on the loop at each wish to read the settings again."""
        on_reload(loop, reload)

    def ready(self) -> None:
        """Calls are taken from now on."""

    def stopping(self, drain: float) -> None:
        """No new calls; what is under way has ``drain`` seconds."""


if sys.platform == "linux":

    def _count_by_sender(loop: asyncio.AbstractEventLoop, launcher: int, stop: Callable[[], None]) -> None:
        """Call ``stop`` once for each wish, where one may come as two signals.

        A terminal, pkill and a supervisor may signal all processes, and the launcher hands on what it gets. So of
        the launcher's signals and everybody else's only the longer row counts.
        """
        wanted = (signal.SIGTERM, signal.SIGINT)
        signal.pthread_sigmask(signal.SIG_BLOCK, wanted)

        def wait() -> None:
            seen = {True: 0, False: 0}
            while True:
                by_launcher = signal.sigwaitinfo(wanted).si_pid == launcher
                seen[by_launcher] += 1
                if seen[by_launcher] > seen[not by_launcher]:
                    pass_on(loop, stop)

        threading.Thread(target=wait, name="wait for signals", daemon=True).start()


def _handle(loop: asyncio.AbstractEventLoop, number: int, act: Callable[[], None]) -> None:
    if sys.platform == "win32":
        signal.signal(number, lambda *_: pass_on(loop, act))
    else:
        loop.add_signal_handler(number, act)


def pass_on(loop: asyncio.AbstractEventLoop, act: Callable[[], None]) -> None:
    """Call ``act`` on the loop, from any thread; nothing once the loop has ended."""
    with contextlib.suppress(RuntimeError):  # it closes at this very moment
        if not loop.is_closed():
            loop.call_soon_threadsafe(act)


class Stop:
    """The wish to stop: once to drain, twice to end at once."""

    def __init__(self) -> None:
        self.wanted: Final = asyncio.Event()
        self.at_once: Final = asyncio.Event()

    def __call__(self) -> None:
        (self.at_once if self.wanted.is_set() else self.wanted).set()
