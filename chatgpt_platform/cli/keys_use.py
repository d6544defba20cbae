"""What the ledger knows of one key: what its allowances have left, and how it was used in the last 30 days."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from chatgpt_platform.accounts.money import dollars
from chatgpt_platform.ledger import database, reports

BARS: Final = "▁▂▃▄▅▆▇█"
_PLAIN_BARS: Final = "_.:-=+*#"
DAYS: Final = 30
_STATES: Final = "allowance"
"""The kind under which the gateway saves what is spent of allowances: by key, a JSON object by allowance."""


class Day(NamedTuple):
    """``date``: as ISO 8601 has it. ``cost``: picodollars."""

    date: str
    calls: int
    tokens: int
    cost: int


@dataclass(frozen=True)
class Use:
    """``allowances``: by name what is known of each. ``days``: the last 30, the oldest first; none without a
    ledger."""

    allowances: Mapping[str, Mapping[str, Any]]
    days: Sequence[Day]

    def as_json(self) -> dict[str, object]:
        days = [day._asdict() | {"cost": dollars(day.cost)} for day in self.days]
        return {"allowances": dict(self.allowances), "days": days}

    def lines(self, options: Mapping[str, Any], zone: tzinfo | None, *, plain: bool) -> Iterator[str]:
        """For people. ``plain``: in ASCII."""
        for name, state in self.allowances.items():
            yield f"{name}: {_told(name, state, options, zone)}"
        if not self.days:
            return
        yield f"the last {len(self.days)} days, up to {self.days[-1].date}:"
        bars = _PLAIN_BARS if plain else BARS
        columns = (
            ("calls", [day.calls for day in self.days], "{:,}".format),
            ("tokens", [day.tokens for day in self.days], "{:,}".format),
            ("dollars", [day.cost for day in self.days], dollars),
        )
        for about, values, shown in columns:
            yield f"  {about:<8}{sparkline(values, bars)}  {shown(sum(values))}"


def of_key(directory: Path, name: str, now: float, zone: tzinfo | None) -> Use:
    """What ``ledger.db`` has of a key; nothing where there is no such file. ``now``: epoch seconds.

    Raises LedgerError and sqlite3.Error.
    """
    if not (directory / database.NAME).exists():
        return Use({}, ())
    today = datetime.fromtimestamp(now, zone).date()
    dates = [today - timedelta(days=DAYS - 1 - n) for n in range(DAYS)]
    since = datetime.combine(dates[0], time.min, zone).timestamp()
    with closing(reports.connect(directory)) as connection:
        saved = connection.execute(
            "SELECT value FROM states WHERE kind = ? AND name = ?", (_STATES, name)
        ).fetchone()
        query = reports.Query(since, math.inf, "day", key=name)
        # None is the machine's own time zone here, as everywhere.
        lines = {line.name: line for line in reports.figures(connection, query, cast(tzinfo, zone))}
    return Use(_mapping(saved[0]) if saved else {}, [_day(date.isoformat(), lines) for date in dates])


def sparkline(values: Sequence[int], bars: str = BARS) -> str:
    """A bar for each; the lowest only for nothing at all."""
    most = max(values, default=0)
    steps = len(bars) - 1
    return "".join(bars[0 if value <= 0 else -(-value * steps // most)] for value in values)


def moment(seconds: float, zone: tzinfo | None) -> str:
    """A moment for people, in their zone."""
    return f"{datetime.fromtimestamp(seconds, zone):%Y-%m-%d %H:%M}"


def stamp(seconds: float | None) -> str | None:
    """A moment for programs, in UTC."""
    return None if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _day(date: str, lines: Mapping[str, reports.Figures]) -> Day:
    line = lines.get(date)
    if line is None:
        return Day(date, 0, 0, 0)
    return Day(date, line.calls, line.prompt_tokens + line.completion_tokens, line.cost)


def _told(name: str, state: Mapping[str, Any], options: Mapping[str, Any], zone: tzinfo | None) -> str:
    """What is known of an allowance; whatever else the gateway may have written is passed over."""
    about, _, period = name.partition("/")
    amount = dollars if about == "budget" else "{:,}".format
    limits = (str(each).partition("/") for each in options.get(about, ()))
    limit = next((f" of {most}" for most, _, of in limits if of == period), "")
    parts = [f"{amount(spent)}{limit} spent" for spent in _numbers(state, "spent")]
    parts += [f"{amount(held)} held for calls under way" for held in _numbers(state, "held") if held]
    parts += [f"begins anew {moment(at, zone)}" for at in _numbers(state, "resets")]
    return ", ".join(parts) or "not used yet"


def _numbers(state: Mapping[str, Any], name: str) -> Iterator[int]:
    value = state.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield int(value)


def _mapping(text: str) -> dict[str, Any]:
    """A JSON object, or an empty one where the text is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    return (
        {name: each for name, each in value.items() if isinstance(each, dict)} if isinstance(value, dict) else {}
    )
