"""What is too old or too much goes, the oldest first and denied calls before all others; totals stay."""

from __future__ import annotations

import sqlite3
import time

import pytest

from chatgpt_platform.ledger import retention
from chatgpt_platform.ledger.inserting import insert_said
from chatgpt_platform.ledger.retention import LOT, Limits, Retention, used
from chatgpt_platform.ledger.transactions import transaction
from support.ledgers import mixed, number, put, row

SECOND = 1_000_000


def run(connection: sqlite3.Connection, limits: Limits, now: float = 0.0) -> int:
    """Steps until nothing is left to do; how many."""
    keeper = Retention(limits)
    steps = 0
    while keeper.step(connection, now):
        steps += 1
        assert steps < 10_000
    return steps


def test_rows_go_when_they_are_too_old_and_their_totals_stay(connection: sqlite3.Connection) -> None:
    put(connection, [row(client="old")] * 10, 100 * SECOND)
    put(connection, [row(client="new")] * 5, 200 * SECOND)
    with transaction(connection):
        insert_said(connection, [(0.0, "r", "k", "c", "p", "a")] * 250, 90 * SECOND, pytest.fail)
    run(connection, Limits(50, 0), now=149)
    assert number(connection, "SELECT count(*) FROM calls") == 15
    run(connection, Limits(50, 0), now=151)
    assert connection.execute("SELECT client, count(*) FROM calls GROUP BY 1").fetchall() == [("new", 5)]
    assert number(connection, "SELECT count(*) FROM said") == 0
    assert number(connection, "SELECT sum(calls) FROM totals WHERE span = 3600") == 15
    assert number(connection, "SELECT sum(calls) FROM hours") == 15
    assert connection.execute("SELECT span, client, calls FROM client_totals").fetchall() == [
        (86_400, "new", 5), (691_200, "new", 5),
    ]  # fmt: skip


def test_rows_that_are_in_no_total_yet_stay(connection: sqlite3.Connection) -> None:
    put(connection, [row()] * 10, 1, rolled=False)
    run(connection, Limits(1, 1), now=10**6)
    assert number(connection, "SELECT count(*) FROM calls") == 10


def test_totals_by_client_are_those_of_the_rows_that_are_there(connection: sqlite3.Connection) -> None:
    put(connection, mixed(LOT + 2000), SECOND)
    middle = number(connection, f"SELECT id FROM calls ORDER BY id LIMIT 1 OFFSET {LOT + 1000}")
    steps = run(connection, Limits(1, 0), now=(middle + SECOND) / SECOND)
    assert steps >= 2
    assert number(connection, "SELECT count(*) FROM calls") == 1000
    for span in (86_400, 691_200):
        assert (
            connection.execute(
                "SELECT key, client, sum(calls), sum(cost), sum(denied) FROM client_totals "
                "WHERE span = ? GROUP BY 1, 2",
                (span,),
            ).fetchall()
            == connection.execute(
                "SELECT key, client, count(*), sum(cost), sum(outcome = 'denied') FROM calls GROUP BY 1, 2"
            ).fetchall()
        )
    assert number(connection, "SELECT count(*) FROM client_totals WHERE calls <= 0") == 0


def test_of_a_file_that_is_too_large_denied_calls_go_first(connection: sqlite3.Connection) -> None:
    put(connection, [row(key="ann")] * 2000, SECOND)
    put(connection, [row(key="", outcome="denied", client="attacker")] * 20_000, 2 * SECOND)
    put(connection, [row(key="bob")] * 2000, 3 * SECOND)
    size = used(connection) // 3
    run(connection, Limits(0, size))
    assert used(connection) <= size
    assert number(connection, "SELECT count(*) FROM calls WHERE outcome = 'complete'") == 4000
    assert 0 < number(connection, "SELECT count(*) FROM calls WHERE outcome = 'denied'") < 10_000
    assert number(connection, "SELECT sum(denied) FROM hours") == 20_000


def test_then_the_oldest_go_and_the_file_shrinks(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_FREE_PAGES", 16)
    put(connection, [row(key="ann")] * 10_000, SECOND)
    put(connection, [row(key="bob")] * 5000, 2 * SECOND)
    pages = number(connection, "PRAGMA page_count")
    size = used(connection) // 2
    run(connection, Limits(0, size))
    assert size * 0.7 < used(connection) <= size
    assert number(connection, "SELECT count(*) FROM calls WHERE key = 'bob'") == 5000
    assert number(connection, "PRAGMA page_count") < pages * 0.75


def test_a_size_below_that_of_the_totals_ends(connection: sqlite3.Connection) -> None:
    put(connection, [row()] * 500, SECOND)
    run(connection, Limits(0, 1))
    assert number(connection, "SELECT count(*) FROM calls") == 0


def test_no_limit_removes_nothing(connection: sqlite3.Connection) -> None:
    put(connection, [row()] * 500, SECOND)
    assert run(connection, Limits(0, 0), now=time.time()) == 0
