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
_OUTCOME: Final = rows.TRAITS.index("outcome")
_SAME: Final = " AND ".join(f"{name} = ?" for name in rows.TRAITS)
_FIND: Final = f"SELECT id FROM traits WHERE {_SAME}"  # noqa: S608 - of our own names
_ADD: Final = f"INSERT INTO traits VALUES (?{', ?' * len(rows.TRAITS)})"  # noqa: S608 - of question marks only
_LARGEST: Final = "SELECT coalesce(max((SELECT max(id) FROM traits), -(SELECT min(id) FROM traits)), 0)"


def sweep(connection: sqlite3.Connection) -> None:
    """Remove what no row names any more; their numbers may come again. Looks at all rows: 0.1 seconds a million."""
    with transaction(connection):
        connection.execute("DELETE FROM traits WHERE id NOT IN (SELECT traits FROM entries)")


class Traits:
    """Knows the numbers of one connection's file. Used inside transactions; after one that failed it knows wrong
    ones, as after a ``sweep`` over its connection, and a new one is needed."""

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
