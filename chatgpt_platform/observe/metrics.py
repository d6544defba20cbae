"""What is counted: plain numbers, since each call passes here. ``exposition`` makes Prometheus' text of them.

    metrics.call(record, endpoint)       # once for each call, at its end
    metrics.retry(upstream, reason)      # and for what happens besides
    metrics.shed(reason)

No key of a tally holds what a caller has chosen: endpoints, the names of upstreams and statuses are few.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Protocol

from chatgpt_platform.observe.access import Record

CALL_BOUNDS: Final[tuple[float, ...]] = (
    5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10_000.0, 30_000.0, 60_000.0, 120_000.0,
    300_000.0, 600_000.0,
)  # fmt: skip
"""The buckets of calls and first bytes, in milliseconds as records have them; the last is what a call may take."""

LAG_BOUNDS: Final[tuple[float, ...]] = (2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0)
"""The buckets of the event loop's lag, in milliseconds; a timer of its own is late by one."""


RETRY_REASONS: Final = ("unsent", "429", "503", "key", "unsafe")
"""Why a call was sent again: surely nothing of it had been; the answer; a key that does not work;
``retry_unsafe``."""

SHED_REASONS: Final = ("queue", "client", "wait")
"""Why a call was turned away: too many waited, or too many of its client's; none of its places was free in
time."""


OK: Final = 200


class Histogram:
    """How many of some times fell between two bounds each, and their sum; milliseconds all of them.

    ``counts``: of times up to the bound in the same place; the last one, of those above all bounds.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds: Final = bounds
        self.counts: Final = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, milliseconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, milliseconds)] += 1
        self.total += milliseconds

    def merge(self, other: Histogram) -> None:
        """Count all that the other, of the same bounds, has counted."""
        for place, count in enumerate(other.counts):
            self.counts[place] += count
        self.total += other.total


class Endpoint(Protocol):
    """What a call was for, hashed by identity."""

    @property
    def kind(self) -> str:
        """The API that it belongs to; ``gateway`` for what the gateway tells of itself."""

    @property
    def label(self) -> str: ...


class Tally:
    """The calls of one endpoint that one upstream answered (None: none was asked) with one status."""

    __slots__ = ("broken", "completion_tokens", "durations", "events", "first_bytes", "kind", "label",
                 "prompt_tokens", "status", "upstream")  # fmt: skip

    def __init__(self, endpoint: Endpoint, upstream: str | None, status: int) -> None:
        self.kind: Final = endpoint.kind
        self.label: Final = endpoint.label
        self.upstream: Final = upstream
        self.status: Final = status
        self.durations: Final = Histogram(CALL_BOUNDS)
        self.first_bytes: Final = Histogram(CALL_BOUNDS)
        self.events = 0
        self.broken = 0
        """Those that had begun well, and ended with an error all the same."""
        self.prompt_tokens = 0
        self.completion_tokens = 0

    @property
    def calls(self) -> int:
        return sum(self.durations.counts)


class Metrics:
    """The tallies of one running gateway, from its start on."""

    def __init__(self) -> None:
        self.lag: Final = Histogram(LAG_BOUNDS)
        """How late the event loop was for a timer."""
        self.retries: Final[Counter[tuple[str, str]]] = Counter()
        """Upstream and reason of each time that a call was sent again."""
        self.refusals: Final[Counter[str]] = Counter()
        """The reasons for which calls were turned away under load."""
        self._tallies: Final[dict[tuple[Endpoint, str | None, int], Tally]] = {}

    @property
    def tallies(self) -> tuple[Tally, ...]:
        return tuple(self._tallies.values())

    def call(self, record: Record, endpoint: Endpoint) -> None:
        """Count a call that has ended; its record is final."""
        key = (endpoint, record.upstream, record.status)
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = Tally(*key)
        if record.error is not None and record.status == OK:
            tally.broken += 1
        # Not by ``Histogram.add``: each call passes here.
        time, durations = record.duration_ms, tally.durations
        durations.counts[bisect_left(CALL_BOUNDS, time)] += 1
        durations.total += time
        first = record.first_byte_ms
        if first is not None:
            first_bytes = tally.first_bytes
            first_bytes.counts[bisect_left(CALL_BOUNDS, first)] += 1
            first_bytes.total += first
            tally.events += record.events
            if record.prompt_tokens:
                tally.prompt_tokens += record.prompt_tokens
            if record.completion_tokens:
                tally.completion_tokens += record.completion_tokens

    def retry(self, upstream: str, reason: str) -> None:
        """Count a call that is sent again, after ``upstream`` failed it. ``reason``: one of a few."""
        self.retries[upstream, reason] += 1

    def shed(self, reason: str) -> None:
        """Count a call that is turned away, since the gateway is full. ``reason``: one of a few."""
        self.refusals[reason] += 1


class Breaker(IntEnum):
    """Whether an upstream is tried; the numbers are those of the metric."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class KeyState(IntEnum):
    """What becomes of an upstream's key; the numbers are those of the metric."""

    IN_USE = 0
    RESTING = 1
    SET_ASIDE = 2


@dataclass(frozen=True, slots=True)
class UpstreamState:
    """How an upstream is. ``keys``: those configured, in their order. ``connections``: open ones, idle or not."""

    name: str
    breaker: Breaker
    keys: tuple[KeyState, ...]
    under_way: int
    connections: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How the gateway is at one moment; what is counted by its parts from their start on is here as well.

    ``under_way``, ``waiting``: calls. ``clients``: addresses that the limiter remembers. ``admitted``, ``denied``:
    its decisions. ``connections``: of clients. ``lost_lines``: log lines that found no room. ``lost_rows``: of
    the ledger, that it had no room for or could not write.
    """

    upstreams: tuple[UpstreamState, ...]
    under_way: int
    waiting: int
    clients: int
    admitted: int
    denied: int
    connections: int
    lost_lines: int
    lost_rows: int
