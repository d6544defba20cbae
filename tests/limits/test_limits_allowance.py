"""Hold, settle and refund in any order, by time of any kind, against lists of what was used when."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from fractions import Fraction
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from chatgpt_platform.limits.allowance import SLOTS, Allowance, Calendar, Rate, Rolling
from chatgpt_platform.limits.bucket import SECOND, Window
from chatgpt_platform.limits.period import PERIODS
from limits.limits_model import Level, date_periods, turns, zones

HOUR = 3600.0
DAY = 24 * HOUR
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC).timestamp()

amounts = st.sampled_from([1, 100, 5_000_000_000_000])
seconds_passed = (
    st.sampled_from([0, 1, 59, 60, 89, 3600, 86400])
    | st.sampled_from([60, 3600, 86400, 7 * 86400]).map(lambda seconds: seconds - seconds // 120)
    | st.integers(0, 120)
    | st.integers(0, 3 * 3600)
    | st.integers(0, 9 * 86400)
)


class Held(NamedTuple):
    amount: int
    expected: int


class Machine(RuleBasedStateMachine):
    """One allowance. ``used``: each settled call's moment, and what it used."""

    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.wall = self.slack = 0.0
        self.clock = 0
        self.amount = 1
        self.open: list[Held] = []
        self.used: list[tuple[float, int]] = []
        self.allowance: Allowance
        self.made: Callable[[], Allowance]

    def begin(self, made: Callable[[], Allowance], amount: int, wall: float) -> None:
        self.made, self.amount, self.wall = made, amount, wall
        self.allowance = made()

    def since(self, moment: float) -> int:
        return sum(used for at, used in self.used if at >= moment)

    def room(self) -> int:
        return self.allowance.room(self.wall, self.clock)

    def moved(self) -> None:
        """The time has gone on."""

    @rule(seconds=seconds_passed)
    def wait(self, seconds: int) -> None:
        self.wall += seconds
        self.clock += seconds * SECOND
        self.moved()

    @rule(target=calls, share=st.sampled_from([0, 0.3, 0.5, 1, 2]), worst=st.sampled_from([1, 1, 3]))
    def ask(self, share: float, worst: int) -> Held | None:
        """A call that is likely to use this share of it all, and ``worst`` times that at most."""
        expected = int(self.amount * share)
        before = self.room()
        if before < expected:
            return None
        held = Held(expected * worst, expected)
        self.allowance.hold(held.amount)
        assert self.room() == before - held.amount
        self.open.append(held)
        self.slack = max(self.slack, held.amount - held.expected)
        return held

    @rule(call=consumes(calls), share=st.sampled_from([0, 0.1, 0.5, 1]))
    def settle(self, call: Held | None, share: float) -> None:
        """A share of 0 is a refund."""
        if call is None:
            return
        used = int(call.amount * share)
        self.allowance.settle(call.amount, used, self.wall, self.clock)
        self.open.remove(call)
        self.used.append((self.wall, used))
        self.settled(used)

    def settled(self, used: int) -> None:
        """A call has used this."""

    @rule()
    def restart(self) -> None:
        """What calls under way held is gone with them; here it comes back, as they go on."""
        state = json.loads(json.dumps(self.allowance.state(self.wall, self.clock)))
        self.allowance = self.made()
        self.allowance.restore(state, self.wall, self.clock)
        for call in self.open:
            self.allowance.hold(call.amount)

    @invariant()
    def no_more_is_used_than_there_is_and_one_call_s_excess(self) -> None:
        room = self.room()
        assert room >= -self.slack
        assert self.allowance.held == sum(call.amount for call in self.open)
        assert room == self.amount - self.allowance.spent - self.allowance.held

    @invariant()
    def the_wait_is_enough(self) -> None:
        if self.open:
            return
        for wanted in (1, self.amount):
            wait = self.allowance.wait(wanted, self.wall, self.clock)
            assert (wait == 0) == (self.room() >= wanted)
            if wait not in (0, math.inf):
                other = self.made()
                other.restore(self.allowance.state(self.wall, self.clock), self.wall, self.clock)
                after = wait + 0.001
                assert other.room(self.wall + after, self.clock + int(after * SECOND)) >= wanted
        assert self.allowance.wait(self.amount + 1, self.wall, self.clock) == math.inf


class CalendarMachine(Machine):
    @initialize(amount=amounts, period=st.sampled_from(PERIODS), zone=zones, wall=turns)
    def start(self, amount: int, period: str, zone: ZoneInfo, wall: float) -> None:
        self.period, self.of = period, date_periods(zone)[period]
        self.begin(lambda: Calendar(amount, period, zone, self.wall), amount, wall)

    @invariant()
    def what_is_spent_is_what_this_period_s_calls_used(self) -> None:
        self.room()
        spent = sum(used for at, used in self.used if self.of(at) == self.of(self.wall))
        assert self.allowance.spent == spent

    @invariant()
    def the_wait_is_until_the_next_period_and_no_longer(self) -> None:
        if self.period != "total" and self.room() <= 0:
            wait = self.allowance.wait(1, self.wall, self.clock)
            assert self.of(self.wall + wait - 0.001) == self.of(self.wall) != self.of(self.wall + wait)

    @invariant()
    def the_wait_is_enough(self) -> None:
        if self.period != "total":
            super().the_wait_is_enough()


class RollingMachine(Machine):
    @initialize(amount=amounts, seconds=st.sampled_from([60, 90, 3600, 86400, 7 * 86400]), wall=turns)
    def start(self, amount: int, seconds: int, wall: float) -> None:
        self.seconds = seconds
        self.begin(lambda: Rolling(amount, seconds, self.wall), amount, wall)

    @invariant()
    def what_is_spent_was_used_in_the_period_or_a_sixtieth_before(self) -> None:
        self.room()
        least = self.since(self.wall - self.seconds + 0.001)
        most = self.since(self.wall - self.seconds * (1 + 1 / SLOTS) - 0.001)
        assert least <= self.allowance.spent <= most


class RateMachine(Machine):
    @initialize(
        amount=st.sampled_from([1, 100, 90_000]),
        seconds=st.sampled_from([1, 60, 3600]),
        wall=turns,
        clock=st.integers(0, 10**18),
    )
    def start(self, amount: int, seconds: int, wall: float, clock: int) -> None:
        self.clock = clock
        self.begin(lambda: Rate(amount, seconds), amount, wall)
        self.level = Level(Window("tokens", amount, seconds))
        self.level.move(clock)

    def moved(self) -> None:
        self.level.move(self.clock)

    def settled(self, used: int) -> None:
        self.level.level -= used

    @invariant()
    def what_is_spent_is_what_the_bucket_misses(self) -> None:
        self.room()
        missing = self.amount - self.level.level
        assert missing - Fraction(1, 100) <= self.allowance.spent < missing + 1 + Fraction(1, 100)


few = settings(max_examples=50, stateful_step_count=30)
TestCalendar = CalendarMachine.TestCase
TestCalendar.settings = few
TestRolling = RollingMachine.TestCase
TestRolling.settings = few
TestRate = RateMachine.TestCase
TestRate.settings = few


def new(kind: str, amount: int, wall: float, zone: tzinfo = UTC) -> Allowance:
    match kind:
        case "rolling":
            return Rolling(amount, 86400, wall)
        case "rate":
            return Rate(amount, 3600)
    return Calendar(amount, kind, zone, wall)


kinds = pytest.mark.parametrize("kind", ["day", "month", "total", "rolling", "rate"])


def use(allowance: Allowance, used: int, wall: float, clock: int = 0) -> None:
    allowance.hold(used)
    allowance.settle(used, used, wall, clock)


@kinds
def test_a_clock_set_back_gives_nothing_back(kind: str) -> None:
    allowance = new(kind, 100, NEW_YEAR)
    use(allowance, 100, NEW_YEAR)
    for back in (1, 59 * 60, HOUR, 2 * HOUR, 400 * DAY):
        assert allowance.room(NEW_YEAR - back, 0) <= 0, back
        assert allowance.wait(1, NEW_YEAR - back, 0) > 0


@kinds
def test_a_clock_set_back_a_little_and_on_again_gives_nothing_back(kind: str) -> None:
    allowance = new(kind, 100, NEW_YEAR)
    use(allowance, 100, NEW_YEAR)
    for back in (1, 59 * 60, HOUR):
        assert allowance.room(NEW_YEAR - back, 0) <= 0
        assert allowance.room(NEW_YEAR + 1, 0) <= 0, back


@kinds
def test_a_clock_set_back_over_a_restart_gives_nothing_back(kind: str) -> None:
    allowance = new(kind, 100, NEW_YEAR)
    use(allowance, 100, NEW_YEAR)
    state = allowance.state(NEW_YEAR, 0)
    for back in (1.0, HOUR, 400 * DAY):
        wall = NEW_YEAR - back
        allowance = new(kind, 100, wall)
        allowance.restore(state, wall, 0)
        assert allowance.room(wall, 0) <= 0, back


def test_what_is_about_to_leave_a_rolling_period_still_counts_after_a_restart() -> None:
    used_at = NEW_YEAR + 86400 / SLOTS - 1
    allowance = Rolling(100, 86400, used_at)
    use(allowance, 100, used_at)
    wall = used_at + 86400 - 0.5
    later = Rolling(100, 86400, wall)
    later.restore(allowance.state(wall, 0), wall, 0)
    assert later.room(wall, 0) == 0
    assert later.room(used_at + 86400 + 1.5, 0) == 100


@kinds
def test_another_amount_keeps_what_was_used(kind: str) -> None:
    allowance = new(kind, 100, NEW_YEAR)
    use(allowance, 60, NEW_YEAR)
    allowance.hold(10)
    allowance.resize(200, 0)
    assert allowance.room(NEW_YEAR, 0) == 130
    allowance.resize(50, 0)
    assert allowance.room(NEW_YEAR, 0) == -20
    allowance.settle(10, 0, NEW_YEAR, 0)
    assert allowance.room(NEW_YEAR, 0) == -10


@kinds
@pytest.mark.parametrize(
    "state", [[], [1], ["x", "y"], [None, None], [-1, 5.0], [1.0, 2, -3], [1.0, 2], [60.0, "1", 2]]
)  # fmt: skip
def test_what_is_no_state_is_told_or_gives_no_more(kind: str, state: list[int | float]) -> None:
    allowance = new(kind, 100, NEW_YEAR)
    try:
        allowance.restore(state, NEW_YEAR, 0)
    except (ValueError, TypeError, IndexError):
        return
    assert allowance.room(NEW_YEAR, 0) <= 100


@given(turns, zones, st.integers(0, 400))
def test_a_call_counts_in_the_period_in_which_it_ends(wall: float, zone: ZoneInfo, days: int) -> None:
    allowance = Calendar(100, "day", zone, wall)
    allowance.hold(70)
    wall += days * DAY
    assert allowance.room(wall, 0) == 30
    allowance.settle(70, 40, wall, 0)
    assert allowance.room(wall, 0) == 60
