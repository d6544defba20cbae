"""Reports say what adding up the rows says, whatever was rolled up, removed, or lies in which time zone."""

from __future__ import annotations

import datetime
import itertools
import math
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatgpt_platform.ledger import database, schema, totals
from chatgpt_platform.ledger.inserting import insert_calls
from chatgpt_platform.ledger.ledger import Ledger
from chatgpt_platform.ledger.reports import By, Figures, Query, connect, figures, pieces
from chatgpt_platform.ledger.rows import COST_LIMIT, OUTCOMES, USAGES, Row
from chatgpt_platform.ledger.totals import CLIENTS, DAY, EIGHT_DAYS, HOUR, SERVICES
from chatgpt_platform.ledger.traits import Traits
from chatgpt_platform.ledger.transactions import transaction
from chatgpt_platform.ledger.trouble import LedgerError
from chatgpt_platform.ledger.upkeep import roll_up
from support.ledgers import MIDNIGHT, WITHIN, Said, counted, mixed, rolled_up, row, written

ALWAYS = (-math.inf, math.inf)
WAYS: tuple[By, ...] = get_args(By)
ZONES = {0: datetime.UTC, 1800: ZoneInfo("Asia/Kolkata"), 900: ZoneInfo("Asia/Kathmandu")}


def same(connection: Any, rows: Iterable[Row], query: Query, shift: int = 0) -> None:
    lines = figures(connection, query, ZONES[shift])
    assert {line.name: tuple(line[1:]) for line in lines} == counted(rows, query, ZONES[shift], shift)
    assert len({line.name for line in lines}) == len(lines)


times = st.floats(MIDNIGHT, MIDNIGHT + 30 * DAY)
made = st.builds(
    row, time=times, key=st.sampled_from(["", "ann"]), client=st.sampled_from(["c1", "c2"]),
    model=st.sampled_from(["a", "b"]), upstream=st.sampled_from(["", "x"]), cost=st.integers(0, 10**16),
    prompt_tokens=st.integers(0, 10**6), priced=st.integers(0, 1), outcome=st.sampled_from(OUTCOMES),
    usage=st.sampled_from(USAGES),
)  # fmt: skip
filters = st.fixed_dictionaries(
    {}, optional={"key": st.just("ann"), "client": st.just("c1"), "model": st.just("a"), "upstream": st.just("x")}
)
queries = st.builds(
    lambda by, since, until, only: Query(since, until, by, **only),
    st.sampled_from(WAYS), times | st.just(-math.inf), times | st.just(math.inf), filters,
)  # fmt: skip


@settings(max_examples=60)
@given(
    rows=st.lists(made, max_size=40), rolled=st.integers(0, 40), clients=st.integers(0, 40),
    shift=st.sampled_from([*ZONES]), asked=st.lists(queries, min_size=1, max_size=6),
)  # fmt: skip
def test_any_report_is_the_sum_of_its_rows(
    rows: list[Row], rolled: int, clients: int, shift: int, asked: list[Query]
) -> None:
    with TemporaryDirectory() as name:
        connection = database.open_to_write(Path(name), pytest.fail)
        try:
            totals.prepare(connection)
            with transaction(connection):
                totals.mark(connection, "shift", shift)
                insert_calls(connection, Traits(connection), rows, 1, pytest.fail)
            for kind, count in ((SERVICES, rolled), (CLIENTS, clients)):
                while count:
                    count -= roll_up(connection, [kind], min(count, 7)) or count
            for query in asked:
                same(connection, rows, query, shift)
        finally:
            connection.close()


def test_every_way_with_every_filter(tmp_path: Path) -> None:
    rows = mixed(3000)
    written(tmp_path, *rows)
    rolled_up(tmp_path, row())
    rows.append(row())
    connection = connect(tmp_path)
    try:
        for by, key, client, model in itertools.product(WAYS, (None, "ann"), (None, "192.0.2.1"), (None, "a")):
            for since, until in (ALWAYS, (MIDNIGHT + 1.5 * DAY, MIDNIGHT + 18.3 * DAY)):
                same(connection, rows, Query(since, until, by, key, client, model))
    finally:
        connection.close()


def test_days_of_a_zone_with_summer_time_have_23_and_25_hours(tmp_path: Path) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    hours = [datetime.datetime(2026, 3, 28, tzinfo=datetime.UTC).timestamp() + HOUR * hour for hour in range(72)]
    hours += [datetime.datetime(2026, 10, 24, tzinfo=datetime.UTC).timestamp() + HOUR * hour for hour in range(72)]
    written(tmp_path, *(row(time=time) for time in hours))
    connection = connect(tmp_path)
    try:
        days = {line.name: line.calls for line in figures(connection, Query(*ALWAYS, "day"), berlin)}
        names = [line.name for line in figures(connection, Query(*ALWAYS, "hour"), berlin)]
    finally:
        connection.close()
    assert (days["2026-03-29"], days["2026-03-30"], days["2026-10-25"], days["2026-10-26"]) == (23, 24, 25, 24)
    assert list(days) == sorted(days)
    assert "2026-10-25T02:00+02:00" in names
    assert "2026-10-25T02:00+01:00" in names


def test_the_dearest_come_first_and_then_the_busiest(tmp_path: Path) -> None:
    written(tmp_path, row(key="b", cost=1), row(key="a", cost=1), row(key="c", cost=2), row(key="d", cost=0))
    connection = connect(tmp_path)
    try:
        assert [line.name for line in figures(connection, Query(*ALWAYS, "key"), datetime.UTC)] == [
            "c",
            "a",
            "b",
            "d",
        ]
        assert figures(connection, Query(*ALWAYS, "key", key="c"), datetime.UTC) == [
            Figures("c", 1, 1, 0, 0, 0, 0, 10, 1, 20, 2, 0, 0)
        ]
    finally:
        connection.close()


def test_an_empty_ledger_has_empty_reports_and_none_a_clear_line(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=r"holds no ledger\.db: nothing was recorded there yet"):
        connect(tmp_path)
    written(tmp_path)
    connection = connect(tmp_path)
    try:
        assert figures(connection, Query(*ALWAYS, "key"), datetime.UTC) == []
    finally:
        connection.close()


@pytest.mark.parametrize("shift", [0, 1800])
def test_pieces_are_the_whole_and_as_long_as_fit(shift: int) -> None:
    spans = (HOUR, DAY, EIGHT_DAYS)
    start, end = 5 * HOUR + shift, 30 * DAY + 7 * HOUR + shift
    cut = pieces(start, end, spans, shift)
    assert [piece[1] for piece in cut] == [start, *[piece[2] for piece in cut[:-1]]]
    assert cut[-1][2] == end
    assert [piece[0] for piece in cut] == [HOUR, DAY, EIGHT_DAYS, DAY, HOUR]
    assert pieces(end, start, spans, shift) == []


def test_sums_stop_before_they_leave_64_bits(tmp_path: Path) -> None:
    """An upstream that reports nonsense for ever must not stop the account of the others."""
    connection = database.open_to_write(tmp_path, pytest.fail)
    try:
        totals.prepare(connection)
        with transaction(connection):
            insert_calls(connection, Traits(connection), [row(cost=COST_LIMIT)] * 20, 1, pytest.fail)
        query = Query(*ALWAYS, "model")
        assert figures(connection, query, datetime.UTC)[0].cost == COST_LIMIT * 20  # from the rows
        for kind in (SERVICES, CLIENTS):
            assert [roll_up(connection, [kind], 12) for _ in range(3)] == [12, 8, 0]
        assert figures(connection, query, datetime.UTC)[0].cost == 9 * 10**18
    finally:
        connection.close()


def test_rows_are_found_whenever_they_were_put_in(tmp_path: Path) -> None:
    """Those whose ids are near their time by their ids, and the odd ones by an index."""
    lags = (-HOUR, -2.0, -1.0, -0.9, 0.0, 0.3, 100.0, 3599.9, 3600.0, 3601.0, 5.0 * HOUR, 3.0 * DAY)
    rows: list[Row] = []
    connection = database.open_to_write(tmp_path, pytest.fail)
    try:
        totals.prepare(connection)
        with transaction(connection):
            for hour, lag in itertools.product(range(5), lags):
                for time in (MIDNIGHT + hour * HOUR + 0.001 * len(rows), MIDNIGHT + hour * HOUR + 3599.5):
                    rows.append(row(time=time, client=f"c{len(rows) % 2}", model=f"m{len(rows) % 3}"))
                    number = round((time + lag) * 1e6) + len(rows)
                    insert_calls(connection, Traits(connection), rows[-1:], number, pytest.fail)
        (odd,) = connection.execute(f"SELECT count(*) FROM entries WHERE {schema.ODD}").fetchone()
        assert 30 < odd < len(rows) - 30
        for since, until in itertools.combinations(range(-1, 7), 2):
            for by in ("client", "day"):
                asked = Query(MIDNIGHT + since * HOUR, MIDNIGHT + until * HOUR, by, client="c1", model="m1")
                same(connection, rows, asked)
        same(connection, rows, Query(*ALWAYS, "client", model="m1"))
    finally:
        connection.close()


def test_a_clock_that_is_set_counts_every_call_once(tmp_path: Path) -> None:
    """Forward by a day, back by two, and right again: with each row in its hour, in totals and before them."""
    rows: list[Row] = []
    now = 0.0
    ledger = Ledger(tmp_path, 0, 0, 0, Said().logger, lambda: round(now * 1e9))
    ledger.open()
    try:
        for number, error in itertools.product(range(12), (0, DAY, -DAY, 0)):
            began = MIDNIGHT + 3 * DAY + error + number * 1800.0
            now = began + 5
            rows.append(row(time=began, client=f"c{number % 2}", model=f"m{number % 3}"))
            ledger.add(rows[-1])
            assert ledger.settle(WITHIN)
    finally:
        ledger.close()
    for _ in range(2):
        with closing(connect(tmp_path)) as connection:
            for by, model in itertools.product(WAYS, (None, "m1")):
                for start in range(-1, 6):
                    since = MIDNIGHT + start * DAY
                    same(connection, rows, Query(since, since + DAY, by, model=model))
                    same(connection, rows, Query(since + HOUR, since + 3 * HOUR, by, model=model))
        rolled_up(tmp_path)


def test_reports_from_rows_read_no_others(tmp_path: Path) -> None:
    written(tmp_path, *mixed(50))
    connection = connect(tmp_path)
    said: list[str] = []
    connection.set_trace_callback(said.append)
    try:
        figures(connection, Query(MIDNIGHT, MIDNIGHT + DAY, "client", model="a"), datetime.UTC)
        connection.set_trace_callback(None)
        asked = [statement for statement in said if "FROM calls" in statement or "FROM entries" in statement]
        plans = [step for statement in asked for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
    finally:
        connection.close()
    assert any("SEARCH entries USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in step for step in plans)
    assert any("SEARCH entries USING INDEX entries_odd (time>? AND time<?)" in step for step in plans)
    assert not [step for step in plans if step.startswith("SCAN entries") and "INDEX entries_odd" not in step]


@pytest.mark.parametrize("clients", [1, 2, 3, 40])
def test_a_lot_that_is_cut_into_shares_has_the_same_totals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clients: int
) -> None:
    rows = [row(client=f"c{number % clients}", cost=number, key="ab"[number % 2]) for number in range(200)]
    found = []
    for sample in (1000, 2):
        monkeypatch.setattr(totals, "_SAMPLE", sample)
        directory = tmp_path / str(sample)
        written(directory, *rows)
        rolled_up(directory)
        connection = connect(directory)
        try:
            assert connection.execute("SELECT sum(calls) FROM totals WHERE span = 3600").fetchone() == (200,)
            found.append(connection.execute("SELECT * FROM client_totals").fetchall())
            same(connection, rows, Query(*ALWAYS, "client"))
        finally:
            connection.close()
    assert found[0] == found[1]
