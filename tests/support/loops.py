"""The event loops that this platform has: production runs on uvloop where there is one."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

if sys.platform == "win32":
    LOOPS: dict[str, LoopFactory] = {"asyncio": asyncio.new_event_loop}
else:
    import uvloop

    LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
