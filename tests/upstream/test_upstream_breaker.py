"""A circuit breaker against the words of its documentation, by hand and against a model."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from chatgpt_platform.upstream.breaker import FAILURES, FIRST, FORGET, LONGEST, PATIENCE, Breaker, State


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    news = [breaker.failed(object(), now) for _ in range(FAILURES)]
    assert news == [False] * (FAILURES - 1) + [True]
    return breaker


def probe(breaker: Breaker, now: float) -> object:
    assert breaker.admits(now)
    call = object()
    breaker.began(call, now)
    return call


def test_failures_in_a_row_open_it() -> None:
    breaker = opened()
    assert breaker.state(0.0) is State.OPEN
    assert not breaker.admits(FIRST - 0.01)
    assert breaker.opens_in(0.1) == FIRST - 0.1


def test_a_good_answer_among_them_does_not() -> None:
    breaker = Breaker()
    for _ in range(50):
        for _ in range(FAILURES - 1):
            assert not breaker.failed(object(), 0.0)
        assert not breaker.succeeded()
    assert breaker.state(0.0) is State.CLOSED


def test_old_failures_are_forgotten() -> None:
    breaker = Breaker()
    for number in range(3 * FAILURES):
        assert not breaker.failed(object(), number * (FORGET + 0.1))
    assert breaker.closed


def test_when_the_time_is_over_one_call_at_a_time_may_try() -> None:
    breaker = opened()
    assert breaker.state(FIRST) is State.HALF_OPEN
    call = probe(breaker, FIRST)
    assert not breaker.admits(FIRST + 1)
    assert breaker.opens_in(FIRST + 1) == 0
    breaker.ended(call)
    assert breaker.admits(FIRST + 1), "it has told nothing"


def test_a_slow_answer_does_not_hold_up_the_others_for_long() -> None:
    breaker = opened()
    slow = probe(breaker, FIRST)
    assert not breaker.admits(FIRST + PATIENCE - 0.01)
    second = probe(breaker, FIRST + PATIENCE)
    assert not breaker.failed(slow, FIRST + PATIENCE)
    assert breaker.opens_in(FIRST + PATIENCE) == 0, "the second one tells now"
    breaker.failed(second, FIRST + PATIENCE)
    assert breaker.opens_in(FIRST + PATIENCE) == 2 * FIRST


def test_one_that_tried_too_early_does_not_make_the_time_longer() -> None:
    breaker = opened()
    call = object()
    breaker.began(call, 0.1)
    assert breaker.tried(0.1)
    assert not breaker.failed(call, 0.2)
    assert not breaker.tried(0.2)
    assert breaker.opens_in(0.2) == FIRST - 0.2


def test_a_good_answer_closes_it_and_that_is_news_once() -> None:
    breaker = opened()
    call = probe(breaker, FIRST)
    assert breaker.succeeded()
    breaker.ended(call)
    assert not breaker.succeeded()
    assert breaker.state(FIRST) is State.CLOSED
    assert breaker.failures == 0
    for _ in range(FAILURES - 1):
        assert not breaker.failed(object(), FIRST)
    assert breaker.failed(object(), FIRST)
    assert breaker.opens_in(FIRST) == FIRST, "it begins anew"


def test_each_try_that_fails_doubles_the_time_up_to_the_longest() -> None:
    breaker = opened()
    now, times = 0.0, []
    for _ in range(9):
        times.append(breaker.opens_in(now))
        now += times[-1]
        call = probe(breaker, now)
        assert not breaker.failed(call, now), "that it is still down is no news"
        breaker.ended(call)
        assert not breaker.admits(now)
    assert times == [FIRST, 1, 2, 4, 8, 16, LONGEST, LONGEST, LONGEST]


def test_calls_from_before_that_fail_late_do_not_keep_it_open() -> None:
    breaker = opened()
    for number in range(100):
        assert not breaker.failed(object(), number * 0.1)
    assert breaker.opens_in(0.0) == FIRST


def test_calls_from_before_do_not_let_a_second_one_try() -> None:
    breaker = opened()
    call = probe(breaker, FIRST)
    late = object()
    breaker.failed(late, FIRST)
    breaker.ended(late)
    assert not breaker.admits(FIRST)
    assert breaker.succeeded()
    breaker.ended(call)
    assert breaker.closed


def test_a_call_from_before_that_is_answered_late_closes_it_too() -> None:
    breaker = opened()
    assert breaker.succeeded()
    assert breaker.admits(0.0)


def test_a_try_that_fails_after_another_call_closed_it_counts_as_one_failure() -> None:
    breaker = opened()
    call = probe(breaker, FIRST)
    breaker.succeeded()
    assert not breaker.failed(call, FIRST)
    assert breaker.closed


class Machine(RuleBasedStateMachine):
    """A breaker beside a model that remembers the whole story; calls begin, and end when they like."""

    calls: Bundle[object] = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker()
        self.now = 0.0
        self.row: list[float] = []
        """When the failures of the present row were."""
        self.opened_at: float | None = None
        self.length = FIRST
        self.probe: object = None
        self.probed_at = 0.0

    def may(self) -> bool:
        if self.opened_at is None:
            return True
        tried = self.probe is not None and self.now < self.probed_at + PATIENCE
        return not tried and self.now >= self.opened_at + self.length

    @rule(seconds=st.sampled_from([0.01, FIRST, 2.0, LONGEST, FORGET, 2 * FORGET]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.may())
    @rule(target=calls)
    def begin(self) -> object:
        call = object()
        self.breaker.began(call, self.now)
        if self.opened_at is not None:
            self.probe, self.probed_at = call, self.now
        return call

    @rule(call=consumes(calls))
    def succeed(self, call: object) -> None:
        assert self.breaker.succeeded() is (self.opened_at is not None)
        self.breaker.ended(call)
        self.row, self.opened_at, self.probe, self.length = [], None, None, FIRST

    @rule(call=consumes(calls))
    def fail(self, call: object) -> None:
        news = self.breaker.failed(call, self.now)
        self.breaker.ended(call)
        if self.opened_at is not None:
            assert not news
            if call is self.probe:
                self.opened_at, self.length, self.probe = self.now, min(2 * self.length, LONGEST), None
            return
        if self.row and self.now - self.row[-1] > FORGET:
            self.row = []
        self.row.append(self.now)
        assert news is (len(self.row) >= FAILURES)
        if news:
            self.opened_at, self.row = self.now, []

    @rule(call=consumes(calls))
    def leave(self, call: object) -> None:
        self.breaker.ended(call)
        if call is self.probe:
            self.probe = None

    @invariant()
    def says_how_it_stands(self) -> None:
        breaker, now = self.breaker, self.now
        assert breaker.admits(now) is self.may()
        assert breaker.closed is (self.opened_at is None)
        assert breaker.closed or breaker.failures, "or ``succeeded`` would not be asked"
        if self.opened_at is None:
            assert breaker.state(now) is State.CLOSED
            assert breaker.opens_in(now) == 0
            return
        assert breaker.opens_in(now) == max(0.0, self.opened_at + self.length - now)
        over = now >= self.opened_at + self.length
        assert breaker.state(now) is (State.HALF_OPEN if over else State.OPEN)


TestMachine = Machine.TestCase
