"""The span of a report: how moments are read, in time zones, and widened to whole hours."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt_platform.accounts.inquiry import PATTERN, Span, address, is_moment, owners_zone, span

BERLIN = ZoneInfo("Europe/Berlin")
KOLKATA = ZoneInfo("Asia/Kolkata")
NOW = datetime(2026, 11, 26, 10, 20, 30, tzinfo=UTC).timestamp()


def at(text: str, zone: tzinfo = UTC) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp())


def since(text: str, zone: tzinfo = UTC) -> int:
    return span(text, "", NOW, zone).since


def until(text: str, zone: tzinfo = UTC) -> int:
    return span("2020-01-01", text, NOW, zone).until


def test_a_span_ago_begins_with_the_hour_and_ends_with_the_one_that_runs() -> None:
    assert span("24h", "", NOW, UTC) == Span(at("2026-11-25T10:00"), at("2026-11-26T11:00"))
    assert since("7d") == at("2026-11-19T10:00")
    assert since("2w") == at("2026-11-12T10:00")


def test_a_date_is_its_beginning_or_its_end() -> None:
    assert since("2026-11-01", BERLIN) == at("2026-10-31T23:00")
    assert until("2026-11-01", BERLIN) == at("2026-11-01T23:00")
    assert span("2026-11-01", "2026-11-01", NOW, UTC) == Span(at("2026-11-01T00:00"), at("2026-11-02T00:00"))


def test_a_day_with_25_hours() -> None:
    assert span("2026-10-25", "2026-10-25", NOW, BERLIN) == Span(at("2026-10-24T22:00"), at("2026-10-25T23:00"))


def test_a_time_is_the_owners_unless_an_offset_follows() -> None:
    assert since("2026-11-01T12:30", BERLIN) == at("2026-11-01T11:00")
    assert until("2026-11-01T12:30", BERLIN) == at("2026-11-01T12:00")
    assert since("2026-11-01T12:30:59Z", BERLIN) == at("2026-11-01T12:00")
    assert since("2026-11-01T12:00-05:00", BERLIN) == at("2026-11-01T17:00")
    assert until("2026-11-01T12:00:01", UTC) == at("2026-11-01T13:00")
    assert until("2026-11-01T12:00:00", UTC) == at("2026-11-01T12:00")


def test_hours_begin_as_the_zones_do() -> None:
    assert since("2026-11-01", KOLKATA) == at("2026-10-31T18:30")
    assert since("2026-11-01T00:29", KOLKATA) == at("2026-10-31T18:30")
    assert until("2026-11-01T00:29", KOLKATA) == at("2026-10-31T19:30")
    assert span("1h", "", NOW, KOLKATA) == Span(at("2026-11-26T08:30"), at("2026-11-26T10:30"))


def test_no_span_goes_behind_now() -> None:
    assert until("2026-12-24") == at("2026-11-26T11:00")
    assert until("2199-12-31T23:59:59-14:59") == at("2026-11-26T11:00")


@pytest.mark.parametrize(
    ("begin", "end"),
    [("2026-11-02", "2026-11-01"), ("2026-12-24", ""), ("24h", "25h"), ("2026-11-01T12:00", "2026-11-01T12:00")],
)
def test_a_span_that_ends_before_it_begins_is_empty(begin: str, end: str) -> None:
    assert span(begin, end, NOW, UTC).is_empty
    assert not span("1h", "", NOW, UTC).is_empty


def test_the_machines_own_zone() -> None:
    local = datetime(2026, 11, 1).astimezone()
    assert span("2026-11-01", "2026-11-01", NOW, owners_zone("")).since == local.timestamp()


@pytest.fixture
def _in_central_europe(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if sys.platform != "win32":
        monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        time.tzset()
    yield
    if sys.platform != "win32":
        monkeypatch.undo()
        time.tzset()


@pytest.mark.skipif("sys.platform == 'win32'", reason="its time zone cannot be set for a test")
@pytest.mark.usefixtures("_in_central_europe")
def test_the_machines_own_zone_has_summers() -> None:
    zone = owners_zone("")
    assert span("2026-10-25", "2026-10-25", NOW, zone) == span("2026-10-25", "2026-10-25", NOW, BERLIN)
    for hour in range(24):
        moment = at("2026-10-25T00:00") + hour * 3600
        ours, theirs = (datetime.fromtimestamp(moment, each) for each in (zone, BERLIN))
        assert ours.isoformat() == theirs.isoformat()


@pytest.mark.parametrize("text", ["1h", "30d", "2026-02-28", "2028-02-29", "2000-02-29", "2026-12-31T23:59+14:00"])
def test_moments(text: str) -> None:
    assert is_moment(text)


@pytest.mark.parametrize(
    "text",
    ["", "0h", "30", "d", "1m", "100000h", "2026-02-29", "2100-02-29", "2026-04-31", "2026-13-01", "1999-01-01",
     "2026-11-01 12:00", "2026-11-01T24:00", "2026-11-01T12", "2026-11-01T12:00+15:00", "٣d", "1h\n", " 1h",
     "today", "20261101"],
)  # fmt: skip
def test_what_is_no_moment(text: str) -> None:
    assert not is_moment(text)


@given(st.from_regex(re.compile(PATTERN, re.ASCII), fullmatch=True), st.integers(-14, 14))
def test_whatever_has_the_pattern_can_be_read(text: str, hours: int) -> None:
    text = text.removesuffix("\n")  # which $ lets stand; JSON Schema's does not
    assert is_moment(text)
    zone = timezone(timedelta(hours=hours))
    for begin, end in ((text, ""), ("99999w", text), (text, text)):
        found = span(begin, end, NOW, zone)
        assert 0 <= found.since <= found.until
        assert found.is_empty or found.until <= NOW + 3600


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:0DB8::0001", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.1/24", "192.0.2.0/24"),
        ("2001:db8:1::/48", "2001:db8:1::/48"),
        ("unknown", "unknown"),
        ("", ""),
    ],
)
def test_addresses_are_as_the_ledger_has_them(text: str, kept: str) -> None:
    assert address(text) == kept
