"""The tables, and how a file of an older version becomes one of this version.

``STEPS[n]`` leads from version n to n + 1; ``PRAGMA user_version`` tells which one a file has. A step is never
changed once it was released: what is to be different is a new step.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from chatgpt_platform.ledger import rows
from chatgpt_platform.ledger.transactions import transaction
from chatgpt_platform.ledger.trouble import ForeignError, TooNewError

APPLICATION: Final = 0x63677061
"""``cgpa``: the mark of our databases, which ``file`` shows too."""

EARLY: Final = 1
LATE: Final = 3600
"""Seconds: a call is put in no later than that after it began, and no earlier by a clock that was set."""
ODD: Final = f"id / 1000000 - time NOT BETWEEN -{EARLY} AND {LATE}"
"""Of rows of which this is not true, which an index finds by their time; all others are found by their ids."""

_SUMS: Final = ", ".join(
    f"{name} INTEGER NOT NULL"
    for name in (
        "calls", "complete", "client_left", "upstream_failed", "denied", "cut",
        "prompt_tokens", "cached_tokens", "completion_tokens", "cost", "unpriced", "estimated",
    )
)  # fmt: skip

_FIRST: Final = (
    f"PRAGMA application_id = {APPLICATION}",
    # Each set once: a row with a number for it costs half of what a row with all its texts does. A number is
    # negative for denied calls, which go first.
    f"""CREATE TABLE traits (
        id INTEGER PRIMARY KEY, {rows.declared(rows.TRAITS)}, UNIQUE ({", ".join(rows.TRAITS)})
    ) STRICT""",
    # id: microseconds since the epoch at which the row was put in, made unique and ascending.
    f"CREATE TABLE entries (id INTEGER PRIMARY KEY, traits INTEGER NOT NULL, {rows.declared(rows.ENTRY)}) STRICT",
    "CREATE INDEX entries_denied ON entries (id) WHERE traits < 0",
    f"CREATE INDEX entries_odd ON entries (time) WHERE {ODD}",
    # In this order whatever the planner thinks: by the id of the entries.
    f"""CREATE VIEW calls AS SELECT entries.id AS id, {", ".join(rows.COLUMNS)}
        FROM entries CROSS JOIN traits ON traits.id = entries.traits""",  # noqa: S608 - of our own names
    """CREATE TABLE said (
        id INTEGER PRIMARY KEY, time REAL NOT NULL, request_id TEXT NOT NULL, key TEXT NOT NULL,
        client TEXT NOT NULL, prompt TEXT NOT NULL, answer TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE states (
        kind TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (kind, name)
    ) STRICT, WITHOUT ROWID""",
    # span: seconds that one line of totals stands for; slot: epoch seconds at which they begin.
    f"""CREATE TABLE totals (
        span INTEGER NOT NULL, slot INTEGER NOT NULL, key TEXT NOT NULL, model TEXT NOT NULL,
        upstream TEXT NOT NULL, {_SUMS}, PRIMARY KEY (span, slot, key, model, upstream)
    ) STRICT, WITHOUT ROWID""",
    f"""CREATE TABLE hours (
        span INTEGER NOT NULL, slot INTEGER NOT NULL, model TEXT NOT NULL, upstream TEXT NOT NULL, {_SUMS},
        PRIMARY KEY (span, slot, model, upstream)
    ) STRICT, WITHOUT ROWID""",
    f"""CREATE TABLE client_totals (
        span INTEGER NOT NULL, slot INTEGER NOT NULL, key TEXT NOT NULL, client TEXT NOT NULL, {_SUMS},
        PRIMARY KEY (span, slot, key, client)
    ) STRICT, WITHOUT ROWID""",
    # rolled, clients_rolled: up to which id rows are in the totals; shift: where an hour begins.
    "CREATE TABLE marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "INSERT INTO marks VALUES ('rolled', 0), ('clients_rolled', 0), ('shift', 0)",
)
STEPS: Final[tuple[tuple[str, ...], ...]] = (_FIRST,)
VERSION: Final = len(STEPS)


def check(connection: sqlite3.Connection, place: str) -> int:
    """The version of the file; 0 for an empty one. Raises TooNewError, ForeignError, or sqlite3.Error."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION and (version or tables):
        raise ForeignError("it is a database of another program")
    if version > VERSION:
        raise TooNewError(
            f"{place} was written by a newer chatgpt-platform (its format is {version}, this program knows "
            f"{VERSION}): run that version, or set another state.directory"
        )
    return int(version)


def migrate(connection: sqlite3.Connection, place: str) -> None:
    """Bring the file to this version, each step in a transaction of its own. Raises as ``check``."""
    while check(connection, place) < VERSION:
        with transaction(connection):
            version = check(connection, place)  # again: another process may have been quicker
            if version < VERSION:
                for statement in STEPS[version]:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {version + 1}")
