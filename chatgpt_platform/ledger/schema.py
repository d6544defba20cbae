"""The tables, and how a file of an older version becomes one of this version.

``STEPS[n]`` leads from version n to n + 1; ``PRAGMA user_version`` tells which one a file has. A step is never
changed once it was released, so it names no other module's columns: what is to be different is a new step.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final

from chatgpt_platform.ledger.transactions import transaction
from chatgpt_platform.ledger.trouble import ForeignError, TooNewError

APPLICATION: Final = 0x63677061
"""``cgpa``: the mark of our databases, which ``file`` shows too."""

EARLY: Final = 1
LATE: Final = 3600
"""Seconds: a call is put in no later than that after it began, and no earlier by a clock that was set."""
ODD: Final = f"id / 1000000 - time NOT BETWEEN -{EARLY} AND {LATE}"
"""Of rows that an index finds by their time, if it is asked for in the same words; all others are found by their
ids."""

_SUMS: Final = ", ".join(
    f"{name} INTEGER NOT NULL"
    for name in (
        "calls", "complete", "client_left", "upstream_failed", "denied", "cut",
        "prompt_tokens", "cached_tokens", "completion_tokens", "cost", "unpriced", "estimated",
    )
)  # fmt: skip

_FIRST: Final = (
    f"PRAGMA application_id = {APPLICATION}",
    # id: microseconds since the epoch at which the row was put in, made unique and ascending.
    """CREATE TABLE calls (
        id INTEGER PRIMARY KEY, time REAL NOT NULL CHECK (time BETWEEN 86400 AND 100000000000),
        request_id TEXT NOT NULL, key TEXT NOT NULL, client TEXT NOT NULL, endpoint TEXT NOT NULL,
        model TEXT NOT NULL, upstream TEXT NOT NULL, status INTEGER NOT NULL,
        prompt_tokens INTEGER NOT NULL CHECK (prompt_tokens BETWEEN 0 AND 10000000000),
        cached_tokens INTEGER NOT NULL CHECK (cached_tokens BETWEEN 0 AND 10000000000),
        completion_tokens INTEGER NOT NULL CHECK (completion_tokens BETWEEN 0 AND 10000000000),
        cost INTEGER NOT NULL CHECK (cost BETWEEN 0 AND 1000000000000000000),
        priced INTEGER NOT NULL, duration_ms REAL NOT NULL, first_byte_ms REAL, stream INTEGER NOT NULL,
        outcome TEXT NOT NULL, usage TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX calls_time ON calls (time)",
    "CREATE INDEX calls_denied ON calls (id) WHERE outcome = 'denied'",  # they go first
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

_SECOND: Final = (
    "ALTER TABLE calls RENAME TO former",
    # Each set once: a row with a number for it costs half of what a row with all its texts does. A number is
    # negative for denied calls, which go first.
    """CREATE TABLE traits (
        id INTEGER PRIMARY KEY, key TEXT NOT NULL, endpoint TEXT NOT NULL, model TEXT NOT NULL,
        upstream TEXT NOT NULL, status INTEGER NOT NULL, priced INTEGER NOT NULL, stream INTEGER NOT NULL,
        outcome TEXT NOT NULL, usage TEXT NOT NULL,
        UNIQUE (key, endpoint, model, upstream, status, priced, stream, outcome, usage)
    ) STRICT""",
    """CREATE TABLE entries (
        id INTEGER PRIMARY KEY, traits INTEGER NOT NULL,
        time REAL NOT NULL CHECK (time BETWEEN 86400 AND 100000000000), request_id TEXT NOT NULL,
        client TEXT NOT NULL, prompt_tokens INTEGER NOT NULL CHECK (prompt_tokens BETWEEN 0 AND 10000000000),
        cached_tokens INTEGER NOT NULL CHECK (cached_tokens BETWEEN 0 AND 10000000000),
        completion_tokens INTEGER NOT NULL CHECK (completion_tokens BETWEEN 0 AND 10000000000),
        cost INTEGER NOT NULL CHECK (cost BETWEEN 0 AND 1000000000000000000), duration_ms REAL NOT NULL,
        first_byte_ms REAL
    ) STRICT""",
    # The indexes before the rows: made of rows that are there, they would be sorted in memory.
    "CREATE INDEX entries_denied ON entries (id) WHERE traits < 0",
    "CREATE INDEX entries_odd ON entries (time) WHERE id / 1000000 - time NOT BETWEEN -1 AND 3600",
    """INSERT INTO traits SELECT DISTINCT
        NULL, key, endpoint, model, upstream, status, priced, stream, outcome, usage FROM former""",
    "UPDATE traits SET id = -id WHERE outcome = 'denied'",
    # A row for which none is found fails, and the step with it.
    """INSERT INTO entries SELECT id, (
            SELECT id FROM traits WHERE key = former.key AND endpoint = former.endpoint AND model = former.model
                AND upstream = former.upstream AND status = former.status AND priced = former.priced
                AND stream = former.stream AND outcome = former.outcome AND usage = former.usage
        ), time, request_id, client, prompt_tokens, cached_tokens, completion_tokens, cost, duration_ms,
        first_byte_ms FROM former ORDER BY id""",
    "DROP TABLE former",
    # In this order whatever the planner thinks: by the id of the entries.
    """CREATE VIEW calls AS SELECT entries.id AS id, time, request_id, key, client, endpoint, model, upstream,
        status, prompt_tokens, cached_tokens, completion_tokens, cost, priced, duration_ms, first_byte_ms, stream,
        outcome, usage FROM entries CROSS JOIN traits ON traits.id = entries.traits""",
)
STEPS: Final[tuple[tuple[str, ...], ...]] = (_FIRST, _SECOND)
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


def migrate(connection: sqlite3.Connection, place: str, on_older: Callable[[], None]) -> None:
    """Bring the file to this version, each step in a transaction of its own: a file that is found between two of
    them, or whose step did not end, is whole. ``on_older``: told before calls are moved, which takes seconds.

    Raises as ``check``, and what ``on_older`` raises.
    """
    if 0 < check(connection, place) < VERSION:
        on_older()
    (secure,) = connection.execute("PRAGMA secure_delete").fetchone()
    # Where it is on, a table that goes is held in memory and in the log, to be written over with zeros.
    connection.execute("PRAGMA secure_delete = OFF").fetchall()
    while check(connection, place) < VERSION:
        with transaction(connection):
            _take_step(connection, place)
    connection.execute(f"PRAGMA secure_delete = {int(secure)}").fetchall()


def _take_step(connection: sqlite3.Connection, place: str) -> None:
    version = check(connection, place)  # again: another process may have been quicker
    if version == VERSION:
        return
    if version != 1 or not _has(connection, "entries"):  # for a day, files of the second version bore a 1
        for statement in STEPS[version]:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {version + 1}")


def _has(connection: sqlite3.Connection, table: str) -> bool:
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,))
    return found.fetchone() is not None
