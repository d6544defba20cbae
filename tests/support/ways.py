"""The ways on which a request can reach the gateway: through which server, and on which event loop.

The same tests run on each, since each must show the same gateway.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from chatgpt_platform.web import server
from chatgpt_platform.web.service import Service
from support import stock
from support.loops import LOOPS, LoopFactory


class AnyServer(Protocol):
    """What ``web.server.Server`` promises."""

    def listen(self, host: str, port: int) -> int: ...

    def rebuild(self) -> None: ...

    async def drain(self, timeout: float) -> int: ...

    async def close(self) -> None: ...


@dataclass(frozen=True)
class Way:
    """``name``: server and loop, such as ``shortcut-uvloop``."""

    name: str
    server: Callable[[Service], AnyServer]
    loop_factory: LoopFactory

    @property
    def is_stock(self) -> bool:
        """Whether Tornado's own server serves, so that the wire's promises do not hold."""
        return self.server is stock.Server


def _handlers(service: Service) -> server.Server:
    return server.Server(service, direct=False)


_ALL = (
    ("shortcut", server.Server, "uvloop"),  # production
    ("shortcut", server.Server, "asyncio"),  # production on Windows
    ("handlers", _handlers, "uvloop"),
    ("stock", stock.Server, "asyncio"),
)
WAYS = [Way(f"{name}-{loop}", serve, LOOPS[loop]) for name, serve, loop in _ALL if loop in LOOPS]

chosen: ContextVar[Way] = ContextVar("chosen", default=WAYS[0])
"""The way of the test that runs: that of production, unless its folder's conftest chooses another."""
