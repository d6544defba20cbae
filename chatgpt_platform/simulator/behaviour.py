"""How a simulator behaves, and what it has counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from chatgpt_platform.simulator.faults import FAULTS, REFUSE, concerns

SILENCE = 20.0
"""Seconds: longer than the gateway's heartbeat, shorter than its patience, as both are by default."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """``latency``: seconds before the first byte. ``interval``: seconds between two tokens.

    ``tokens``: the exact length of a reply; 0: as long as the text is. ``fail``: names out of
    ``faults.FAULTS`` with commas between; empty: none. ``share``: of the calls that meet one of them, by chance.
    ``silence``: seconds that the faults last which are silences. Raises ValueError for anything else.
    """

    latency: float = 0.0
    interval: float = 0.0
    tokens: int = 0
    fail: str = ""
    share: float = 1.0
    silence: float = SILENCE
    kinds: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", tuple(self.fail.split(",")) if self.fail else ())
        for kind in self.kinds:
            if kind not in FAULTS:
                raise ValueError(f"no such fault: {kind}")
        if min(self.latency, self.interval, self.tokens, self.silence) < 0:
            raise ValueError("latency, interval, tokens and silence cannot be negative")
        if not 0 <= self.share <= 1:
            raise ValueError("share is from 0 to 1")
        if REFUSE in self.kinds and (len(self.kinds) > 1 or self.share < 1):
            raise ValueError(f"{REFUSE} concerns the port, not one call: it goes with no other fault and no share")

    @property
    def refuses(self) -> bool:
        """Whether nobody listens."""
        return self.kinds == (REFUSE,)

    def draw(self, random: Random, *, connection: bool = False) -> str:
        """The fault that a call meets, or a ``connection``; empty: none."""
        if not self.kinds or (self.share < 1 and random.random() >= self.share):
            return ""
        kind = self.kinds[0] if len(self.kinds) == 1 else random.choice(self.kinds)
        return kind if concerns(kind, connection=connection) else ""


@dataclass(slots=True)
class Stats:
    """Counts since the start.

    ``calls``: POSTs that have arrived, whatever became of them. ``served``: calls answered wholly, errors
    included. ``under_way``: being answered now. ``cancelled``: the caller left before the end. ``tokens``:
    generated so far. ``prompt_tokens``: of the calls for which something was generated. A call that a fault breaks
    off is neither served nor cancelled.
    """

    calls: int = 0
    served: int = 0
    under_way: int = 0
    cancelled: int = 0
    tokens: int = 0
    prompt_tokens: int = 0

    @property
    def completion_tokens(self) -> int:
        """``tokens``, as usage has it."""
        return self.tokens
