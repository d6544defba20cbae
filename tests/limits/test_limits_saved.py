from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt_platform.limits.bucket import SECOND, Windows, carry, fresh, full_time, take, windows_of
from chatgpt_platform.limits.saved import Reader, text_of
from limits.limits_model import limits, pauses

HOUR = 3600 * SECOND
WALL = 1_764_151_435 * SECOND
FOUR_AN_HOUR = windows_of(0, 0, 4, 0)

long_limits = st.builds(
    windows_of,
    second=st.just(0),
    minute=st.just(0),
    hour=st.sampled_from([0, 1, 50, 11]),
    day=st.sampled_from([0, 2, 13, 10**9]),
)


def used(windows: Windows, calls: int, now: int) -> list[int]:
    buckets = fresh(windows)
    for _ in range(calls):
        take(windows, buckets, now)
    return buckets


def read(text: str, windows: Windows, now: int, wall: int) -> list[int] | None:
    restored = Reader(windows, now, wall).read(text)
    return None if restored is None else restored.buckets


def test_a_text_tells_the_capacity_and_the_ticks_missing_of_each_window_that_is_not_full() -> None:
    windows = windows_of(1, 3, 4, 9)
    text = text_of(windows, used(windows, 1, 7), 7, WALL)
    assert json.loads(text) == {"at": WALL, "hour": [4, HOUR], "day": [9, 24 * HOUR]}
    assert json.loads(text_of(windows, used(windows, 1, 7), 7 + HOUR, WALL)).keys() == {"at", "day"}


def test_of_full_buckets_and_of_short_windows_there_is_nothing_to_tell() -> None:
    assert text_of(FOUR_AN_HOUR, fresh(FOUR_AN_HOUR), 5, WALL) == ""
    assert text_of(FOUR_AN_HOUR, used(FOUR_AN_HOUR, 1, 0), HOUR // 4, WALL) == ""
    short = windows_of(1, 3, 0, 0)
    assert text_of(short, used(short, 1, 0), 0, WALL) == ""


@given(long_limits, st.integers(0, 60), st.integers(0, 10**18), st.integers(0, 10**18), pauses, pauses)
def test_what_is_read_is_what_was_written_refilled_to_the_tick(
    windows: Windows, calls: int, then: int, now: int, before: int, passed: int
) -> None:
    buckets = used(windows, calls, then)
    then += before
    text = text_of(windows, buckets, then, WALL)
    expected = carry(windows, windows, [full - (then + passed) * w.capacity + now * w.capacity
                                        for full, w in zip(buckets, windows, strict=True)], now)  # fmt: skip
    if full_time(windows, expected) <= now:
        assert not text or read(text, windows, now, WALL + passed) is None
        return
    restored = Reader(windows, now, WALL + passed).read(text)
    assert restored is not None
    assert restored.full == full_time(windows, expected)
    assert not restored.ahead
    for window, got, wanted in zip(windows, restored.buckets, expected, strict=True):
        assert max(got, now * window.capacity) == max(wanted, now * window.capacity)


@given(long_limits.filter(bool), limits, st.integers(0, 60), pauses)
def test_other_limits_are_carried_over_as_at_a_reload(old: Windows, new: Windows, calls: int, passed: int) -> None:
    buckets = used(old, calls, 0)
    text = text_of(old, buckets, 0, WALL)
    expected = carry(old, new, buckets, passed)
    if full_time(new, expected) <= passed:
        assert not text or read(text, new, passed, WALL + passed) is None
    else:
        restored = read(text, new, passed, WALL + passed)
        assert restored is not None
        for window, got, wanted in zip(new, restored, expected, strict=True):
            assert max(got, passed * window.capacity) == max(wanted, passed * window.capacity)


def test_a_wall_clock_that_went_back_refills_nothing_and_says_so() -> None:
    text = text_of(FOUR_AN_HOUR, used(FOUR_AN_HOUR, 3, 0), 0, WALL)
    restored = Reader(FOUR_AN_HOUR, 9, WALL - 365 * 24 * HOUR).read(text)
    assert restored is not None
    assert restored.buckets == [9 * 4 + 3 * HOUR]
    assert restored.ahead


def test_a_wall_clock_that_went_forward_fills_and_no_more() -> None:
    windows = windows_of(0, 0, 4, 10)
    text = text_of(windows, used(windows, 4, 0), 0, WALL)
    assert read(text, windows, 9, WALL + 10**20) is None
    half = read(text, windows, 9, WALL + HOUR)
    assert half is not None
    assert half[0] <= 9 * 4


def test_a_machine_that_began_a_moment_ago_reads_what_was_written_long_ago() -> None:
    text = text_of(FOUR_AN_HOUR, used(FOUR_AN_HOUR, 4, 10**18), 10**18, WALL)
    assert read(text, FOUR_AN_HOUR, 0, WALL + HOUR // 2) == [2 * HOUR]


def test_no_text_makes_a_bucket_miss_more_than_it_holds() -> None:
    assert read(f'{{"at":{WALL},"hour":[4,{10**40}]}}', FOUR_AN_HOUR, 5, WALL) == [5 * 4 + 4 * HOUR]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "null",
        "[1]",
        "{",
        '{"at":"x","hour":[4,1]}',
        '{"at":1.5,"hour":[4,1]}',
        '{"at":1,"hour":[4]}',
        '{"at":1,"hour":[4,1,2]}',
        '{"at":1,"hour":[0,1]}',
        '{"at":1,"hour":[-4,1]}',
        '{"at":1,"hour":[4,true]}',
        '{"at":1,"hour":[4,1e400]}',
        '{"at":1,"hour":null}',
        '{"at":1,"hour":[4,' + "9" * 10_000 + "]}",
        '{"x":' + "[" * 100_000,
        "\ud800",
        "\0",
    ],
)
def test_what_is_no_such_text_is_nothing(text: str) -> None:
    assert read(text, FOUR_AN_HOUR, 5, 1) is None


@given(st.text() | st.recursive(st.none() | st.integers() | st.floats(), st.lists).map(json.dumps))
def test_no_text_raises(text: str) -> None:
    assert read(text, FOUR_AN_HOUR, 5, WALL) is None
