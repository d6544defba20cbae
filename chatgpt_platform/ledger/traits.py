"""What many calls have in common, and the numbers by which rows name it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from chatgpt_platform.ledger import rows
from chatgpt_platform.ledger.rows import Row
from chatgpt_platform.ledger.transactions import transaction

_MOST: Final = 4096
"""Sets whose numbers are held in memory; the others are asked of the file."""
_LOT: Final = 200_000
"""Rows that are looked through at a time, a tenth of a second's work."""
_OUTCOME: Final = rows.TRAITS.index("outcome")
_SAME: Final = " AND ".join(f"{name} = ?" for name in rows.TRAITS)
_FIND: Final = f"SELECT id FROM traits WHERE {_SAME}"  # noqa: S608 - of our own names
_ADD: Final = f"INSERT INTO traits VALUES (?{', ?' * len(rows.TRAITS)})"  # noqa: S608 - of question marks only
_LARGEST: Final = "SELECT coalesce(max((SELECT max(id) FROM traits), -(SELECT min(id) FROM traits)), 0)"


class Sweep:
    """Removes once, from the one file it is used for, what no row names any more. Its numbers may come again."""

    def __init__(self) -> None:
        self._unnamed: set[int] | None = None
        self._seen = -1

    def step(self, connection: sqlite3.Connection) -> bool:
        """Look through a lot of rows; False when those were the last, and what none of them names is removed.

        Rows that are put in between two steps are looked at, too: their ids are larger.
        """
        with transaction(connection):
            if self._unnamed is None:
                self._unnamed = {number for (number,) in connection.execute("SELECT id FROM traits")}
            count, last = connection.execute(
                "SELECT count(*), max(id) FROM (SELECT id FROM entries WHERE id > ? ORDER BY id LIMIT ?)",
                (self._seen, _LOT),
            ).fetchone()
            named = connection.execute(
                "SELECT DISTINCT traits FROM entries WHERE id > ? AND id <= ?", (self._seen, last)
            )
            self._unnamed.difference_update(number for (number,) in named)
            if count == _LOT:
                self._seen = last
                return True
            for number in self._unnamed:
                connection.execute("DELETE FROM traits WHERE id = ?", (number,))
        return False


class Traits:
    """Knows the numbers of one connection's file. Used inside transactions; after one that failed it knows wrong
    ones, as after a ``Sweep`` over its connection, and a new one is needed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection: Final = connection
        self._known: Final[dict[Row, int]] = {}
        self._version = 0

    def renew(self) -> None:
        """Forget all numbers if another process has changed the file: it may have erased some of them."""
        (version,) = self.connection.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._version = version
            self._known.clear()

    def entries(self, part: Sequence[Row]) -> list[Any]:
        """The values of rows one after the other, as ``entries`` has them behind ``id``. Raises one of
        ``inserting.UNFIT`` for a row that does not fit."""
        known, values = self._known, list[Any]()
        for (
            time, request_id, key, client, endpoint, model, upstream, status, prompt_tokens, cached_tokens,
            completion_tokens, cost, priced, duration_ms, first_byte_ms, stream, outcome, usage,
        ) in part:  # fmt: skip
            common = (key, endpoint, model, upstream, status, priced, stream, outcome, usage)
            number = known.get(common)
            if number is None:
                number = self._number(common)
            values += (
                number, time, request_id, client, prompt_tokens, cached_tokens, completion_tokens, cost,
                duration_ms, first_byte_ms,
            )  # fmt: skip
        return values

    def _number(self, common: Row) -> int:
        """The number that a set has in the file; a new one for a new set."""
        found = self.connection.execute(_FIND, common).fetchone()
        if found is None:
            (largest,) = self.connection.execute(_LARGEST).fetchone()
            number = -(largest + 1) if common[_OUTCOME] == "denied" else largest + 1
            self.connection.execute(_ADD, (number, *common))
        else:
            number = int(found[0])
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[common] = number
        return int(number)
