"""Removing old rows, by age and by the size of the file, a lot at a time so that writing is never held up long.

Totals by key, model and upstream stay; those by client are of the rows that are there. When the size is what asks
for it, denied calls go first: nobody can push out the account of others by calling without a key.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

from chatgpt_platform.ledger import totals
from chatgpt_platform.ledger.transactions import transaction

LOT: Final = 5000
_SMALLEST_LOT: Final = 50
_SAID_LOT: Final = 100
_ROW_BYTES: Final = 128
"""What a row takes, indexes and totals included, roughly."""
_SLACK: Final = 0.98
"""Of the size, down to which a file that is too large is brought."""
_FREE_PAGES: Final = 256
"""Free pages that a file always may have; beyond them, and a fourth of all, it is made smaller."""


@dataclass(frozen=True)
class Limits:
    """``keep``: seconds; ``size``: bytes of the file that hold something; 0 for no limit."""

    keep: float
    size: int


class Retention:
    """Removes what ``limits`` say, which may change meanwhile."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._shrinking = False

    def step(self, connection: sqlite3.Connection, now: float) -> bool:
        """Remove one lot of what is too old or too much; False when there is none. ``now``: epoch seconds."""
        if self.limits.keep and _expire(connection, round((now - self.limits.keep) * 1_000_000)):
            return True
        return self._shrink(connection) or _give_back(connection)

    def _shrink(self, connection: sqlite3.Connection) -> bool:
        """Once the size is passed, go on until it is a little below."""
        excess = used(connection) - self.limits.size * (_SLACK if self._shrinking else 1)
        self._shrinking = bool(self.limits.size) and excess > 0
        if self._shrinking:
            lot = min(max(int(excess) // _ROW_BYTES, _SMALLEST_LOT), LOT)
            with transaction(connection):
                removed = (
                    _remove_denied(connection, lot) or _remove_oldest(connection, lot) or _remove_said(connection)
                )
            self._shrinking = removed > 0  # else totals are all that is left
        return self._shrinking


def used(connection: sqlite3.Connection) -> int:
    """Bytes of the file that hold something."""
    return (_pragma(connection, "page_count") - _pragma(connection, "freelist_count")) * _pragma(
        connection, "page_size"
    )


def remove(connection: sqlite3.Connection, condition: str, values: tuple[int | str, ...]) -> int:
    """Delete rows and take them out of the totals by client; how many. Inside a transaction.

    ``condition``: SQL about ``entries``.
    """
    marks = totals.marks(connection)
    totals.subtract(
        connection, totals.CLIENTS, marks["shift"], f"{condition} AND id <= ?",
        (*values, marks[totals.CLIENTS.mark]),
    )  # fmt: skip
    return connection.execute(f"DELETE FROM entries WHERE {condition}", values).rowcount  # noqa: S608


def _expire(connection: sqlite3.Connection, before: int) -> bool:
    """Remove a lot of rows, and of said texts, with an id below ``before``."""
    with transaction(connection):
        removed = _remove_oldest(connection, LOT, before)
        said = _remove_said(connection, before)
    return removed + said > 0


def _remove_denied(connection: sqlite3.Connection, lot: int) -> int:
    last = _last_of(connection, "traits < 0", lot)
    return 0 if last is None else remove(connection, "traits < 0 AND id <= ?", (last,))


def _remove_oldest(connection: sqlite3.Connection, lot: int, before: int | None = None) -> int:
    last = _last_of(connection, "true" if before is None else f"id < {before}", lot)
    if last is None:
        return 0
    connection.execute("DELETE FROM said WHERE id <= ?", (last,))
    return remove(connection, "id <= ?", (last,))


def _remove_said(connection: sqlite3.Connection, before: int | None = None) -> int:
    condition = "" if before is None else f"WHERE id < {before}"
    return connection.execute(
        f"DELETE FROM said WHERE id IN (SELECT id FROM said {condition} ORDER BY id LIMIT {_SAID_LOT})"  # noqa: S608
    ).rowcount


def _last_of(connection: sqlite3.Connection, condition: str, lot: int) -> int | None:
    """The last id of the oldest lot of such rows; None without any. Rows that are in no total yet stay."""
    rolled = totals.marks(connection)[totals.SERVICES.mark]
    (last,) = connection.execute(
        "SELECT max(id) FROM (SELECT id FROM entries "  # noqa: S608
        f"WHERE {condition} AND id <= ? ORDER BY id LIMIT ?)",
        (rolled, lot),
    ).fetchone()
    return None if last is None else int(last)


def _give_back(connection: sqlite3.Connection) -> bool:
    """Give some free pages back to the disk, where they are many."""
    free = _pragma(connection, "freelist_count")
    if free <= max(_FREE_PAGES, _pragma(connection, "page_count") // 4):
        return False
    connection.execute(f"PRAGMA incremental_vacuum({_FREE_PAGES})").fetchall()
    return _pragma(connection, "freelist_count") < free


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)
