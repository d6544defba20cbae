"""Sums of rows: by hour, day and eight days, so that a report reads thousands of lines where there are millions.

A slot begins at ``shift`` seconds behind a whole span: the shift is where an hour begins in the owner's time zone,
so that a day of that zone is made of whole slots. Every table holds one line for each span, slot and names. All
sums are made by SQLite, in lots: the rows of a lot are grouped once, and all sums are made of the groups.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

HOUR: Final = 3600
DAY: Final = 24 * HOUR
EIGHT_DAYS: Final = 8 * DAY

_LIMIT: Final = 9 * 10**18
"""Where sums stop, below the end of 64 bits: an upstream that reports nonsense must not stop the account."""
_SHARES: Final = 4
_SAMPLE: Final = 101
"""Of so many rows of a lot one is looked at to cut it into shares."""
_SMALL: Final = 40
"""Rows looked at of a lot that is not worth being cut."""
_ABOVE_ALL_TEXTS: Final = b""
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
_OF_GROUPS: Final = {
    "calls": "count(*)",
    "prompt_tokens": "sum(prompt_tokens)",
    "cached_tokens": "sum(cached_tokens)",
    "completion_tokens": "sum(completion_tokens)",
    "cost": _COST,
}
"""What is added up of rows that have all names and traits in common."""
_OF_LINES: Final = {
    "calls": "calls",
    "complete": "calls * (outcome = 'complete')",
    "client_left": "calls * (outcome = 'client_left')",
    "upstream_failed": "calls * (outcome = 'upstream_failed')",
    "denied": "calls * (outcome = 'denied')",
    "cut": "calls * (outcome = 'cut')",
    "prompt_tokens": "prompt_tokens",
    "cached_tokens": "cached_tokens",
    "completion_tokens": "completion_tokens",
    "cost": "cost",
    "unpriced": "calls * (priced = 0)",
    "estimated": "calls * (usage = 'estimated')",
}
"""What a group adds to each of ``SUMS``."""
_COUNTS: Final = ("calls", "complete", "client_left", "upstream_failed", "denied", "cut", "unpriced", "estimated")
"""Those of ``SUMS`` that no upstream can drive out of bounds."""
_TRAITS: Final = "CROSS JOIN traits ON traits.id = lot.traits"
_BY_CLIENT: Final = f"temp.lot AS lot {_TRAITS}"
_BY_TRAITS: Final = (
    f"(SELECT slot, traits, {', '.join(f'sum({name}) AS {name}' for name in _OF_GROUPS if name != 'cost')}, "  # noqa: S608
    f"{_COST} AS cost FROM temp.lot GROUP BY 2, 1) AS lot {_TRAITS}"
)
"""The groups of a lot: all of them, and those that are left without the clients."""


Share = tuple[str, str | bytes]
"""Those of a lot's rows whose clients are from the first on, and below the second."""


@dataclass(frozen=True)
class Table:
    """A table of totals: the names that its lines are for, and their spans in seconds."""

    name: str
    names: tuple[str, ...]
    spans: tuple[int, ...]


@dataclass(frozen=True)
class Kind:
    """Totals that are made together. ``mark``: in ``marks``, up to which id rows are in them; ``groups``: SQL for
    the groups of a lot that they are made of."""

    mark: str
    groups: str
    tables: tuple[Table, ...]


TOTALS: Final = Table("totals", ("key", "model", "upstream"), (HOUR, DAY, EIGHT_DAYS))
HOURS: Final = Table("hours", ("model", "upstream"), (HOUR,))
CLIENT_TOTALS: Final = Table("client_totals", ("key", "client"), (DAY, EIGHT_DAYS))

SERVICES: Final = Kind("rolled", _BY_TRAITS, (TOTALS, HOURS))
"""They stay when their rows go."""
CLIENTS: Final = Kind("clients_rolled", _BY_CLIENT, (CLIENT_TOTALS,))
"""They are the sums of the rows that are there."""
KINDS: Final = (SERVICES, CLIENTS)


def marks(connection: sqlite3.Connection) -> dict[str, int]:
    """``rolled``, ``clients_rolled`` (ids) and ``shift`` (seconds)."""
    return dict(connection.execute("SELECT name, value FROM marks"))


def mark(connection: sqlite3.Connection, name: str, value: int) -> None:
    """Set one of ``marks``."""
    connection.execute("UPDATE marks SET value = ? WHERE name = ?", (value, name))


def prepare(connection: sqlite3.Connection) -> None:
    """Make the tables of a lot, in memory, which the rest of this module works with."""
    connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS lot "
        f"(slot INTEGER, client TEXT, traits INTEGER, {', '.join(f'{name} INTEGER' for name in _OF_GROUPS)})"
    )


def empty(connection: sqlite3.Connection) -> None:
    """Begin with a lot."""
    connection.execute("DELETE FROM temp.lot")


def group(connection: sqlite3.Connection, shift: int, after: int, last: int, share: Share) -> None:
    """Take a share of the rows behind the id ``after`` up to ``last`` into the lot."""
    _group(connection, shift, "id > ? AND id <= ? AND client >= ? AND client < ?", (after, last, *share))


def add(connection: sqlite3.Connection, kinds: Iterable[Kind], shift: int) -> None:
    """Add the lot to the totals. Inside a transaction."""
    for kind in kinds:
        _apply(connection, kind, shift, "")


def subtract(
    connection: sqlite3.Connection, kind: Kind, shift: int, condition: str, values: tuple[int | str, ...]
) -> None:
    """Take these rows out of the totals they are in, before they are deleted. Inside a transaction.

    ``condition``: SQL about ``entries``.
    """
    empty(connection)
    _group(connection, shift, condition, values)
    _apply(connection, kind, shift, "-")
    _remove_empty(connection, kind, shift)


def shares(connection: sqlite3.Connection, after: int, last: int) -> list[Share]:
    """Cut the clients of a lot into ranges of about as many rows.

    SQLite sorts in memory, where a share takes a quarter of what the lot would, and of the time; the totals are
    still made once.
    """
    clients = sorted(
        client
        for (client,) in connection.execute(
            f"SELECT client FROM entries WHERE id > ? AND id <= ? AND id % {_SAMPLE} = 0",  # noqa: S608 - a number
            (after, last),
        )
    )
    count = _SHARES if len(clients) >= _SMALL else 1
    edges = [clients[len(clients) * number // count] for number in range(1, count)]
    return list(zip(["", *edges], [*edges, _ABOVE_ALL_TEXTS], strict=True))


def _group(
    connection: sqlite3.Connection, shift: int, condition: str, values: tuple[int | str | bytes, ...]
) -> None:
    """Group rows by all that any totals tell apart: the one time that they are sorted."""
    # By what differs most first: it is what rows are compared by.
    connection.execute(
        f"INSERT INTO temp.lot SELECT {_slot('CAST(time AS INTEGER)', HOUR, shift)}, client, traits, "  # noqa: S608
        f"{', '.join(_OF_GROUPS.values())} FROM entries WHERE {condition} GROUP BY 2, 3, 1",
        values,
    )


def _apply(connection: sqlite3.Connection, kind: Kind, shift: int, sign: str) -> None:
    """Add the groups to the lines that there are, or make lines of them."""
    sums = ", ".join(sign + expression for expression in _OF_LINES.values())
    added = {name: f"{name} + excluded.{name}" for name in SUMS}
    added |= {name: f"min({added[name]}, {_LIMIT})" for name in SUMS if name not in _COUNTS}
    sets = ", ".join(f"{name} = {value}" for name, value in added.items())
    for table in kind.tables:
        names = ", ".join(table.names)
        for span in table.spans:
            connection.execute(
                f"INSERT INTO {table.name} SELECT {span}, {_slot('slot', span, shift)}, {names}, {sums} "  # noqa: S608
                f"FROM {kind.groups} WHERE true ON CONFLICT (span, slot, {names}) DO UPDATE SET {sets}"
            )


def _remove_empty(connection: sqlite3.Connection, kind: Kind, shift: int) -> None:
    for table in kind.tables:
        names = ", ".join(table.names)
        for span in table.spans:
            connection.execute(
                f"DELETE FROM {table.name} WHERE calls <= 0 AND (span, slot, {names}) IN "  # noqa: S608
                f"(SELECT {span}, {_slot('slot', span, shift)}, {names} FROM {kind.groups})"
            )


def _slot(time: str, span: int, shift: int) -> str:
    """SQL for the beginning of the slot that ``time``, a whole number, lies in."""
    return f"({time} - {shift}) / {span} * {span} + {shift}"
