"""The arithmetic of scripts/bench.py, and what it says where it cannot run; no load is made here."""

import json
import mmap
import os
import sys
from pathlib import Path

import pytest

import bench
import bench_rigs
import proc_usage
from bench import BenchError, Round

FIGURES = {"calls": 1000, "duration": 2_000_000, "p50": 1500, "p99": 9000, "refused": 0, "broken": 0}


def wrk_output(**changes: int) -> str:
    return "Running 2s test\n  1000 requests in 2.00s\n" + json.dumps(FIGURES | changes) + "\n"


def test_a_round_is_in_the_units_of_the_table() -> None:
    assert bench.to_round("x", wrk_output(), 0.05, 30_000_000) == Round(500.0, 1.5, 9.0, 50.0, 30_000_000)


@pytest.mark.parametrize("changes", [{"refused": 1}, {"broken": 1}, {"calls": 0}])
def test_a_wrong_answer_fails_the_run(changes: dict[str, int]) -> None:
    with pytest.raises(BenchError, match="gateway-x"):
        bench.to_round("gateway-x", wrk_output(**changes), 0.05, 1)


def test_each_median_is_taken_by_itself() -> None:
    rounds = [Round(1, 20, 300, 40, 500), Round(2, 10, 200, 60, 300), Round(3, 30, 100, 50, 400)]
    assert bench.median(rounds) == Round(2, 20, 200, 50, 400)


def test_the_table_sets_the_first_as_the_measure() -> None:
    text = bench.table(
        {
            "nginx proxy_pass": Round(26275.4, 1.04, 5.54, 32.0, 11_500_000),
            "chatgpt-platform": Round(690.0, 45.1, 67.25, 1536.0, 30_500_000),
        }
    )
    head, nginx, gateway = text.splitlines()
    assert head.split("  ")[0].strip() == "gateway"
    assert nginx.split() == ["nginx", "proxy_pass", "26,275", "1.04", "5.54", "32.0", "1.00", "11.5"]
    assert gateway.split() == ["chatgpt-platform", "690", "45.10", "67.25", "1536.0", "48.00", "30.5"]
    assert len({len(line) for line in text.splitlines()}) == 1


def test_what_to_install_names_each_missing_program_once() -> None:
    assert bench.what_to_install(lambda name: None).splitlines() == [
        f"bench.py needs {name}: {how}" for name, how in bench.INSTALL.items()
    ]
    assert bench.what_to_install(lambda name: "/usr/bin/" + name) == ""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the first line of defence is the platform")
def test_with_an_empty_path_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert bench.main([]) == 1
    assert "bench.py needs wrk: apt install wrk" in capsys.readouterr().err


def test_elsewhere_than_on_linux_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(proc_usage, "PROC", Path("/nonexistent"))
    assert bench.main([]) == 1
    assert "Linux only" in capsys.readouterr().err


def test_the_upstreams_answer_fits_into_an_nginx_string() -> None:
    assert 800 < len(bench_rigs.ANSWER) < 1000
    assert not set("'$\\\n") & set(bench_rigs.ANSWER)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc with 10, its child 11 whose name is awkward, its grandchild 12, and the stranger 20."""
    for pid, parent, name in ((10, 1, "a"), (11, 10, "b) R (c"), (12, 11, "d"), (20, 1, "e")):
        (tmp_path / str(pid)).mkdir()
        # state ppid, nine fields up to cmajflt, utime stime cutime cstime, five up to starttime, vsize rss
        fields = ["S", str(parent), *"345678901", "10", "20", "3", "4", *"67890", "5000", "7", "0"]
        (tmp_path / str(pid) / "stat").write_text(f"{pid} ({name}) {' '.join(fields)}\n", "utf-8")
    (tmp_path / "self").mkdir()
    return tmp_path


def test_usage_is_that_of_the_whole_tree(proc: Path) -> None:
    assert proc_usage.tree(10, proc) == [10, 11, 12]
    assert proc_usage.cpu_seconds(10, proc) == pytest.approx(3 * 37 / 100)
    assert proc_usage.resident_bytes(11, proc) == 2 * 7 * mmap.PAGESIZE


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_this_process_has_used_something() -> None:
    assert proc_usage.cpu_seconds(os.getpid()) > 0
    assert proc_usage.resident_bytes(os.getpid()) > 1_000_000
    assert proc_usage.cpu_seconds(2**30) == 0
