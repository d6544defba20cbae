"""Putting rows in, many a statement.

SQLite's binding lets go of the interpreter's lock once a statement and must then wait for it, up to 5 ms beside a
busy event loop: so a statement takes up to 512 rows. With ``executemany`` that would be each row's fate.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final

from chatgpt_platform.ledger import rows
from chatgpt_platform.ledger.rows import Row
from chatgpt_platform.ledger.traits import Traits

SIZES: Final = (512, 64, 8, 1)
"""Rows a statement: few sizes, so that all of them stay prepared."""
UNFIT: Final = (
    sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.DataError,
    OverflowError, ValueError, TypeError,
)  # fmt: skip
"""What is raised for the sake of a row, not of the file."""
_WIDTHS: Final = {"entries": 1 + len(rows.ENTRY), "said": len(rows.SAID_COLUMNS)}
"""Values a row, without its id."""


def insert_calls(
    connection: sqlite3.Connection, traits: Traits, batch: Sequence[Row], first: int,
    on_unfit: Callable[[str], None],
) -> None:  # fmt: skip
    """Put rows in with the ids from ``first`` on. Inside a transaction.

    A row that does not fit its table is mended if that can be done, else left out, which ``on_unfit`` is told.
    """
    _insert(connection, "entries", traits.entries, batch, first, on_unfit)


def insert_said(
    connection: sqlite3.Connection, batch: Sequence[Row], first: int, on_unfit: Callable[[str], None]
) -> None:
    """The same for said texts."""
    _insert(connection, "said", _flat, batch, first, on_unfit)


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


def _insert(
    connection: sqlite3.Connection, table: str, values_of: Callable[[Sequence[Row]], list[Any]],
    batch: Sequence[Row], first: int, on_unfit: Callable[[str], None],
) -> None:  # fmt: skip
    for start, part in _parts(batch):
        try:
            connection.execute(_statement(table, len(part)), [first + start, *values_of(part)])
        except UNFIT:
            for number, row in enumerate(part, first + start):
                _insert_one(connection, table, values_of, row, number, on_unfit)


def _insert_one(
    connection: sqlite3.Connection, table: str, values_of: Callable[[Sequence[Row]], list[Any]],
    row: Row, number: int, on_unfit: Callable[[str], None],
) -> None:  # fmt: skip
    reason = ""
    for attempt in (row, rows.mended(row)):
        try:
            connection.execute(_statement(table, 1), [number, *values_of([attempt])])
        except UNFIT as error:
            reason = str(error)
        else:
            return
    on_unfit(reason)


def _flat(part: Sequence[Row]) -> list[Any]:
    return [*chain.from_iterable(part)]


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
