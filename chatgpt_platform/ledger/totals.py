"""Sums of rows: by hour, day and eight days, so that a report reads thousands of lines where there are millions.

A slot begins at ``shift`` seconds behind a whole span: the shift is where an hour begins in the owner's time zone,
so that a day of that zone is made of whole slots. Every table holds one line for each span, slot and names. All
sums are made by SQLite, in lots: a lot is grouped once, and the result added to each table.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

HOUR: Final = 3600
DAY: Final = 24 * HOUR
EIGHT_DAYS: Final = 8 * DAY

_LIMIT: Final = 9 * 10**18
"""Where sums stop, below the end of 64 bits: an upstream that reports nonsense must not stop the account."""
_COST: Final = f"min(sum(cost / 1000000) * 1000000 + sum(cost % 1000000), {_LIMIT})"

SUMS: Final = (
    "calls", "complete", "client_left", "upstream_failed", "denied", "cut",
    "prompt_tokens", "cached_tokens", "completion_tokens", "cost", "unpriced", "estimated",
)  # fmt: skip
OF_ROWS: Final = {
    "calls": "count(*)",
    "complete": "sum(outcome = 'complete')",
    "client_left": "sum(outcome = 'client_left')",
    "upstream_failed": "sum(outcome = 'upstream_failed')",
    "denied": "sum(outcome = 'denied')",
    "cut": "sum(outcome = 'cut')",
    "prompt_tokens": "sum(prompt_tokens)",
    "cached_tokens": "sum(cached_tokens)",
    "completion_tokens": "sum(completion_tokens)",
    "cost": "sum(cost)",
    "unpriced": "sum(priced = 0)",
    "estimated": "sum(usage = 'estimated')",
}
"""How each of ``SUMS`` is made of rows."""


@dataclass(frozen=True)
class Table:
    """A table of totals: the names that its lines are for, and their spans in seconds."""

    name: str
    names: tuple[str, ...]
    spans: tuple[int, ...]


@dataclass(frozen=True)
class Kind:
    """Totals that are made of the same groups of rows. ``mark``: in ``marks``, up to which id rows are in them.

    ``lot``: rows to add up at a time, some 0.2 seconds' work; more are cheaper a row, and take more memory.
    """

    mark: str
    lot: int
    names: tuple[str, ...]
    tables: tuple[Table, ...]

    @property
    def span(self) -> int:
        """Of the groups: the shortest that a table has."""
        return min(span for table in self.tables for span in table.spans)


TOTALS: Final = Table("totals", ("key", "model", "upstream"), (HOUR, DAY, EIGHT_DAYS))
HOURS: Final = Table("hours", ("model", "upstream"), (HOUR,))
CLIENT_TOTALS: Final = Table("client_totals", ("key", "client"), (DAY, EIGHT_DAYS))

SERVICES: Final = Kind("rolled", 50_000, TOTALS.names, (TOTALS, HOURS))
"""They stay when their rows go."""
CLIENTS: Final = Kind("clients_rolled", 100_000, CLIENT_TOTALS.names, (CLIENT_TOTALS,))
"""They are the sums of the rows that are there."""


def marks(connection: sqlite3.Connection) -> dict[str, int]:
    """``rolled``, ``clients_rolled`` (ids) and ``shift`` (seconds)."""
    return dict(connection.execute("SELECT name, value FROM marks"))


def mark(connection: sqlite3.Connection, name: str, value: int) -> None:
    """Set one of ``marks``."""
    connection.execute("UPDATE marks SET value = ? WHERE name = ?", (value, name))


def prepare(connection: sqlite3.Connection) -> None:
    """Make the tables of a lot, in memory, which the rest of this module works with."""
    for kind in (SERVICES, CLIENTS):
        names = ", ".join(f"{name} TEXT" for name in kind.names)
        sums = ", ".join(f"{name} INTEGER" for name in SUMS)
        connection.execute(f"CREATE TEMP TABLE IF NOT EXISTS lot_{kind.mark} (slot INTEGER, {names}, {sums})")


def add(connection: sqlite3.Connection, kind: Kind, shift: int, after: int, last: int) -> None:
    """Add the rows behind the id ``after`` up to ``last`` to the totals. Inside a transaction."""
    _group(connection, kind, shift, "id > ? AND id <= ?", (after, last))
    for table in kind.tables:
        _apply(connection, kind, table, shift, "+")


def subtract(
    connection: sqlite3.Connection, kind: Kind, shift: int, condition: str, values: tuple[int | str, ...]
) -> None:
    """Take these rows out of the totals they are in, before they are deleted. Inside a transaction."""
    _group(connection, kind, shift, condition, values)
    for table in kind.tables:
        _apply(connection, kind, table, shift, "-")
        _remove_empty(connection, kind, table, shift)


def _group(
    connection: sqlite3.Connection, kind: Kind, shift: int, condition: str, values: tuple[int | str, ...]
) -> None:
    connection.execute(f"DELETE FROM temp.lot_{kind.mark}")  # noqa: S608 - of our own names
    # By what differs most first: it is what rows are compared by.
    columns = ", ".join(str(number + 1) for number in reversed(range(len(kind.names) + 1)))
    connection.execute(
        f"INSERT INTO temp.lot_{kind.mark} "  # noqa: S608
        f"SELECT {_slot('CAST(time AS INTEGER)', kind.span, shift)}, {', '.join(kind.names)}, "
        f"{_sums(OF_ROWS)} FROM calls WHERE {condition} GROUP BY {columns}",
        values,
    )


def _apply(connection: sqlite3.Connection, kind: Kind, table: Table, shift: int, sign: str) -> None:
    names = ", ".join(table.names)
    columns = ", ".join(str(number + 1) for number in range(len(table.names) + 2))
    sums = _sums({name: f"sum({name})" for name in SUMS}, "" if sign == "+" else "-")
    sets = ", ".join(f"{name} = min({name} + excluded.{name}, {_LIMIT})" for name in SUMS)
    for span in table.spans:
        connection.execute(
            f"INSERT INTO {table.name} SELECT {span}, {_slot('slot', span, shift)}, {names}, {sums} "  # noqa: S608
            f"FROM temp.lot_{kind.mark} WHERE true GROUP BY {columns} "
            f"ON CONFLICT (span, slot, {names}) DO UPDATE SET {sets}"
        )


def _remove_empty(connection: sqlite3.Connection, kind: Kind, table: Table, shift: int) -> None:
    names = ", ".join(table.names)
    for span in table.spans:
        connection.execute(
            f"DELETE FROM {table.name} WHERE calls <= 0 AND (span, slot, {names}) IN "  # noqa: S608
            f"(SELECT {span}, {_slot('slot', span, shift)}, {names} FROM temp.lot_{kind.mark})"
        )


def _sums(expressions: dict[str, str], sign: str = "") -> str:
    """SQL for all sums in their order; that of the cost never passes 64 bits on its way."""
    return ", ".join(sign + expression for expression in (expressions | {"cost": _COST}).values())


def _slot(time: str, span: int, shift: int) -> str:
    """SQL for the beginning of the slot that ``time``, a whole number, lies in."""
    return f"({time} - {shift}) / {span} * {span} + {shift}"
