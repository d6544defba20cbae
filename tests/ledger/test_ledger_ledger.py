"""The front of the ledger: what is added is there, in order, with its states; and what is bounded is counted."""

from __future__ import annotations

import os
import sqlite3
import stat
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chatgpt_platform.ledger import ledger as ledger_module
from chatgpt_platform.ledger.database import connect
from chatgpt_platform.ledger.ledger import Ledger
from chatgpt_platform.ledger.rows import COLUMNS, COST_LIMIT, COUNT_LIMIT
from chatgpt_platform.ledger.trouble import InUseError
from support.ledgers import MIDNIGHT, WITHIN, Said, opened, row, written


def read(directory: Path, statement: str) -> list[Any]:
    connection = connect(directory)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def test_rows_are_there_as_they_were_added(tmp_path: Path) -> None:
    rows = [row(request_id=f"r{number}", time=MIDNIGHT + number) for number in range(1000)]
    written(tmp_path, *rows)
    found = read(tmp_path, f"SELECT {', '.join(COLUMNS)} FROM calls ORDER BY id")
    assert found == rows


def test_ids_ascend_over_a_restart_and_a_clock_that_goes_back(tmp_path: Path) -> None:
    for now in (2_000_000_000, 1_900_000_000):
        ledger = Ledger(tmp_path, 0, 0, 0, Said().logger, partial(int, now * 10**9))
        ledger.open()
        for _ in range(5):
            ledger.add(row())
        assert ledger.settle(WITHIN)
        ledger.close()
    ids = [number for (number,) in read(tmp_path, "SELECT id FROM calls ORDER BY rowid")]
    assert ids == list(range(2 * 10**15, 2 * 10**15 + 10))


def test_states_are_written_with_the_rows_before_them(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        assert ledger.opened
        ledger.save("key", {"ann": "1", "bob": "1"})
        ledger.save("key", {"ann": "2"})
        ledger.replace("address", {"a": "1"})
        assert ledger.settle(WITHIN)
        ledger.replace("address", {"b": "2"})
    with opened(tmp_path) as ledger:
        assert ledger.states("key") == {"ann": "2", "bob": "1"}
        assert ledger.states("address") == {"b": "2"}
        assert ledger.states("other") == {}


def test_an_empty_state_goes(tmp_path: Path) -> None:
    values = {str(number): "1" for number in range(300)}
    with opened(tmp_path) as ledger:
        ledger.save("client", values)
        ledger.save("key", {"1": "1"})
        assert ledger.settle(WITHIN)
        ledger.save("client", {**dict.fromkeys(values, ""), "7": "2", "never there": ""})
    found = read(tmp_path, "SELECT kind, name, value FROM states WHERE kind IN ('client', 'key')")
    assert found == [("client", "7", "2"), ("key", "1", "1")]


def test_many_states_and_one_that_does_not_fit(tmp_path: Path) -> None:
    said = Said()
    values = {f"192.0.2.{number}": str(number) for number in range(700)}
    with opened(tmp_path, said) as ledger:
        ledger.save("address", {**values, "half": "\ud800"})
        assert ledger.settle(WITHIN)
        assert ledger.lost == 1
    assert len(said.lines) == 1
    with opened(tmp_path) as ledger:
        assert ledger.states("address") == values


def test_what_was_said_is_kept(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.say("r1", "ann", "192.0.2.1", "Why?", "Because.\u2028")
    assert read(tmp_path, "SELECT request_id, key, client, prompt, answer FROM said") == [
        ("r1", "ann", "192.0.2.1", "Why?", "Because.\u2028")
    ]


def test_a_row_beyond_all_bounds_is_mended_and_one_that_is_none_is_left_out(tmp_path: Path) -> None:
    said = Said()
    with opened(tmp_path, said) as ledger:
        ledger.add(row(request_id="huge", cost=2**70, prompt_tokens=2**64, cached_tokens=-1))
        ledger.add(("no", "row"))
        ledger.add(row(request_id="half", model="\ud800"))
        ledger.add(row(request_id="unknown", prompt_tokens="many"))
        ledger.add(row(request_id="sound"))
        assert ledger.settle(WITHIN)
        assert ledger.lost == 2
    assert read(tmp_path, "SELECT request_id, model, cost, prompt_tokens, cached_tokens FROM calls") == [
        ("huge", "gpt-4o-mini", COST_LIMIT, COUNT_LIMIT, 0),
        ("half", "?", 300, 10, 1),
        ("sound", "gpt-4o-mini", 300, 10, 1),
    ]
    assert len(said.lines) == 1
    assert "rows that did not fit were left out: 2" in said.lines[0]


def test_more_rows_than_are_held_are_counted_and_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "ROWS_WAIT", 10)
    said = Said()
    with opened(tmp_path, said) as ledger:
        for _ in range(15):
            ledger.add(row())
        assert ledger.settle(WITHIN)
        assert ledger.lost == 5
    assert read(tmp_path, "SELECT count(*) FROM calls") == [(10,)]
    assert len(said.lines) == 1
    assert "rows are lost from now on" in said.lines[0]


def test_more_said_than_is_held_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "SAID_WAITS", 10)
    said = Said()
    with opened(tmp_path, said) as ledger:
        ledger.say("r1", "", "", "12345", "12345")
        ledger.say("r2", "", "", "1", "")
        assert ledger.lost == 1
    assert read(tmp_path, "SELECT request_id FROM said") == [("r1",)]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "state"
    with opened(directory) as ledger:
        ledger.add(row())
        assert ledger.settle(WITHIN)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert modes == dict.fromkeys(("gateway.lock", "ledger.db", "ledger.db-wal", "ledger.db-shm"), 0o600)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_second_gateway_is_turned_away_and_the_first_goes_on(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        second = Ledger(tmp_path, 0, 0, 0, Said().logger)
        with pytest.raises(InUseError, match=rf"in use by another gateway \(process {os.getpid()}\): stop it, or"):
            second.open()
        second.close()
        ledger.add(row())
        assert ledger.settle(WITHIN)
    written(tmp_path, row())  # its lock went with it
    assert read(tmp_path, "SELECT count(*) FROM calls") == [(2,)]


def test_a_batch_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails after the rows, in the same transaction, takes them back: they are written once, later."""

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    said = Said()
    with opened(tmp_path, said) as ledger:
        with monkeypatch.context() as broken:
            broken.setattr("chatgpt_platform.ledger.writer.save", fail)
            ledger.add(row())
            ledger.save("key", {"ann": "1"})
            assert not ledger.settle(0.5)
            assert read(tmp_path, "SELECT count(*) FROM calls") == [(0,)]
        assert ledger.settle(WITHIN)
    stored = "SELECT count(*), (SELECT count(*) FROM states WHERE kind = 'key') FROM calls"
    assert read(tmp_path, stored) == [(1, 1)]
    assert [line.split()[0] for line in said.lines] == ["WARNING", "WARNING"]
    assert said.lines[-1].endswith("is written again; rows lost: 0")
