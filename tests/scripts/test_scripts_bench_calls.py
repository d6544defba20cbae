"""scripts/bench.py, calls: wrk's script and report, the callers' addresses, the arithmetic and the tables."""

import json
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

import bench_calls
import bench_report
import bench_rigs
import bench_wrk
from bench_rigs import BenchError, Callers, Rig
from bench_wrk import Load, Round

FIGURES = {"calls": 1000, "duration": 2_000_000, "p50": 1500, "p99": 9000, "refused": 0, "broken": 0}


def wrk_output(**changes: int) -> str:
    return "Running 2s test\n  1000 requests in 2.00s\n" + json.dumps(FIGURES | changes) + "\n"


def test_a_round_is_in_the_units_of_the_table() -> None:
    one = bench_wrk.to_round("x", wrk_output(), 0.05, 30_000_000)
    assert one == Round(500.0, 1.5, 9.0, 50.0, 30_000_000, 1000)


@pytest.mark.parametrize("changes", [{"refused": 1}, {"broken": 1}, {"calls": 0}])
def test_a_wrong_answer_fails_the_run(changes: dict[str, int]) -> None:
    with pytest.raises(BenchError, match="gateway-x"):
        bench_wrk.to_round("gateway-x", wrk_output(**changes), 0.05, 1)


@pytest.mark.parametrize("output", ["", "unable to connect\n", '{"calls": 1'])
def test_a_report_without_figures_fails_the_run(output: str) -> None:
    with pytest.raises(BenchError, match="gateway-x: wrk reported no figures"):
        bench_wrk.to_round("gateway-x", output, 0.05, 1)


def test_each_median_is_taken_by_itself() -> None:
    rounds = [Round(1, 20, 300, 40, 500, 7), Round(2, 10, 200, 60, 300, 9), Round(3, 30, 100, 50, 400, 8)]
    assert bench_report.median(rounds) == Round(2, 20, 200, 50, 400, 8)
    assert isinstance(bench_report.median(rounds), Round)


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(number) for number in range(1, 201)]
    assert bench_report.percentile(values, 50) == 100
    assert bench_report.percentile(values, 99) == 198
    assert bench_report.percentile([7.0], 99) == 7
    assert bench_report.percentile([], 50) == 0


def test_the_table_sets_the_first_as_the_measure() -> None:
    text = bench_calls.table(
        {
            "nginx proxy_pass": Round(26275.4, 1.04, 5.54, 32.0, 11_500_000, 1),
            "chatgpt-platform": Round(690.0, 45.1, 67.25, 1536.0, 30_500_000, 1),
        }
    )
    head, nginx, gateway = text.splitlines()
    assert head.split("  ")[0].strip() == "gateway"
    assert nginx.split() == ["nginx", "proxy_pass", "26,275", "1.04", "5.54", "32.0", "1.00", "11.5"]
    assert gateway.split() == ["chatgpt-platform", "690", "45.10", "67.25", "1536.0", "48.00", "30.5"]
    assert len({len(line) for line in text.splitlines()}) == 1


def test_a_table_in_markdown() -> None:
    assert bench_report.markdown_table(("a", "b"), [("1", "2")]) == "| a | b |\n| ---: | ---: |\n| 1 | 2 |"


def test_the_upstreams_answer_fits_into_an_nginx_string() -> None:
    assert 800 < len(bench_rigs.ANSWER) < 1000
    assert not set("'$\\\n") & set(bench_rigs.ANSWER)


@pytest.mark.parametrize("size", [100, 101, 1_000, 100_000])
def test_a_body_is_as_long_as_asked(size: int) -> None:
    assert len(bench_wrk.chat(size)) == size
    assert json.loads(bench_wrk.chat(size))["messages"][0]["role"] == "user"


def test_a_body_cannot_be_shorter_than_a_question() -> None:
    assert json.loads(bench_wrk.chat(1)) == json.loads(bench_wrk.chat())


@pytest.mark.parametrize("count", [1, 10_000, 65_536, 65_537, 1_000_000])
def test_callers_have_addresses_of_their_own_that_the_gateway_allows(count: int) -> None:
    numbers = range(0, count, max(1, count // 1000))
    addresses = {bench_rigs.address(number, count) for number in numbers}
    assert len(addresses) == len(numbers)
    settings = bench_rigs.gateway_settings(Path(), 1, Callers(count, 1))
    allowed = [IPv4Network(text) for text in settings["CHATGPT_ACCESS__ALLOW"].split(",") if ":" not in text]
    assert all(any(IPv4Address(address) in network for network in allowed) for address in addresses)
    assert int(settings["CHATGPT_LIMITS__MAX_CLIENTS"]) > count


def test_a_days_limit_is_out_of_reach_but_not_far() -> None:
    assert Callers(0, 10).day_limit == Callers(1, 10**6).day_limit == int(bench_rigs.UNLIMITED)
    assert Callers(10_000, 1_000_000).day_limit == 1000
    assert Callers(1_000_000, 1_000_000).day_limit == 100


def test_the_script_of_a_load_that_names_no_address() -> None:
    script = bench_wrk.script(Load('{"a": "\\n"}'))
    assert 'wrk.body = "{\\"a\\": \\"\\\\n\\"}"' in script
    assert "function request" not in script
    assert "function done" in script


def test_the_script_of_a_load_that_names_addresses() -> None:
    script = bench_wrk.script(Load("{}", addresses=10_000, step=3), first=-34)
    assert "Content-Length: 2\\r\\nX-Forwarded-For: " in script
    assert '"\\r\\n\\r\\n{}", 10000, 9966, 3\n' in script
    assert "if true then" in script
    assert "if false then" in bench_wrk.script(Load("x" * 10_000, addresses=10_000))  # too much to hold ready


def test_calls_are_made_until_there_are_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runs: list[tuple[int, int]] = []

    def measure(rig: Rig, load: Load, seconds: int, folder: Path, first: int = 0) -> Round:
        runs.append((seconds, first))
        return Round(100, 1, 1, 1, 1, 100 * seconds)

    monkeypatch.setattr(bench_wrk, "measure", measure)
    rig: Rig = None  # type: ignore[assignment]
    assert bench_wrk.call_until(rig, Load("", connections=8), 1000, tmp_path) == 1060
    # Each run but the first goes back over the calls that the one before may have left unanswered.
    assert runs == [(2, -10), (6, 180), (2, 770), (1, 960)]
    runs.clear()
    assert bench_wrk.call_until(rig, Load("", connections=8), 1000, tmp_path, seconds=0) == 0
    assert not runs
