"""Rows are rolled up lot by lot, a share at a time; what happens meanwhile is neither lost nor doubled."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from chatgpt_platform.ledger import erasure, totals
from chatgpt_platform.ledger import upkeep as upkeep_module
from chatgpt_platform.ledger.retention import Limits, Retention
from chatgpt_platform.ledger.totals import CLIENTS
from chatgpt_platform.ledger.transactions import transaction
from chatgpt_platform.ledger.upkeep import RollUp, Upkeep, catch_up, roll_up
from support.ledgers import mixed, number, put, row

SECOND = 1_000_000


def by_client(connection: sqlite3.Connection) -> dict[str, int]:
    return dict(
        connection.execute("SELECT client, calls FROM client_totals WHERE span = ?", (totals.DAY,)).fetchall()
    )


def test_upkeep_does_what_is_due_and_then_rests(connection: sqlite3.Connection) -> None:
    upkeep = Upkeep(Retention(Limits(10**9, 0)))
    put(connection, [row()] * 500, SECOND, rolled=False)
    assert upkeep.rest() == 0
    while upkeep.step(connection):
        pass
    assert number(connection, "SELECT sum(calls) FROM hours") == 500
    assert 10 < upkeep.rest() <= 60
    put(connection, [row()] * 500, 2 * SECOND, rolled=False)
    upkeep.written(500)
    assert 50 < upkeep.rest() <= 60
    assert not upkeep.step(connection)
    upkeep.written(upkeep_module.LOT)
    assert upkeep.rest() == 0
    while upkeep.step(connection):
        pass
    assert number(connection, "SELECT sum(calls) FROM hours") == 1000


def test_upkeep_leaves_what_is_less_than_a_lot_for_later(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep_module, "LOT", 100)
    upkeep = Upkeep(Retention(Limits(0, 0)))
    while upkeep.step(connection):
        pass
    put(connection, [row()] * 250, SECOND, rolled=False)
    upkeep.written(250)
    while upkeep.step(connection):
        pass
    assert number(connection, "SELECT sum(calls) FROM hours") == 200
    assert 50 < upkeep.rest() <= 60


def test_totals_that_are_made_anew_catch_up_with_the_others(connection: sqlite3.Connection) -> None:
    put(connection, mixed(300), SECOND)
    before = connection.execute("SELECT * FROM client_totals").fetchall()
    services = connection.execute("SELECT * FROM totals").fetchall()
    with transaction(connection):
        connection.execute("DELETE FROM client_totals")
        totals.mark(connection, CLIENTS.mark, 0)
    put(connection, [row(client="later")] * 10, 2 * SECOND, rolled=False)
    assert catch_up(connection)
    assert connection.execute("SELECT * FROM client_totals").fetchall() == before
    assert not catch_up(connection)
    assert connection.execute("SELECT * FROM totals").fetchall() == services
    assert roll_up(connection) == 10
    assert number(connection, "SELECT sum(calls) FROM client_totals WHERE client = 'later'") == 20  # two spans
    with transaction(connection):  # all rows that were in them are gone
        totals.mark(connection, CLIENTS.mark, 1)
        connection.execute("DELETE FROM entries")
    assert catch_up(connection)
    assert not catch_up(connection)


def test_what_comes_while_a_lot_is_rolled_up_is_not_in_it(connection: sqlite3.Connection) -> None:
    clients = [f"192.0.2.{number % 100}" for number in range(8000)]
    put(connection, [row(client=client) for client in clients], SECOND, rolled=False)
    rolling = RollUp(connection)
    shares = 0
    while rolling.step(connection):
        assert by_client(connection) == {}, "all of it at once"
        put(connection, [row(client="meanwhile")], (2 + shares) * SECOND, rolled=False)
        shares += 1
    assert shares > 1
    assert rolling.count == 8000
    assert by_client(connection) == dict.fromkeys(clients, 80)
    assert roll_up(connection) == shares
    assert by_client(connection)["meanwhile"] == shares


def test_what_is_erased_while_a_lot_is_rolled_up_is_not_in_it(
    connection: sqlite3.Connection, tmp_path: Path
) -> None:
    clients = [f"192.0.2.{number % 100}" for number in range(8000)]
    put(connection, [row(client=client) for client in clients], SECOND, rolled=False)
    rolling = RollUp(connection)
    assert rolling.step(connection)
    with closing(erasure.connect_to_erase(tmp_path)) as other:
        assert erasure.forget(other, client="192.0.2.7") == 80
        assert erasure.forget(other, client="192.0.2.93") == 80
    while rolling.step(connection):
        pass
    left = {client: 80 for client in clients if client not in ("192.0.2.7", "192.0.2.93")}
    assert by_client(connection) == left
    assert number(connection, "SELECT sum(calls) FROM hours") == 7840
