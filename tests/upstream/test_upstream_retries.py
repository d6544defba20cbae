"""The budget of retries never gives more than it promises, and the pauses before them keep within their bounds."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt_platform.upstream.retries import FIRST_PAUSE, LONGEST_PAUSE, RESERVE, Budget, pause

SLACK = 1e-6


def spent(budget: Budget, now: float, calls: int, times: int) -> int:
    return sum(budget.spend(now, calls) for _ in range(times))


def test_a_gateway_without_calls_has_a_few_retries() -> None:
    assert spent(Budget(20, 0.0), 0.0, 0, 100) == RESERVE


def test_used_up_they_come_back_at_one_a_second_and_no_more_than_there_were() -> None:
    budget = Budget(20, 0.0)
    spent(budget, 0.0, 0, 100)
    assert not budget.spend(0.9, 0)
    assert budget.spend(1.1, 0)
    assert spent(budget, 4.15, 0, 100) == 3
    assert spent(budget, 1e6, 0, 100) == RESERVE


def test_calls_earn_their_share() -> None:
    assert spent(Budget(20, 0.0), 0.0, 1000, 1000) == RESERVE + 200
    assert spent(Budget(100, 0.0), 0.0, 50, 1000) == RESERVE + 50


def test_calls_before_its_time_do_not_count() -> None:
    assert spent(Budget(20, 0.0, 1000), 0.0, 1000, 1000) == RESERVE


def test_what_was_earned_fades() -> None:
    budget = Budget(20, 0.0)
    assert budget.spend(0.0, 1000)
    assert RESERVE + 60 < spent(budget, 10.0, 1000, 1000) < RESERVE + 80, "1/e of 200 is left"
    budget = Budget(20, 0.0)
    assert budget.spend(0.0, 1000)
    assert spent(budget, 600.0, 1000, 1000) == RESERVE


def test_calls_long_ago_do_not_pay_though_nothing_was_sent_again_since() -> None:
    assert spent(Budget(20, 0.0), 3600.0, 3600, 1000) < RESERVE + 5


def test_zero_percent_is_no_retry_at_all() -> None:
    budget = Budget(0, 0.0)
    assert spent(budget, 0.0, 10**6, 10) == 0
    assert spent(budget, 1e6, 10**6, 10) == 0


steps = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.001, 0.5, 1.0, 7.0, 60.0]) | st.floats(0, 100),
        st.integers(0, 200),
        st.integers(0, 300),
    ),
    max_size=40,
)


@given(st.integers(0, 100), steps)
def test_never_more_than_the_reserve_and_the_share(percent: int, story: list[tuple[float, int, int]]) -> None:
    """And what comes back of the reserve, which is one a second."""
    budget, now, calls, retries = Budget(percent, 0.0), 0.0, 0, 0
    for seconds, more, tries in story:
        now += seconds
        calls += more
        retries += spent(budget, now, calls, tries)
        assert retries <= RESERVE + calls * percent / 100 + now + SLACK
        if not percent:
            assert retries == 0


@given(st.integers(1, 100), steps)
def test_after_a_quiet_time_there_is_the_reserve_again(percent: int, story: list[tuple[float, int, int]]) -> None:
    budget, now, calls = Budget(percent, 0.0), 0.0, 0
    for seconds, more, tries in story:
        now += seconds
        calls += more
        spent(budget, now, calls, tries)
    assert RESERVE <= spent(budget, now + 3600, calls, 1000) <= RESERVE + 1


def test_in_a_steady_outage_the_upstreams_work_grows_by_the_share_only() -> None:
    budget, retries, seconds, rate = Budget(20, 0.0), 0, 60, 100
    for number in range(seconds * rate):
        retries += spent(budget, number / rate, number, 4)  # each call would like to be sent five times
    assert retries <= RESERVE + seconds + 0.2 * seconds * rate
    assert retries >= 0.2 * seconds * rate * 0.95


# Pauses.


@pytest.mark.parametrize("retry", range(1, 21))
def test_a_pause_keeps_within_its_bounds(retry: int) -> None:
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (retry - 1))
    assert pause(retry, lambda: 0.0) == 0
    assert pause(retry, lambda: 1.0) == pytest.approx(longest)
    assert pause(retry, lambda: 0.5) == pytest.approx(longest / 2), "full jitter: any part of it is as likely"


def test_calls_that_failed_together_do_not_come_back_together() -> None:
    numbers = random.Random(1)
    pauses = [pause(5, numbers.random) for _ in range(1000)]
    for low in (0.0, 0.4, 0.8, 1.2):
        assert 200 < sum(low <= each < low + 0.4 for each in pauses) < 300
