"""Whether and where a failed call is sent again, without a network: the time is the test's, nothing is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway import endpoints
from chatgpt_platform.gateway.attempts import Attempts, Failure
from chatgpt_platform.gateway.call import Call
from chatgpt_platform.gateway.forward import FailedAnswer
from chatgpt_platform.gateway.load import Load
from chatgpt_platform.observe.metrics import Metrics
from chatgpt_platform.settings import schema
from chatgpt_platform.upstream.breaker import FAILURES, FIRST
from chatgpt_platform.upstream.retries import FIRST_PAUSE, LONGEST_PAUSE, RESERVE, Budget
from chatgpt_platform.upstream.upstream import Upstream
from support.clock import FakeTimeLoop
from support.upstreams import LOGGER, call, fleet, upstream

Result = TypeVar("Result")

UNSENT = Problem(Kind.BAD_UPSTREAM, "upstream_unreachable", safe=True)
RESET = Problem(Kind.BAD_UPSTREAM, "upstream_broke_off")
SLOW = Problem(Kind.UPSTREAM_TIMEOUT)
OURS = Problem(Kind.FAULT)
NO_CREDIT = b'{"error": {"message": "no", "code": "insufficient_quota"}}'


def answer(status: int, wait: float | None = None, body: bytes = b'{"error": {"message": "no"}}') -> FailedAnswer:
    return FailedAnswer(status, body, [], wait)


class Story:
    """The attempts of one gateway; the jitter is always the longest."""

    def __init__(
        self, loop: FakeTimeLoop, *settings: schema.Upstream, most: int = 5, percent: int = 20, **load: Any
    ) -> None:
        self.loop = loop
        self.fleet = fleet(*settings)
        self.metrics = Metrics()
        self.load = Load(schema.Load(**load), self.metrics)
        self.budget = Budget(percent, loop.now)
        self.attempts = self.run(self._attempts(most))

    async def _attempts(self, most: int) -> Attempts:
        return Attempts(self.fleet, self.load, self.budget, most, self.metrics, LOGGER, jitter=lambda: 1.0)

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return self.loop.run_until_complete(coroutine)

    def upstream(self, name: str) -> Upstream:
        return next(each for each in self.fleet.upstreams if each.name == name)

    def call(self, model: str = "m", *, own: bool = False) -> Call:
        made = call(endpoints.CHAT)
        found = self.fleet.candidates(model)
        assert found is not None
        made.candidates = ((found.first,),) if own else found.keyed
        made.own_key = found.first.own_key("sk-own") if own else None
        made.record.model = model
        made.body = b'{"model": "m"}'
        made.placed = self.load.enter(made.client.key)
        return made

    def begin(self, made: Call) -> bool:
        async def begin() -> bool:
            return self.attempts.begin(made)

        return self.run(begin())

    def begun(self, model: str = "m", *, own: bool = False) -> Call:
        made = self.call(model, own=own)
        assert self.begin(made)
        return made

    def again(self, made: Call, failure: Failure) -> bool:
        """Whether it was sent again, however long that took."""
        task = self.later(made, failure)
        self.loop.advance(LONGEST_PAUSE)
        return task.result()

    def later(self, made: Call, failure: Failure) -> asyncio.Task[bool]:
        async def start() -> asyncio.Task[bool]:
            return asyncio.create_task(self.attempts.again(made, failure), name="again")

        task = self.run(start())
        self.loop.settle()
        return task

    def settled(self) -> bool:
        """Whether nothing of any call is left."""
        return (self.load.under_way, [each.under_way for each in self.fleet.upstreams]) == (
            0, [0] * len(self.fleet.upstreams),
        )  # fmt: skip


def at(made: Call) -> str | None:
    return made.upstream.name if made.upstream is not None else None


@pytest.fixture
def loop() -> Iterator[FakeTimeLoop]:
    with FakeTimeLoop() as loop:
        yield loop


# Where it is safe.

SAFE = [UNSENT, answer(503), answer(503, 1.0), answer(429), answer(429, 3.0), answer(401), answer(402),
        answer(429, None, NO_CREDIT)]  # fmt: skip
UNSAFE = [RESET, SLOW, answer(500), answer(502), answer(504), answer(529), answer(408)]
NEVER = [OURS, answer(400), answer(403), answer(404), answer(422)]


def name_of(failure: Failure) -> str:
    return failure.text if isinstance(failure, Problem) else f"{failure.status}-{failure.wait}-{len(failure.body)}"


@pytest.mark.parametrize("unsafe", [False, True])
@pytest.mark.parametrize("failure", [*SAFE, *UNSAFE, *NEVER], ids=name_of)
def test_the_next_one_takes_over_where_that_is_safe_and_where_the_owner_says_so(
    loop: FakeTimeLoop, failure: Failure, unsafe: bool
) -> None:
    story = Story(loop, upstream("a", retry_unsafe=unsafe), upstream("b", priority=1))
    made = story.begun()
    assert at(made) == "a"
    sent = story.again(made, failure)
    assert sent is (failure in SAFE or (unsafe and failure in UNSAFE))
    assert at(made) == ("b" if sent else None)
    assert made.record.attempts == 1 + sent
    assert [each.under_way for each in story.fleet.upstreams] == [0, int(sent)]
    assert story.metrics.retries.total() == sent
    story.attempts.settle(made)
    assert story.settled()


@pytest.mark.parametrize("failure", [*SAFE, *UNSAFE], ids=name_of)
def test_never_after_a_byte_went_to_the_caller(loop: FakeTimeLoop, failure: Failure) -> None:
    story = Story(loop, upstream("a", retry_unsafe=True), upstream("b"))
    made = story.begun()
    made.committed = True
    assert not story.again(made, failure)
    assert story.settled() is False
    story.attempts.settle(made)
    assert story.settled()


@pytest.mark.parametrize("most", [1, 2, 3])
def test_no_more_often_than_it_may(loop: FakeTimeLoop, most: int) -> None:
    story = Story(loop, *(upstream(name) for name in "abcd"), most=most)
    made = story.begun()
    sent = 1
    while story.again(made, UNSENT):
        sent += 1
    assert sent == made.record.attempts == most


def test_the_log_tells_each_failed_attempt(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("a", keys=2), upstream("b", priority=1), upstream("c", priority=2))
    made = story.begun()
    for failure in (answer(429, 60.0), answer(429, 60.0), answer(503), UNSENT):
        story.again(made, failure)
    assert made.record.reason == "a key 1: 429; a key 2: 429; b: 503; c: upstream_unreachable"
    assert story.metrics.retries == {("a", "429"): 2, ("b", "503"): 1, ("c", "unsent"): 1}, "c was asked again"


# Keys.


def test_a_busy_key_leaves_the_turn_to_the_next_without_a_pause(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("a", keys=3), upstream("b", priority=1))
    made, start = story.begun(), loop.now
    for number in (2, 3):
        assert story.later(made, answer(429, 60.0)).result()
        assert made.key is not None
        assert (at(made), made.key.number) == ("a", number)
    assert story.later(made, answer(429, 60.0)).result()
    assert at(made) == "b"
    assert loop.now == start


def test_all_keys_rest(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("a", keys=2), upstream("b", priority=1))
    made = story.begun()
    for wait in (30.0, 20.0, 10.0):
        sent = story.again(made, answer(429, wait))
    assert not sent
    assert story.attempts.soonest(made) is not None
    assert 0 < (story.attempts.soonest(made) or 0) <= 10.0
    with pytest.raises(Problem) as caught:
        story.begun()
    assert caught.value.kind is Kind.UPSTREAM_BUSY
    assert caught.value.retry_after is not None
    assert 0 < caught.value.retry_after <= 10


def test_retry_after_nothing_is_a_rest_all_the_same(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("a"))
    assert not story.again(story.begun(), answer(429, 0.0)), "it is not asked over and over"


def test_a_callers_own_key_is_never_another_ones(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("a", keys=2), upstream("b"))
    for failure in (answer(401), answer(429), answer(402), answer(429, None, NO_CREDIT)):
        made = story.begun(own=True)
        assert not story.again(made, failure)
        story.attempts.settle(made)
    assert story.upstream("a").keys.calm
    assert story.attempts.soonest(story.begun()) is None


def test_an_own_key_is_brought_again_to_its_upstream_and_to_no_other(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("a"), upstream("b"))
    made = story.begun(own=True)
    assert story.again(made, UNSENT)
    assert (at(made), made.key) == ("a", made.own_key)


# Pauses.


def test_the_same_upstream_is_asked_again_after_a_pause_that_grows(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("a"), most=4)
    made = story.begun()
    for pause in (FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE):
        task = story.later(made, UNSENT)
        assert not task.done()
        assert story.upstream("a").under_way == 0, "it holds nothing while it waits"
        loop.advance(pause - 0.01, 0.01)
        assert not task.done()
        loop.advance(0.02, 0.01)
        assert task.result()
    assert not story.again(made, UNSENT)


def test_one_that_asks_for_a_moment_gets_it(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("a"))
    made = story.begun()
    task = story.later(made, answer(503, 1.5))
    loop.advance(1.25)
    assert not task.done()
    loop.advance(0.25)
    assert task.result()


def test_one_that_asks_for_longer_is_not_waited_for(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("a"))
    made = story.begun()
    task = story.later(made, answer(503, LONGEST_PAUSE + 1))
    assert not task.result()
    assert story.begin(story.call()), "others may try: it is the only one"


def test_a_caller_that_leaves_in_a_pause_leaves_nothing(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("a"))
    made = story.begun()
    task = story.later(made, UNSENT)
    task.cancel()
    loop.settle()
    assert task.cancelled()
    story.attempts.settle(made)
    assert story.settled()


def test_a_heartbeat_in_a_pause_ends_it(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("a"))
    made = story.begun()
    task = story.later(made, UNSENT)
    made.committed = True
    loop.advance(1.0)
    assert not task.result()


def test_the_total_time_bounds_it_all(loop: FakeTimeLoop) -> None:
    timeouts = schema.UpstreamTimeouts(total=10.0)
    for settings in (
        (upstream("a", timeouts=timeouts), upstream("b", priority=1)),
        (upstream("a"), upstream("b", priority=1, timeouts=timeouts)),
    ):
        story = Story(loop, *settings)
        made = story.begun()
        loop.advance(10.0)
        assert not story.again(made, UNSENT)
        made = story.begun()
        loop.advance(9.0)
        assert story.again(made, UNSENT)


def test_a_slow_upstream_has_had_its_time(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("a", retry_unsafe=True))
    assert not story.again(story.begun(), SLOW)


# The budget.


def test_the_budget_is_one_for_all(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("a"), percent=50)
    sent, reasons = 0, set()
    for _ in range(100):
        made = story.begun()
        task = story.later(made, answer(503))
        sent += not task.done()  # it pauses before it does
        task.cancel()
        loop.settle()
        reasons.add(made.record.reason)
        story.attempts.settle(made)
        story.upstream("a").breaker.succeeded()
    assert RESERVE + 45 <= sent <= RESERVE + 50
    assert reasons == {"a: 503", "a: 503; not sent again: the retry budget is used up"}


def test_an_upstream_that_has_not_failed_the_call_costs_no_budget(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("a"), upstream("b", priority=1), percent=1)
    for _ in range(3 * int(RESERVE)):
        made = story.begun()
        assert story.later(made, answer(503)).result()
        assert at(made) == "b"
        story.attempts.settle(made)
        story.upstream("a").breaker.succeeded()
    story.upstream("b").breaker.failed(object(), loop.now)
    sent = 0
    for _ in range(3 * int(RESERVE)):
        made = story.begun()
        sent += story.later(made, answer(503)).result()
        story.attempts.settle(made)
        story.upstream("a").breaker.succeeded()
    assert RESERVE <= sent <= RESERVE + 1, "b is in trouble too"


def test_what_may_have_been_acted_on_costs_budget_everywhere(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("a", retry_unsafe=True), upstream("b", priority=1), percent=0)
    made = story.begun()
    assert not story.again(made, answer(500))


def test_another_key_costs_no_budget(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("a", keys=2), percent=0)
    for failure in (answer(401), answer(429, 60.0), answer(429, body=NO_CREDIT)):
        made = story.begun()
        assert story.again(made, failure)
        assert made.record.attempts == 2
        story.attempts.settle(made)
        for key in story.upstream("a").keys.keys:
            story.upstream("a").keys.works(key, loop.now + 60)


def test_what_was_never_sent_costs_no_budget_elsewhere(loop: FakeTimeLoop) -> None:
    """However many calls there are at the moment when an upstream goes away: nobody's work is doubled."""
    story = Story(loop, upstream("a"), upstream("b", priority=1))
    together = [story.begun() for _ in range(50)]
    assert all(story.later(made, UNSENT).result() for made in together)
    assert {at(made) for made in together} == {"b"}
    assert story.budget.spend(loop.now, 0)


def test_but_the_same_upstream_again_does(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("a"))
    together = [story.begun() for _ in range(50)]
    assert sum(story.again(made, UNSENT) for made in together[:4]) == 4
    for _ in range(20):
        story.budget.spend(loop.now, 0)
    assert not story.again(together[4], UNSENT)


def test_no_budget_no_retry(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("a"), percent=0)
    assert not story.again(story.begun(), UNSENT)


# Breakers.


def test_one_call_alone_opens_no_breaker(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("a"), most=20)
    made = story.begun()
    while story.again(made, UNSENT):
        pass
    assert made.record.attempts > FAILURES
    assert story.upstream("a").breaker.failures == 1


def down(it: Upstream, now: float) -> None:
    """As calls that failed leave it, without a line in the log."""
    it.last_problem = UNSENT
    for _ in range(FAILURES):
        it.breaker.failed(object(), now)


def test_all_down(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("a"), upstream("b"))
    for each in story.fleet.upstreams:
        down(each, loop.now)
    made = story.call()
    with pytest.raises(Problem) as caught:
        story.begin(made)
    problem = caught.value
    assert (problem.kind, problem.text, problem.retry_after) == (Kind.UNAVAILABLE, "upstream_down", 1)
    assert problem.values["because"] is UNSENT, "the real failure"
    story.attempts.settle(made)
    assert story.settled()


def test_busy_keys_are_better_news_than_a_dead_service(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("dead"), upstream("busy"))
    down(story.upstream("dead"), loop.now)
    keys = story.upstream("busy").keys
    keys.rest(keys.keys[0], loop.now, 7.5)
    with pytest.raises(Problem) as caught:
        story.begun()
    assert (caught.value.kind, caught.value.retry_after) == (Kind.UPSTREAM_BUSY, 8)


def test_a_key_that_rests_at_a_dead_service_is_no_news(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("a"))
    keys = story.upstream("a").keys
    keys.rest(keys.keys[0], loop.now, 7.5)
    down(story.upstream("a"), loop.now)
    with pytest.raises(Problem) as caught:
        story.begun()
    assert caught.value.text == "upstream_down"


def test_the_call_that_tries_lets_another_try_when_it_tells_nothing(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("a"))
    late = story.begun()
    down(story.upstream("a"), loop.now)
    loop.advance(FIRST)
    trying = story.begun()
    with pytest.raises(Problem):
        story.begun()
    story.attempts.settle(late)
    with pytest.raises(Problem):
        story.begun()
    story.attempts.settle(trying)
    assert at(story.begun()) == "a"


@pytest.mark.parametrize("status", [401, 402, 429])
def test_who_says_something_of_the_key_is_not_down(
    loop: FakeTimeLoop, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    story = Story(loop, upstream("a", keys=2))
    down(story.upstream("a"), loop.now)
    loop.advance(FIRST)
    assert story.again(story.begun(), answer(status))
    assert at(story.begun()) == "a"
    assert "a: answers again" in caplog.messages


# Places at an upstream.


def test_a_call_waits_where_all_that_could_take_it_are_full(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("a", concurrency=1), upstream("b", concurrency=1, priority=1))
    first, second, third = story.begun(), story.begun(), story.call()
    assert [at(first), at(second)] == ["a", "b"]
    assert not story.begin(third)
    assert third.record.attempts == 0
    story.attempts.settle(first)
    assert story.begin(third)


def test_full_and_down_is_down(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("a", concurrency=1))
    story.begun()
    down(story.upstream("a"), loop.now)
    with pytest.raises(Problem) as caught:
        story.begun()
    assert caught.value.text == "upstream_down"


@pytest.mark.parametrize("spare", [True, False])
def test_what_a_call_leaves_for_another_upstream_or_a_pause_is_free_at_once(
    loop: FakeTimeLoop, spare: bool
) -> None:
    others = [upstream("spare", priority=1)] if spare else []
    story = Story(loop, upstream("a", concurrency=1, models=("m", "mine")), *others)
    first, second = story.begun(), story.call("mine")
    second.candidates = ((story.upstream("a"),),)

    async def wait() -> None:
        await story.load.wait("other", lambda: story.attempts.begin(second))

    waiting = loop.create_task(wait())
    loop.settle()
    assert at(second) is None
    task = story.later(first, UNSENT)
    assert waiting.done()
    assert at(second) == "a"
    assert task.done() is spare
    for made in (first, second):
        story.attempts.settle(made)
    loop.advance(LONGEST_PAUSE)
    story.attempts.settle(first)
    assert story.settled()


def test_settled_twice_is_settled_once(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("a"))
    first, second = story.begun(), story.begun()
    for _ in range(3):
        story.attempts.settle(first)
    assert (story.load.under_way, story.upstream("a").under_way) == (1, 1)
    story.attempts.settle(second)
    assert story.settled()


# What is sent.


def test_each_upstream_is_asked_by_its_own_name_for_the_model(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("a", rename={"m": "a-m"}), upstream("b", priority=1))
    made = story.begun()
    assert story.again(made, UNSENT)
    assert made.body == b'{"model": "m"}', "what the caller sent stays"
    assert made.record.model == "m"


def test_a_body_that_cannot_be_changed_leaves_no_count(loop: FakeTimeLoop) -> None:
    """A fault of ours, of which nothing may be left over."""
    story = Story(loop, upstream("a", rename={"m": "a-m"}))
    made = story.call()
    made.body = b"no JSON"
    with pytest.raises(Exception, match=r".") as caught:
        story.begin(made)
    assert not isinstance(caught.value, AssertionError)
    story.attempts.settle(made)
    assert story.settled()


@given(st.lists(st.sampled_from([*SAFE, *UNSAFE, *NEVER]), max_size=8), st.integers(1, 6), st.booleans())
def test_whatever_happens_nothing_is_left(failures: list[Failure], most: int, unsafe: bool) -> None:
    with FakeTimeLoop() as loop:
        quiet = [upstream(name, keys=2, retry_unsafe=unsafe, priority=n % 2) for n, name in enumerate("abc")]
        story = Story(loop, *quiet, most=most)
        made = story.begun()
        for failure in failures:
            if not story.again(made, failure):
                assert at(made) is None
                break
            assert at(made) == made.record.upstream
        assert made.record.attempts <= most
        story.attempts.settle(made)
        assert story.settled()


# One that is taken to be down, for a call that has nobody else.


def test_a_call_that_failed_elsewhere_tries_one_that_is_taken_to_be_down(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("a"), upstream("b", priority=1))
    made = story.begun()
    down(story.upstream("b"), loop.now)
    task = story.later(made, answer(429, 60.0))
    assert task.result(), "its only other hope"
    assert at(made) == "b"
    other = story.call()
    other.candidates = ((story.upstream("b"),),)
    with pytest.raises(Problem):
        story.begin(other)  # one at a time


def test_it_does_not_where_the_one_that_failed_it_may_be_asked_again(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("a"), upstream("b", priority=1))
    made = story.begun()
    down(story.upstream("b"), loop.now)
    task = story.later(made, UNSENT)
    assert not task.done()
    loop.advance(FIRST_PAUSE, 0.01)
    assert task.result()
    assert at(made) == "a"


def test_nor_with_a_key_of_the_callers_own(loop: FakeTimeLoop) -> None:
    story = Story(loop, upstream("a"), upstream("b", priority=1))
    made = story.begun(own=True)
    down(story.upstream("b"), loop.now)
    assert not story.again(made, answer(401))
