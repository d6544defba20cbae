from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt_platform.limits.bucket import SECOND, Windows, windows_of
from chatgpt_platform.limits.store import Decision, Store
from limits.limits_model import Model, limits, pauses

MINUTE = 60 * SECOND
THREE_A_MINUTE = windows_of(0, 3, 0, 0)
ONE_A_MINUTE = windows_of(0, 1, 0, 0)

calls = st.lists(st.tuples(st.sampled_from("abcdefgh"), pauses, st.integers(1, 4)), max_size=40)


def store_of(windows: Windows, max_clients: int = 1000, keep: int = 0) -> tuple[Store, list[int]]:
    overflows: list[int] = []
    return Store(windows, max_clients, overflows.append, keep=keep), overflows


def admitted(store: Store, client: str, now: int, calls: int = 10) -> int:
    return sum(store.take(client, now).admitted for _ in range(calls))


def ratelimit(decision: Decision) -> bytes:
    return dict(decision.headers)[b"RateLimit"]


def test_headers_are_those_of_the_contract() -> None:
    store, _ = store_of(windows_of(0, 3, 0, 0))
    assert store.take("a", 5) == Decision(
        admitted=True,
        retry_after=0,
        headers=((b"RateLimit-Policy", b'"minute";q=3;w=60'), (b"RateLimit", b'"minute";r=2;t=20')),
    )


def test_headers_have_one_item_for_each_active_window_in_order() -> None:
    store, _ = store_of(windows_of(second=1, minute=3, hour=50, day=200))
    store.take("a", 0)
    decision = store.take("a", SECOND // 2)
    assert not decision.admitted
    assert decision.retry_after == 1
    assert decision.headers == (
        (b"RateLimit-Policy", b'"second";q=1;w=1, "minute";q=3;w=60, "hour";q=50;w=3600, "day";q=200;w=86400'),
        (b"RateLimit", b'"second";r=0;t=1, "minute";r=2;t=20, "hour";r=49;t=72, "day";r=199;t=432'),
    )


def test_retry_after_is_the_largest_wait() -> None:
    store, _ = store_of(windows_of(second=1, minute=1, hour=1, day=0))
    store.take("a", 0)
    assert store.take("a", 0).retry_after == 3600


def test_without_limits_nothing_is_said_or_remembered() -> None:
    store, _ = store_of(())
    for _ in range(100):
        assert store.take("a", 0) == store.look("a", 0) == Decision(admitted=True, retry_after=0, headers=())
    assert len(store) == 0


def test_a_look_takes_nothing_and_remembers_nothing() -> None:
    store, _ = store_of(ONE_A_MINUTE)
    for _ in range(5):
        assert store.look("a", 0).admitted
        assert ratelimit(store.look("a", 0)) == b'"minute";r=1;t=0'
    assert len(store) == 0
    assert store.take("a", 0).admitted
    assert store.look("a", 0) == store.take("a", 0)
    assert store.look("a", 0).retry_after == 60


@given(limits.filter(bool), calls)
def test_each_client_is_treated_as_the_model_says(windows: Windows, steps: list[tuple[str, int, int]]) -> None:
    store, overflows = store_of(windows)
    models: defaultdict[str, Model] = defaultdict(lambda: Model(windows))
    now = 0
    for client, pause, times in steps:
        now += pause
        models[client].move(now)
        for _ in range(times):
            assert store.look(client, now).admitted == (models[client].wait() == 0)
            assert store.take(client, now).admitted == models[client].take()
    assert overflows == []


@given(limits.filter(bool), calls, pauses, st.data())
def test_a_clock_that_goes_back_stands_still(
    windows: Windows, steps: list[tuple[str, int, int]], back: int, data: st.DataObject
) -> None:
    straight, crooked = store_of(windows)[0], store_of(windows)[0]
    now = 0
    for client, pause, times in steps:
        now += pause
        for _ in range(times):
            assert straight.take(client, now) == crooked.take(client, now)
            if data.draw(st.booleans()):
                assert straight.take(client, now) == crooked.take(client, max(0, now - back))


@given(limits.filter(bool), st.lists(pauses, min_size=1, max_size=5))
def test_a_retry_succeeds_at_retry_after_and_no_sooner(windows: Windows, steps: list[int]) -> None:
    store, _ = store_of(windows)
    now = 0
    for pause in steps:
        now += pause
        while (decision := store.take("a", now)).admitted:
            pass
        assert decision.retry_after >= 1
        if decision.retry_after > 1:
            early = now + (decision.retry_after - 1) * SECOND
            assert not store.take("a", early).admitted
        now += decision.retry_after * SECOND
        assert store.take("a", now).admitted


@given(limits.filter(bool), st.integers(0, 4), calls)
def test_nobody_gets_more_from_a_small_store_than_from_an_endless_one(
    windows: Windows, max_clients: int, steps: list[tuple[str, int, int]]
) -> None:
    store, _ = store_of(windows, max_clients)
    models: defaultdict[str, Model] = defaultdict(lambda: Model(windows))
    now = 0
    for client, pause, times in steps:
        now += pause
        models[client].move(now)
        for _ in range(times):
            looked = store.look(client, now)
            taken = store.take(client, now)
            assert looked.admitted == taken.admitted
            if taken.admitted:
                assert models[client].take(), "admitted beyond its own limit"
            assert len(store) <= max_clients


def test_a_full_client_makes_room_and_a_drained_one_does_not() -> None:
    store, overflows = store_of(ONE_A_MINUTE, max_clients=2)
    assert admitted(store, "a", 0) == 1
    assert admitted(store, "b", 30 * SECOND) == 1
    assert admitted(store, "c", MINUTE) == 1  # takes the place of a
    assert overflows == []
    assert not store.take("b", MINUTE).admitted
    assert not store.take("c", MINUTE).admitted
    assert len(store) == 2


def test_a_client_that_went_on_calling_is_not_forgotten_at_its_first_due_time() -> None:
    store, overflows = store_of(THREE_A_MINUTE, max_clients=1)
    assert admitted(store, "a", 0, 1) == 1  # full again after 20 s
    assert admitted(store, "a", 10 * SECOND) == 2  # after 60 s
    assert admitted(store, "b", 25 * SECOND) == 3
    assert overflows  # b had to share: a was kept
    assert admitted(store, "a", 25 * SECOND) == 1  # the one that came back by 20 s
    assert not store.take("a", 25 * SECOND).admitted


def test_newcomers_to_a_full_store_share_one_client() -> None:
    store, _ = store_of(THREE_A_MINUTE, max_clients=1)
    admitted(store, "a", 0)
    assert [store.take(client, 0).admitted for client in "bcdef"] == [True, True, True, False, False]
    denied = store.take("g", 0)
    assert denied.retry_after == 20
    assert store.look("h", 0).headers == denied.headers
    assert len(store) == 1


def test_who_used_the_overflow_client_does_not_start_afresh_in_a_place_of_its_own() -> None:
    store, _ = store_of(windows_of(0, 1, 2, 0), max_clients=1)
    store.take("a", 0)
    assert store.take("b", SECOND).admitted  # through the overflow client
    store.reconfigure(windows_of(0, 1, 2, 0), 10, SECOND)
    assert not store.take("b", SECOND).admitted
    assert len(store) == 1  # the denied newcomer has no place


def test_overflow_is_reported_at_once_and_then_at_most_once_a_minute() -> None:
    store, overflows = store_of(windows_of(0, 0, 0, 1), max_clients=1)
    store.take("a", 0)
    store.look("b", 0)  # admitted: its take will count
    assert overflows == []
    store.take("b", 0)
    assert overflows == [1]
    for _ in range(4):
        store.take("c", MINUTE - 1)
    store.look("d", MINUTE - 1)  # denied here, so that no take follows
    store.take("a", MINUTE - 1)  # known
    assert overflows == [1]
    store.take("e", MINUTE)
    assert overflows == [1, 6]


def test_memory_follows_the_live_clients() -> None:
    store, _ = store_of(ONE_A_MINUTE, max_clients=1000)
    for index in range(500):
        store.take(f"old{index}", 0)
    assert len(store) == 500
    for index in range(500):
        store.take(f"new{index}", MINUTE)
    assert len(store) == 500
    assert not store.take("new0", MINUTE).admitted
    assert len(store) == 500


def test_full_clients_that_may_be_kept_stay_and_are_full() -> None:
    store, overflows = store_of(ONE_A_MINUTE, max_clients=10, keep=3)
    for client in "abc":
        store.take(client, 0)
    assert store.admit("a", MINUTE) is not None
    assert len(store) == 3, "none of them need go"
    assert not store.take("a", MINUTE).admitted
    store.take("d", MINUTE)
    assert len(store) == 3, "above it those that are full go: b went"
    assert overflows == []


def test_a_full_client_that_may_be_kept_still_makes_room_in_a_full_store() -> None:
    store, overflows = store_of(ONE_A_MINUTE, max_clients=2, keep=100)
    store.take("a", 0)
    store.take("b", 0)
    assert admitted(store, "c", MINUTE) == 1
    assert overflows == []
    assert len(store) <= 2


def test_no_newcomer_waits_for_a_long_clean_up() -> None:
    busy, idle = 1000, 500
    store, overflows = store_of(THREE_A_MINUTE, max_clients=busy + idle)
    for index in range(busy):
        assert admitted(store, f"busy{index}", 0, 2) == 2  # looked at after 20 s, full after 40 s
    for index in range(idle):
        assert admitted(store, f"idle{index}", 0, 1) == 1  # full after 20 s
    assert store.take("x", 30 * SECOND).admitted
    assert overflows == [1]  # a thousand entries were put right, and no more
    assert store.take("y", 30 * SECOND).admitted
    assert len(store) == busy + idle - 1  # y went on from there: two idle ones left, and it has a place


@pytest.mark.parametrize(("capacity", "left"), [(50, 47), (4, 1), (3, 0), (2, 0)])
def test_a_reload_keeps_what_was_used(capacity: int, left: int) -> None:
    store, _ = store_of(THREE_A_MINUTE)
    assert admitted(store, "a", 0) == 3
    store.reconfigure(windows_of(0, capacity, 0, 0), 1000, 0)
    assert admitted(store, "a", 0, 60) == left
    assert admitted(store, "b", 0, 60) == capacity
    assert store.take("b", 0).headers[0] == (b"RateLimit-Policy", f'"minute";q={capacity};w=60'.encode())


def test_a_reload_adds_full_windows_and_drops_old_ones() -> None:
    store, _ = store_of(windows_of(1, 3, 0, 0))
    store.take("a", 0)
    store.reconfigure(windows_of(0, 3, 5, 0), 1000, 0)
    assert ratelimit(store.look("a", 0)) == b'"minute";r=2;t=20, "hour";r=5;t=0'


def test_the_same_limits_again_change_nothing() -> None:
    windows = windows_of(1, 7, 50, 13)
    store, untouched = store_of(windows)[0], store_of(windows)[0]
    for step in range(60):
        now = step * 700_000_003
        client = "abc"[step % 3]
        assert store.take(client, now) == untouched.take(client, now)
        store.reconfigure(windows, 1000, now)


def test_a_reload_with_fewer_places_drops_only_full_clients() -> None:
    store, overflows = store_of(ONE_A_MINUTE)
    store.take("old", 0)
    for client in "abcde":
        store.take(client, 30 * SECOND)
    store.reconfigure(ONE_A_MINUTE, 2, MINUTE)
    assert len(store) == 5
    assert not any(store.take(client, MINUTE).admitted for client in "abcde")
    assert store.take("new", MINUTE).admitted
    assert not store.take("newer", MINUTE).admitted
    assert overflows == [1]
    assert store.take("newest", 120 * SECOND).admitted  # the five are full: room again
    assert len(store) <= 2


def test_after_a_reload_clients_are_still_forgotten_in_the_order_in_which_they_are_full() -> None:
    store, overflows = store_of(ONE_A_MINUTE)
    for number in range(5):
        store.take(f"c{number}", number * SECOND)
    store.reconfigure(ONE_A_MINUTE, 5, 10 * SECOND)
    for number in range(5):
        assert store.take(f"new{number}", (60 + number) * SECOND).admitted
        assert len(store) == 5
    assert overflows == []


def test_a_reload_carries_the_overflow_client() -> None:
    store, _ = store_of(THREE_A_MINUTE, max_clients=0)
    assert admitted(store, "a", 0) == 3
    store.reconfigure(windows_of(0, 5, 0, 0), 0, 0)
    assert admitted(store, "b", 0) == 2


def test_limits_may_be_switched_off_and_on() -> None:
    store, _ = store_of(ONE_A_MINUTE)
    store.take("a", 0)
    store.reconfigure((), 1000, 0)
    assert len(store) == 0
    assert admitted(store, "a", 0) == 10
    store.reconfigure(ONE_A_MINUTE, 1000, 0)
    assert admitted(store, "a", 0) == 1


@given(limits, calls, st.integers(1, 5))
def test_admit_is_take_where_it_succeeds(windows: Windows, history: list[tuple[str, int, int]], room: int) -> None:
    (slow, slow_overflows), (quick, quick_overflows) = store_of(windows, room), store_of(windows, room)
    now = 0
    for client, pause, number in history:
        now += pause
        for _ in range(number):
            decision = slow.take(client, now)
            lines = quick.admit(client, now)
            if lines is None:
                assert quick.take(client, now) == decision
            else:
                assert decision.admitted
                assert lines == b"".join(b"%b: %b\r\n" % line for line in decision.headers)
        assert len(quick) <= len(slow), "which may only forget more"
    assert quick_overflows == slow_overflows


def test_admit_takes_nothing_where_a_bucket_is_empty() -> None:
    store, _ = store_of(windows_of(second=0, minute=1, hour=5, day=0))
    assert store.admit("a", 0) == (
        b'RateLimit-Policy: "minute";q=1;w=60, "hour";q=5;w=3600\r\n'
        b'RateLimit: "minute";r=0;t=60, "hour";r=4;t=720\r\n'
    )
    for _ in range(10):
        assert store.admit("a", 0) is None
    assert ratelimit(store.look("a", 0)) == b'"minute";r=0;t=60, "hour";r=4;t=720'


@given(limits, calls, st.integers(1, 5))
def test_decisions_are_counted(windows: Windows, history: list[tuple[str, int, int]], room: int) -> None:
    store, _ = store_of(windows, room)
    now = made = denied = 0
    for client, pause, number in history:
        now += pause
        for _ in range(number):
            made += 1
            if store.admit(client, now) is None:
                denied += not store.take(client, now).admitted
    assert (store.admitted, store.denied) == (made - denied, denied)


def test_a_call_that_is_denied_at_a_look_is_counted() -> None:
    store, _ = store_of(ONE_A_MINUTE)
    store.look("a", 0)
    store.take("a", 0)
    assert (store.admitted, store.denied) == (1, 0)
    store.look("a", 0)
    assert (store.admitted, store.denied) == (1, 1)
