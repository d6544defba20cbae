"""What the ledger knows of one key: what its allowances have left, and how it was used in the last 30 days."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import Final, NamedTuple, cast

from chatgpt_platform.accounts import memory, told
from chatgpt_platform.accounts.account import Account, Item
from chatgpt_platform.accounts.money import dollars
from chatgpt_platform.ledger import database, reports
from chatgpt_platform.settings.sharing import VirtualKey

BARS: Final = "▁▂▃▄▅▆▇█"
_PLAIN_BARS: Final = "_.:-=+*#"
DAYS: Final = 30
_CLOCK: Final = 0
"""The same whenever ``limits.allowance`` asks: nothing goes on here."""


class Day(NamedTuple):
    """``date``: as ISO 8601 has it. ``cost``: picodollars."""

    date: str
    calls: int
    tokens: int
    cost: int


@dataclass(frozen=True)
class Use:
    """``items``: the key's allowances, as they stand ``now``, epoch seconds. ``days``: the last 30, the oldest
    first. Neither is there without a ledger."""

    items: Sequence[Item]
    days: Sequence[Day]
    now: float = 0.0

    def as_json(self) -> dict[str, object]:
        days = [day._asdict() | {"cost": dollars(day.cost)} for day in self.days]
        return {"allowances": [told.standing(each, self.now, _CLOCK) for each in self.items], "days": days}

    def lines(self, zone: tzinfo | None, *, plain: bool) -> Iterator[str]:
        """For people. ``plain``: in ASCII."""
        for item in self.items:
            yield _told(item, zone)
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


def of_key(directory: Path, key: VirtualKey, now: float, zone: tzinfo | None) -> Use:
    """What ``ledger.db`` has of a key; nothing where there is no such file. ``now``: epoch seconds.

    Raises LedgerError and sqlite3.Error.
    """
    if not (directory / database.NAME).exists():
        return Use((), ())
    today = datetime.fromtimestamp(now, zone).date()
    dates = [today - timedelta(days=DAYS - 1 - n) for n in range(DAYS)]
    since = datetime.combine(dates[0], time.min, zone).timestamp()
    with closing(reports.connect(directory)) as connection:
        saved = connection.execute(
            "SELECT value FROM states WHERE kind = ? AND name = ?", (memory.ALLOWANCES, key.name)
        ).fetchone()
        query = reports.Query(since, math.inf, "day", key=key.name)
        # None is the machine's own time zone here, as everywhere.
        lines = {line.name: line for line in reports.figures(connection, query, cast(tzinfo, zone))}
    items = _items(key, saved[0] if saved else "", now, zone)
    return Use(items, [_day(date.isoformat(), lines) for date in dates], now)


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


def _items(key: VirtualKey, saved: str, now: float, zone: tzinfo | None) -> Sequence[Item]:
    """The allowances of a key, used as the gateway has saved it."""
    account, state = Account(key.name), memory.read_state(saved)
    account.configure(key, zone, 0, b"", now, _CLOCK)
    account.restore(state, now, _CLOCK)
    for item in account.items:
        item.allowance.turn(now, _CLOCK)
        if item.name in state:
            item.allowance.hold(state[item.name].held)
    return account.items


def _told(item: Item, zone: tzinfo | None) -> str:
    """How an allowance stands, for people."""
    allowance, (most, _, period) = item.allowance, item.text.partition("/")
    amount = dollars if item.in_money else "{:,}".format
    parts = [f"{amount(allowance.spent)} of {most} spent"] if allowance.spent else []
    parts += [f"{amount(allowance.held)} held for calls under way"] if allowance.held else []
    parts += [f"begins anew {moment(allowance.ends, zone)}"] if parts and allowance.ends < math.inf else []
    return f"{'budget' if item.in_money else 'tokens'}/{period}: {', '.join(parts) or 'not used yet'}"
