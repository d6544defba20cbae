"""Points in time as the logs write them."""

from __future__ import annotations

import time
from functools import lru_cache


def stamp(epoch: float) -> str:
    """Epoch seconds in RFC 3339, UTC, with milliseconds: ``2026-01-31T12:00:00.123Z``."""
    return _shown(round(epoch * 1000))


@lru_cache(maxsize=64)  # calls under load come many a millisecond
def _shown(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=4)  # one call after the other falls into the same second
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
