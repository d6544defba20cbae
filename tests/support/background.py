"""An asyncio loop in a thread of its own, so that a plain blocking test can use an asynchronous server.

with Background() as background:
    port = background.run(start_server())
    requests.get(f"http://127.0.0.1:{port}/")
    background.run(stop_server())
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from support.loops import LoopFactory

Result = TypeVar("Result")

_PATIENCE = 30.0  # seconds: a guard against hanging, not a measurement
_GRACE = 2.0  # seconds in which tasks that are just ending may end


class Background:
    """A context manager: the loop runs inside ``with``, and is stopped and joined at its end.

    Leaving raises AssertionError if tasks are still running: whoever started them has lost them.
    """

    def __init__(self, loop_factory: LoopFactory | None = None) -> None:
        """``loop_factory``: None for asyncio's stock loop."""
        self._loop_factory = loop_factory
        self._thread = threading.Thread(target=self._main, name="background loop", daemon=True)
        self._started = threading.Event()
        self._lost: list[str] = []
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event

    def run(self, coroutine: Coroutine[Any, Any, Result], timeout: float = _PATIENCE) -> Result:
        """Runs ``coroutine`` on the loop; gives its result or raises what it raised.

        Raises TimeoutError, and cancels it, after ``timeout`` seconds.
        """
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result(timeout)
        finally:
            future.cancel()  # does nothing to what is done

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(_PATIENCE):
            raise TimeoutError("the background loop did not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_PATIENCE)
        if self._thread.is_alive():
            raise TimeoutError("the background loop did not stop")
        if kind is None and self._lost:  # never hide the failure of the test itself
            raise AssertionError(f"tasks left running: {', '.join(self._lost)}")

    def _main(self) -> None:
        with asyncio.Runner(loop_factory=self._loop_factory) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._started.set()
        await self._stop.wait()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            _, lost = await asyncio.wait(others, timeout=_GRACE)
            self._lost = sorted(f"{task.get_name()} {task.get_coro()}" for task in lost)
