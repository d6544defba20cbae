"""``simulate`` as users run it: a process of its own."""

from __future__ import annotations

import argparse
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from chatgpt_platform.cli import simulate
from chatgpt_platform.simulator.faults import FAULTS
from support.simulated import CHAT, HEADERS

PROGRAM = [sys.executable, "-m", "chatgpt_platform", "simulate"]


@contextmanager
def started(*flags: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and the base URL that its start line names."""
    with subprocess.Popen([*PROGRAM, "--port", "0", *flags], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+/v1", line)
            assert found is not None, line
            yield process, found[0]
        finally:
            process.kill()


def refused(*flags: str) -> tuple[int, str]:
    done = subprocess.run([*PROGRAM, *flags], capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without asking it")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_and_stops(number: signal.Signals) -> None:
    with started("--tokens", "4", "--latency", "1", "--interval", "0.5") as (process, base_url):
        answer = requests.post(base_url + "/chat/completions", json=CHAT, headers=HEADERS)
        assert answer.json()["usage"]["completion_tokens"] == 4
        process.send_signal(number)
        assert process.wait(20) == 0


def test_a_fault_on_the_command_line() -> None:
    with started("--fail", "429") as (_, base_url):
        answer = requests.post(base_url + "/chat/completions", json=CHAT, headers=HEADERS)
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")


def test_a_flaky_service() -> None:
    with started("--fail", "503,500", "--share", "0.5", "--seed", "7") as (_, base_url):
        found = {
            requests.post(base_url + "/chat/completions", json=CHAT, headers=HEADERS).status_code
            for _ in range(40)
        }
        assert found == {200, 500, 503}


def test_flags_that_do_not_go_together() -> None:
    code, said = refused("--fail", "refuse,503")
    assert code == 2
    assert said.count("\n") == 1
    assert "refuse" in said


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = refused("--port", str(port))
    assert code == 1
    assert said.count("\n") == 1
    assert str(port) in said
    assert "--port" in said


def test_bad_values() -> None:
    code, said = refused("--fail", "429-bear")
    assert code == 2
    assert said.count("\n") == 1
    assert "did you mean 429-bare?" in said


@pytest.mark.parametrize(
    "flags",
    [
        ("--port", "65536"),
        ("--port", "x"),
        ("--port", "-1"),
        ("--latency", "-1"),
        ("--latency", "nan"),
        ("--interval", "inf"),
        ("--tokens", "1.5"),
        ("--tokens", "1000001"),
        ("--fail", "nonsense"),
        ("--fail", "nonsense,503"),
        ("--share", "1.1"),
        ("--share", "nan"),
        ("--silence", "-1"),
    ],
)
def test_impossible_values(flags: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(*flags)
    assert caught.value.code == 2
    assert flags[1].partition(",")[0] in capsys.readouterr().err


def test_the_list_of_faults(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = parse("--fail", "help")
    assert arguments.run(arguments, {}) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown] == list(FAULTS)


def parse(*flags: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    simulate.add_parser(parser.add_subparsers())
    return parser.parse_args(["simulate", *flags])
