"""Forgetting a key or a client: no report knows it any more, and no byte of it is left in the file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final

from chatgpt_platform.ledger import retention, totals
from chatgpt_platform.ledger.database import connect_to_erase
from chatgpt_platform.ledger.totals import SERVICES, SUMS
from chatgpt_platform.ledger.transactions import transaction
from chatgpt_platform.ledger.trouble import LedgerError, described

__all__ = ["connect_to_erase", "forget"]

_LOT: Final = 50_000
"""Rows looked through at a time, so that the gateway can write between."""
_NO_END: Final = 2**63 - 1
_OF_ENTRIES: Final = {"key": "traits IN (SELECT id FROM traits WHERE key = ?)", "client": "client = ?"}
"""Which entries are of a name."""


def forget(connection: sqlite3.Connection, key: str | None = None, client: str | None = None) -> int:
    """Erase the rows of a key, of a client, or of both (the client's calls with that key); how many there were.

    With them go what was said in them, their share of all totals, and where only a key or only a client is named,
    its running states and what is left of it in totals whose rows are gone. Then the file is written anew, which
    needs as much room again. Calls that a gateway has under way are recorded later. ``connection``: that of
    ``connect_to_erase``. Raises LedgerError where the file cannot be written.
    """
    named = {name: value for name, value in (("key", key), ("client", client)) if value is not None}
    if not named:
        raise ValueError("forget needs a key or a client")
    try:
        totals.prepare(connection)
        count, seen = 0, -1
        for after, seen in _lots(connection):
            with transaction(connection):
                count += _erase_rows(connection, named, after, seen)
        with transaction(connection):
            # With what a gateway has added meanwhile: no row may name traits that go.
            count += _erase_rows(connection, named, seen, _NO_END)
            _erase_rest(connection, named)
        _scrub(connection)
    except sqlite3.Error as error:
        raise LedgerError(
            f"the ledger could not erase everything: {described(error)}; then say it again"
        ) from None
    return count


def _lots(connection: sqlite3.Connection) -> Iterator[tuple[int, int]]:
    """Ranges of ids: behind the first, up to the second."""
    after = -1
    while True:
        (last,) = connection.execute(
            "SELECT max(id) FROM (SELECT id FROM entries WHERE id > ? ORDER BY id LIMIT ?)", (after, _LOT)
        ).fetchone()
        if last is None:
            return
        yield after, last
        after = last


def _erase_rows(connection: sqlite3.Connection, named: dict[str, str], after: int, last: int) -> int:
    wanted = " AND ".join(_OF_ENTRIES[name] for name in named)
    values: tuple[int | str, ...] = (after, last, *named.values())
    condition = f"id > ? AND id <= ? AND {wanted}"
    marks = totals.marks(connection)
    totals.subtract(
        connection, SERVICES, marks["shift"], f"{condition} AND id <= ?", (*values, marks[SERVICES.mark])
    )
    return retention.remove(connection, condition, values)


def _erase_rest(connection: sqlite3.Connection, named: dict[str, str]) -> None:
    connection.execute(f"DELETE FROM said WHERE {_where(named)}", (*named.values(),))  # noqa: S608
    if len(named) > 1:
        return
    ((name, value),) = named.items()
    # A name of several parts is a list, as JSON; that of a key comes first.
    connection.execute(
        "DELETE FROM states WHERE CASE WHEN name LIKE '[%' AND json_valid(name) "
        "THEN json_extract(name, '$[0]') ELSE name END = ?",
        (value,),
    )
    connection.execute(f"DELETE FROM client_totals WHERE {name} = ?", (value,))  # noqa: S608
    if name == "key":
        sets = ", ".join(f"{column} = max(hours.{column} - gone.{column}, 0)" for column in SUMS)
        sums = ", ".join(f"sum({column}) AS {column}" for column in SUMS)
        connection.execute(
            f"UPDATE hours SET {sets} FROM (SELECT span, slot, model, upstream, {sums} FROM totals "  # noqa: S608
            "WHERE key = ? GROUP BY 1, 2, 3, 4) AS gone WHERE hours.span = gone.span AND "
            "hours.slot = gone.slot AND hours.model = gone.model AND hours.upstream = gone.upstream",
            (value,),
        )
        connection.execute("DELETE FROM hours WHERE calls <= 0")
        connection.execute("DELETE FROM totals WHERE key = ?", (value,))
        connection.execute("DELETE FROM traits WHERE key = ?", (value,))


def _scrub(connection: sqlite3.Connection) -> None:
    """Write the file anew, without what pages keep of rows that were moved or deleted before."""
    connection.execute("VACUUM")
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise LedgerError(
            "all of it is erased, but another program reads the ledger, and a copy stays in ledger.db-wal "
            "until it ends: end it, then say it again"
        )


def _where(named: dict[str, str]) -> str:
    return " AND ".join(f"{name} = ?" for name in named)
