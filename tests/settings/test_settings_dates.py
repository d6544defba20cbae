"""Dates and time zones: what is read, and when it is over."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from datetime import UTC, date, datetime
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatgpt_platform.settings import dates
from chatgpt_platform.settings.dates import ZONES, Date, Moment, TimeZone, end_of, hours_begin, zone_of
from chatgpt_platform.settings.kinds import Kind, Unusable
from chatgpt_platform.settings.yaml_nodes import from_yaml

DAY = 86_400
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("kind", "written", "value"),
    [
        (Date(), "''", ""),
        (Date(), "2027-01-31", "2027-01-31"),
        (Date(), "2028-02-29", "2028-02-29"),
        (Moment(), "''", ""),
        (Moment(), "2027-01-31", "2027-01-31"),
        (Moment(), "2027-01-31T18:00", "2027-01-31T18:00:00"),
        (Moment(), "2027-01-31 18:00:30", "2027-01-31T18:00:30"),
        (Moment(), "2027-01-31t18:00z", "2027-01-31T18:00:00+00:00"),
        (Moment(), "2027-01-31T18:00-05:30", "2027-01-31T18:00:00-05:30"),
        (TimeZone(), "''", ""),
        (TimeZone(), "Europe/Berlin", "Europe/Berlin"),
        (TimeZone(), "UTC", "UTC"),
    ],
)
def test_read(kind: Kind[str], written: str, value: str) -> None:
    assert kind.parse(from_yaml(written)) == value
    assert kind.parse(from_yaml(kind.yaml(value))) == value


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        *(
            (Date(), text)
            for text in ["2027-02-29", "2027-13-01", "2027-1-1", "20270131", "2027-W01-1", "31.1.2027"]
        ),
        *((Date(), text) for text in ["2027-01-31T00:00", "1999-12-31", "٢027-01-31", "~", "tomorrow", "[]"]),
        *((Moment(), text) for text in ["2027-01-31T", "2027-01-31T24:00", "2027-01-31T18", "2027-01-31T1800"]),
        *(
            (Moment(), text)
            for text in ["2027-01-31T18:00+25:00", "2027-01-31T18:00:00.5", "2027-01-31T18:00 UTC"]
        ),
        *(
            (TimeZone(), text)
            for text in ["Berlin", "CET5", "+01:00", "/etc/localtime", "../UTC", "Europe", "a/\\0"]
        ),
        *((TimeZone(), text) for text in ["~", "[UTC]", "' UTC'", "x" * 5000, "tzdata.zi", "Europe/"]),
    ],
)
def test_refused(kind: Kind[str], written: str) -> None:
    with pytest.raises(Unusable) as caught:
        kind.parse(from_yaml(written))
    (fault,) = caught.value.faults
    assert f"expected {kind.expected}" in fault.text


def test_nothing_never_ends() -> None:
    assert end_of("", BERLIN) == float("inf")


@pytest.mark.parametrize(
    ("expires", "end"),
    [
        ("2027-01-31", datetime(2027, 1, 31, 23, tzinfo=UTC)),
        ("2027-03-27", datetime(2027, 3, 27, 23, tzinfo=UTC)),
        ("2027-03-28", datetime(2027, 3, 28, 22, tzinfo=UTC)),  # the clocks went forward
        ("2027-12-31", datetime(2027, 12, 31, 23, tzinfo=UTC)),
        ("2027-01-31T18:00:00", datetime(2027, 1, 31, 17, tzinfo=UTC)),
        ("2027-01-31T18:00:00+00:00", datetime(2027, 1, 31, 18, tzinfo=UTC)),
        ("2999-12-31", datetime(2999, 12, 31, 23, tzinfo=UTC)),
    ],
)
def test_a_day_ends_at_midnight_of_the_zone_and_a_time_at_once(expires: str, end: datetime) -> None:
    assert end_of(expires, BERLIN) == end.timestamp()


def test_without_a_zone_it_is_the_machines() -> None:
    assert zone_of("") is None
    moment = datetime(2027, 1, 31, 18).astimezone()
    assert end_of("2027-01-31T18:00:00", None) == moment.timestamp()


@settings(deadline=None, max_examples=100)
@given(st.datetimes(datetime(2000, 1, 1), datetime(2999, 12, 31)), st.timezones() | st.none())  # noqa: DTZ001
def test_whatever_was_read_ends_at_some_time(moment: datetime, zone: ZoneInfo | None) -> None:
    for text in (date.isoformat(moment.date()), f"{moment:%Y-%m-%dT%H:%M}", f"{moment:%Y-%m-%d %H:%M:%SZ}"):
        read = Moment().read(text)
        assert Moment().read(read) == read
        assert end_of(read, zone) >= moment.replace(second=0, microsecond=0, tzinfo=zone or UTC).timestamp() - DAY


@pytest.mark.parametrize(
    ("zone", "shift"),
    [("UTC", 0), ("Asia/Kolkata", 1800), ("Asia/Kathmandu", 900), ("America/St_Johns", 1800), ("Asia/Tokyo", 0)],
)
def test_an_hour_of_a_zone_begins_where_its_clocks_say_so(zone: str, shift: int) -> None:
    begins = hours_begin(1_790_000_000.5, zone_of(zone))
    assert begins == shift
    assert datetime.fromtimestamp(1_790_000_000 // 3600 * 3600 + begins, ZoneInfo(zone)).minute == 0


# --- where the system has no zones


def test_the_package_has_the_zones_that_the_system_lacks() -> None:
    program = "from chatgpt_platform.settings.dates import zone_of; print(repr(zone_of('Europe/Berlin')))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env={"PYTHONTZPATH": "", "SYSTEMROOT": "C:\\Windows"}, cwd=Path(__file__).parents[2],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "zoneinfo.ZoneInfo(key='Europe/Berlin')"


def test_the_executable_carries_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as zones:
        zones.writestr("Test/Zone", (files("tzdata") / "zoneinfo" / "Etc" / "GMT-1").read_bytes())
        zones.writestr("Test/Broken", b"TZif")
    monkeypatch.setattr(sys, "_MEIPASS", str(tmp_path), raising=False)
    with pytest.raises(LookupError):
        zone_of("Test/Zone")
    (tmp_path / ZONES).write_bytes(content.getvalue())
    zone = zone_of("Test/Zone")
    assert zone is not None
    assert datetime(2027, 1, 1, tzinfo=zone).timestamp() == datetime(2026, 12, 31, 23, tzinfo=UTC).timestamp()
    (tmp_path / ZONES).unlink()
    assert zone_of("Test/Zone") is zone, "it goes on without its folder"
    (tmp_path / ZONES).write_bytes(content.getvalue())
    for name in ("Test/Broken", "Test/None", "Test"):
        with pytest.raises(LookupError):
            zone_of(name)
    (tmp_path / ZONES).write_bytes(b"no zip")
    with pytest.raises(LookupError):
        zone_of("Test/Other")
    dates._carried.cache_clear()
