"""The service on a Debian that really boots: installed, asked, reloaded, killed, hung, stopped, removed."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import requests

import processes
from chatgpt_platform.simulator.server import Behaviour, Simulator
from support import booted
from support.background import Background
from support.booted import Machine
from support.gateway import wait_until
from support.program import ROOT, Reader

NAME: Final = "chatgpt-platform"
SERVICE: Final = ROOT / "packaging" / "systemd"
INSTALL: Final = "/opt/release/install.sh"
UNIT: Final = f"etc/systemd/system/{NAME}.service"
KEY: Final = "sk-0123456789-for-the-tests"
FIGURE: Final = 1.5  # the most exposure that systemd-analyze may see
PATIENCE: Final = 120.0  # seconds: a guard against hanging
LONG: Final = "a b c d e f g h " * 10  # is answered word by word

until = partial(wait_until, patience=PATIENCE, pause=0.2)  # each look is a process of its own
OPENPTY: Final[Any] = getattr(os, "openpty", None)  # Windows has none, and runs no test of this module


@pytest.fixture(scope="module")
def machine(executable: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A booted Debian with an unpacked release in /opt/release, and nothing installed."""
    with booted.booted(booted.tree(), tmp_path_factory.mktemp("booted")) as machine:
        archive = machine.root / "opt" / "release"
        archive.mkdir()
        for file in (executable, SERVICE / "install.sh", SERVICE / f"{NAME}.service"):
            shutil.copy(file, archive)
        yield machine


class Service:
    """The installed service, its upstream a simulator of ours."""

    def __init__(self, machine: Machine, port: int) -> None:
        self.machine: Final = machine
        self.port: Final = port
        self.url: Final = f"http://127.0.0.1:{port}"

    def ask(self, **parameters: Any) -> requests.Response:
        return requests.post(f"{self.url}/chatgpt", json={"prompt": "Hello", **parameters}, timeout=PATIENCE)

    def show(self, name: str) -> str:
        """A property of the unit."""
        return self.machine.run("systemctl", "show", f"--property={name}", "--value", NAME).strip()

    def processes(self) -> list[int]:
        """The launcher and the program, as the machine counts them."""
        group = self.show("ControlGroup")
        return [int(line) for line in self.machine.run("cat", f"/sys/fs/cgroup{group}/cgroup.procs").split()]

    def kill(self, name: str, pid: int) -> None:
        """Send a signal; the shell does it, for the machine has no ``kill`` of its own."""
        self.machine.run("sh", "-c", f"kill -{name} {pid}")

    def wait_for_restart(self, former: int) -> None:
        """Until another first process serves in place of ``former``."""
        idle = {"MainPID=0", f"MainPID={former}"}

        def is_back() -> bool:
            # Both at once: between two looks it can go down.
            look = ("systemctl", "show", "--property=MainPID,ActiveState", NAME)
            said = set(self.machine.run(*look).split())
            return "ActiveState=active" in said and not said & idle

        until(is_back)
        assert self.ask().status_code == 200

    def journal(self) -> str:
        self.machine.run("journalctl", "--sync")
        return self.machine.run("journalctl", "--quiet", "--output=cat", "--no-pager")


@pytest.fixture(scope="module")
def upstream() -> Iterator[int]:
    """The port of an upstream that takes its time with each word."""
    with Background() as background:
        simulator = Simulator(Behaviour(interval=0.05))

        async def listen() -> int:
            return simulator.listen()

        yield background.run(listen())
        background.run(simulator.stop())


@contextmanager
def drop_in(machine: Machine, name: str, *lines: str) -> Iterator[None]:
    """More lines in the unit's [Service], for a while."""
    file = machine.root / f"{UNIT}.d" / f"{name}.conf"
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(["[Service]", *lines, ""]), "utf-8")
    machine.run("systemctl", "daemon-reload")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)  # removed with the service
        machine.run("systemctl", "daemon-reload")


@pytest.fixture(scope="module")
def service(machine: Machine, upstream: int) -> Iterator[Service]:
    port = processes.free_port()
    here = f"Environment=PORT={port} BASE_URL=http://127.0.0.1:{upstream}/v1"
    with drop_in(machine, "tests", here):
        said = machine.run(INSTALL, "--key-file", "-", text=f"{KEY}\n")
        assert said.startswith(f"{NAME} runs. ")
        yield Service(machine, port)
        machine.run(INSTALL, "--remove")


def traces(machine: Machine) -> list[str]:
    """What lies about of us outside the archive; the drop-in of these tests does not count."""
    found = machine.run("find", "/", "-xdev", "-name", "*chatgpt*", "-not", "-path", "/opt/release/*")
    return [line for line in found.splitlines() if not line.startswith(f"/{UNIT}.d")]


def foreign(executable: Path) -> bytes:
    """The program for another kind of processor."""
    head = bytearray(executable.read_bytes()[:4096])
    head[18:20] = (0x15, 0x00)  # e_machine: 64-bit PowerPC
    return bytes(head)


def test_what_cannot_be_installed_is_one_line_and_leaves_nothing(machine: Machine, executable: Path) -> None:
    (machine.root / "opt/foreign").write_bytes(foreign(executable))
    (machine.root / "opt/empty").touch()
    archive = "/opt/release"
    no_systemd = f"mount -t tmpfs none /run/systemd && exec {INSTALL}"
    for command, part in (
        ([INSTALL, KEY], "--help"),
        ([INSTALL, "--key-file"], "--key-file"),
        ([INSTALL, "--keep-config"], "--remove"),
        ([INSTALL, "--key-file", "/nowhere"], "--key-file"),
        ([INSTALL, "--key-file", "/opt/empty"], "empty"),
        ([INSTALL, "--executable", "/nowhere"], "/nowhere"),
        ([INSTALL, "--executable", "/opt/foreign"], "does not run"),
        (["sh", "-c", f"cat {INSTALL} | setpriv --reuid=65534 sh -s"], "root"),
        (["unshare", "--mount", "sh", "-c", no_systemd], "systemd"),
        (["sh", "-c", f"cp {INSTALL} /opt && /opt/install.sh --executable {archive}/{NAME}"], ".service"),
    ):
        said = machine.run(*command, fails=True)
        assert said.startswith("install.sh: "), said
        assert part in said
        assert len(said.splitlines()) == 1, said
        assert KEY not in said
    assert traces(machine) == []


def test_it_serves_as_soon_as_it_is_installed(service: Service) -> None:
    assert service.ask().json()["code"] == 200, "the upstream answers only calls with a key"
    assert service.show("StatusText") == f"serves http://0.0.0.0:{service.port}"
    modes = {name: (service.machine.root / name).stat() for name in (
        f"usr/local/bin/{NAME}", UNIT, f"etc/{NAME}/chatgpt.yaml", f"etc/{NAME}/api_key",
    )}  # fmt: skip
    assert [oct(each.st_mode)[-3:] for each in modes.values()] == ["755", "644", "644", "600"]
    assert {(each.st_uid, each.st_gid) for each in modes.values()} == {(0, 0)}
    assert service.machine.run("systemctl", "is-enabled", NAME).strip() == "enabled"
    logs = service.machine.root / "var/log/private" / NAME
    until(lambda: '"status":200' in (logs / "access.log").read_text("utf-8"))
    assert f"serves http://0.0.0.0:{service.port}" in (logs / "app.log").read_text("utf-8")


def test_systemd_has_nothing_to_complain_of(service: Service) -> None:
    assert service.machine.run("systemd-analyze", "verify", f"/{UNIT}") == ""
    assert "Unknown key" not in service.journal()
    said = service.machine.run("systemd-analyze", "security", "--no-pager", NAME)
    figure = re.search(r"Overall exposure level for .*: ([\d.]+)", said)
    assert figure is not None
    assert float(figure[1]) <= FIGURE, said


def test_a_process_of_it_can_do_nothing_else(service: Service) -> None:
    """What the unit asks for is in force, and not just written down."""
    for pid in service.processes():
        status = dict(
            line.split(":\t", 1) for line in service.machine.run("cat", f"/proc/{pid}/status").splitlines()
        )
        assert int(status["Uid"].split()[0]) > 60_000
        assert {status[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_no_request_fails_while_it_is_reloaded(service: Service) -> None:
    config = service.machine.root / f"etc/{NAME}/chatgpt.yaml"
    former = config.read_text("utf-8")
    codes: list[int] = []
    enough = threading.Event()

    def load() -> None:
        with requests.Session() as session:
            while not enough.is_set():
                codes.append(session.post(f"{service.url}/chatgpt", json={"prompt": "x"}).status_code)

    def limited(limit: int) -> bool:
        return f"q={limit}000;" in service.ask().headers.get("ratelimit-policy", "")

    pid = service.show("MainPID")
    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for limit in range(1001, 1006):
            config.write_text(f"limits: {{day: {limit}000}}\n", "utf-8")
            service.machine.run("systemctl", "reload", NAME)
            until(partial(limited, limit))
        config.write_text("limits: {day: many}\n", "utf-8")
        service.machine.run("systemctl", "reload", NAME)
        until(lambda: "refused" in service.show("StatusText"))
    finally:
        config.write_text(former, "utf-8")
        enough.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert len(codes) > 20
    assert set(codes) == {200}
    assert "chatgpt.yaml:1: limits.day" in service.journal()
    service.machine.run("systemctl", "reload", NAME)
    until(lambda: "refused" not in service.show("StatusText"))
    assert service.show("MainPID") == pid
    assert service.show("ActiveState") == "active"


@pytest.mark.parametrize("which", [0, 1], ids=["the launcher", "the program"])
def test_it_comes_back_after_a_kill(service: Service, which: int) -> None:
    former = sorted(service.processes())
    assert str(former[0]) == service.show("MainPID")
    assert len(former) == 2
    service.kill("KILL", former[which])
    service.wait_for_restart(former[0])
    assert not set(former) & set(service.processes()), "nothing of the former one runs on"


def test_its_signs_of_life_arrive(service: Service) -> None:
    pid, former = service.show("MainPID"), int(service.show("WatchdogTimestampMonotonic"))
    until(lambda: int(service.show("WatchdogTimestampMonotonic")) > former)
    assert service.show("MainPID") == pid, "a restart moves the time as well"


def test_a_program_that_hangs_is_killed_and_comes_back(service: Service) -> None:
    launcher, program = sorted(service.processes())
    service.kill("STOP", program)
    service.wait_for_restart(launcher)
    assert "Watchdog timeout" in service.journal()


def test_a_stop_lets_streams_finish(service: Service) -> None:
    # The program's own drain counts, even where the unit's patience is shorter.
    with drop_in(service.machine, "impatient", "TimeoutStopSec=500ms"):
        service.machine.run("systemctl", "restart", NAME)
        copies = service.machine.root / "var/cache/private" / NAME
        mine = f"_MEI{int(service.show('MainPID')):08x}*"
        assert len(list(copies.glob(mine))) == 1
        reader = Reader(service.url, LONG)
        before = time.monotonic()
        service.machine.run("systemctl", "stop", NAME)
        assert time.monotonic() - before > 1, "there was something to wait for"
        assert reader.whole()
        assert service.show("Result") == "success"
        assert list(copies.glob(mine)) == [], "the unpacked copy is gone"
    service.machine.run("systemctl", "start", NAME)


def test_a_wrong_configuration_is_said_and_not_tried_again(service: Service) -> None:
    config = service.machine.root / f"etc/{NAME}/chatgpt.yaml"
    former, pid = config.read_text("utf-8"), service.show("MainPID")
    config.write_text("limits: {day: many}\n", "utf-8")
    try:
        said = service.machine.run(INSTALL, fails=True)
        assert "chatgpt.yaml:1: limits.day" in said
        assert "not restarted" in said
        assert service.show("MainPID") == pid
        service.machine.run("systemctl", "restart", NAME, fails=True)
        assert service.show("ActiveState") == "failed"
    finally:
        config.write_text(former, "utf-8")
    service.machine.run("systemctl", "start", NAME)


def test_a_port_in_use_is_named_by_the_installation(service: Service) -> None:
    port = processes.free_port()
    with (
        drop_in(service.machine, "zz-taken", f"Environment=PORT={port}"),
        socket.create_server(("", port)),
    ):
        said = service.machine.run(INSTALL, fails=True)
    assert said.startswith(f"install.sh: {NAME} does not start: port {port} is in use")
    assert len(said.splitlines()) == 1
    until(lambda: service.show("ActiveState") == "active")


def test_an_upgrade_keeps_configuration_and_key(service: Service) -> None:
    config = service.machine.root / f"etc/{NAME}/chatgpt.yaml"
    config.write_text(config.read_text("utf-8") + "# mine\n", "utf-8")
    former = service.show("MainPID")
    service.machine.run(INSTALL)
    assert service.show("MainPID") != former
    assert config.read_text("utf-8").endswith("# mine\n")
    assert (service.machine.root / f"etc/{NAME}/api_key").read_text("utf-8") == f"{KEY}\n"
    assert service.ask().status_code == 200


def test_without_a_key_callers_bring_their_own(service: Service) -> None:
    service.machine.run(INSTALL, "--remove", "--keep-config")
    (service.machine.root / f"etc/{NAME}/api_key").unlink()
    assert "each caller must bring one" in service.machine.run(INSTALL)
    assert service.ask().status_code == 400
    assert service.ask(api_key="sk-of-a-caller").status_code == 200
    service.machine.run(INSTALL, environment={"API_KEY": KEY})
    assert service.ask().status_code == 200


def test_the_key_is_asked_for_and_not_shown(service: Service) -> None:
    service.machine.run(INSTALL, "--remove", "--keep-config")
    key = service.machine.root / f"etc/{NAME}/api_key"
    key.unlink()
    ours, theirs = OPENPTY()
    command = ["setsid", "--ctty", *service.machine.command(INSTALL)]
    with (
        subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process,
        os.fdopen(ours, "rb+", 0) as terminal,
    ):
        os.close(theirs)
        said = b""
        while not said.endswith(b": "):
            said += terminal.read(1000)
        terminal.write(f"{KEY}\n".encode())
        while b" runs. " not in said:
            said += terminal.read(1000)
        assert process.wait(PATIENCE) == 0
    assert KEY not in said.decode()
    assert key.read_text("utf-8") == f"{KEY}\n"
    assert service.ask().status_code == 200


def test_removed_it_leaves_nothing_and_its_key_is_nowhere(service: Service) -> None:
    places = service.machine.run(
        "grep", "-rlsF", "--devices=skip", KEY, "/etc", "/var", "/usr/local", "/run", "/tmp"
    )
    assert places.split() == [f"/etc/{NAME}/api_key", f"/run/credentials/{NAME}.service/api_key"]
    assert service.machine.run(INSTALL, "--remove", "--keep-config").startswith(f"{NAME} is removed")
    assert traces(service.machine) == [f"/etc/{NAME}", f"/etc/{NAME}/chatgpt.yaml"]
    assert service.machine.run(INSTALL, "--remove") == f"{NAME} is removed.\n"
    assert traces(service.machine) == []
    assert KEY not in service.journal()
    service.machine.run("systemctl", "status", NAME, fails=True)
    with pytest.raises(requests.ConnectionError):
        service.ask()
