"""What calls have in common stands in the file once, and a number never outlives what it stands for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chatgpt_platform.ledger import traits
from chatgpt_platform.ledger.database import connect, connect_to_erase
from chatgpt_platform.ledger.erasure import forget
from support.ledgers import WITHIN, opened, row, written


def read(directory: Path, statement: str) -> list[Any]:
    connection = connect(directory)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def test_each_set_stands_there_once_and_that_of_denied_calls_below_zero(tmp_path: Path) -> None:
    for _ in range(2):  # the second time they are found in the file
        written(tmp_path, *[row(key="ann"), row(key="bob"), row(key="denied"), row(outcome="denied")] * 100)
    assert read(tmp_path, "SELECT id, key, outcome FROM traits ORDER BY abs(id)") == [
        (1, "ann", "complete"), (2, "bob", "complete"), (3, "denied", "complete"), (-4, "ann", "denied"),
    ]  # fmt: skip
    assert read(tmp_path, "SELECT key, outcome, count(*) FROM calls GROUP BY 1, 2 ORDER BY 1, 2") == [
        ("ann", "complete", 200), ("ann", "denied", 200), ("bob", "complete", 200), ("denied", "complete", 200),
    ]  # fmt: skip


def test_more_sets_than_are_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traits, "_MOST", 3)
    written(tmp_path, *[row(key=f"k{number % 10}") for number in range(100)])
    assert read(tmp_path, "SELECT count(*) FROM traits") == [(10,)]
    assert read(tmp_path, "SELECT count(*), count(DISTINCT key) FROM calls") == [(100, 10)]


def test_a_key_that_was_erased_beside_the_gateway_gets_a_new_number(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.add(row(key="ann"))
        ledger.add(row(key="bob"))
        assert ledger.settle(WITHIN)
        connection = connect_to_erase(tmp_path)
        try:
            assert forget(connection, key="ann") == 1
        finally:
            connection.close()
        assert read(tmp_path, "SELECT key FROM traits") == [("bob",)]
        ledger.add(row(key="ann", request_id="later"))
        ledger.add(row(key="bob", request_id="later"))
        assert ledger.settle(WITHIN)
    assert read(tmp_path, "SELECT key, request_id FROM calls ORDER BY key, id") == [
        ("ann", "later"), ("bob", "r"), ("bob", "later"),
    ]  # fmt: skip
