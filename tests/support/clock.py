"""An event loop whose time passes only when a test says so.

with FakeTimeLoop() as loop:
    task = loop.create_task(...)
    loop.settle()           # all that can be done now
    loop.advance(2.0)       # and what is due within two seconds
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

_TURNS = 20


class FakeTimeLoop(asyncio.SelectorEventLoop):
    """Begins at 1000 seconds; says in ``complaints`` what it would have logged."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.complaints: list[str] = []
        super().__init__()
        self.set_exception_handler(self._complain)

    def time(self) -> float:
        return self.now

    def settle(self) -> None:
        """Until nothing is left to be done now; a guess at how many turns that takes, and a generous one."""
        for _ in range(_TURNS):
            self.call_soon(self.stop)
            self.run_forever()

    def advance(self, seconds: float, step: float = 0.25) -> None:
        """Let time pass, in steps: timers that set timers come to their turn."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + step)
            self.settle()

    def _complain(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.complaints.append(f"{context['message']}: {context.get('exception')!r}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        assert kind is not None or self.complaints == []
