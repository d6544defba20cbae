"""What a report may be asked for: its span, what its calls are gathered by and limited to. Pure.

A moment is a date, ``2026-11-01``; a date and a time, ``2026-11-01T12:30``, in the owner's time zone unless an
offset follows; or how long ago, ``24h``, ``7d``, ``2w``. A date means its beginning where a span begins, and its
end where one ends. The ledger keeps its figures by the hour, so a span is widened to whole ones.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from ipaddress import ip_address, ip_network
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from chatgpt_platform.settings.dates import hours_begin, zone_of

_YEAR: Final = "2[01][0-9][0-9]"
_LEAP_YEAR: Final = "(2[01](0[48]|[2468][048]|[13579][26])|2000)"
_DAY: Final = (
    f"({_YEAR}-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)"
    f"|{_LEAP_YEAR}-02-29)"
)
_TIME: Final = "([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?"
_OFFSET: Final = "(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])"

PATTERN: Final = f"^({_DAY}(T{_TIME}{_OFFSET}?)?|[1-9][0-9]{{0,4}}[hdw])$"
"""What a moment looks like, to the last day of a month: whatever matches it can be read."""

EXPECTED: Final = "a date (2026-11-01), a date and time (2026-11-01T12:30) or how long ago (24h, 7d, 2w)"

_MOMENT: Final = re.compile(PATTERN.removeprefix("^").removesuffix("$"))
_HOURS: Final = {"h": 1, "d": 24, "w": 7 * 24}
_HOUR: Final = 3600
_FIRST: Final = 2 * 24 * _HOUR
"""Epoch seconds before which no call began; Windows reads no earlier ones in its own time zone."""


By: TypeAlias = Literal["key", "client", "model", "day", "upstream", "hour"]
BY: Final[tuple[By, ...]] = get_args(By)
"""What the calls of a report may be gathered by."""

FILTERS: Final = ("key", "client", "model", "upstream")
"""What they may be limited to."""


class Span(NamedTuple):
    """From ``since`` up to, but without, ``until``: epoch seconds, both at the beginning of an hour there."""

    since: int
    until: int

    @property
    def is_empty(self) -> bool:
        return self.since == self.until


def is_moment(text: str) -> bool:
    """Whether ``span`` can read it."""
    return _MOMENT.fullmatch(text) is not None


def span(since: str, until: str, now: float, zone: tzinfo) -> Span:
    """The whole hours in which a report's calls began; none where it would end before it begins.

    ``until``: "" for now, behind which no span goes. ``now``: epoch seconds. Both texts are moments.
    """
    shift = hours_begin(now, zone)
    latest = (int(now) - shift) // _HOUR * _HOUR + shift + _HOUR
    begin = max(_FIRST, _seconds(since, now, zone, end=False))
    begin = (begin - shift) // _HOUR * _HOUR + shift
    end = latest
    if until:
        end = _seconds(until, now, zone, end=True)
        end = min(latest, shift - (shift - end) // _HOUR * _HOUR)
    return Span(begin, max(begin, end))


def address(text: str) -> str:
    """An address, or the network of one, as the ledger has it; a text that is neither as it is."""
    try:
        if "/" in text:
            return str(ip_network(text, strict=False))
        found = ip_address(text)
    except ValueError:
        return text
    return str(getattr(found, "ipv4_mapped", None) or found)


class MachinesZone(tzinfo):
    """The machine's own time zone, with all its changes between summer and winter."""

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        return None if moment is None else moment.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, moment: datetime | None) -> timedelta | None:
        return None  # what the rest of the offset is made of nobody asks

    def tzname(self, moment: datetime | None) -> str | None:
        return None if moment is None else moment.replace(tzinfo=None).astimezone().tzname()

    def fromutc(self, moment: datetime) -> datetime:
        # By way of a time without a zone, which knows the first from the second of an hour that comes twice.
        local = datetime.fromtimestamp(moment.replace(tzinfo=UTC).timestamp())  # noqa: DTZ006
        return local.replace(tzinfo=self)


def owners_zone(name: str) -> tzinfo:
    """The time zone that ``budgets.time_zone`` names; the machine's own for "". Raises ``LookupError``."""
    return zone_of(name) or MachinesZone()


def _seconds(text: str, now: float, zone: tzinfo, *, end: bool) -> int:
    if text[-1] in _HOURS:
        return int(now) - int(text[:-1]) * _HOURS[text[-1]] * _HOUR
    if "T" in text:
        moment = datetime.fromisoformat(text)
    else:
        day = date.fromisoformat(text) + timedelta(days=end)
        moment = datetime.combine(day, time.min)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp())
