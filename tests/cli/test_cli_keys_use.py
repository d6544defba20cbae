"""``keys show``: what the ledger knows of a key, in figures and in bars."""

from __future__ import annotations

import json
import logging
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatgpt_platform.accounts.account import NO_HOLD, Account
from chatgpt_platform.cli import keys_use
from chatgpt_platform.cli.keys_use import BARS, Use, sparkline
from chatgpt_platform.cli.main import main
from chatgpt_platform.ledger import rows
from chatgpt_platform.ledger.ledger import Ledger
from chatgpt_platform.settings.virtual_keys import key_from

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC).timestamp()
DAY = 86_400
ALICE = key_from({}, "", name="alice")
CONFIG = """\
state: {directory: state}
budgets: {time_zone: UTC}
keys: [{name: alice, key: 0123456789abcdef, tokens: [1k/total]}]
"""


def row(**given: Any) -> rows.Row:
    values = {
        "time": NOON, "request_id": "r", "key": "alice", "client": "::1", "endpoint": "chat", "model": "m",
        "upstream": "u", "status": 200, "prompt_tokens": 10, "cached_tokens": 0, "completion_tokens": 5,
        "cost": 10**12, "priced": 1, "duration_ms": 1.0, "first_byte_ms": None, "stream": 0,
        "outcome": "complete", "usage": "reported",
    }  # fmt: skip
    return tuple((values | given)[name] for name in rows.COLUMNS)


def record(directory: Path, *added: rows.Row, states: dict[str, str] | None = None) -> None:
    ledger = Ledger(directory, 0, 0, 0, logging.getLogger("test"))
    ledger.open()
    for each in added:
        ledger.add(each)
    ledger.save("allowance", states or {})
    ledger.close()


@given(st.lists(st.integers(0, 10**20), max_size=40))
@example([])
@example([0, 0])
@example([1, 10**20])
def test_a_bar_for_each_and_the_lowest_for_nothing(values: list[int]) -> None:
    bars = sparkline(values)
    assert len(bars) == len(values)
    for value, bar in zip(values, bars, strict=True):
        assert (bar == BARS[0]) == (value == 0)
        assert bar == BARS[-1] or value < max(values) or value == 0
    assert [bars[n] for n in sorted(range(len(values)), key=values.__getitem__)] == sorted(bars)


def test_bars_of_known_heights() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([0, 1, 100], "_.:-=+*#") == "_.#"


def test_the_last_thirty_days_are_those_of_the_owner(tmp_path: Path) -> None:
    late = datetime(2026, 11, 25, 23, 30, tzinfo=UTC).timestamp()
    record(
        tmp_path,
        row(), row(cost=1), row(time=late), row(time=NOON - 29 * DAY, prompt_tokens=100),
        row(time=NOON - 31 * DAY), row(key="bob"),
    )  # fmt: skip
    days = keys_use.of_key(tmp_path, ALICE, NOON, UTC).days
    assert len(days) == 30
    assert {day.date: day[1:] for day in days if day.calls} == {
        "2026-10-28": (1, 105, 10**12),
        "2026-11-25": (1, 15, 10**12),
        "2026-11-26": (2, 30, 10**12 + 1),
    }
    days = keys_use.of_key(tmp_path, ALICE, NOON, ZoneInfo("Europe/Berlin")).days
    assert (days[-2].calls, days[-1].calls) == (0, 3)
    assert sum(day.calls for day in keys_use.of_key(tmp_path, ALICE, NOON, None).days) == 4


def test_without_a_ledger_nothing_is_known(tmp_path: Path) -> None:
    assert keys_use.of_key(tmp_path, ALICE, NOON, UTC) == Use((), ())
    record(tmp_path)
    use = keys_use.of_key(tmp_path, ALICE, NOON, UTC)
    assert use.items == ()
    assert {day[1:] for day in use.days} == {(0, 0, 0)}


def test_allowances_are_told_as_they_stand_now(tmp_path: Path) -> None:
    key = key_from(
        {"tokens": ["100k/day", "5M/30d", "9k/week", "60/minute", "1k/total"], "budget": ["5.00/month", "1/24h"]},
        "", name="alice",
    )  # fmt: skip
    account = Account("alice")
    account.configure(key, UTC, 0, b"", NOON, 7)
    account.settle(NO_HOLD, 12345, 1_250_000_000_000, NOON, 7)
    account.hold(500, 0)
    state = account.state(NOON, 7)
    del state["tokens/week"]
    record(tmp_path, states={"alice": msgspec.json.encode(state).decode()})
    held = "500 held for calls under way"
    assert list(keys_use.of_key(tmp_path, key, NOON + 60, UTC).lines(UTC, plain=False))[:-4] == [
        f"tokens/day: 12,345 of 100k spent, {held}, begins anew 2026-11-27 00:00",
        f"tokens/30d: 12,345 of 5M spent, {held}",
        "tokens/week: not used yet",
        f"tokens/minute: 12,285 of 60 spent, {held}",
        f"tokens/total: 12,345 of 1k spent, {held}",
        "budget/month: 1.25 of 5.00 spent, begins anew 2026-12-01 00:00",
        "budget/24h: 1.25 of 1 spent",
    ]
    later = keys_use.of_key(tmp_path, key, NOON + 2 * DAY, UTC)
    assert [item.allowance.spent for item in later.items] == [0, 12345, 0, 0, 12345, 1_250_000_000_000, 0]
    allowances = later.as_json()["allowances"]
    assert isinstance(allowances, list)
    assert allowances[5] == {
        "allowance": "5.00/month", "unit": "dollars", "spent": "1.25", "reserved": "0.00", "left": "3.75",
        "resets": "2026-12-01T00:00:00+00:00",
    }  # fmt: skip


def shown(capsys: pytest.CaptureFixture[str], *more: str) -> tuple[str, str]:
    assert main(["keys", "show", "alice", "--config", "c.yaml", *more], {}) == 0
    captured = capsys.readouterr()
    return captured.out, captured.err


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(CONFIG)
    return tmp_path / "state"


def test_show_ends_with_the_use(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now = time.time()
    saved = json.dumps({"tokens/total": {"spent": 15, "held": 0, "resets": None, "state": [15, now]}})
    record(state, row(time=now), row(time=now - 9 * DAY, cost=0), states={"alice": saved, "bob": "{}"})
    out, error = shown(capsys)
    assert error == ""
    lines = out.splitlines()
    assert lines[-5] == "tokens/total: 15 of 1k spent"
    assert lines[-4] == f"the last 30 days, up to {datetime.fromtimestamp(now, UTC):%Y-%m-%d}:"
    assert lines[-3:] == [
        f"  calls   {'▁' * 20}█{'▁' * 8}█  2",
        f"  tokens  {'▁' * 20}█{'▁' * 8}█  30",
        f"  dollars {'▁' * 29}█  1.00",
    ]
    told = json.loads(shown(capsys, "--format", "json")[0])
    assert told["allowances"] == [
        {"allowance": "1k/total", "unit": "tokens", "spent": "15", "reserved": "0", "left": "985", "resets": None}
    ]
    today = datetime.fromtimestamp(now, UTC)
    assert told["days"][-1] == {"date": f"{today:%Y-%m-%d}", "calls": 1, "tokens": 15, "cost": "1.00"}
    assert told["days"][0]["date"] == f"{today - timedelta(days=29):%Y-%m-%d}"


def test_bars_of_ascii_where_there_are_no_others(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record(state, row(time=time.time()))
    monkeypatch.setattr(type(sys.stdout), "encoding", "ascii", raising=False)
    out, _ = shown(capsys)
    assert out.isascii()
    assert f"  calls   {'_' * 29}#  1" in out.splitlines()


@pytest.mark.parametrize("saved", ["", "[", "7", "[1]", '{"tokens/day": 7}', "[" * 100_000])
def test_a_state_that_cannot_be_read_is_none(state: Path, capsys: pytest.CaptureFixture[str], saved: str) -> None:
    record(state, states={"alice": saved})
    out, error = shown(capsys)
    assert error == ""
    assert "spent" not in out


def test_a_ledger_that_cannot_be_read_is_one_line(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state.mkdir()
    (state / "ledger.db").write_text("no database " * 100)
    out, error = shown(capsys)
    assert out.startswith("name:    alice\n")
    (line,) = error.splitlines()
    assert line.startswith("shown without its use: ")
    assert "ledger.db" in line
