"""Reports from the ledger while calls go on: in threads, two at a time, each for so long at most."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from chatgpt_platform.errors import Kind, Problem

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor
    from sqlite3 import Connection

T = TypeVar("T")

AT_A_TIME: Final = 2
MOST_WAITING: Final = 8
LONGEST: Final = 20.0
"""Seconds that one may take."""
_LOOK_EVERY: Final = 10_000
"""Steps of SQLite's machine between two looks at whether it may go on: a millisecond at most."""


class Inquiries:
    """Lives on one event loop, which its owner closes it on."""

    def __init__(self, longest: float | None = None) -> None:
        """``longest``: seconds that one may take."""
        self._loop: Final = asyncio.get_running_loop()
        self._longest: Final = LONGEST if longest is None else longest
        self._pool: ThreadPoolExecutor | None = None
        self.begun = 0
        """Those that are under way or wait."""
        self._closing: Final = threading.Event()

    async def run(self, directory: Path, ask: Callable[[Connection], T]) -> T:
        """What ``ask`` makes of the ledger in this directory. Raises Problem.

        Where the caller leaves, the reading ends soon after.
        """
        if self.begun >= AT_A_TIME + MOST_WAITING:
            raise Problem(Kind.UNAVAILABLE, "overloaded", retry_after=1, seconds=1)
        left = threading.Event()
        self.begun += 1
        reading = self._threads().submit(self._read, directory, ask, left)
        reading.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self._ended))
        try:
            return await asyncio.wrap_future(reading)
        finally:
            left.set()

    async def close(self) -> None:
        """End what is under way."""
        self._closing.set()
        if self._pool is not None:
            pool = self._pool
            await asyncio.to_thread(lambda: pool.shutdown(cancel_futures=True))

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - few gateways are asked

            self._pool = ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="report")
        return self._pool

    def _ended(self) -> None:
        self.begun -= 1

    def _read(self, directory: Path, ask: Callable[[Connection], T], left: threading.Event) -> T:
        """In a thread. Raises Problem."""
        # Imported here, as above: SQLite is a twentieth of a start.
        from chatgpt_platform.ledger.reports import connect  # noqa: PLC0415
        from chatgpt_platform.ledger.trouble import PASSING, described  # noqa: PLC0415

        deadline = time.monotonic() + self._longest

        def is_over() -> bool:
            return left.is_set() or self._closing.is_set() or time.monotonic() > deadline

        try:
            connection = connect(directory)
            try:
                connection.set_progress_handler(is_over, _LOOK_EVERY)
                return ask(connection)
            finally:
                connection.close()
        except PASSING as error:
            if is_over():
                raise Problem(Kind.UNAVAILABLE, "report_too_slow") from None
            raise Problem(Kind.UNAVAILABLE, "ledger_failed", detail=described(error)) from None
