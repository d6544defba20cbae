"""The artefact under test, and a machine that it is installed on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import processes
from chatgpt_platform.simulator.server import Behaviour, Simulator
from support import booted
from support.background import Background
from support.booted import Machine
from support.program import ROOT
from support.service import INSTALL, KEY, Service, drop_in, releases

NAME = "chatgpt-platform.exe" if sys.platform == "win32" else "chatgpt-platform"


@pytest.fixture(scope="session")
def executable() -> Path:
    """The built file."""
    file = ROOT / (os.environ.get("CHATGPT_EXECUTABLE") or f"dist/{NAME}")
    if not file.is_file():
        pytest.fail(f"{file} is not there: python3 scripts/test.py --packaging builds it")
    return file


@pytest.fixture(scope="module")
def machine(executable: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A booted Debian with two releases unpacked in /opt, and nothing installed."""
    with booted.booted(booted.tree(), tmp_path_factory.mktemp("booted")) as machine:
        releases(machine, executable)
        yield machine


@pytest.fixture(scope="module")
def upstream() -> Iterator[int]:
    """The port of an upstream that takes its time with each word."""
    with Background() as background:
        simulator = Simulator(Behaviour(interval=0.05))

        async def listen() -> int:
            return simulator.listen()

        yield background.run(listen())
        background.run(simulator.stop())


@pytest.fixture(scope="module")
def service(machine: Machine, upstream: int) -> Iterator[Service]:
    port = processes.free_port()
    here = f"Environment=PORT={port} BASE_URL=http://127.0.0.1:{upstream}/v1"
    with drop_in(machine, "tests", here):
        said = machine.run(INSTALL, "--key-file", "-", text=f"{KEY}\n")
        assert said.startswith("chatgpt-platform runs. ")
        yield Service(machine, port)
        machine.run(INSTALL, "--remove")
