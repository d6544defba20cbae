from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt_platform.limits.bucket import (
    SECOND,
    Window,
    Windows,
    carry,
    fresh,
    full_time,
    quota,
    take,
    take_for,
    wait,
    wait_for,
    windows_of,
)
from limits.limits_model import Level, Model, limits, pauses

some_limits = limits.filter(bool)


def admitted(windows: Windows, buckets: list[int], now: int, calls: int) -> int:
    return sum(take(windows, buckets, now) == 0 for _ in range(calls))


def test_windows_without_a_limit_are_left_out_and_the_order_is_fixed() -> None:
    assert windows_of(0, 0, 0, 0) == ()
    assert [(window.name, window.capacity, window.seconds) for window in windows_of(1, 3, 50, 9)] == [
        ("second", 1, 1),
        ("minute", 3, 60),
        ("hour", 50, 3600),
        ("day", 9, 86400),
    ]
    assert [window.name for window in windows_of(0, 3, 0, 9)] == ["minute", "day"]


@pytest.mark.parametrize(("capacity", "seconds"), [(0, 1), (-1, 1), (1, 0)])
def test_a_window_that_limits_nothing_is_refused(capacity: int, seconds: int) -> None:
    with pytest.raises(ValueError, match="is no limit"):
        Window("minute", capacity, seconds)


def test_three_a_minute() -> None:
    windows = windows_of(0, 3, 0, 0)
    buckets = fresh(windows)
    assert quota(windows, buckets, 0) == (3, 0)
    assert take(windows, buckets, 0) == 0
    assert quota(windows, buckets, 0) == (2, 20)
    assert admitted(windows, buckets, 0, 5) == 2
    assert quota(windows, buckets, 0) == (0, 20)
    assert take(windows, buckets, 0) == 20 * SECOND
    assert take(windows, buckets, 20 * SECOND - 1) == 1
    assert take(windows, buckets, 20 * SECOND) == 0
    assert full_time(windows, buckets) == 80 * SECOND


def test_seven_a_minute_are_seven_in_sixty_seconds_to_the_nanosecond() -> None:
    windows = windows_of(0, 7, 0, 0)
    buckets = fresh(windows)
    for minute in range(100):
        assert admitted(windows, buckets, minute * 60 * SECOND, 9) == 7


def test_all_windows_or_none() -> None:
    windows = windows_of(1, 100, 0, 0)
    buckets = fresh(windows)
    assert admitted(windows, buckets, 0, 50) == 1
    assert quota(windows, buckets, 0)[2] == 99


@given(some_limits, st.lists(st.tuples(pauses, st.integers(1, 8), st.booleans())))
def test_decisions_waits_and_quota_are_those_of_the_model(
    windows: Windows, steps: list[tuple[int, int, bool]]
) -> None:
    buckets, model, now = fresh(windows), Model(windows), 0
    for pause, calls, takes in steps:
        now += pause
        model.move(now)
        for _ in range(calls):
            assert wait(windows, buckets, now) == model.wait()
            assert quota(windows, buckets, now) == model.quota()
            assert (full_time(windows, buckets) <= now) == model.full()
            if takes:
                before = buckets.copy()
                assert take(windows, buckets, now) == model.wait()
                assert model.take() == (buckets != before)


@given(some_limits, st.lists(st.tuples(pauses, st.integers(1, 12)), max_size=12))
def test_no_interval_admits_more_than_capacity_and_rate(windows: Windows, steps: list[tuple[int, int]]) -> None:
    buckets, now, times = fresh(windows), 0, []
    for pause, calls in steps:
        now += pause
        times += [now] * admitted(windows, buckets, now, calls)
    for (first, start), (last, end) in combinations(enumerate(times), 2):
        for window in windows:
            rate = Fraction(window.capacity, window.seconds * SECOND)
            assert last - first + 1 <= window.capacity + rate * (end - start)


@given(some_limits, st.lists(pauses, min_size=1))
def test_a_denied_call_changes_nothing_and_its_wait_is_exact(windows: Windows, steps: list[int]) -> None:
    buckets, now = fresh(windows), 0
    for pause in steps:
        now += pause
        while not (needed := take(windows, buckets, now)):
            pass
        before = buckets.copy()
        assert take(windows, buckets, now) == needed
        assert take(windows, buckets, now + needed - 1) == 1
        assert buckets == before
        assert take(windows, buckets.copy(), now + needed) == 0


@given(some_limits, st.lists(st.tuples(pauses, st.integers(1, 5)), min_size=1))
def test_full_time_is_the_first_nanosecond_of_being_full(windows: Windows, steps: list[tuple[int, int]]) -> None:
    buckets, model, now = fresh(windows), Model(windows), 0
    for pause, calls in steps:
        now += pause
        model.move(now)
        for _ in range(calls):
            assert (take(windows, buckets, now) == 0) == model.take()
    full = full_time(windows, buckets)
    if now < full:
        model.move(full - 1)
        assert not model.full()
    model.move(full)
    assert model.full()


@given(some_limits, st.integers(0, 200), st.integers(10**5, 10**8))
def test_a_long_sleep_refills_one_capacity(windows: Windows, calls: int, seconds: int) -> None:
    buckets = fresh(windows)
    admitted(windows, buckets, 0, calls)
    smallest = min(window.capacity for window in windows)
    assert admitted(windows, buckets, seconds * SECOND, 300) == smallest


@given(some_limits, limits, st.lists(pauses), st.integers(0, 9))
def test_carrying_keeps_the_tokens_used(old: Windows, new: Windows, steps: list[int], calls: int) -> None:
    buckets, now = fresh(old), 0
    for pause in steps:
        now += pause
        admitted(old, buckets, now, calls)
    model = Model(new)
    for index, window in enumerate(new):
        for ahead, of in zip(buckets, old, strict=True):
            if of.name == window.name:
                used = Fraction(max(0, ahead - now * of.capacity), of.seconds * SECOND)
                model.levels[index] = max(Fraction(0), window.capacity - used)
    carried = carry(old, new, buckets, now)
    assert quota(new, carried, now) == model.quota()
    assert wait(new, carried, now) == model.wait()


def test_carrying_converts_tokens_where_a_window_has_another_length() -> None:
    old, new = (Window("burst", 4, 10),), (Window("burst", 4, 30),)
    buckets = fresh(old)
    admitted(old, buckets, 0, 3)
    assert quota(new, carry(old, new, buckets, 0), 0) == (1, 8)  # 7.5 s a token


token_windows = st.builds(
    Window,
    name=st.just("tokens"),
    capacity=st.sampled_from([1, 7, 100, 90_000]),
    seconds=st.sampled_from([1, 60]),
)
amounts = st.integers(0, 120) | st.integers(0, 100_000)


class Call(NamedTuple):
    held: int
    used: int
    length: int
    """Calls that begin, or are denied, before it ends."""


token_calls = st.lists(st.tuples(pauses, st.builds(Call, amounts, amounts, st.integers(0, 4))), max_size=20)


def test_many_tokens_at_once() -> None:
    window = Window("tokens", 100, 60)
    assert wait_for(window, 0, 0, 100) == 0
    assert wait_for(window, 0, 0, 101) is None
    assert wait_for(window, 0, 0, 60, held=50) == 6 * SECOND
    full_at = take_for(window, 0, 0, 70)
    assert wait_for(window, full_at, 0, 30) == 0
    assert wait_for(window, full_at, 0, 40) == 6 * SECOND
    assert wait_for(window, full_at, 6 * SECOND - 1, 40) == 1
    full_at = take_for(window, full_at, 0, 130)  # one answer was that much longer than anyone thought
    assert wait_for(window, full_at, 0, 0) == 60 * SECOND, "below empty not even nothing is there"
    assert wait_for(window, full_at, 0, 100) == 120 * SECOND


@given(token_windows, st.lists(st.tuples(pauses, amounts, amounts, amounts)))
def test_many_tokens_are_waited_for_and_taken_as_from_the_model(
    window: Window, steps: list[tuple[int, int, int, int]]
) -> None:
    full_at, model, now = 0, Level(window), 0
    for pause, amount, held, used in steps:
        now += pause
        model.move(now)
        expected = None if amount > window.capacity else model.until(amount + held)
        assert wait_for(window, full_at, now, amount, held) == expected
        full_at, model.level = take_for(window, full_at, now, used), model.level - used
        assert (full_at <= now * window.capacity) == (model.level == window.capacity)


@given(token_windows, amounts, amounts, pauses)
def test_the_wait_for_many_tokens_is_exact(window: Window, used: int, amount: int, now: int) -> None:
    full_at = take_for(window, 0, now, used)
    wait = wait_for(window, full_at, now, amount)
    assert (wait is None) == (amount > window.capacity)
    if wait:
        assert wait_for(window, full_at, now + wait, amount) == 0
        assert wait_for(window, full_at, now + wait - 1, amount) == 1


@given(token_windows, token_calls)
def test_no_stretch_uses_more_than_capacity_and_rate_and_what_its_last_calls_exceed_their_holds(
    window: Window, calls: list[tuple[int, Call]]
) -> None:
    full_at, now, held = 0, 0, 0
    open_calls: list[tuple[int, Call]] = []
    begun: list[int] = []
    ended: list[tuple[int, Call]] = []
    for number, (pause, call) in enumerate(calls):
        now += pause
        for ends, over in [each for each in open_calls if each[0] <= number]:
            open_calls.remove((ends, over))
            held -= over.held
            full_at = take_for(window, full_at, now, over.used)
            ended.append((now, over))
        if wait_for(window, full_at, now, call.held, held) == 0:
            held += call.held
            begun.append(len(ended))
            open_calls.append((number + 1 + call.length, call))
    for first, (start, _) in enumerate(ended):
        for last, (end, _) in enumerate(ended[first:], first):
            stretch = ended[first : last + 1]
            after = max((at for at in begun if first <= at <= last), default=first)
            exceeded = sum(max(0, call.used - call.held) for _, call in ended[after : last + 1])
            most = window.capacity + Fraction(window.capacity * (end - start), window.seconds * SECOND)
            assert sum(call.used for _, call in stretch) <= most + exceeded
