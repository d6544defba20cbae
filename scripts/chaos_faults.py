"""What goes wrong in scripts/chaos.py, and when: a schedule of each upstream's weather, made from a seed. Pure.

An upstream's time is cut into periods. In a sound one, nothing goes wrong; an odd or slow one is valid, if
trying; in a flaky one a share of the calls meets a fault; in an outage connections are refused or their TLS
fails. Which faults let a call be sent again is told here too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random

SAFE = frozenset({"429-bare", "429-soon", "503-bare", "503-soon"})
"""Complete answers of 429 and 503: the call was surely not acted on, so another upstream has to get it."""

KEY_FAULTS = frozenset({"key refused", "key busy", "key broke"})
"""What a key of the gateway's own met; it has others."""

MAY_GO_ON = SAFE | KEY_FAULTS | {"busy-first", "overloaded-first"}
"""After these a call may be sent again; after any other fault, and after none, never."""

UNSAFE = (
    "500", "502", "504", "529", "403", "404", "408", "html", "html-error", "redirect", "no-answer", "reset",
    "close", "half-close", "stall", "reset-mid", "cut-mid", "cut-event", "bad-head", "bad-chunk", "empty",
    "no-content", "wrong-type", "no-done", "bad-json", "error-first", "error-later", "named-error",
)  # fmt: skip
"""Not here: bytes behind an answer and unannounced closes. Whether they meet the next call is a matter of luck."""

VALID = (
    "comments", "crlf", "cr", "no-space", "two-lines", "fields", "bom", "filters", "reasoning", "length",
    "split-utf8", "u2028", "no-usage", "early-hints", "http10", "silent-start", "pauses", "dribble",
    "silence-after-done", "no-stream-usage", "usage-each", "cached",
)  # fmt: skip

SILENCE = 1.2
"""Seconds; longer than the gateway's heartbeat here."""

_LONGEST_BAD = 2.5
_AFTERMATH = 2.0
"""A circuit breaker waits twice as long each time, so that it stays open for about as long again as a bad time
lasted; this is that and some room."""

_REST = 1.0
"""The longest Retry-After of the faults above, and the first rest of a key, in seconds."""

_CUTS = "refuse"
"""The outage that also closes the connections which are open."""

_SKEW = 0.2  # seconds that the clocks of this program's parts are behind each other at most


class Weather(Enum):
    """The kind of a period."""

    SOUND = "sound"
    ODD = "odd"
    SLOW = "slow"
    FLAKY_SAFE = "safe faults"
    FLAKY_UNSAFE = "unsafe faults"
    OUTAGE = "outage"

    @property
    def is_good(self) -> bool:
        """Whether each call is answered."""
        return self in (Weather.SOUND, Weather.ODD, Weather.SLOW)


@dataclass(frozen=True)
class Period:
    """From `begin` to `end`, in seconds. The rest are arguments of the simulator's Behaviour."""

    begin: float
    end: float
    weather: Weather
    fail: str = ""
    share: float = 1.0
    latency: float = 0.0
    interval: float = 0.0


@dataclass(frozen=True)
class Schedule:
    """One upstream's periods, without a gap."""

    upstream: str
    periods: Sequence[Period]

    def is_healthy(self, begin: float, end: float) -> bool:
        """Whether no fault of this upstream's, nor what one leaves behind, falls between the two."""
        return all(
            end + _SKEW < bad_begin or begin > bad_end + _AFTERMATH * (bad_end - bad_begin) + _REST
            for bad_begin, bad_end in self._bad_times()
        )

    def is_fair(self, begin: float, end: float) -> bool:
        """Whether no fault of this upstream's falls between the two, whatever was just before."""
        return all(end + _SKEW < bad_begin or begin > bad_end + _SKEW for bad_begin, bad_end in self._bad_times())

    def cut_between(self, begin: float, end: float) -> bool:
        """Whether open connections were cut in that time: what was just being sent on them is lost."""
        return any(
            period.fail == _CUTS and begin - _SKEW <= period.begin <= end + _SKEW for period in self.periods
        )

    def _bad_times(self) -> list[tuple[float, float]]:
        """From when to when it was not good; what follows at once on each other is one time."""
        found: list[tuple[float, float]] = []
        for period in self.periods:
            if period.weather.is_good:
                continue
            if found and found[-1][1] == period.begin:
                found[-1] = found[-1][0], period.end
            else:
                found.append((period.begin, period.end))
        return found


def schedule(upstream: str, seconds: float, random: Random, *, tls: bool) -> Schedule:
    """The weather of one upstream for that long; it begins and ends well. `tls`: its TLS may fail, too."""
    periods = [Period(0.0, random.uniform(0.5, 2.0), Weather.SOUND)]
    while periods[-1].end < seconds:
        begin = periods[-1].end
        periods.append(_bad(begin, random, tls=tls) if random.random() < 0.5 else _good(begin, random))
    return Schedule(upstream, [*periods, Period(periods[-1].end, float("inf"), Weather.SOUND)])


def changes(schedules: Sequence[Schedule]) -> list[tuple[float, int, Period]]:
    """All periods of all upstreams in their order: when, whose (a place in `schedules`), and what."""
    found = [(period.begin, place, period) for place, one in enumerate(schedules) for period in one.periods]
    return sorted(found, key=lambda change: change[:2])


def _good(begin: float, random: Random) -> Period:
    end = begin + random.uniform(2.0, 6.0)
    weather = random.choice((Weather.SOUND, Weather.SOUND, Weather.ODD, Weather.SLOW))
    if weather is Weather.ODD:
        return Period(begin, end, weather, ",".join(VALID), share=0.5)
    if weather is Weather.SLOW:
        return Period(begin, end, weather, latency=random.uniform(0.1, 1.0), interval=random.uniform(0.0, 0.03))
    return Period(begin, end, weather)


def _bad(begin: float, random: Random, *, tls: bool) -> Period:
    end = begin + random.uniform(0.4, _LONGEST_BAD)
    weather = random.choice((Weather.FLAKY_SAFE, Weather.FLAKY_UNSAFE, Weather.FLAKY_UNSAFE, Weather.OUTAGE))
    if weather is Weather.OUTAGE:
        return Period(
            begin, end, weather, random.choice(("refuse", "tls-wrong", "tls-stall") if tls else ("refuse",))
        )
    share = random.uniform(0.05, 0.3)
    if weather is Weather.FLAKY_SAFE:
        return Period(
            begin, end, weather, ",".join(sorted(SAFE | {"busy-first", "overloaded-first"})), share=share
        )
    return Period(begin, end, weather, ",".join(UNSAFE), share=share, interval=random.uniform(0.0, 0.02))
