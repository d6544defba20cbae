"""The store over a restart: what ``changes`` told is all that a new one knows."""

from __future__ import annotations

import json
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt_platform.limits.bucket import SECOND, Windows, windows_of
from chatgpt_platform.limits.kept import Kept
from chatgpt_platform.limits.store import Store
from limits.limits_model import Model, pauses

SECRET = b"thirty-two bytes that none knows"
HOUR = 3600 * SECOND
WALL = 1_764_151_435 * SECOND
ONE_AN_HOUR = windows_of(0, 0, 1, 0)
FOUR_AN_HOUR = windows_of(0, 0, 4, 0)

long_limits = st.builds(
    windows_of,
    second=st.just(0),
    minute=st.just(0),
    hour=st.sampled_from([0, 1, 50, 11]),
    day=st.sampled_from([0, 2, 13]),
).filter(bool)

steps = st.lists(
    st.tuples(
        st.sampled_from("abcdefgh"), pauses, st.integers(1, 4), st.sampled_from(["", "", "", "save", "restart"]),
    ),
    max_size=40,
)  # fmt: skip


class Life:
    """A store whose process ends and begins anew; ``texts`` is the database."""

    def __init__(self, windows: Windows, max_clients: int = 1000, keep: int = 0, secret: bytes = SECRET) -> None:
        self.windows, self.max_clients, self.keep, self.secret = windows, max_clients, keep, secret
        self.texts: dict[str, str] = {}
        self.overflows: list[int] = []
        self.begun = 0
        """When this process began, by the clock of the first."""
        self.begin(0)

    def begin(self, now: int, wall: int | None = None) -> None:
        self.begun = now
        self.store = Store(
            self.windows, self.max_clients, self.overflows.append, keep=self.keep, secret=self.secret
        )  # fmt: skip
        self.store.restore(self.texts, 0, WALL + now if wall is None else wall)

    def save(self, now: int, most: int = 1000) -> None:
        while self.store.unsaved:
            self.write(self.store.changes(now - self.begun, WALL + now, most))

    def write(self, changes: dict[str, str]) -> None:
        for name, text in changes.items():
            if text:
                self.texts[name] = text
            else:
                self.texts.pop(name, None)

    def restart(self, now: int, wall: int | None = None) -> None:
        self.save(now)
        self.begin(now, wall)

    def take(self, client: str, now: int) -> bool:
        return self.store.take(client, now - self.begun).admitted

    def taken(self, client: str, now: int, calls: int = 10) -> int:
        return sum(self.take(client, now) for _ in range(calls))


def test_what_was_used_stays_used() -> None:
    life = Life(FOUR_AN_HOUR)
    assert life.taken("a", 0, 3) == 3
    life.restart(SECOND)
    assert life.taken("a", SECOND) == 1
    assert life.taken("b", SECOND) == 4


def test_each_way_of_taking_is_told() -> None:
    life = Life(FOUR_AN_HOUR)
    for left, take in ((3, life.store.take), (2, life.store.admit), (1, life.store.take), (0, life.store.admit)):
        assert take("a", 0)
        (text,) = life.store.changes(0, WALL).values()
        assert json.loads(text)["hour"] == [4, (4 - left) * HOUR]


def test_it_is_refilled_while_nothing_runs() -> None:
    life = Life(FOUR_AN_HOUR)
    life.taken("a", 0)
    life.restart(HOUR // 2 - 1)
    assert life.taken("a", HOUR // 2 - 1) == 1
    assert life.taken("a", HOUR // 2) == 1


@given(long_limits, steps, st.integers(1, 3))
def test_a_restart_at_any_moment_is_none(
    windows: Windows, history: list[tuple[str, int, int, str]], most: int
) -> None:
    straight, life = Store(windows, 1000, print), Life(windows)
    now = 0
    for client, pause, calls, event in history:
        now += pause
        if event:
            life.save(now, most)
        if event == "restart":
            life.begin(now)
        for _ in range(calls):
            expected = straight.look(client, now)
            assert life.store.has_token(client, now - life.begun) == expected.admitted
            assert life.store.look(client, now - life.begun) == expected
            assert life.store.take(client, now - life.begun) == straight.take(client, now)


@given(long_limits, steps)
def test_admit_finds_those_that_were_known_before(
    windows: Windows, history: list[tuple[str, int, int, str]]
) -> None:
    straight, life = Store(windows, 1000, print), Life(windows)
    now = 0
    for client, pause, calls, event in history:
        now += pause
        if event:
            life.save(now)
        if event == "restart":
            life.begin(now)
        for _ in range(calls):
            expected = straight.admit(client, now)
            assert life.store.admit(client, now - life.begun) == expected


@given(long_limits, long_limits, steps)
def test_a_start_under_other_limits_is_a_reload(
    old: Windows, new: Windows, history: list[tuple[str, int, int, str]]
) -> None:
    straight, life = Store(old, 1000, print), Life(old)
    now = 0
    for client, pause, calls, _ in history:
        now += pause
        for _ in range(calls):
            assert life.take(client, now) == straight.take(client, now).admitted
    straight.reconfigure(new, 1000, now)
    life.windows = new
    life.restart(now)
    for client in "abcdefgh":
        assert life.store.look(client, 0) == straight.look(client, now)


@given(long_limits, long_limits, steps)
def test_a_reload_is_saved(old: Windows, new: Windows, history: list[tuple[str, int, int, str]]) -> None:
    straight, life = Store(old, 1000, print), Life(old)
    now = 0
    for client, pause, calls, event in history:
        now += pause
        if event == "save":
            life.save(now)
        elif event == "restart":
            straight.reconfigure(new, 1000, now)
            life.store.reconfigure(new, 1000, now - life.begun)
            life.windows = new
            life.save(now)
            assert len(life.texts) <= len(life.store)
            life.begin(now)
        for _ in range(calls):
            assert life.take(client, now) == straight.take(client, now).admitted


@given(long_limits, st.integers(0, 4), st.integers(0, 4), steps)
def test_nobody_gets_more_by_restarts_of_a_small_store(
    windows: Windows, max_clients: int, keep: int, history: list[tuple[str, int, int, str]]
) -> None:
    life = Life(windows, max_clients, keep)
    models: defaultdict[str, Model] = defaultdict(lambda: Model(windows))
    now = 0
    for client, pause, calls, event in history:
        now += pause
        if event == "save":
            life.save(now)
        elif event == "restart":
            life.restart(now)
        models[client].move(now)
        for _ in range(calls):
            if life.take(client, now):
                assert models[client].take(), "admitted beyond its own limit"
        assert len(life.store) <= max_clients


@given(long_limits, st.integers(1, 4), st.integers(0, 4), steps)
def test_no_more_is_written_down_than_is_remembered(
    windows: Windows, max_clients: int, keep: int, history: list[tuple[str, int, int, str]]
) -> None:
    life = Life(windows, max_clients, keep)
    now = 0
    for client, pause, calls, event in history:
        now += pause
        if event:
            life.save(now)
            assert len(life.texts.keys() - {"overflow"}) <= len(life.store)
        if event == "restart":
            life.begin(now)
        life.taken(client, now, calls)


def test_short_windows_begin_anew_and_the_long_ones_go_on() -> None:
    life = Life(windows_of(1, 2, 3, 0))
    assert life.take("a", 0)
    assert life.take("a", SECOND)
    life.restart(SECOND)
    assert life.take("a", SECOND)
    assert not life.take("a", 3 * SECOND)


def test_without_a_long_window_or_a_secret_nothing_is_written_down() -> None:
    for life in (Life(windows_of(1, 3, 0, 0)), Life(FOUR_AN_HOUR, secret=b"")):
        life.store.admit("a", 0)
        life.store.take("b", 0)
        assert life.store.unsaved == 0
        assert life.store.changes(0, WALL) == {}
        life.store.restore({"x": "y"}, 0, WALL)


@pytest.mark.parametrize("length", [1, 15, 65])
def test_a_secret_has_16_to_64_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="secret"):
        Kept(b"k" * length)


def test_no_address_is_written_down_and_its_digest_depends_on_the_secret() -> None:
    life, other = Life(FOUR_AN_HOUR), Life(FOUR_AN_HOUR, secret=b"another secret, as long as it is")
    for each in (life, other):
        each.take("192.0.2.7", 0)
        each.save(0)
        assert "192.0.2.7" not in repr(each.texts)
        assert [len(bytes.fromhex(name)) for name in each.texts] == [16]
    assert life.texts.keys() != other.texts.keys()


def test_only_what_has_moved_is_told_and_once() -> None:
    life = Life(ONE_AN_HOUR)
    life.take("a", 0)
    assert len(life.store.changes(0, WALL)) == 1
    assert life.store.changes(0, WALL) == {}
    life.take("a", 1)  # denied: nothing moved
    assert life.store.changes(1, WALL) == {}
    life.take("a", HOUR)
    assert len(life.store.changes(HOUR, WALL)) == 1


def test_one_turn_tells_of_so_many_and_each_has_its_turn() -> None:
    life = Life(windows_of(0, 0, 1000, 0))
    told: set[str] = set()
    for _ in range(20):
        for client in range(100):
            life.take(f"c{client}", 0)  # all of them again and again
        changes = life.store.changes(0, WALL, 10)
        assert len(changes) == 10
        assert life.store.unsaved == 90
        told |= changes.keys()
    assert len(told) == 100


def test_one_that_is_full_again_is_deleted_when_it_is_forgotten() -> None:
    life = Life(ONE_AN_HOUR, max_clients=1)
    life.take("a", 0)
    life.save(0)
    (a,) = life.texts
    assert life.take("b", HOUR)  # takes its place
    changes = life.store.changes(HOUR, WALL + HOUR)
    assert changes.pop(a) == ""
    assert len(changes) == 1


def test_deletions_come_first_and_what_returns_is_written_after_its_own() -> None:
    life = Life(ONE_AN_HOUR, max_clients=1)
    life.take("a", 0)
    life.save(0)
    (a,) = life.texts
    life.take("b", HOUR)
    life.take("a", 2 * HOUR)  # the place is its own again
    assert life.store.changes(2 * HOUR, WALL, 1) == {a: ""}
    life.save(2 * HOUR)
    assert life.texts.keys() == {a}


def test_one_that_has_returned_after_a_start_is_deleted_as_any_other() -> None:
    life = Life(ONE_AN_HOUR, max_clients=1)
    life.take("a", 0)
    life.restart(SECOND)
    assert not life.store.look("a", 0).admitted
    assert life.take("b", HOUR)
    life.save(HOUR)
    assert len(life.texts) == 1
    life.begin(HOUR)
    assert not life.take("b", HOUR)


def test_what_waits_to_be_told_is_bounded_as_the_clients_are() -> None:
    life = Life(ONE_AN_HOUR, max_clients=10)
    for hour in range(100):
        for client in range(10):
            assert life.take(f"c{hour}-{client}", hour * HOUR)
    assert life.store.unsaved == len(life.store) == 10


def test_full_and_unreadable_ones_are_deleted_at_the_start() -> None:
    life = Life(ONE_AN_HOUR)
    life.take("a", 0)
    life.take("b", HOUR // 2)
    life.save(HOUR // 2)
    life.texts |= {"0" * 32: "{", "overflow": "no"}
    life.begin(HOUR)
    assert len(life.store) == 1
    life.save(HOUR)
    assert len(life.texts) == 1
    assert not life.take("b", HOUR)


def test_those_that_never_return_are_forgotten_once_they_are_full() -> None:
    life = Life(ONE_AN_HOUR, keep=1000)
    for client in range(10):
        life.take(f"c{client}", client)
    life.restart(HOUR // 2)
    assert life.take("c0", HOUR)
    assert len(life.store) == 10
    left = []
    for _ in range(5):
        life.write(life.store.changes(HOUR // 2 + 9, WALL + HOUR + 9, 3))
        left.append(len(life.store))
    assert left == [7, 4, 1, 1, 1], "a few each turn; c0 stays, it has called"
    assert not life.take("c0", HOUR + 9)
    assert life.take("c1", HOUR + 9)
    life.save(HOUR + 9)
    assert len(life.texts) == 2


@pytest.mark.parametrize("returns", [False, True])
def test_a_clock_set_back_refills_nothing_and_the_next_start_goes_by_it(returns: bool) -> None:
    life = Life(ONE_AN_HOUR)
    life.take("a", 0)
    life.restart(0, wall=WALL - 24 * HOUR)
    if returns:
        assert not life.take("a", 0)
    life.write(life.store.changes(0, WALL - 24 * HOUR))
    life.begin(0, wall=WALL - 24 * HOUR + HOUR - 1)
    assert not life.take("a", 0)
    assert life.take("a", 1)


def test_a_clock_set_forward_fills_a_bucket_and_no_more() -> None:
    life = Life(FOUR_AN_HOUR)
    life.taken("a", 0)
    life.restart(0, wall=WALL * 2)
    assert life.taken("a", 0) == 4


def test_who_used_the_overflow_client_does_not_start_afresh() -> None:
    life = Life(FOUR_AN_HOUR, max_clients=1)
    life.take("a", 0)
    assert life.taken("b", 0) == 4
    life.max_clients = 10
    life.restart(SECOND)
    assert life.taken("b", SECOND) == 0


def test_more_than_there_is_room_for_now_stay_as_at_a_reload() -> None:
    life = Life(ONE_AN_HOUR)
    for client in "abcde":
        life.take(client, 0)
    life.max_clients = 2
    life.restart(SECOND)
    assert not any(life.take(client, SECOND) for client in "abcde")
    assert life.take("new", SECOND)
    assert life.overflows == [1]


def test_a_process_that_was_killed_has_lost_what_was_not_told_yet() -> None:
    life = Life(FOUR_AN_HOUR)
    life.take("a", 0)
    life.save(0)
    life.take("a", SECOND)
    life.begin(SECOND)
    assert life.taken("a", SECOND) == 3
