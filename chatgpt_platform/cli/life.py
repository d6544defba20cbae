"""A long-running command, on each platform: its event loop, and what stops it and reloads it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final

from chatgpt_platform.cli import unpacked

if sys.platform == "win32":
    new_event_loop = asyncio.new_event_loop
else:
    from uvloop import new_event_loop


CLOSES_WITHIN: Final = 1.0
"""Seconds that the event loop gets for its end: a name that is being looked up holds it up for half a minute."""


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run a command to its exit code: on uvloop where there is one, else on the stock loop.

    Everything is done and written when the command has ended; a loop that does not close is left to the system.
    """
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        if sys.platform == "win32":
            runner.get_loop().set_exception_handler(let_go)
        code = runner.run(main)
        impatience = threading.Timer(CLOSES_WITHIN, _leave, [code])
        impatience.daemon = True
        impatience.start()
    impatience.cancel()
    return code


def _leave(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, broken, or not there at all
            stream.flush()
    copy = unpacked.current()
    if copy is not None:
        copy.leave()
    os._exit(code)


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


def on_stop(loop: asyncio.AbstractEventLoop, stop: Callable[[], None], *, reloads: bool = False) -> None:
    """Call ``stop`` on the loop at each SIGTERM and Ctrl-C, and on Windows at each Ctrl-Break too.

    Also when the executable's launcher was killed: it is the process that people and supervisors know.
    ``reloads``: ``on_reload`` will follow, and until then SIGHUP waits.
    """
    copy = unpacked.current()
    if copy is not None:
        copy.on_orphaned(loop, stop)
        if sys.platform == "linux" and reloads:
            # Before there are other threads: one that could take it would end the process.
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    _on_signals(loop, ("SIGTERM", "SIGINT", "SIGBREAK"), stop)


def on_reload(loop: asyncio.AbstractEventLoop, reload: Callable[[], None]) -> None:
    """Call ``reload`` on the loop at each SIGHUP; Windows has no such signal."""
    _on_signals(loop, ("SIGHUP",), reload)


class Manager:
    """Who runs a command, asks it to stop or reload, and is told how it is: this one asks with signals and need
    not be told."""

    def on_stop(self, loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
        """Call ``stop`` on the loop at each wish to stop; to be called before any thread is started."""
        on_stop(loop, stop, reloads=True)

    def on_reload(self, loop: asyncio.AbstractEventLoop, reload: Callable[[], None]) -> None:
        """Call ``reload`` on the loop at each wish to read the settings again."""
        on_reload(loop, reload)

    def ready(self) -> None:
        """Calls are taken from now on."""

    def stopping(self, drain: float) -> None:
        """No new calls; what is under way has ``drain`` seconds."""


class Echoes:
    """Which signals are new wishes, where one may come as two signals.

    A terminal, pkill and a supervisor may signal all of the executable's processes, and its launcher hands on what
    it gets: then one signal comes from it and one from elsewhere, in either order.
    """

    WITHIN: Final = 2.0
    """Seconds between the two, at most; a launcher that gets no processor time may be late."""

    def __init__(self) -> None:
        self._unpaired: Final[dict[bool, deque[float]]] = {True: deque(), False: deque()}

    def is_new(self, *, by_launcher: bool, now: float) -> bool:
        """Take one signal; ``now`` in seconds, of any clock that does not jump."""
        others = self._unpaired[not by_launcher]
        while others and others[0] < now - self.WITHIN:
            others.popleft()
        if others:
            others.popleft()
            return False
        self._unpaired[by_launcher].append(now)
        return True


def _on_signals(loop: asyncio.AbstractEventLoop, names: Iterable[str], act: Callable[[], None]) -> None:
    """Call ``act`` on the loop at each of these signals that this platform has."""
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    copy = unpacked.current()
    if sys.platform == "win32":
        for number in numbers:
            signal.signal(number, lambda *_: pass_on(loop, act))
    elif sys.platform == "linux" and copy is not None:
        once_each(loop, copy.launcher, numbers, act)
    else:
        for number in numbers:
            loop.add_signal_handler(number, act)


if sys.platform == "linux":

    def once_each(
        loop: asyncio.AbstractEventLoop, launcher: int, numbers: Sequence[int], act: Callable[[], None]
    ) -> None:
        """Call ``act`` on the loop at each of these signals but those that are another's echo."""
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)

        def wait() -> None:
            # All, or this thread would take those that others wait for, and end the process.
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            echoes = Echoes()
            while True:
                sender = signal.sigwaitinfo(numbers).si_pid
                if echoes.is_new(by_launcher=sender == launcher, now=time.monotonic()):
                    pass_on(loop, act)

        # Only sigwaitinfo tells who sent a signal, and it waits.
        threading.Thread(target=wait, name="wait for signals", daemon=True).start()


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
