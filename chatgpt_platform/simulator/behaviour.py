"""How a simulator behaves, and what it has counted."""

from __future__ import annotations

from dataclasses import dataclass

from chatgpt_platform.simulator.faults import FAULTS


@dataclass(frozen=True, slots=True)
class Behaviour:
    """``latency``: seconds before the first byte. ``interval``: seconds between two tokens.

    ``tokens``: the exact length of a reply; 0: as long as the text is. ``fail``: a name out of
    ``faults.FAULTS``; empty: none. Raises ValueError for anything else.
    """

    latency: float = 0.0
    interval: float = 0.0
    tokens: int = 0
    fail: str = ""

    def __post_init__(self) -> None:
        if self.fail and self.fail not in FAULTS:
            raise ValueError(f"no such fault: {self.fail}")
        if min(self.latency, self.interval, self.tokens) < 0:
            raise ValueError("latency, interval and tokens cannot be negative")


@dataclass(slots=True)
class Stats:
    """Counts since the start.

    ``served``: calls answered wholly, errors included. ``under_way``: being answered now.
    ``cancelled``: the caller left before the end. ``tokens``: generated so far. A call that a fault
    breaks off is neither served nor cancelled.
    """

    served: int = 0
    under_way: int = 0
    cancelled: int = 0
    tokens: int = 0
