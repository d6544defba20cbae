from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt_platform.accounts.warnings import NOTHING, Told, Warnings, newly

BERLIN = ZoneInfo("Europe/Berlin")
NOVEMBER = datetime(2026, 11, 26, 11, 3, 55, tzinfo=BERLIN).timestamp()
DECEMBER = datetime(2026, 12, 1, tzinfo=BERLIN).timestamp()
JANUARY = datetime(2027, 1, 1, tzinfo=BERLIN).timestamp()
DOLLAR = 10**12
CENT = DOLLAR // 100
DAY = 86400


@pytest.fixture(autouse=True)
def silence(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Each line that is expected is looked at, and cleared."""
    yield
    assert [record.getMessage() for record in caplog.get_records("call")] == []


class Events:
    """In the place of a webhook."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, event: Any) -> None:
        self.sent.append(json.loads(json.dumps(event)))


class Rig:
    def __init__(self, caplog: pytest.LogCaptureFixture, *shares: int, zone: ZoneInfo | None = BERLIN) -> None:
        self.caplog = caplog
        self.events = Events()
        self.now = NOVEMBER
        self.zone = zone
        self.warnings = self.again(*shares)

    def again(self, *shares: int) -> Warnings:
        """After a reload or a restart."""
        logger = logging.getLogger("test.warnings")
        self.warnings = Warnings(shares, logger, self.events.send, self.zone, wall=lambda: self.now)
        return self.warnings

    def spend(self, cents: int, amount: int = 500, until: float = DECEMBER, **more: Any) -> list[str]:
        """What the log says to it."""
        self.caplog.clear()
        text = f"{amount / 100:.2f}/month"
        self.warnings.note("alice", text, cents * CENT, amount * CENT, "dollars", until, **more)
        lines = [record.getMessage() for record in self.caplog.records]
        self.caplog.clear()
        return lines


def test_a_share_is_told_once_in_the_log_and_by_the_webhook(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(caplog, 80, 100)
    anew = "it starts anew at 2026-12-01T00:00:00+01:00"
    assert rig.spend(399) == []
    (line,) = rig.spend(402)
    assert line == f"key alice has used 80 % of its budget 5.00/month: 4.02 of 5.00 dollars; {anew}"
    assert rig.spend(403) == []
    assert rig.spend(499) == []
    (line,) = rig.spend(501)
    assert line == f"key alice has used up its budget 5.00/month: 5.01 of 5.00 dollars; {anew}"
    assert rig.spend(600) == []
    data = {"key": "alice", "allowance": "5.00/month", "amount": "5.00", "unit": "dollars"}
    data["resets_at"] = "2026-12-01T00:00:00+01:00"
    stamp = "2026-11-26T10:03:55.000Z"
    assert rig.events.sent == [
        {"type": "budget.share", "timestamp": stamp, "data": {**data, "share": 80, "spent": "4.02"}},
        {"type": "budget.exhausted", "timestamp": stamp, "data": {**data, "share": 100, "spent": "5.01"}},
    ]


def test_of_shares_passed_at_once_the_highest_is_told(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(caplog, 90, 50, 80)
    assert [line[:30] for line in rig.spend(460)] == ["key alice has used 90 % of its"]
    assert rig.spend(480) == []
    assert [line[:30] for line in rig.spend(500)] == ["key alice has used up its budg"]


def test_the_share_is_reached_to_the_picodollar(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(caplog, 80)
    rig.warnings.note("alice", "5/month", 4 * DOLLAR - 1, 5 * DOLLAR, "dollars", DECEMBER)
    assert rig.events.sent == []
    rig.warnings.note("alice", "5/month", 4 * DOLLAR, 5 * DOLLAR, "dollars", DECEMBER)
    assert [event["data"]["spent"] for event in rig.events.sent] == ["4.00"]
    caplog.clear()


def test_without_shares_nothing_is_told(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(caplog)
    assert rig.spend(10_000) == []
    assert rig.spend(500, refused=True) == []
    assert (rig.events.sent, rig.warnings.changes()) == ([], {})


def test_without_a_webhook_the_log_tells(caplog: pytest.LogCaptureFixture) -> None:
    warnings = Warnings((80,), logging.getLogger("test.warnings"), None, BERLIN)
    warnings.note("bob", "100k/day", 80_500, 100_000, "tokens", math.inf)
    assert [record.getMessage() for record in caplog.records] == [
        "key bob has used 80 % of its allowance 100k/day: 80500 of 100000 tokens; it never starts anew"
    ]
    caplog.clear()


def test_the_next_period_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(caplog, 80)
    assert len(rig.spend(400)) == 1
    rig.now = DECEMBER
    assert rig.spend(10, until=JANUARY) == []
    assert len(rig.spend(400, until=JANUARY)) == 1
    assert rig.spend(410, until=JANUARY) == []


def test_one_call_ends_at_the_turn_of_the_period(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(caplog, 80)
    assert len(rig.spend(400)) == 1
    rig.now = DECEMBER + 0.1  # what was settled a moment before still names the old period
    assert rig.spend(410) == []


def test_a_period_that_is_over_at_once_may_be_passed_at_once(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(caplog, 80)
    assert len(rig.spend(400)) == 1
    rig.now = DECEMBER
    assert len(rig.spend(450, until=JANUARY)) == 1


def test_another_time_zone_is_no_other_period(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(caplog, 80)
    assert len(rig.spend(400)) == 1
    assert rig.spend(410, until=DECEMBER + 9 * 3600) == []
    assert rig.spend(410, until=DECEMBER) == []
    rig.now = DECEMBER + 10 * 3600
    assert len(rig.spend(410, until=JANUARY)) == 1


def test_a_clock_that_was_far_ahead_does_not_silence_it(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(caplog, 80)
    rig.now += 5 * 365 * DAY
    assert len(rig.spend(400, until=rig.now + DAY)) == 1
    rig.now = NOVEMBER
    assert len(rig.spend(400)) == 1


def test_another_amount_is_another_budget(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(caplog, 80)
    assert len(rig.spend(410)) == 1
    assert rig.spend(410, amount=1000) == []
    assert len(rig.spend(810, amount=1000)) == 1
    assert len(rig.spend(810, amount=900)) == 1
    assert rig.spend(410) == []  # told already


def test_shares_may_be_others_after_a_reload(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(caplog, 80)
    assert len(rig.spend(410)) == 1
    state = rig.warnings.state()
    rig.again(50, 80, 85).restore(state)
    assert rig.spend(410) == []
    assert len(rig.spend(425)) == 1


def test_what_was_told_survives_a_restart(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(caplog, 80)
    saved: dict[str, str] = {}
    assert len(rig.spend(410)) == 1
    saved |= rig.warnings.changes()
    assert rig.spend(420) == []
    assert rig.warnings.changes() == {}
    assert len(saved) == 1
    rig.again(80).restore(json.loads(json.dumps(saved)))
    assert rig.warnings.changes() == {}
    assert rig.spend(430) == []
    assert len(rig.spend(500)) == 1
    saved |= rig.warnings.changes()
    assert saved == rig.warnings.state()
    rig.again(80).restore(saved)
    assert rig.spend(510) == []
    rig.now = DECEMBER
    rig.again(80).restore(saved)
    assert rig.warnings.state() == {}
    assert len(rig.spend(410, until=JANUARY)) == 1


def test_a_share_that_never_ends_survives_as_well(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(caplog, 80)
    assert rig.spend(410, until=math.inf)[0].endswith("; it never starts anew")
    assert rig.events.sent[0]["data"]["resets_at"] is None
    state = rig.warnings.state()
    rig.now += 1000 * DAY
    rig.again(80).restore(state)
    assert rig.spend(410, until=math.inf) == []


@pytest.mark.parametrize(
    "name", ["", "alice", "[1]", "{}", '["a","b"]', '["a","b","c","d"]', "[[],1,2]", "[" * 5000]
)
@pytest.mark.parametrize(
    "text", ["", "x", "[]", "80", "null", '["a",1,2]', "[80,1,2]", "[80,null,0,4]", "[1e999,2,3]"]
)
def test_a_state_that_cannot_be_read_is_left_out(caplog: pytest.LogCaptureFixture, name: str, text: str) -> None:
    rig = Rig(caplog, 80)
    assert len(rig.spend(410)) == 1
    state = {name: text, **rig.warnings.state()}
    rig.again(80).restore(state)
    assert rig.spend(410) == []


def test_keys_and_units_do_not_mix(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(caplog, 80)
    for key in ("alice", "bob"):
        for unit in ("dollars", "tokens"):
            rig.warnings.note(key, "5/month", 4, 5, unit, DECEMBER)
    assert len(rig.events.sent) == 4
    caplog.clear()


@pytest.mark.parametrize(("cents", "told"), [(449, "80"), (450, "up"), (499, "up")])
def test_a_rest_that_is_too_little_for_a_call_counts_as_used_up(
    caplog: pytest.LogCaptureFixture, cents: int, told: str
) -> None:
    rig = Rig(caplog, 80)
    (line,) = rig.spend(cents, refused=True)
    assert line.split()[4] == told
    assert rig.spend(cents, refused=True) == []
    assert rig.spend(cents + 1) == []


def test_nothing_at_all_to_spend(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(caplog, 80)
    (line,) = rig.spend(0, amount=0)
    assert "used up its budget 0.00/month: 0.00 of 0.00 dollars" in line


def test_a_period_that_rolls_on(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(caplog, 80)
    (line,) = rig.spend(400, until=1.0, rolling=DAY)
    assert line.endswith("; what it used is free again when it is older than the period")
    assert rig.events.sent[0]["data"]["resets_at"] is None
    rig.now += DAY // 2
    assert rig.spend(100, rolling=DAY) == []
    assert rig.spend(400, rolling=DAY) == []  # up and down within one period
    rig.now += DAY
    assert rig.spend(400, rolling=DAY) == []  # it never fell since
    assert rig.spend(399, rolling=DAY) == []
    assert len(rig.spend(400, rolling=DAY)) == 1


def test_one_that_rolls_on_tells_no_lower_share_on_its_way_down(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(caplog, 50, 80)
    assert len(rig.spend(500, rolling=DAY)) == 1
    rig.now += DAY
    assert rig.spend(350, rolling=DAY) == []
    assert len(rig.spend(400, rolling=DAY)) == 1


def test_the_machine_s_own_time_zone(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(caplog, 80, zone=None)
    rig.spend(400)
    told = datetime.fromisoformat(rig.events.sent[0]["data"]["resets_at"])
    assert told.tzinfo is not None
    assert told.timestamp() == DECEMBER


shares = st.lists(st.integers(1, 100), min_size=1, max_size=5, unique=True).map(lambda found: tuple(sorted(found)))


@given(shares, st.lists(st.integers(0, 130), max_size=30))
def test_in_a_period_each_share_is_told_at_most_once_and_none_is_missed(
    shares: tuple[int, ...], percents: list[int]
) -> None:
    told, heard = NOTHING, []
    for percent in percents:
        told, share = newly(shares, percent, told, DECEMBER, 0, NOVEMBER)
        if share:
            heard.append(share)
            assert share <= percent
    assert heard == sorted(set(heard))
    reached = [share for share in shares if share <= max(percents, default=0)]
    assert heard[-1:] == reached[-1:]
    assert told.share == max(heard, default=0)


@given(shares, st.lists(st.tuples(st.integers(0, 130), st.integers(0, DAY)), max_size=30))
def test_one_that_rolls_on_tells_a_share_once_in_its_length(
    shares: tuple[int, ...], steps: list[tuple[int, int]]
) -> None:
    now, told = NOVEMBER, NOTHING
    last: dict[int, float] = {}
    for percent, pause in steps:
        now += pause
        told, share = newly(shares, percent, told, math.inf, DAY, now)
        if share:
            assert now - last.get(share, -math.inf) >= DAY
            last[share] = now


def test_what_is_told_is_plain(caplog: pytest.LogCaptureFixture) -> None:
    assert newly((80, 100), 85, NOTHING, 5.0, 0, 2.0) == (Told(80, 5.0, 2.0), 80)
    assert newly((80, 100), 85, Told(80, 5.0, 2.0), 5.0, 0, 3.0) == (Told(80, 5.0, 2.0), 0)
    assert newly((80, 100), 10, Told(80, 5.0, 2.0), 9.0, 0, 6.0) == (NOTHING, 0)
