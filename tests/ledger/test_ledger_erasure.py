"""Forgetting: no report and no byte of the files knows what was erased, and all others' figures stay."""

from __future__ import annotations

import datetime
import math
import sqlite3
from pathlib import Path

import pytest

from chatgpt_platform.ledger import database, erasure, retention, totals
from chatgpt_platform.ledger.database import connect, connect_to_erase
from chatgpt_platform.ledger.reports import Query, figures
from chatgpt_platform.ledger.transactions import transaction
from chatgpt_platform.ledger.trouble import LedgerError
from support.ledgers import WITHIN, Said, mixed, opened, rolled_up, row, written

SUMMED = ("totals", "hours", "client_totals")


def erase(directory: Path, key: str | None = None, client: str | None = None) -> int:
    connection = connect_to_erase(directory)
    try:
        return erasure.forget(connection, key, client)
    finally:
        connection.close()


def lines(directory: Path, by: str) -> dict[str, int]:
    connection = connect(directory)
    try:
        query = Query(-math.inf, math.inf, by)  # type: ignore[arg-type]
        return {line.name: line.calls for line in figures(connection, query, datetime.UTC)}
    finally:
        connection.close()


def tables(directory: Path) -> list[list[tuple[object, ...]]]:
    connection = connect(directory)
    try:
        return [connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4, 5").fetchall() for table in SUMMED]
    finally:
        connection.close()


def occurrences(directory: Path, text: bytes) -> int:
    return sum(path.read_bytes().count(text) for path in directory.iterdir())


@pytest.mark.parametrize(("key", "client"), [("ann", None), (None, "192.0.2.1"), ("ann", "192.0.2.1")])
def test_what_stays_is_as_if_the_rest_had_never_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str | None, client: str | None
) -> None:
    monkeypatch.setattr(erasure, "_LOT", 100)
    rows = mixed(1000)
    gone = [one for one in rows if key in (None, one[2]) and client in (None, one[3])]
    whole, rest = tmp_path / "whole", tmp_path / "rest"
    written(whole, *rows)
    written(rest, *(one for one in rows if one not in gone))
    for directory in (whole, rest):
        rolled_up(directory, row(key="late", client="late"))
    assert erase(whole, key, client) == len(gone)
    assert tables(whole) == tables(rest)
    assert all(len(table) > 10 for table in tables(whole))
    assert lines(whole, "client") == lines(rest, "client")


def test_no_byte_of_a_client_is_left(tmp_path: Path) -> None:
    secret = "2001:db8:dead:beef::"
    with opened(tmp_path) as ledger:
        for number in range(5000):
            ledger.add(row(client=secret if number % 7 == 0 else f"192.0.2.{number % 200}", key=f"k{number % 50}"))
        ledger.say("r", "k1", secret, f"I am {secret}.", "Hello!")
        ledger.save("address", {secret: "{}", "192.0.2.1": "{}"})
        assert ledger.settle(WITHIN)
    with opened(tmp_path) as ledger:  # erased beside a gateway that runs
        ledger.add(row())
        assert ledger.settle(WITHIN)
        assert occurrences(tmp_path, secret.encode()) > 700
        assert erase(tmp_path, client=secret) == 715
        assert occurrences(tmp_path, secret.encode()) == 0
        ledger.add(row(key="later"))
        assert ledger.settle(WITHIN)
    with opened(tmp_path) as ledger:
        assert ledger.states("address") == {"192.0.2.1": "{}"}
    assert sum(lines(tmp_path, "client").values()) == 5000 - 715 + 2
    assert lines(tmp_path, "key")["later"] == 1


def test_states_of_a_key_go_by_whatever_name(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.save("key", {"ann": "1", "bob": "1", "[": "1"})
        ledger.save("warning", {'["ann", "tokens", "9/day"]': "1", '["bob", "tokens", "ann"]': "1"})
        assert ledger.settle(WITHIN)
    erase(tmp_path, "ann")
    with opened(tmp_path) as ledger:
        assert ledger.states("key") == {"bob": "1", "[": "1"}
        assert ledger.states("warning") == {'["bob", "tokens", "ann"]': "1"}


def test_totals_of_a_key_go_even_where_its_rows_went_before(tmp_path: Path) -> None:
    written(tmp_path, *[row(key="ann")] * 3, *[row(key="bob")] * 2)
    rolled_up(tmp_path)
    connection = database.open_to_write(tmp_path, pytest.fail)
    try:
        totals.prepare(connection)
        with transaction(connection):
            assert retention.remove(connection, "traits IN (SELECT id FROM traits WHERE key = ?)", ("ann",)) == 3
    finally:
        connection.close()
    assert lines(tmp_path, "key") == {"ann": 3, "bob": 2}
    assert lines(tmp_path, "model") == {"gpt-4o-mini": 5}
    assert erase(tmp_path, "ann") == 0
    assert lines(tmp_path, "key") == {"bob": 2}
    assert lines(tmp_path, "model") == {"gpt-4o-mini": 2}
    assert occurrences(tmp_path, b"ann") == 0


def test_calls_that_come_while_it_erases_do_not_lose_what_they_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They go with the others, or come with names of their own: none stays behind nameless."""
    written(tmp_path, row(key="ann"), row(key="bob"))
    monkeypatch.setattr(erasure, "_lots", lambda _: [])  # all of them came after the last look
    assert erase(tmp_path, "ann") == 1
    connection = connect(tmp_path)
    try:
        assert connection.execute("SELECT (SELECT count(*) FROM entries), key FROM calls").fetchall() == [
            (1, "bob")
        ]
    finally:
        connection.close()


def test_a_reader_that_holds_a_copy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_COMMAND_PATIENCE", 0.2)
    written(tmp_path, row())
    reader = connect(tmp_path)
    try:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM calls").fetchall()
        with pytest.raises(LedgerError, match="another program reads the ledger"):
            erase(tmp_path, "ann")
    finally:
        reader.close()
    assert erase(tmp_path, "ann") == 0
    assert occurrences(tmp_path, b"192.0.2.77") == 0


def test_a_file_that_is_locked_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_COMMAND_PATIENCE", 0.1)
    written(tmp_path, row())
    blocker = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    try:
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(
            LedgerError, match="locked; wait for the program that holds it locked, or end it; then say it again"
        ):
            erase(tmp_path, "ann")
    finally:
        blocker.close()


def test_nothing_named_is_nothing_forgotten(tmp_path: Path) -> None:
    said = Said()
    with opened(tmp_path, said), pytest.raises(ValueError, match="a key or a client"):
        erase(tmp_path)
    assert said.lines == []
