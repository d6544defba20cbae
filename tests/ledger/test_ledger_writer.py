"""A disk that fails: rows wait, it is said once, and afterwards all of them are there. And kill -9."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from chatgpt_platform.ledger import database, totals, upkeep, writer
from chatgpt_platform.ledger import ledger as ledger_module
from chatgpt_platform.ledger.database import connect
from chatgpt_platform.ledger.inserting import insert_calls
from chatgpt_platform.ledger.ledger import Ledger
from chatgpt_platform.ledger.traits import Traits
from chatgpt_platform.ledger.transactions import transaction
from chatgpt_platform.ledger.upkeep import roll_up
from support.ledgers import WITHIN, Said, opened, row, set_aside, written

POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows lets nobody remove or replace an open file")


def requests(directory: Path) -> list[str]:
    connection = connect(directory)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [name for (name,) in connection.execute("SELECT request_id FROM calls ORDER BY id")]
    finally:
        connection.close()


def put(ledger: Ledger, *names: str, within: float = WITHIN) -> bool:
    for name in names:
        ledger.add(row(request_id=name))
    return ledger.settle(within)


def levels(said: Said) -> list[str]:
    return [line.split()[0] for line in said.lines]


def test_a_locked_file_makes_rows_wait(tmp_path: Path) -> None:
    said = Said()
    with opened(tmp_path, said) as ledger:
        assert put(ledger, "before")
        blocker = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        assert not put(ledger, "during", within=1.5)
        blocker.execute("ROLLBACK")
        blocker.close()
        assert put(ledger, "after")
        assert ledger.lost == 0
    assert requests(tmp_path) == ["before", "during", "after"]
    assert levels(said) == ["WARNING", "WARNING"]
    assert (
        "cannot be written: database is locked; wait for the program that holds it locked, or end it; rows wait"
        in said.lines[0]
    )
    assert said.lines[1].endswith("ledger.db is written again; rows lost: 0")


if sys.platform != "win32":
    import resource

    def test_a_full_disk_makes_rows_wait(tmp_path: Path) -> None:
        said = Said()
        with opened(tmp_path, said) as ledger:
            assert put(ledger, "before")
            limits = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
            try:
                assert not put(ledger, *map(str, range(5000)), within=1.0)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            assert put(ledger, "after")
        assert requests(tmp_path) == ["before", *map(str, range(5000)), "after"]
        assert levels(said) == ["WARNING", "WARNING"]


def test_what_is_more_than_can_wait_is_counted_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "ROWS_WAIT", 10)
    said = Said()
    with opened(tmp_path, said) as ledger:
        blocker = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        assert not put(ledger, *"abcdef", within=1.5)
        assert not put(ledger, *"ghijklm", within=0.1)
        assert ledger.lost == 3
        blocker.close()
        assert put(ledger)
    assert "".join(requests(tmp_path)) == "abcdefghij"
    assert said.lines[-1].endswith("is written again; rows lost: 3")


def test_a_directory_that_cannot_be_made_at_the_start(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    directory.write_text("a file stands in its place")
    said = Said()
    with opened(directory, said) as ledger:
        assert not ledger.opened
        assert not put(ledger, "early", within=0.2)
        directory.unlink()
        assert put(ledger, "late")
    assert requests(directory) == ["early", "late"]
    assert levels(said) == ["WARNING", "WARNING"]
    assert "File exists; see that state.directory is a directory it can write to; rows wait" in said.lines[0]


@POSIX
def test_a_directory_that_is_removed_is_made_anew(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    said = Said()
    with opened(directory, said) as ledger:
        assert put(ledger, "before")
        shutil.rmtree(directory)
        assert put(ledger, "after")
        second = Ledger(directory, 0, 0, 0, said.logger)
        with pytest.raises(Exception, match="in use by another gateway"):
            second.open()
        second.close()
    assert requests(directory) == ["after"]
    assert levels(said) == ["ERROR"]
    assert "was removed or replaced while it was open" in said.lines[0]


@POSIX
def test_a_file_that_is_replaced_is_gone_on_with(tmp_path: Path) -> None:
    directory, backup = tmp_path / "state", tmp_path / "backup"
    written(backup, row(request_id="from the backup"))
    said = Said()
    with opened(directory, said) as ledger:
        assert put(ledger, "before")
        (backup / "ledger.db").replace(directory / "ledger.db")
        for name in ("ledger.db-wal", "ledger.db-shm"):
            (directory / name).unlink()
        assert put(ledger, "after")
    assert requests(directory) == ["from the backup", "after"]
    assert levels(said) == ["ERROR"]


@POSIX
def test_totals_of_a_file_that_took_its_place_catch_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those by client were behind the others in it: they are not taken for totals of the same rows."""
    monkeypatch.setattr(upkeep, "PERIOD", 0.05)
    directory, backup = tmp_path / "state", tmp_path / "backup"
    with closing(database.open_to_write(backup, pytest.fail)) as connection:
        totals.prepare(connection)
        with transaction(connection):
            insert_calls(connection, Traits(connection), [row(client="early")] * 9, 1, pytest.fail)
        assert roll_up(connection, [totals.SERVICES]) == 9
    said = Said()
    with opened(directory, said) as ledger:
        assert put(ledger, "before")
        (backup / "ledger.db").replace(directory / "ledger.db")
        for name in ("ledger.db-wal", "ledger.db-shm"):
            (directory / name).unlink()
        assert put(ledger, "after")
        deadline = time.monotonic() + WITHIN
        with closing(connect(directory)) as connection:
            while min(number for name, number in totals.marks(connection).items() if name != "shift") < 10:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert connection.execute("SELECT client, calls FROM client_totals WHERE span = 86400").fetchall() == [
                ("192.0.2.77", 1), ("early", 9),
            ]  # fmt: skip
    assert levels(said) == ["ERROR"]


@POSIX
def test_a_log_that_is_removed_costs_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        assert put(ledger, "before")
        (tmp_path / "ledger.db-wal").unlink()
        assert put(ledger, "after")
    assert requests(tmp_path) == ["before", "after"]


@POSIX
def test_a_file_that_breaks_while_it_is_open_is_moved_aside(tmp_path: Path) -> None:
    said = Said()
    written(tmp_path, *[row()] * 5000)
    with opened(tmp_path, said) as ledger:
        assert put(ledger, "before")
        for name in ("ledger.db", "ledger.db-wal"):
            path = tmp_path / name
            with path.open("r+b") as file:  # the same file, so that only its reader finds out
                file.write(os.urandom(path.stat().st_size))
        assert put(ledger, *map(str, range(3000)))
    assert len(set_aside(tmp_path)) >= 1
    assert requests(tmp_path)[-3000:] == [*map(str, range(3000))]
    assert "ERROR" in levels(said)


def test_a_broken_disk_does_not_hold_up_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_LAST_ATTEMPTS", 0.5)
    monkeypatch.setattr(database, "_PATIENCE", 0.2)
    said = Said()
    blocker = None
    started = time.monotonic()
    with opened(tmp_path, said) as ledger:
        assert put(ledger, "before")
        blocker = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        assert not put(ledger, "lost", within=0.1)
    blocker.close()
    assert time.monotonic() - started < 15
    assert ledger.lost == 1
    assert said.lines[-1].endswith("could not be written until the end; rows lost: 1")
    assert requests(tmp_path) == ["before"]


def test_a_fault_of_its_own_does_not_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = Said()
    with opened(tmp_path, said) as ledger:
        assert put(ledger, "before")
        with monkeypatch.context() as faulty:
            faulty.delattr("chatgpt_platform.ledger.writer.insert_calls")
            assert not put(ledger, "during", within=0.2)
        assert put(ledger, "after")
    assert requests(tmp_path) == ["before", "during", "after"]
    assert said.lines[0] == "ERROR the ledger met a fault of its own"


ADDING = """
import logging, sys, time
from pathlib import Path
from support.ledgers import row
from chatgpt_platform.ledger.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]), 0, 0, 0, logging.getLogger())
ledger.open()
number = int(sys.argv[2])
while True:
    for _ in range(40):
        ledger.add(row(request_id=str(number), client=f"192.0.2.{number % 250}"))
        number += 1
    ledger.save("count", {"all": str(number)})
    ledger.flush()
    print(number, time.time(), flush=True)
    time.sleep(0.01)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no kill -9")
def test_a_kill_at_any_moment_loses_a_second_at_most_and_breaks_nothing(tmp_path: Path) -> None:
    chance = random.Random(6)
    known = 0
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    for round_ in range(6):
        lines_read = 130 if round_ == 4 else chance.randrange(1, 40)  # it lives longer than a second
        with subprocess.Popen(
            [sys.executable, "-c", ADDING, str(tmp_path), str(known)],
            stdout=subprocess.PIPE, text=True, env=environment,
        ) as child:  # fmt: skip
            assert child.stdout is not None
            told = [child.stdout.readline() for _ in range(lines_read)]
            time.sleep(chance.random() / 50)  # anywhere in what it does next
            child.kill()
            told += child.stdout.read().splitlines(keepends=True)
        lines = [line.split() for line in told if line.endswith("\n")]
        last = float(lines[-1][1])
        due = max((int(number) for number, at in lines if float(at) < last - 1.0), default=known)
        found = requests(tmp_path)
        known = len(found)
        assert found == [str(number) for number in range(known)]
        assert known >= due
        with opened(tmp_path) as ledger:
            assert ledger.states("count") == ({"all": str(known)} if known else {})
    assert known > 500
