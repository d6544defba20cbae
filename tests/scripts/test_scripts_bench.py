"""The command line of scripts/bench.py, what it says where it cannot run, and how it reads /proc."""

import mmap
import os
import sys
from pathlib import Path

import pytest

import bench
import proc_usage
import processes


def test_without_a_mode_it_is_calls() -> None:
    assert bench.parse([]) == bench.parse(["calls"])
    assert bench.parse(["--rounds", "5"]).mode == "calls"
    options = bench.parse(["calls", "--connections", "1", "--body", "10000", "--addresses", "0"])
    assert (options.connections, options.body, options.addresses, options.rounds) == (1, 10_000, 0, 3)


def test_each_mode_has_its_numbers() -> None:
    streams = bench.parse(["streams", "--streams", "7"])
    assert (streams.streams, streams.tokens, streams.rate, streams.addresses) == (7, 100, 50, 10_000)
    soak = bench.parse(["soak"])
    assert (soak.calls, soak.streams, soak.addresses, soak.idle) == (1_000_000, 10_000, 10_000, 2_000)
    assert bench.parse(["growth", "--seconds", "1"]).seconds == 1
    assert bench.parse(["ledger"]).rows == 10_000_000


@pytest.mark.parametrize("mode", ["calls", "streams", "soak", "growth"])
def test_each_mode_measures_native_modules_unless_it_is_told_otherwise(mode: str) -> None:
    usual = bench.parse([mode])
    assert (usual.interpreted, usual.program) == (False, None)
    assert bench.parse([mode, "--interpreted"]).interpreted
    assert bench.parse([mode, "--program", sys.executable]).program == Path(sys.executable)


@pytest.mark.parametrize(
    "line",
    [
        ["walk"],
        ["soak", "--calls", "0"],
        ["--rounds", "few"],
        ["--addresses", "-1"],
        ["growth", "--body"],
        ["--program", "/nonexistent"],
        ["--program", str(Path(sys.executable).parent)],
        ["--interpreted", "--program", sys.executable],
    ],
)
def test_a_wrong_command_line_ends_it(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.parse(line)
    assert "usage:" in capsys.readouterr().err


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


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc with 10, its child 11 whose name is awkward, its grandchild 12, and the stranger 20."""
    for pid, parent, name in ((10, 1, "a"), (11, 10, "b) R (c"), (12, 11, "d"), (20, 1, "e")):
        (tmp_path / str(pid)).mkdir()
        # state ppid, nine fields up to cmajflt, utime stime cutime cstime, five up to starttime, vsize rss
        fields = ["S", str(parent), *"345678901", "10", "20", "3", "4", *"67890", "5000", "7", "0"]
        (tmp_path / str(pid) / "stat").write_text(f"{pid} ({name}) {' '.join(fields)}\n", "utf-8")
        (tmp_path / str(pid) / "status").write_text(
            f"Name:\t{name}\nVmHWM:\t    300 kB\nVmRSS:\t 28 kB\n", "utf-8"
        )
    (tmp_path / "self").mkdir()
    return tmp_path


def test_usage_is_that_of_the_whole_tree(proc: Path) -> None:
    assert proc_usage.tree(10, proc) == [10, 11, 12]
    assert proc_usage.cpu_seconds(10, proc) == pytest.approx(3 * 37 / 100)
    assert proc_usage.resident_bytes(11, proc) == 2 * 7 * mmap.PAGESIZE
    assert proc_usage.peak_bytes(11, proc) == 2 * 300 * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_this_process_has_used_something() -> None:
    assert proc_usage.cpu_seconds(os.getpid()) > 0
    assert proc_usage.resident_bytes(os.getpid()) > 1_000_000
    assert proc_usage.peak_bytes(os.getpid()) >= proc_usage.resident_bytes(os.getpid()) // 2
    assert proc_usage.cpu_seconds(2**30) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_cpu_time_is_finer_than_a_tick() -> None:
    before = proc_usage.cpu_seconds(os.getpid())
    assert 0 < proc_usage.cpu_seconds(os.getpid()) - before < 1


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_NOFILE")
def test_the_limit_of_open_files_is_never_lowered() -> None:
    if sys.platform != "win32":  # for the type checker
        import resource

        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        processes.allow_many_files(1)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
