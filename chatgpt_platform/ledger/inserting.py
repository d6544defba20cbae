"""Putting rows in, many a statement.

SQLite's binding lets go of the interpreter's lock once a statement and must then wait for it, up to 5 ms beside a
busy event loop: so a statement takes up to 512 rows. With ``executemany`` that would be each row's fate.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Final

from chatgpt_platform.ledger import rows
from chatgpt_platform.ledger.rows import Row

SIZES: Final = (512, 64, 8, 1)
"""Rows a statement: few sizes, so that all of them stay prepared."""
UNFIT: Final = (
    sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.DataError,
    OverflowError, ValueError, TypeError,
)  # fmt: skip
"""What is raised for the sake of a row, not of the file."""
_WIDTHS: Final = {"calls": len(rows.COLUMNS), "said": len(rows.SAID_COLUMNS)}


def insert(
    connection: sqlite3.Connection, table: str, batch: Sequence[Row], first: int, on_unfit: Callable[[str], None]
) -> None:
    """Put rows into ``calls`` or ``said`` with the ids from ``first`` on. Inside a transaction.

    A row that does not fit its table is mended if that can be done, else left out, which ``on_unfit`` is told.
    """
    for start, part in _parts(batch):
        try:
            connection.execute(_statement(table, len(part)), [first + start, *chain.from_iterable(part)])
        except UNFIT:
            _one_by_one(connection, table, part, first + start, on_unfit)


def save(
    connection: sqlite3.Connection, kind: str, values: Mapping[str, str], on_unfit: Callable[[str], None]
) -> None:
    """Lay states of a kind over what is there; an empty one goes. Inside a transaction; ``on_unfit`` as in
    ``insert``."""
    for _, part in _parts([(name,) for name, value in values.items() if not value]):
        connection.execute(_deletion(len(part)), [kind, *chain.from_iterable(part)])
    for _, part in _parts([(kind, name, value) for name, value in values.items() if value]):
        try:
            connection.execute(_upsert(len(part)), [*chain.from_iterable(part)])
        except UNFIT:
            for one in part:
                try:
                    connection.execute(_upsert(1), one)
                except UNFIT as error:
                    on_unfit(str(error))


def _parts(batch: Sequence[Row]) -> Iterator[tuple[int, Sequence[Row]]]:
    """Parts of the sizes that are prepared, each with where it begins."""
    start = 0
    for size in SIZES:
        while len(batch) - start >= size:
            yield start, batch[start : start + size]
            start += size


def _one_by_one(
    connection: sqlite3.Connection, table: str, part: Sequence[Row], first: int, on_unfit: Callable[[str], None]
) -> None:
    for number, row in enumerate(part, first):
        for attempt in (row, rows.mended(row)):
            try:
                connection.execute(_statement(table, 1), [number, *attempt])
            except UNFIT as error:
                reason = str(error)
            else:
                break
        else:
            on_unfit(reason)


@cache
def _statement(table: str, size: int) -> str:
    # Without an id a row gets the one behind the largest there is.
    values = ", ?" * _WIDTHS[table] + ")"
    lines = [f"(?{values}", *[f"(NULL{values}"] * (size - 1)]
    return f"INSERT INTO {table} VALUES {', '.join(lines)}"  # noqa: S608 - of our own names


@cache
def _deletion(size: int) -> str:
    return f"DELETE FROM states WHERE kind = ? AND name IN ({', '.join('?' * size)})"  # noqa: S608 - as above


@cache
def _upsert(size: int) -> str:
    values = ", ".join(["(?, ?, ?)"] * size)
    return (
        f"INSERT INTO states VALUES {values} "  # noqa: S608 - of question marks only
        "ON CONFLICT (kind, name) DO UPDATE SET value = excluded.value"
    )
