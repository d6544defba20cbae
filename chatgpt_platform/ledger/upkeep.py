"""What is done between batches: rows are rolled up into totals, old ones are removed."""

from __future__ import annotations

import sqlite3
import time
from typing import Final

from chatgpt_platform.ledger import totals
from chatgpt_platform.ledger.retention import Retention
from chatgpt_platform.ledger.totals import CLIENTS, SERVICES, Kind
from chatgpt_platform.ledger.transactions import transaction

PERIODS: Final = {SERVICES: 10.0, CLIENTS: 3600.0}
"""Seconds that rows wait to be rolled up, if they are fewer than a lot. Reports add up what still waits."""
_CHECKED_EVERY: Final = 60.0
_CHECKED_AFTER: Final = 20_000
"""Seconds, and rows, after which age and size are looked at again."""


def roll_up(connection: sqlite3.Connection, kind: Kind, lot: int = 0) -> int:
    """Roll a lot of rows up, in one transaction with the mark; how many there were. ``lot``: 0 for the usual."""
    with transaction(connection):
        marks = totals.marks(connection)
        after = marks[kind.mark]
        count, last = connection.execute(
            "SELECT count(*), max(id) FROM (SELECT id FROM calls WHERE id > ? ORDER BY id LIMIT ?)",
            (after, lot or kind.lot),
        ).fetchone()
        if count:
            totals.add(connection, kind, marks["shift"], after, last)
            totals.mark(connection, kind.mark, last)
    return int(count)


class Upkeep:
    """Knows what is due, and does it piece by piece."""

    def __init__(self, retention: Retention) -> None:
        self._retention: Final = retention
        self._waiting: Final = dict.fromkeys(PERIODS, 0)
        self._waits_since: Final = dict.fromkeys(PERIODS, 0.0)
        self._checked_at = 0.0
        self._unchecked = 0
        self._checking = False
        self.begin()

    def begin(self) -> None:
        """The file was opened: what waits in it is not known."""
        for kind in PERIODS:
            self._waiting[kind] = kind.lot
        self._checking = True

    def written(self, count: int) -> None:
        """So many rows were put in."""
        now = time.monotonic()
        for kind in PERIODS:
            if not self._waiting[kind]:
                self._waits_since[kind] = now
            self._waiting[kind] += count
        self._unchecked += count

    def rest(self) -> float:
        """Seconds until something is due."""
        now = time.monotonic()
        if self._checking or self._unchecked >= _CHECKED_AFTER:
            return 0.0
        rest = self._checked_at + _CHECKED_EVERY - now
        for kind, period in PERIODS.items():
            if self._waiting[kind] >= kind.lot:
                return 0.0
            if self._waiting[kind]:
                rest = min(rest, self._waits_since[kind] + period - now)
        return max(rest, 0.0)

    def step(self, connection: sqlite3.Connection) -> bool:
        """Do one piece of what is due, a fraction of a second's work; whether there was any."""
        now = time.monotonic()
        for kind, period in PERIODS.items():
            waiting = self._waiting[kind]
            if waiting >= kind.lot or (waiting and now >= self._waits_since[kind] + period):
                done = roll_up(connection, kind)
                self._waiting[kind] = waiting if done == kind.lot else 0
                return True
        if self._unchecked >= _CHECKED_AFTER or now >= self._checked_at + _CHECKED_EVERY:
            self._checking = True
        if not self._checking:
            return False
        self._checking = self._retention.step(connection, time.time())
        if not self._checking:
            self._checked_at, self._unchecked = now, 0
        return self._checking
