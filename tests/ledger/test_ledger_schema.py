"""A file of the first version becomes one of this version, with every row and total, whole at any moment."""

from __future__ import annotations

import datetime
import itertools
import math
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, get_args

import pytest

from chatgpt_platform.ledger import database, erasure, schema, totals
from chatgpt_platform.ledger.ledger import Ledger
from chatgpt_platform.ledger.reports import By, Query, connect, figures
from chatgpt_platform.ledger.retention import Limits, Retention
from chatgpt_platform.ledger.rows import COLUMNS, OUTCOMES, SAID_COLUMNS, USAGES, Row
from chatgpt_platform.ledger.trouble import LedgerError, TooNewError
from chatgpt_platform.ledger.upkeep import Upkeep
from support.ledgers import MIDNIGHT, WITHIN, Said, counted, opened, row, set_aside, written

DAY = 86_400
ALWAYS = (-math.inf, math.inf)
SUMS = ", ".join(f"{name} INTEGER NOT NULL" for name in totals.SUMS)
FIRST = f"""
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
PRAGMA application_id = {0x63677061};
CREATE TABLE calls (
    id INTEGER PRIMARY KEY, time REAL NOT NULL CHECK (time BETWEEN 86400 AND 100000000000),
    request_id TEXT NOT NULL, key TEXT NOT NULL, client TEXT NOT NULL, endpoint TEXT NOT NULL, model TEXT NOT NULL,
    upstream TEXT NOT NULL, status INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL CHECK (prompt_tokens BETWEEN 0 AND 10000000000),
    cached_tokens INTEGER NOT NULL CHECK (cached_tokens BETWEEN 0 AND 10000000000),
    completion_tokens INTEGER NOT NULL CHECK (completion_tokens BETWEEN 0 AND 10000000000),
    cost INTEGER NOT NULL CHECK (cost BETWEEN 0 AND 1000000000000000000), priced INTEGER NOT NULL,
    duration_ms REAL NOT NULL, first_byte_ms REAL, stream INTEGER NOT NULL, outcome TEXT NOT NULL,
    usage TEXT NOT NULL
) STRICT;
CREATE INDEX calls_time ON calls (time);
CREATE INDEX calls_denied ON calls (id) WHERE outcome = 'denied';
CREATE TABLE said (
    id INTEGER PRIMARY KEY, time REAL NOT NULL, request_id TEXT NOT NULL, key TEXT NOT NULL,
    client TEXT NOT NULL, prompt TEXT NOT NULL, answer TEXT NOT NULL
) STRICT;
CREATE TABLE states (
    kind TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE totals (
    span INTEGER NOT NULL, slot INTEGER NOT NULL, key TEXT NOT NULL, model TEXT NOT NULL,
    upstream TEXT NOT NULL, {SUMS}, PRIMARY KEY (span, slot, key, model, upstream)
) STRICT, WITHOUT ROWID;
CREATE TABLE hours (
    span INTEGER NOT NULL, slot INTEGER NOT NULL, model TEXT NOT NULL, upstream TEXT NOT NULL, {SUMS},
    PRIMARY KEY (span, slot, model, upstream)
) STRICT, WITHOUT ROWID;
CREATE TABLE client_totals (
    span INTEGER NOT NULL, slot INTEGER NOT NULL, key TEXT NOT NULL, client TEXT NOT NULL, {SUMS},
    PRIMARY KEY (span, slot, key, client)
) STRICT, WITHOUT ROWID;
CREATE TABLE marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO marks VALUES ('rolled', 0), ('clients_rolled', 0), ('shift', 0);
PRAGMA user_version = 1;
"""
KEPT = ("said", "states", "totals", "hours", "client_totals", "marks")
"""Tables that stay as they are."""
ROLLED, CLIENTS_ROLLED = 2000, 1500
"""Rows that the totals of the file are of."""


class First(NamedTuple):
    """A file of the first version: the rows with their ids, and what is in the tables that stay."""

    directory: Path
    rows: list[tuple[Any, ...]]
    kept: list[list[tuple[Any, ...]]]

    @property
    def calls(self) -> list[Row]:
        return [one[1:] for one in self.rows]


@contextmanager
def raw(directory: Path) -> Iterator[sqlite3.Connection]:
    """The file as it is, whatever its version."""
    with closing(sqlite3.connect(directory / database.NAME, isolation_level=None)) as connection:
        yield connection


def told(directory: Path, statement: str) -> list[Any]:
    with raw(directory) as connection:
        return connection.execute(statement).fetchall()


def mixture(count: int) -> list[tuple[Any, ...]]:
    """Rows with their ids, of all outcomes and many sets. Every seventh was put in long after it began, or, by a
    clock that was set back, before."""
    chance = random.Random(3)
    found = {
        round(time_ * 1e6) + round(lag * 1e6) + number: row(
            time=time_, request_id=f"r{number}", key=chance.choice(("", "ann", "bob", "Zoë\0\u2028")),
            client=f"192.0.2.{chance.randrange(5)}", endpoint=chance.choice(("/v1/embeddings", "/chatgpt")),
            model=chance.choice(("", "a", "b")), upstream=chance.choice(("", "x")),
            status=chance.choice((200, 404, 429)), prompt_tokens=chance.randrange(1000),
            cost=chance.randrange(10**12), priced=chance.randrange(2), duration_ms=chance.random(),
            first_byte_ms=chance.choice((None, 1.5)), stream=chance.randrange(2),
            outcome=chance.choice(OUTCOMES), usage=chance.choice(USAGES),
        )
        for number in range(count)
        for time_, lag in [(
            MIDNIGHT + chance.random() * 20 * DAY,
            chance.choice((-DAY, -2.0, 5000.0, 2.5 * DAY)) if number % 7 == 0 else chance.random() * 10,
        )]
    }  # fmt: skip
    return [(number, *found[number]) for number in sorted(found)]


def summed(rows: Sequence[Row], span: int, names: Sequence[str]) -> list[tuple[Any, ...]]:
    """Lines of totals."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for one in rows:
        group = (span, int(one[0]) // span * span, *(one[COLUMNS.index(name)] for name in names))
        groups.setdefault(group, []).append(one)
    query = Query(*ALWAYS, "upstream")
    sums = {
        group: [sum(column) for column in zip(*counted(members, query, datetime.UTC, 0).values(), strict=True)]
        for group, members in groups.items()
    }
    return [(*group, *line) for group, line in sums.items()]


def fill(connection: sqlite3.Connection, table: str, lines: Sequence[Sequence[Any]]) -> None:
    connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(lines[0]))})", lines)


@pytest.fixture
def first(tmp_path: Path) -> First:
    rows = mixture(2500)
    calls = [one[1:] for one in rows]
    with raw(tmp_path) as connection:
        connection.executescript(FIRST)
        connection.execute("BEGIN")
        fill(connection, "calls", rows)
        for table, count in (
            (totals.TOTALS, ROLLED), (totals.HOURS, ROLLED), (totals.CLIENT_TOTALS, CLIENTS_ROLLED)
        ):  # fmt: skip
            for span in table.spans:
                fill(connection, table.name, summed(calls[:count], span, table.names))
        for name, count in (("rolled", ROLLED), ("clients_rolled", CLIENTS_ROLLED)):
            connection.execute("UPDATE marks SET value = ? WHERE name = ?", (rows[count - 1][0], name))
        said = [(rows[5][0], *(rows[5][1 + COLUMNS.index(name)] for name in SAID_COLUMNS[:4]), "Why?", "Because.")]
        fill(connection, "said", said)
        fill(connection, "states", [("key", "ann", "1"), ("file", "#birth", "0123456789abcdef")])
        connection.execute("COMMIT")
        kept = [connection.execute(f"SELECT * FROM {table}").fetchall() for table in KEPT]
    return First(tmp_path, rows, kept)


def migrated(directory: Path) -> None:
    said = list[str]()
    database.open_to_write(directory, pytest.fail, said.append).close()
    assert len(said) == 1


def unchanged(first: First) -> None:
    """It is of the first version, and whole."""
    assert told(first.directory, "PRAGMA integrity_check") == [("ok",)]
    assert told(first.directory, "PRAGMA user_version") == [(1,)]
    assert told(first.directory, "SELECT * FROM calls ORDER BY id") == first.rows
    tables = [name for (name,) in told(first.directory, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    assert sorted(tables) == sorted(("calls", *KEPT))


def reported_as(directory: Path, rows: Sequence[Row]) -> None:
    """Reports say what adding up these rows says."""
    with closing(connect(directory)) as connection:
        for by, key, client in itertools.product(get_args(By), (None, "ann"), (None, "192.0.2.1")):
            for since, until in (ALWAYS, (MIDNIGHT + 1.5 * DAY, MIDNIGHT + 18.3 * DAY)):
                query = Query(since, until, by, key, client)
                lines = figures(connection, query, datetime.UTC)
                assert {line.name: tuple(line[1:]) for line in lines} == counted(rows, query, datetime.UTC, 0)


def test_a_file_of_the_first_version_keeps_every_row_and_total(first: First) -> None:
    migrated(first.directory)
    assert told(first.directory, "PRAGMA integrity_check") == [("ok",)]
    assert told(first.directory, "PRAGMA user_version") == [(schema.VERSION,)]
    assert told(first.directory, "SELECT * FROM calls ORDER BY id") == first.rows
    assert [told(first.directory, f"SELECT * FROM {table}") for table in KEPT] == first.kept
    traits = told(first.directory, "SELECT id, outcome FROM traits")
    assert sorted(abs(number) for number, _ in traits) == list(range(1, len(traits) + 1))
    assert all((number < 0) == (outcome == "denied") for number, outcome in traits)
    odd = told(first.directory, f"SELECT count(*) FROM entries INDEXED BY entries_odd WHERE {schema.ODD}")
    assert odd == [(len(range(0, 2500, 7)),)]
    reported_as(first.directory, first.calls)


def test_it_has_the_tables_of_a_new_file(first: First, tmp_path: Path) -> None:
    new = tmp_path / "new"
    written(new, row())
    migrated(first.directory)
    statement = "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite%' ORDER BY 1, 2"
    tables = [
        [(kind, name, "".join(sql.split())) for kind, name, sql in told(directory, statement)]
        for directory in (first.directory, new)
    ]
    assert tables[0] == tables[1]
    assert [name for _, name, *_ in told(new, "PRAGMA table_info(calls)")] == ["id", *COLUMNS]


def test_a_gateway_goes_on_in_it(first: First) -> None:
    said = Said()
    with opened(first.directory, said) as ledger:
        assert ledger.states("key") == {"ann": "1"}
        ledger.add(row(key="ann", client="192.0.2.1"))
        ledger.add(row(outcome="denied"))
        assert ledger.settle(WITHIN)
    place = first.directory / database.NAME
    assert said.lines == [
        f"INFO {place} is brought to the format of this version, once; with its 2,500 calls that takes some 1 s"
    ]
    reported_as(first.directory, [*first.calls, row(key="ann", client="192.0.2.1"), row(outcome="denied")])
    with opened(first.directory):
        pass  # says nothing more


def test_totals_that_were_not_of_the_same_rows_catch_up(first: First) -> None:
    connection = database.open_to_write(first.directory, pytest.fail)
    with closing(connection):
        totals.prepare(connection)
        upkeep = Upkeep(Retention(Limits(0, 0)))
        while upkeep.step(connection):
            pass
        for table in (totals.TOTALS, totals.HOURS, totals.CLIENT_TOTALS):
            lines = [line for span in table.spans for line in summed(first.calls, span, table.names)]
            assert sorted(connection.execute(f"SELECT * FROM {table.name}")) == sorted(lines)
    reported_as(first.directory, first.calls)


@pytest.mark.parametrize(("key", "client"), [("ann", None), (None, "192.0.2.1")])
def test_calls_are_erased_from_it_to_the_last_byte(first: First, key: str | None, client: str | None) -> None:
    rest = [one for one in first.calls if (one[2] if key else one[3]) != (key or client)]
    assert len(rest) < len(first.calls) - 400
    migrated(first.directory)
    with closing(database.connect_to_erase(first.directory)) as connection:
        assert erasure.forget(connection, key, client) == len(first.calls) - len(rest)
    reported_as(first.directory, rest)
    gone = (key or client or "").encode()
    assert sum(path.read_bytes().count(gone) for path in first.directory.iterdir()) == 0


def test_calls_that_are_too_old_go_from_it(first: First) -> None:
    middle = first.rows[1000][0]
    connection = database.open_to_write(first.directory, pytest.fail)
    with closing(connection):
        totals.prepare(connection)
        retention = Retention(Limits(DAY, 0))
        while retention.step(connection, middle / 1e6 + DAY):
            pass
    assert told(first.directory, "SELECT * FROM calls ORDER BY id") == first.rows[1000:]
    left, names = first.calls[1000:CLIENTS_ROLLED], totals.CLIENT_TOTALS.names
    lines = [line for span in totals.CLIENT_TOTALS.spans for line in summed(left, span, names)]
    assert sorted(told(first.directory, "SELECT * FROM client_totals")) == sorted(lines)


def test_a_file_of_the_day_between_them_only_gets_its_number(tmp_path: Path) -> None:
    written(tmp_path, *[row(key=key) for key in "abc"])
    told(tmp_path, "PRAGMA user_version = 1")
    migrated(tmp_path)
    assert told(tmp_path, "SELECT key FROM calls ORDER BY id") == [("a",), ("b",), ("c",)]
    assert told(tmp_path, "PRAGMA user_version") == [(schema.VERSION,)]


def test_only_a_gateway_brings_it_up_to_date(first: First) -> None:
    for opener in (connect, database.connect_to_erase):
        with pytest.raises(LedgerError, match=r"ledger\.db is of an older version: start the gateway once, which"):
            opener(first.directory)
    unchanged(first)


def test_a_newer_one_is_refused(first: First) -> None:
    migrated(first.directory)
    told(first.directory, f"PRAGMA user_version = {schema.VERSION + 1}")
    for opener in (connect, database.connect_to_erase, lambda place: database.open_to_write(place, pytest.fail)):
        with pytest.raises(TooNewError, match=r"ledger\.db was written by a newer"):
            opener(first.directory)


@pytest.mark.parametrize("place", [1, 6, 8, 9, 10])
def test_a_step_that_fails_in_the_middle_leaves_it_whole_and_is_taken_later(
    first: First, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    said = Said()
    broken = (*schema.STEPS[1][:place], "CREATE NONSENSE", *schema.STEPS[1][place:])
    monkeypatch.setattr(schema, "STEPS", (schema.STEPS[0], broken))
    with opened(first.directory, said) as ledger:
        assert not ledger.opened
        ledger.add(row(request_id="waits"))
        assert not ledger.settle(0.5)
        unchanged(first)
        monkeypatch.undo()
        assert ledger.settle(WITHIN)
        assert ledger.lost == 0
    assert not set_aside(first.directory)
    assert told(first.directory, "SELECT id FROM calls ORDER BY id")[:-1] == [(one[0],) for one in first.rows]
    assert told(first.directory, "SELECT request_id FROM calls ORDER BY id DESC LIMIT 1") == [("waits",)]
    assert [line.split()[0] for line in said.lines] == ["INFO", "WARNING", "WARNING"]
    assert "cannot be written: near " in said.lines[1]
    assert said.lines[2].endswith("ledger.db is written again; rows lost: 0")


def test_a_disk_without_room_for_it_is_one_clear_line(first: First, monkeypatch: pytest.MonkeyPatch) -> None:
    said = Said()
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=700_000))
    with opened(first.directory, said) as ledger:
        ledger.add(row())
        assert not ledger.settle(0.5)
        unchanged(first)
        monkeypatch.undo()
        assert ledger.settle(WITHIN)
    assert said.lines[0] == (
        f"WARNING {first.directory / database.NAME} cannot be written: bringing it to the format of this version "
        "takes 1 MB of its disk for a while; make room there; rows wait in memory until it can"
    )
    assert [line.split()[0] for line in said.lines] == ["WARNING", "INFO", "WARNING"]


if sys.platform != "win32":
    import resource

    def test_a_disk_that_is_full_in_the_middle_is_one_clear_line(first: First) -> None:
        said = Said()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        try:
            ledger = Ledger(first.directory, 0, 0, 0, said.logger)
            ledger.open()
            ledger.add(row())
            assert not ledger.settle(1.0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert ledger.settle(WITHIN)
        ledger.close()
        assert [line.split()[0] for line in said.lines] == ["INFO", "WARNING", "WARNING"]
        assert not set_aside(first.directory)
        assert told(first.directory, "SELECT count(*) FROM calls") == [(2501,)]
        assert told(first.directory, "SELECT * FROM calls ORDER BY id")[:-1] == first.rows


MANY = 200_000
OPENING = """
import sys
from pathlib import Path
from chatgpt_platform.ledger import database
print("begins", flush=True)
database.open_to_write(Path(sys.argv[1]), print)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no kill -9")
def test_a_kill_in_the_middle_leaves_it_whole(tmp_path: Path) -> None:
    values = ", ".join(f"'{value}'" if isinstance(value, str) else "NULL" if value is None else str(int(value))
                       for value in row()[4:])  # fmt: skip
    with raw(tmp_path) as connection:
        connection.executescript(FIRST)
        connection.execute(
            f"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY}) INSERT INTO calls "
            f"SELECT i * 1000000, 86400 + i, 'r' || i, 'k' || (i % 50), 'c' || (i % 999), {values} FROM n"
        )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    log = tmp_path / "ledger.db-wal"
    versions = []
    for size in (200_000, 4_000_000, 9_000_000):  # of some 15 MB
        with subprocess.Popen(
            [sys.executable, "-c", OPENING, str(tmp_path)], stdout=subprocess.PIPE, env=environment
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"begins\n"
            while child.poll() is None and not (log.exists() and log.stat().st_size > size):
                time.sleep(0.001)
            child.kill()
        assert told(tmp_path, "PRAGMA integrity_check") == [("ok",)]
        versions += told(tmp_path, "PRAGMA user_version")
        assert told(tmp_path, "SELECT count(*), sum(id), count(DISTINCT request_id) FROM calls") == [
            (MANY, 10**6 * MANY * (MANY + 1) // 2, MANY)
        ]
    assert versions[0] == (1,)
    database.open_to_write(tmp_path, pytest.fail).close()
    assert told(tmp_path, "SELECT count(*), count(DISTINCT key), count(DISTINCT client) FROM calls") == [
        (MANY, 50, 999)
    ]
