"""Kinds for dates and time zones, and what they mean in seconds since the epoch."""

from __future__ import annotations

import io
import re
import sys
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from pathlib import Path
from typing import Final

from chatgpt_platform.settings.kinds import Mismatch, TextKind, yaml_text

ZONES: Final = "chatgpt-platform.zones.zip"
"""The time zones in the copy that the executable unpacks itself to, as `chatgpt.spec` has packed them."""

_DATE: Final = "2[0-9]{3}-[0-9]{2}-[0-9]{2}"
_TIME: Final = "[0-9]{2}:[0-9]{2}(?::[0-9]{2})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})?"


class Date(TextKind[str]):
    """A day as ISO 8601 writes it; empty for none. Such texts sort as the days do."""

    name = "date"
    expected = "a date such as 2026-12-31"
    pattern = _DATE

    def read(self, text: str) -> str:
        if text == "":
            return text
        if not re.fullmatch(self.pattern, text, re.ASCII):
            raise Mismatch
        try:
            return self.normal(text)
        except ValueError:  # there is no such day or time
            raise Mismatch from None

    def normal(self, text: str) -> str:
        """The one way to write it. Raises ``ValueError``."""
        return date.fromisoformat(text).isoformat()

    def json_schema(self) -> dict[str, object]:
        return {"type": "string", "pattern": f"^({self.pattern})?$"}

    def yaml(self, value: str) -> str:
        return yaml_text(value)


class Moment(Date):
    """A day, or a time of a day with or without its offset from UTC; empty for never."""

    expected = "a date, or a date and a time, such as 2026-12-31, 2026-12-31T18:00 or 2026-12-31T18:00+01:00"
    pattern = f"{_DATE}(?:[Tt ]{_TIME})?"

    def normal(self, text: str) -> str:
        return datetime.fromisoformat(text.upper()).isoformat() if len(text) > 10 else super().normal(text)


def end_of(expires: str, zone: tzinfo | None) -> float:
    """The second since the epoch from which something is over that lasts until a ``Moment``; infinite for none.

    A day alone lasts until its end. ``zone``: what a day, or a time without an offset, is in; None: the machine's.
    """
    if not expires:
        return float("inf")
    moment = datetime.fromisoformat(expires)
    if len(expires) == len("2026-12-31"):
        moment += timedelta(days=1)
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()


def hours_begin(now: float, zone: tzinfo | None) -> int:
    """Seconds behind a whole hour of UTC at which one begins in a zone; None: the machine's."""
    offset = datetime.fromtimestamp(now, UTC).astimezone(zone).utcoffset() or timedelta()
    return -int(offset.total_seconds()) % 3600


class TimeZone(TextKind[str]):
    """The name of a time zone; empty for the machine's own."""

    name = "time zone"
    expected = "the name of a time zone such as Europe/Berlin or UTC"

    def read(self, text: str) -> str:
        if text:
            try:
                zone_of(text)
            except LookupError:
                raise Mismatch from None
        return text

    def json_schema(self) -> dict[str, object]:
        return {"type": "string"}

    def yaml(self, value: str) -> str:
        return yaml_text(value)


def zone_of(name: str) -> tzinfo | None:
    """The time zone of this name; None, the machine's own, for an empty one. Raises ``LookupError``.

    The system's zones come first, then those of the package tzdata: Windows and small images have none.
    """
    if not name:
        return None
    # Only where a zone is named: a start without one need not wait for it.
    from zoneinfo import ZoneInfo  # noqa: PLC0415

    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):  # the last two: a path that leads elsewhere, a folder's name
        return _carried(name)


@lru_cache(maxsize=8)  # read once: the folder that the executable was unpacked to may be cleaned away
def _carried(name: str) -> tzinfo:
    """A zone from what the executable carries instead of the package tzdata."""
    import zipfile  # noqa: PLC0415 - as above
    from zoneinfo import ZoneInfo  # noqa: PLC0415

    unpacked = getattr(sys, "_MEIPASS", None)
    if unpacked is None:
        raise LookupError(name)
    try:
        with zipfile.ZipFile(Path(unpacked, ZONES)) as zones:
            return ZoneInfo.from_file(io.BytesIO(zones.read(name)), key=name)
    except (KeyError, ValueError, OSError, zipfile.BadZipFile):
        raise LookupError(name) from None
