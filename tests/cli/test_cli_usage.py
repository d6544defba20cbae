"""``usage`` and ``usage forget``, over a ledger that a gateway has open."""

from __future__ import annotations

import csv
import io
import json
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatgpt_platform.cli.main import main
from chatgpt_platform.ledger.ledger import Ledger
from support.recorded import row, write

NOW = time.time()


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    return {"CHATGPT_STATE__DIRECTORY": str(tmp_path / "state"), "CHATGPT_BUDGETS__TIME_ZONE": "UTC"}


@pytest.fixture
def ledger(environment: dict[str, str], tmp_path: Path) -> Iterator[Ledger]:
    """Open, as in a gateway that runs; it has calls of anna's, of bert's and without a key."""
    ledger = Ledger(tmp_path / "state", 0, 0, 0, logging.getLogger("tests.usage"))
    ledger.open()
    rows = [
        *(row(time=NOW - hour * 3600, request_id=f"req_{hour}") for hour in range(5)),
        row(time=NOW, key="bert", client="198.51.100.2", model="=cmd", cost=0, priced=0, usage="estimated"),
        row(time=NOW, key="", client="198.51.100.2", outcome="denied", status=429, prompt_tokens=0, cost=0),
        row(time=NOW - 40 * 86400, key="long-ago"),
    ]
    for each in rows:
        ledger.add(each)
    assert ledger.settle(20)
    yield ledger
    ledger.close()


def said(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


@pytest.mark.usefixtures("ledger")
def test_a_table_of_keys(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["usage"], environment) == 0
    lines = said(capsys).splitlines()
    assert lines[0].startswith("Calls from ")
    assert lines[0].endswith(" (UTC), by key")
    assert [line.split() for line in lines[2:7]] == [
        ["key", "calls", "failed", "left", "denied", "prompt", "cached", "completion", "cost"],
        ["anna", "5", "0", "0", "0", "50", "20", "100", "$0.000066"],
        ["(none)", "1", "0", "0", "1", "0", "4", "20", "$0.00"],
        ["bert", "1", "0", "0", "0", "10", "4", "20~", "$0.00*"],
        ["total", "7", "0", "0", "1", "60", "28", "140~", "$0.000066*"],
    ]
    assert "1 call has no price" in lines[8]


@pytest.mark.usefixtures("ledger")
def test_csv_and_filters(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--since", "2h", "--by", "model", "--client", "198.51.100.2", "--format", "csv"]
    assert main(["usage", *options], environment) == 0
    rows = list(csv.DictReader(io.StringIO(said(capsys))))
    assert sorted((row["model"], row["calls"]) for row in rows) == [("'=cmd", "1"), ("gpt-4o-mini", "1")]
    assert main(["usage", "--key", "", "--format", "csv"], environment) == 0
    assert [row["key"] for row in csv.DictReader(io.StringIO(said(capsys)))] == [""]


@pytest.mark.usefixtures("ledger")
def test_json_and_spans(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["usage", "--since", "60d", "--until", "35d", "--format", "json"], environment) == 0
    assert [row["key"] for row in json.loads(said(capsys))["rows"]] == ["long-ago"]
    assert (
        main(["usage", "--by", "hour", "--since", "1h", "--upstream", "openai", "--format", "json"], environment)
        == 0
    )
    report = json.loads(said(capsys))
    assert sum(row["calls"] for row in report["rows"]) == report["total"]["calls"] >= 3
    assert report["rows"][-1]["hour"].endswith(":00+00:00")


@pytest.mark.usefixtures("ledger")
def test_nothing_found_is_said(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["usage", "--key", "nobody"], environment) == 0
    assert said(capsys).endswith("by key, key nobody: none.\n")


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--since", "yesterday"], '--since "yesterday": expected a date'),
        (["--until", "soon"], '--until "soon": expected a date'),
        (["--since", "24h", "--until", "25h"], "ends before it begins"),
    ],
)
def test_a_wrong_span(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str], options: list[str], part: str
) -> None:
    assert main(["usage", *options], environment) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert part in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("command", [["usage"], ["usage", "forget", "--key", "anna", "--yes"]])
def test_without_a_ledger(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert main(command, environment) == 1
    assert "nothing was recorded there yet" in capsys.readouterr().err
    assert main(command, {}) == 2
    assert "state.directory is empty" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["usage"], ["usage", "forget", "--key", "anna", "--yes"]])
def test_a_file_that_is_no_ledger(
    environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "ledger.db").write_bytes(b"nonsense" * 1000)
    assert main(command, environment) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "ledger.db" in captured.err


def test_what_was_forgotten_is_in_no_report(
    environment: dict[str, str], ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["usage", "forget", "--key", "anna", "--yes"], environment) == 0
    assert said(capsys) == '5 calls of the key "anna" erased\n'
    ledger.add(row(time=NOW, key="carl"))
    assert ledger.settle(20)
    assert main(["usage", "--format", "json"], environment) == 0
    assert {row["key"] for row in json.loads(said(capsys))["rows"]} == {"bert", "", "carl"}
    assert main(["usage", "forget", "--client", "198.51.100.2", "--yes"], environment) == 0
    assert said(capsys) == '2 calls of the address "198.51.100.2" erased\n'


@pytest.mark.usefixtures("ledger")
def test_an_address_may_be_written_in_another_way(
    environment: dict[str, str], ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.add(row(time=NOW, key="carl", client="2001:db8::1"))
    assert ledger.settle(20)
    assert main(["usage", "forget", "--client", "2001:0DB8:0::1", "--yes"], environment) == 0
    assert said(capsys) == '1 call of the address "2001:db8::1" erased\n'


@pytest.mark.usefixtures("ledger")
def test_it_asks_back(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    forget = ["usage", "forget", "--key", "anna"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert main(forget, environment) == 2
    assert "--yes" in capsys.readouterr().err
    for answer, code, end in (("\n", 1, "nothing is erased\n"), ("no\n", 1, "nothing is erased\n"),
                              ("", 1, "nothing is erased\n"), ("Y\n", 0, 'key "anna" erased\n')):  # fmt: skip
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        assert main(forget, environment) == code
        out = said(capsys)
        assert "[y/N]" in out
        assert out.endswith(end)


def test_it_is_one_of_both(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    for options in ([], ["--key", "a", "--client", "b"]):
        with pytest.raises(SystemExit) as ended:
            main(["usage", "forget", "--yes", *options], environment)
        assert ended.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_a_day_is_the_owners(
    environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "state", [row(time=1_780_266_600)], shift=1800)  # 2026-05-31T22:30Z
    for zone, day in (("Asia/Kolkata", "2026-06-01"), ("UTC", "2026-05-31")):
        given = {**environment, "CHATGPT_BUDGETS__TIME_ZONE": zone}
        assert main(["usage", "--since", day, "--until", day, "--by", "day", "--format", "json"], given) == 0
        assert [row["day"] for row in json.loads(said(capsys))["rows"]] == [day]
