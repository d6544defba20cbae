"""What calls have in common stands in the file once, and a number never outlives what it stands for."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from chatgpt_platform.ledger import traits, upkeep
from chatgpt_platform.ledger.database import connect, connect_to_erase, open_to_write
from chatgpt_platform.ledger.erasure import forget
from chatgpt_platform.ledger.ledger import Ledger
from chatgpt_platform.ledger.transactions import transaction
from support.ledgers import WITHIN, Said, opened, row, written


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


def test_a_number_that_is_given_again_is_not_taken_for_the_one_before(tmp_path: Path) -> None:
    """The largest: the next set gets it, of whatever process erased it."""
    with opened(tmp_path) as ledger:
        for key in ("ann", "bob"):
            ledger.add(row(key=key))
        assert ledger.settle(WITHIN)
        with closing(connect_to_erase(tmp_path)) as connection:
            forget(connection, key="bob")
        for key in ("eve", "bob", "ann"):
            ledger.add(row(key=key, request_id="later"))
        assert ledger.settle(WITHIN)
    assert read(tmp_path, "SELECT id, key FROM traits ORDER BY id") == [(1, "ann"), (2, "eve"), (3, "bob")]
    assert read(tmp_path, "SELECT key, request_id FROM calls ORDER BY id") == [
        ("ann", "r"), ("eve", "later"), ("bob", "later"), ("ann", "later"),
    ]  # fmt: skip


def test_a_sweep_removes_what_no_row_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traits, "_LOT", 10)
    written(tmp_path, *[row(key=f"k{number}", outcome=("complete", "denied")[number % 2]) for number in range(25)])
    written(tmp_path, row(key="late"))
    with closing(open_to_write(tmp_path, pytest.fail)) as connection:
        connection.execute("DELETE FROM entries WHERE traits NOT IN (1, -2, 12, 25)")
        sweep = traits.Sweep()
        assert not sweep.step(connection)
    assert read(tmp_path, "SELECT id FROM traits ORDER BY abs(id)") == [(1,), (-2,), (25,)]


def test_what_is_named_between_two_steps_of_a_sweep_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traits, "_LOT", 10)
    written(tmp_path, *[row(key="ann")] * 25, row(key="bob"), row(key="eve"))
    with closing(open_to_write(tmp_path, pytest.fail)) as connection:
        connection.execute("DELETE FROM entries WHERE traits > 1")
        sweep = traits.Sweep()
        assert sweep.step(connection)
        with transaction(connection):
            last = connection.execute("SELECT max(id) FROM entries").fetchone()[0]
            values = traits.Traits(connection).entries([row(key="bob")])
            connection.execute(f"INSERT INTO entries VALUES (?{', ?' * len(values)})", (last + 1, *values))
        assert sweep.step(connection)
        assert not sweep.step(connection)
    assert read(tmp_path, "SELECT key FROM traits ORDER BY id") == [("ann",), ("bob",)]


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_gateway_gives_a_new_number_to_what_went_with_its_last_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PERIOD", "_CHECKED_EVERY", "SWEPT_AFTER", "SWEPT_EVERY"):
        monkeypatch.setattr(upkeep, name, 0.05)
    moment = time.time_ns() - 2 * 3600 * 10**9
    ledger = Ledger(tmp_path, 3600, 0, 0, Said().logger, lambda: moment)
    ledger.open()
    try:
        ledger.add(row(key="ann"))
        ledger.add(row(key="bob"))
        assert ledger.settle(WITHIN)
        until(lambda: read(tmp_path, "SELECT * FROM traits") == [])  # too old, so they go
        moment = time.time_ns()
        for key in ("eve", "ann", "bob"):
            ledger.add(row(key=key))
        assert ledger.settle(WITHIN)
    finally:
        ledger.close()
    assert read(tmp_path, "SELECT key FROM calls ORDER BY id") == [("eve",), ("ann",), ("bob",)]


@pytest.mark.parametrize("name", ["key", "endpoint", "model", "upstream", "status", "priced", "stream", "outcome"])
@pytest.mark.parametrize(
    "value",
    ["", "\0", "a\0b", "\ud800", "\U0001f600", 0, 1, True, 1.0, 0.5, math.nan, 2**63, -(2**70), None, b"a", []],
)
def test_any_value_is_stored_as_it_is_or_left_out(tmp_path: Path, name: str, value: Any) -> None:
    """Equal values of other types have one number, and none costs its neighbours their rows."""
    said = Said()
    with opened(tmp_path, said) as ledger:
        for one in (row(), row(**{name: value}), row(), row(**{name: value})):
            ledger.add(one)
        assert ledger.settle(WITHIN)
        lost = ledger.lost
    assert lost in (0, 2)
    assert len(said.lines) == lost / 2
    found = read(tmp_path, f"SELECT {name}, typeof({name}) FROM calls ORDER BY id")
    assert len(found) == 4 - lost
    usual = found[0]
    if lost:
        assert found == [usual] * 2
        return
    kind = usual[1]
    stored = str(int(value) if value is True else value) if kind == "text" else value
    assert found == [usual, ("?" if stored == "\ud800" else stored, kind)] * 2
    assert read(tmp_path, "SELECT count(*) FROM traits") == [(1 + (found[0] != found[1]),)]
