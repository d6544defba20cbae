"""A pool of keys against the words of its documentation, by hand and against a model."""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chatgpt_platform.upstream.keys import ASIDE, LONGEST_ASIDE, LONGEST_REST, REST, Key, KeyPool, State

SECRET = "sk-test/0123456789"


def key(number: int) -> Key:
    return Key(f"{SECRET}-{number}", b"Authorization: Bearer %d\r\n" % number, number)


def pool(count: int) -> KeyPool:
    return KeyPool([key(number) for number in range(1, count + 1)])


def picked(keys: KeyPool, now: float, times: int) -> list[int]:
    found = [keys.pick(now) for _ in range(times)]
    return [each.number if each is not None else 0 for each in found]


def set_aside_all(keys: KeyPool, now: float) -> None:
    for each in keys.keys:
        assert keys.set_aside(each, now)


# A key.


def test_a_key_shows_nothing_of_itself() -> None:
    own = Key(SECRET, b"Authorization: Bearer " + SECRET.encode())
    assert SECRET not in repr(own) + repr(pool(2).keys) + str(own)
    assert "test" not in repr(own)


def test_the_forms_in_which_a_key_may_come_back() -> None:
    assert set(Key(SECRET, b"").forms) == {b"sk-test/0123456789", b"sk-test%2F0123456789"}
    assert Key("plain", b"").forms == (b"plain",)


def test_a_key_without_a_number_is_a_callers_own() -> None:
    assert Key(SECRET, b"").own
    assert not key(1).own


# Turns.


def test_keys_take_turns() -> None:
    assert picked(pool(3), 0.0, 7) == [1, 2, 3, 1, 2, 3, 1]


def test_one_key_has_every_turn() -> None:
    assert picked(pool(1), 0.0, 3) == [1, 1, 1]


def test_a_pool_of_none() -> None:
    none = pool(0)
    assert not none
    assert none.pick(0.0) is None
    assert not none.ready(0.0)
    assert not none.calm
    assert none.rests_for(0.0) is None


# Rests.


def test_a_key_rests_for_as_long_as_the_upstream_said() -> None:
    keys = pool(2)
    keys.rest(keys.keys[0], 100.0, 7.5)
    assert keys.keys[0].state(107.4) is State.RESTING
    assert picked(keys, 107.4, 3) == [2, 2, 2]
    assert keys.rests_for(107.0) == 0.5
    assert keys.keys[0].state(107.5) is State.WORKS
    assert sorted(picked(keys, 107.5, 2)) == [1, 2]
    assert keys.rests_for(107.5) is None


def test_no_rest_is_longer_than_an_hour() -> None:
    """A date that is years away, or milliseconds taken for seconds, would take the key until a restart."""
    keys = pool(1)
    keys.rest(keys.keys[0], 0.0, 604_800.0)
    assert keys.rests_for(0.0) == LONGEST_ASIDE


def test_the_longest_of_several_rests_counts() -> None:
    keys = pool(1)
    for seconds in (9.0, 3.0, None):
        keys.rest(keys.keys[0], 0.0, seconds)
        assert keys.rests_for(0.0) == 9.0
    keys.rest(keys.keys[0], 1.0, 10.0)
    assert keys.rests_for(1.0) == 10.0


def test_the_soonest_of_several_keys_is_told() -> None:
    keys = pool(3)
    for each, seconds in zip(keys.keys, (9.0, 3.0, 6.0), strict=True):
        keys.rest(each, 0.0, seconds)
    assert keys.pick(0.0) is None
    assert not keys.ready(0.0)
    assert keys.rests_for(0.0) == 3.0
    assert picked(keys, 3.0, 2) == [2, 2]


def test_without_a_time_it_rests_twice_as_long_each_time_up_to_a_minute() -> None:
    keys = pool(1)
    now, rests = 0.0, []
    for _ in range(9):
        keys.rest(keys.keys[0], now, None)
        rests.append(keys.rests_for(now))
        now += rests[-1] or 0.0
    assert rests == [REST, 2, 4, 8, 16, 32, LONGEST_REST, LONGEST_REST, LONGEST_REST]
    keys.works(keys.keys[0], now)
    keys.rest(keys.keys[0], now, None)
    assert keys.rests_for(now) == REST


def test_no_time_at_all_is_no_time_that_was_said() -> None:
    """``Retry-After: 0``, or a date that has gone by: to come back at once would be no rest."""
    keys = pool(1)
    keys.rest(keys.keys[0], 0.0, 0.0)
    assert keys.rests_for(0.0) == REST


def test_calls_that_were_under_way_do_not_make_a_rest_longer() -> None:
    keys = pool(1)
    for _ in range(50):
        keys.rest(keys.keys[0], 0.5, None)
    assert keys.rests_for(0.5) == REST


def test_calls_that_were_under_way_do_not_end_a_rest() -> None:
    keys = pool(1)
    keys.rest(keys.keys[0], 0.0, None)
    assert not keys.works(keys.keys[0], 0.5)
    assert keys.pick(0.5) is None


# Set aside.


def test_a_key_that_does_not_work_is_set_aside_and_said_so_once() -> None:
    keys = pool(2)
    bad = keys.keys[0]
    assert keys.set_aside(bad, 0.0)
    assert not keys.set_aside(bad, 0.1)
    assert bad.state(0.1) is State.ASIDE
    assert picked(keys, ASIDE - 1, 3) == [2, 2, 2]
    assert not keys.all_aside


def test_one_call_tries_it_again_and_others_wait_for_what_that_finds_out() -> None:
    keys = pool(2)
    keys.set_aside(keys.keys[0], 0.0)
    assert Counter(picked(keys, ASIDE, 20)) == {1: 1, 2: 19}
    assert keys.works(keys.keys[0], ASIDE + 1)
    assert Counter(picked(keys, ASIDE + 1, 20)) == {1: 10, 2: 10}
    assert not keys.works(keys.keys[0], ASIDE + 2), "it worked already"


def test_each_try_that_fails_doubles_the_time_up_to_an_hour() -> None:
    keys = pool(2)
    bad = keys.keys[0]
    keys.set_aside(bad, 0.0)
    now, waits = 0.0, []
    for _ in range(8):
        waits.append(bad.ready_at - now)
        now = bad.ready_at
        assert 1 in picked(keys, now, 2)
        assert not keys.set_aside(bad, now)
    assert waits == [ASIDE, 120, 240, 480, 960, 1920, LONGEST_ASIDE, LONGEST_ASIDE]


def test_calls_that_were_under_way_do_not_make_the_time_longer() -> None:
    keys = pool(2)
    for number in range(10):
        keys.set_aside(keys.keys[0], number * 0.1)
    assert keys.keys[0].ready_at == ASIDE


def test_a_try_whose_caller_left_is_followed_by_another() -> None:
    keys = pool(2)
    keys.set_aside(keys.keys[0], 0.0)
    assert 1 in picked(keys, ASIDE, 2)
    assert 1 not in picked(keys, 2 * ASIDE - 1, 2)
    assert 1 in picked(keys, 2 * ASIDE, 2)


def test_a_key_set_aside_that_is_busy_stays_so() -> None:
    keys = pool(2)
    keys.set_aside(keys.keys[0], 0.0)
    keys.rest(keys.keys[0], 1.0, 500.0)
    assert keys.keys[0].ready_at == ASIDE
    assert keys.rests_for(1.0) is None, "it does not rest"


def test_a_key_that_rests_can_be_set_aside() -> None:
    keys = pool(2)
    keys.rest(keys.keys[0], 0.0, 5.0)
    assert keys.set_aside(keys.keys[0], 1.0)
    assert keys.keys[0].state(1.0) is State.ASIDE
    assert keys.rests_for(1.0) is None


def test_where_all_are_set_aside_they_are_used_all_the_same_and_take_turns() -> None:
    keys = pool(3)
    set_aside_all(keys, 0.0)
    assert keys.all_aside
    assert not keys.ready(1.0)
    assert Counter(picked(keys, 1.0, 30)) == {1: 10, 2: 10, 3: 10}
    for each in keys.keys:
        keys.set_aside(each, 2.0)  # what those calls found
        assert each.ready_at == ASIDE
    assert keys.works(keys.keys[1], 3.0)
    assert picked(keys, 3.0, 5) == [2] * 5


def test_where_one_rests_those_set_aside_wait_with_it() -> None:
    keys = pool(2)
    keys.set_aside(keys.keys[0], 0.0)
    keys.rest(keys.keys[1], 0.0, 10.0)
    assert keys.pick(1.0) is None
    assert keys.rests_for(1.0) == 9.0


class Pool(RuleBasedStateMachine):
    """A pool beside the plainest account of what it is told: who may not be used before when, and who is tried."""

    @initialize(count=st.integers(1, 4))
    def begin(self, count: int) -> None:
        self.keys = pool(count)
        self.now = 0.0
        self.until = dict.fromkeys(self.keys.keys, 0.0)
        self.aside: set[Key] = set()
        self.trying: set[Key] = set()

    @rule(seconds=st.sampled_from([0.1, 1.0, 10.0, ASIDE, LONGEST_ASIDE]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def pick(self) -> None:
        ready = [each for each in self.keys.keys if self.until[each] <= self.now]
        given = self.keys.pick(self.now)
        if ready:
            assert given in ready
            if given in self.aside:
                self.until[given] = given.ready_at
                assert given.ready_at > self.now, "only one call tries it"
                self.trying.add(given)
        elif len(self.aside) == len(self.keys.keys):
            assert given is not None
        else:
            assert given is None

    @rule(index=st.integers(0, 3), seconds=st.none() | st.sampled_from([0.0, 0.5, 3.0, 600.0]))
    def busy(self, index: int, seconds: float | None) -> None:
        given = self.keys.keys[index % len(self.keys.keys)]
        rested_until = self.until[given]
        self.keys.rest(given, self.now, seconds)
        if given in self.aside:
            assert given.ready_at == rested_until
            return
        assert given.ready_at >= rested_until
        assert given.ready_at > self.now
        assert given.ready_at <= max(rested_until, self.now + (seconds or LONGEST_REST))
        self.until[given] = given.ready_at

    @rule(index=st.integers(0, 3))
    def refused(self, index: int) -> None:
        given = self.keys.keys[index % len(self.keys.keys)]
        assert self.keys.set_aside(given, self.now) is (given not in self.aside)
        if given not in self.aside or given in self.trying:
            assert self.now + ASIDE <= given.ready_at <= self.now + LONGEST_ASIDE
        else:
            assert given.ready_at == self.until[given]
        self.aside.add(given)
        self.trying.discard(given)
        self.until[given] = given.ready_at

    @rule(index=st.integers(0, 3))
    def works(self, index: int) -> None:
        given = self.keys.keys[index % len(self.keys.keys)]
        assert self.keys.works(given, self.now) is (given in self.aside)
        if given in self.aside or self.until[given] <= self.now:
            self.until[given] = 0.0
        self.aside.discard(given)
        self.trying.discard(given)

    @precondition(lambda self: not self.aside)
    @rule()
    def fairly(self) -> None:
        ready = [each for each in self.keys.keys if self.until[each] <= self.now]
        given = [self.keys.pick(self.now) for _ in range(3 * len(ready))]
        assert Counter(given) == dict.fromkeys(ready, 3)

    @invariant()
    def says_how_it_stands(self) -> None:
        keys, now = self.keys, self.now
        assert keys.ready(now) is any(until <= now for until in self.until.values())
        assert keys.all_aside is (len(self.aside) == len(keys.keys))
        assert not keys.calm or (not self.aside and keys.ready(now) and keys.rests_for(now) is None)
        resting = [until - now for each, until in self.until.items() if until > now and each not in self.aside]
        assert keys.rests_for(now) == min(resting, default=None)
        for each in keys.keys:
            resting_or_not = State.RESTING if self.until[each] > now else State.WORKS
            assert each.state(now) is (State.ASIDE if each in self.aside else resting_or_not)


TestPool = Pool.TestCase
