"""What is done between batches: rows are rolled up into totals, old ones are removed."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Sequence
from typing import Final

from chatgpt_platform.ledger import totals
from chatgpt_platform.ledger.retention import Retention
from chatgpt_platform.ledger.totals import KINDS, Kind, Share
from chatgpt_platform.ledger.traits import Sweep
from chatgpt_platform.ledger.transactions import transaction

LOT: Final = 100_000
"""Rows to roll up at a time, some 0.2 seconds' work; more are cheaper a row, and longer to add up for reports."""
PERIOD: Final = 60.0
"""Seconds that rows wait to be rolled up, if they are fewer than a lot. Reports add up what still waits."""
_NO_END: Final = 2**63 - 1
_CHECKED_EVERY: Final = 60.0
_CHECKED_AFTER: Final = 20_000
"""Seconds, and rows, after which age and size are looked at again."""
SWEPT_AFTER: Final = 3600.0
SWEPT_EVERY: Final = 24 * 3600.0
"""Seconds, from the opening on and from then on, after which traits that no row names any more are removed."""


def roll_up(
    connection: sqlite3.Connection, kinds: Sequence[Kind] = KINDS, lot: int = LOT, until: int = _NO_END
) -> int:
    """Roll a lot of rows up, as ``RollUp`` does; how many there were."""
    rolling = RollUp(connection, kinds, lot, until)
    while rolling.step(connection):
        pass
    return rolling.count


class RollUp:
    """A lot of rows on its way into the totals, a share at a time: new rows need not wait for all of it."""

    def __init__(
        self, connection: sqlite3.Connection, kinds: Sequence[Kind] = KINDS, lot: int = LOT, until: int = _NO_END
    ) -> None:
        """``kinds``: totals that are of the same rows by now; ``until``: the last id to be in them."""
        self._kinds: Final = kinds
        self._version = _version(connection)
        marks = totals.marks(connection)
        self._shift: Final = marks["shift"]
        self._after: Final = marks[kinds[0].mark]
        count, last = connection.execute(
            "SELECT count(*), max(id) FROM (SELECT id FROM entries WHERE id > ? AND id <= ? ORDER BY id LIMIT ?)",
            (self._after, until, lot),
        ).fetchone()
        self.count: Final[int] = count
        self._last: Final[int | None] = until if count < lot and until < _NO_END else last
        self._shares: list[Share] = []
        self._begin(connection)

    def step(self, connection: sqlite3.Connection) -> bool:
        """Group a share, or after the last one add all of them in one transaction with the marks; whether there is
        more to do."""
        if self._shares:
            self._group(connection)
            return True
        if self._last is None:
            return False
        with transaction(connection):
            if self._version != _version(connection):
                # Another process has changed the file: rows may have been erased that were grouped before.
                self._begin(connection)
                while self._shares:
                    self._group(connection)
            totals.add(connection, self._kinds, self._shift)
            for kind in self._kinds:
                totals.mark(connection, kind.mark, self._last)
        return False

    def _begin(self, connection: sqlite3.Connection) -> None:
        totals.empty(connection)
        if self.count and self._last is not None:
            self._shares = totals.shares(connection, self._after, self._last)

    def _group(self, connection: sqlite3.Connection) -> None:
        assert self._last is not None
        totals.group(connection, self._shift, self._after, self._last, self._shares.pop())


def _version(connection: sqlite3.Connection) -> int:
    """Another number after each change by another connection."""
    (version,) = connection.execute("PRAGMA data_version").fetchone()
    return int(version)


def catch_up(connection: sqlite3.Connection) -> bool:
    """Roll up a lot for totals that are behind the others, since they are made anew; whether there were such."""
    marks = totals.marks(connection)
    most = max(marks[kind.mark] for kind in KINDS)
    late = [kind for kind in KINDS if marks[kind.mark] < most]
    if late:
        roll_up(connection, late, LOT, until=most)
    return bool(late)


class Upkeep:
    """Knows what is due, and does it piece by piece."""

    def __init__(self, retention: Retention) -> None:
        self._retention: Final = retention
        self._rolling: RollUp | None = None
        self._waiting = 0.0
        self._waits_since = 0.0
        self._catching_up = False
        self._checked_at = 0.0
        self._unchecked = 0
        self._checking = False
        self._swept_at = 0.0
        self._sweeping = Sweep()
        self.begin()

    def begin(self) -> None:
        """The file was opened: what waits in it is not known."""
        self._rolling = None
        self._waiting = math.inf
        self._catching_up = self._checking = True
        self._swept_at = time.monotonic() + SWEPT_AFTER - SWEPT_EVERY
        self._sweeping = Sweep()

    def written(self, count: int) -> None:
        """So many rows were put in."""
        if not self._waiting:
            self._waits_since = time.monotonic()
        self._waiting += count
        self._unchecked += count

    def rest(self) -> float:
        """Seconds until something is due."""
        now = time.monotonic()
        if self._rolling is not None or self._waiting >= LOT:
            return 0.0
        if self._catching_up or self._checking or self._unchecked >= _CHECKED_AFTER:
            return 0.0
        rest = min(self._checked_at + _CHECKED_EVERY, self._swept_at + SWEPT_EVERY) - now
        if self._waiting:
            rest = min(rest, self._waits_since + PERIOD - now)
        return max(rest, 0.0)

    def step(self, connection: sqlite3.Connection) -> bool:
        """Do one piece of what is due, a fraction of a second's work; whether there was any."""
        now = time.monotonic()
        if self._catching_up:
            self._catching_up = catch_up(connection)
            if self._catching_up:
                return True
        if self._rolling is not None:
            if not self._rolling.step(connection):
                self._rolling = None
            return True
        if self._waiting >= LOT or (self._waiting and now >= self._waits_since + PERIOD):
            self._rolling = RollUp(connection, KINDS, LOT)
            self._waiting = self._waiting - LOT if self._rolling.count == LOT else 0.0
            self._waits_since = now
            return True
        if self._unchecked >= _CHECKED_AFTER or now >= self._checked_at + _CHECKED_EVERY:
            self._checking = True
        if not self._checking:
            return self._sweep(connection, now)
        self._checking = self._retention.step(connection, time.time())
        if not self._checking:
            self._checked_at, self._unchecked = now, 0
        return self._checking

    def _sweep(self, connection: sqlite3.Connection, now: float) -> bool:
        if now < self._swept_at + SWEPT_EVERY:
            return False
        if not self._sweeping.step(connection):
            self._swept_at, self._sweeping = now, Sweep()
        return True
