"""The file: made, migrated, refused when it is newer, moved aside when it is none; and the lock beside it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chatgpt_platform.ledger import database, schema
from chatgpt_platform.ledger.database import connect, open_to_write
from chatgpt_platform.ledger.ledger import Ledger
from chatgpt_platform.ledger.lock import Lock
from chatgpt_platform.ledger.trouble import InUseError, LedgerError, TooNewError
from support.ledgers import WITHIN, Said, opened, row, set_aside, written


def count(directory: Path) -> int:
    connection = connect(directory)
    try:
        (number,) = connection.execute("SELECT count(*) FROM calls").fetchone()
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        connection.close()
    return int(number)


def altered(directory: Path, *statements: str) -> None:
    connection = sqlite3.connect(directory / database.NAME, isolation_level=None)
    try:
        for statement in statements:
            connection.execute(statement)
    finally:
        connection.close()


def test_a_new_file_has_this_version_and_all_settings(tmp_path: Path) -> None:
    connection = open_to_write(tmp_path, pytest.fail)
    try:
        found = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("user_version", "journal_mode", "auto_vacuum", "synchronous", "application_id")
        }
    finally:
        connection.close()
    assert found == {
        "user_version": schema.VERSION, "journal_mode": "wal", "auto_vacuum": 2, "synchronous": 1,
        "application_id": schema.APPLICATION,
    }  # fmt: skip


def test_an_older_file_is_brought_up_to_date_a_step_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, row())
    steps = (*schema.STEPS, ("CREATE TABLE one (a INTEGER) STRICT",), ("ALTER TABLE one ADD COLUMN b INTEGER",))
    monkeypatch.setattr(schema, "STEPS", steps)
    monkeypatch.setattr(schema, "VERSION", len(steps))
    with pytest.raises(LedgerError, match="is of an older version: start the gateway once"):
        connect(tmp_path)
    connection = open_to_write(tmp_path, pytest.fail)
    try:
        connection.execute("INSERT INTO one (a, b) VALUES (1, 2)")
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
    finally:
        connection.close()
    assert count(tmp_path) == 1


def test_a_step_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, row())
    version = schema.VERSION
    monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, ("CREATE TABLE one (a INTEGER)", "CREATE NONSENSE")))
    monkeypatch.setattr(schema, "VERSION", version + 1)
    with pytest.raises(sqlite3.OperationalError, match="NONSENSE"):
        open_to_write(tmp_path, pytest.fail)
    monkeypatch.undo()
    assert count(tmp_path) == 1


def test_a_newer_file_is_refused_and_untouched(tmp_path: Path) -> None:
    written(tmp_path, row())
    altered(tmp_path, "PRAGMA user_version = 99")
    ledger = Ledger(tmp_path, 0, 0, 0, Said().logger)
    with pytest.raises(TooNewError, match=r"ledger\.db was written by a newer .*: run that version, or set"):
        ledger.open()
    ledger.close()
    with pytest.raises(TooNewError):
        connect(tmp_path)
    altered(tmp_path, f"PRAGMA user_version = {schema.VERSION}")
    assert count(tmp_path) == 1


def not_a_database(path: Path) -> None:
    path.write_bytes(b"hello " * 1000)


def with_a_broken_page(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100:4096] = os.urandom(3996)  # the schema's
    path.write_bytes(data)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def of_another_program(path: Path) -> None:
    path.unlink()
    altered(path.parent, "CREATE TABLE cookies (a)")


@pytest.mark.parametrize("spoil", [not_a_database, with_a_broken_page, cut_short, of_another_program])
def test_what_is_no_ledger_is_moved_aside(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    written(tmp_path, *[row()] * 1000)
    path = tmp_path / database.NAME
    spoil(path)
    spoilt = path.read_bytes()
    said = Said()
    with opened(tmp_path, said) as ledger:
        ledger.add(row())
        assert ledger.settle(WITHIN)
    assert len(said.lines) == 1
    assert said.lines[0].startswith(f"ERROR {path} cannot be read (")
    (aside,) = set_aside(tmp_path)
    assert f"it is kept as {aside}, and a new one begins" in said.lines[0]
    assert aside.read_bytes() == spoilt
    assert count(tmp_path) == 1


def test_a_second_broken_file_of_the_same_second_has_a_name_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / database.NAME
    for text in ("one", "two"):
        path.write_text(text)
        path.with_name("ledger.db-wal").write_text(f"{text}'s log")
        database.move_aside(path)
    assert sorted(aside.read_text() for aside in set_aside(tmp_path)) == ["one", "one's log", "two", "two's log"]


def test_a_report_of_what_is_no_ledger_is_one_clear_line(tmp_path: Path) -> None:
    not_a_database(tmp_path / database.NAME)
    with pytest.raises(LedgerError, match=r"ledger\.db cannot be read: file is not a database"):
        connect(tmp_path)


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom chatgpt_platform.ledger.lock import Lock\n"
        "Lock(Path(sys.argv[1])).take()\nprint('held', flush=True)\nsys.stdin.read()"
    )
    lock = Lock(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(InUseError, match=rf"\(process {other.pid}\)"):
            lock.take()
        other.kill()
    lock.take()
    lock.take()  # once more is nothing new
    lock.release()


@pytest.mark.skipif(os.name == "nt", reason="Windows lets nobody remove an open file")
def test_a_lock_whose_file_was_removed_is_taken_anew(tmp_path: Path) -> None:
    first, second = Lock(tmp_path), Lock(tmp_path)
    first.take()
    (tmp_path / "gateway.lock").unlink()
    first.take()
    with pytest.raises(InUseError):
        second.take()
    first.release()
