"""Signals to the executable's service, which may come by two ways."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from chatgpt_platform.cli import life
from support.program import PATIENCE, ROOT

linux = pytest.mark.skipif(sys.platform != "linux", reason="what Linux tells of a signal's sender")

# To this process the test is the launcher.
SERVICE: Final = """
import asyncio, os, signal
from chatgpt_platform.cli import life

async def serve():
    numbers = (signal.SIGTERM, signal.SIGINT)
    loop, launcher = asyncio.get_running_loop(), os.getppid()
    life.once_each(loop, launcher, numbers, lambda: print("stop", flush=True))
    life.once_each(loop, launcher, [signal.SIGHUP], lambda: print("reload", flush=True))
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(serve())
"""


@pytest.fixture
def service() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", SERVICE], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert line_of(process) == "ready"
        yield process
        process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def by_launcher(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> None:
    os.kill(process.pid, number)


def by_another(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> None:
    subprocess.run(["kill", f"-{int(number)}", str(process.pid)], check=True, timeout=PATIENCE)


Way = Callable[..., None]
HUP: Final = getattr(signal, "SIGHUP", signal.SIGTERM)  # Windows has none, and runs no test that sends it


LAUNCHER, OTHER = True, False


@pytest.mark.parametrize(
    ("signals", "wishes"),
    [
        ([(LAUNCHER, 0)], 1),
        ([(LAUNCHER, 0), (OTHER, 0.1)], 1),
        ([(OTHER, 0), (LAUNCHER, 1.9)], 1),
        ([(OTHER, 0), (LAUNCHER, 2.1)], 2),  # too late for an echo
        ([(LAUNCHER, 0), (LAUNCHER, 0.1)], 2),
        ([(OTHER, 0), (OTHER, 0.1), (LAUNCHER, 0.2), (LAUNCHER, 0.3)], 2),
        ([(OTHER, 0), (LAUNCHER, 0), (LAUNCHER, 1), (OTHER, 1)], 2),
        ([(OTHER, 0), (LAUNCHER, 9), (OTHER, 99)], 3),  # one that got lost spoils nothing later
    ],
)
def test_an_echo_is_the_other_ways_soon_after(signals: list[tuple[bool, float]], wishes: int) -> None:
    echoes = life.Echoes()
    assert sum(echoes.is_new(by_launcher=way, now=100 + when) for way, when in signals) == wishes


@linux
@pytest.mark.parametrize("ways", [(by_launcher, by_another), (by_another, by_launcher)])
def test_two_ways_are_one_wish(service: subprocess.Popen[str], ways: tuple[Way, ...]) -> None:
    for _ in range(2):
        for way in ways:
            way(service)
        assert line_of(service) == "stop"
    service.kill()
    assert service.stdout is not None
    assert service.stdout.read() == ""


@linux
@pytest.mark.parametrize("way", [by_launcher, by_another])
def test_one_way_alone_counts_each_time(service: subprocess.Popen[str], way: Way) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        way(service, number)
        assert line_of(service) == "stop"


@linux
def test_each_signal_has_its_own_meaning(service: subprocess.Popen[str]) -> None:
    for number, meaning in ((HUP, "reload"), (signal.SIGTERM, "stop"), (HUP, "reload")):
        by_launcher(service, number)
        assert line_of(service) == meaning


@pytest.mark.skipif(sys.platform == "win32", reason="a name server that never answers takes POSIX here")
def test_a_loop_that_does_not_close_is_left() -> None:
    """As when a name is being looked up, and the resolver does not answer."""
    program = """
import asyncio, sys, threading
from chatgpt_platform.cli import life

async def main():
    loop = asyncio.get_running_loop()
    loop.run_in_executor(None, threading.Event().wait)
    print("done")
    return 7

sys.exit(life.run(main()))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (7, "done\n")
