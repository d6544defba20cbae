"""Reports as tables, CSV and JSON."""

from __future__ import annotations

import csv
import io
from datetime import UTC
from typing import Any

import pytest

from chatgpt_platform.accounts import shapes
from chatgpt_platform.accounts.inquiry import Span
from chatgpt_platform.accounts.reporting import Report, as_csv, as_object, report, table
from chatgpt_platform.ledger.reports import Figures

SPAN = Span(1_793_664_000, 1_795_687_200)  # 2026-11-03T00:00Z to 2026-11-26T10:00Z


def line(name: str, **values: int) -> Figures:
    usual = dict.fromkeys(Figures._fields[1:], 0)
    return Figures(name, **{**usual, "calls": 1, "complete": 1, **values})


def told(*figures: Figures, by: str = "key", most: int | None = None, **filters: str) -> Report:
    return report(figures, SPAN, UTC, "UTC", by, filters, most)


ANNA = line("anna", calls=1234, complete=1200, client_left=20, upstream_failed=5, denied=8, cut=1,
            prompt_tokens=56_789, cached_tokens=1024, completion_tokens=30_000,
            cost=26_518_350_000, estimated=3)  # fmt: skip
NO_KEY = line("", prompt_tokens=7, completion_tokens=1, cost=1, unpriced=1)


def test_a_table() -> None:
    assert table(told(ANNA, NO_KEY)) == (
        "Calls from 2026-11-03 00:00 to 2026-11-26 10:00 (UTC), by key\n"
        "\n"
        "key     calls  failed  left  denied  prompt  cached  completion              cost\n"
        "anna    1,234       6    20       8  56,789   1,024      30,000~      $0.02651835\n"
        "(none)      1       0     0       0       7       0           1   $0.000000000001*\n"
        "total   1,235       6    20       8  56,796   1,024      30,001~  $0.026518350001*\n"
        "\n"
        "* The model of 1 call has no price: not in the cost.\n"
        "~ The tokens of 3 calls are estimated.\n"
    )


def test_a_table_without_marks_has_no_footnotes() -> None:
    lines = table(told(line("anna", cost=10**12))).splitlines()
    assert len(lines) == 5
    assert lines[-1].endswith("$1.00")


def test_no_rows_are_said() -> None:
    assert table(told(key="anna", model="")) == (
        "Calls from 2026-11-03 00:00 to 2026-11-26 10:00 (UTC), by key, key anna, model (none): none.\n"
    )


def test_names_of_others_cannot_disturb_a_table() -> None:
    hostile = "\x1b[31mred\n\u202etotal"
    wide = "模型" * 3
    lines = table(told(line(hostile), line(wide), line("m" * 300), by="model")).splitlines()
    assert "\x1b" not in "".join(lines)
    assert "\\u001b[31mred\\u000a\\u202etotal" in lines[3]
    assert len(lines[5].split()[0]) == 60
    assert lines[5].split()[0].endswith("…")
    assert len(lines[3]) == len(lines[5]) == len(lines[4]) + 6, "a wide character takes two columns"


def test_csv() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(told(ANNA, NO_KEY)), newline="")))
    assert list(rows[0]) == ["key", *shapes.FIGURES]
    assert [row["key"] for row in rows] == ["anna", ""]
    assert rows[0]["calls"] == "1234"
    assert rows[0]["cost"] == "0.02651835"
    assert rows[0]["estimated_calls"] == "3"
    assert as_csv(told(ANNA)).count("\r\n") == 2
    assert "\r" not in as_csv(told(ANNA), "\n")


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_csv_holds_no_formula(name: str) -> None:
    (row,) = csv.DictReader(io.StringIO(as_csv(told(line(name), by="model")), newline=""))
    assert row["model"] == f"'{name}"


def test_csv_quotes() -> None:
    name = 'a "model", or\ntwo'
    (row,) = csv.DictReader(io.StringIO(as_csv(told(line(name), by="model")), newline=""))
    assert row["model"] == name


def test_an_object() -> None:
    found: dict[str, Any] = as_object(told(ANNA, NO_KEY, client="192.0.2.1"))
    assert list(found) == list(shapes.REPORT)
    assert (found["since"], found["until"]) == ("2026-11-03T00:00:00+00:00", "2026-11-26T10:00:00+00:00")
    assert found["filters"] == {"client": "192.0.2.1"}
    anna, no_key = found["rows"]
    assert anna == {
        "key": "anna", "calls": 1234, "complete": 1200, "client_left": 20, "upstream_failed": 5, "denied": 8,
        "cut": 1, "prompt_tokens": 56_789, "cached_tokens": 1024, "completion_tokens": 30_000,
        "cost": "0.02651835", "unpriced_calls": 0, "estimated_calls": 3,
    }  # fmt: skip
    assert no_key["key"] == ""
    assert list(found["total"]) == list(shapes.FIGURES)
    assert found["total"]["cost"] == "0.026518350001"
    assert found["total"]["calls"] == 1235


def test_rows_that_are_left_out_are_in_the_total() -> None:
    found = as_object(told(*(line(f"10.0.0.{n}", cost=10**12) for n in range(5)), by="client", most=2))
    assert (len(found["rows"]), found["rows_left_out"]) == (2, 3)
    assert (found["total"]["calls"], found["total"]["cost"]) == (5, "5.00")


def test_a_report_of_nothing_has_a_total_of_nothing() -> None:
    found = as_object(told())
    assert found["rows"] == []
    assert set(found["total"].values()) == {0, "0.00"}
