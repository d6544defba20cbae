"""What a service manager is told, seen by one: a datagram socket, as systemd gives it to a service."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
import requests

from chatgpt_platform.cli import notify
from chatgpt_platform.cli.notify import Notifier
from support.program import PATIENCE, Program, Reader, serving

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sockets and signals of POSIX")
linux = pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets and /proc are Linux's")
LOG = logging.getLogger("chatgpt_platform.tests")
WATCHDOG = 0.3  # seconds
WATCHED = {"WATCHDOG_USEC": str(round(WATCHDOG * 1_000_000))}
# Windows has none of these, and runs no test that uses them.
AF_UNIX: Final = getattr(socket, "AF_UNIX", socket.AF_INET)
SIGHUP = getattr(signal, "SIGHUP", signal.SIGTERM)


class Manager:
    """A service manager's end of the socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(PATIENCE)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def next(self) -> dict[str, str]:
        """The next message, as a mapping."""
        lines = self._socket.recv(4096).decode().split("\n")
        return dict(line.split("=", 1) for line in lines)

    def state(self) -> dict[str, str]:
        """The next message that is no sign of life."""
        while True:
            message = self.next()
            if message != {"WATCHDOG": "1"}:
                return message

    def missed(self, seconds: float) -> bool:
        """Whether nothing comes for so long."""
        self._socket.settimeout(seconds)
        try:
            self._socket.recv(4096)
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(PATIENCE)
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.close()


@contextmanager
def watched(
    manager: Manager, directory: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator[Program]:
    """The demo gateway under ``manager``, ready."""
    environment = {"NOTIFY_SOCKET": manager.address, **(environment or {})}
    with serving("--demo", *arguments, directory=directory, environment=environment) as program:
        assert manager.state() == {"READY": "1", "STATUS": f"serves {program.url}"}
        yield program


def test_ready_then_stopping(manager: Manager, tmp_path: Path) -> None:
    drain = {"CHATGPT_SERVER__TIMEOUTS__DRAIN": "100s"}
    with watched(manager, tmp_path, environment=drain) as program:
        assert requests.get(program.url + "/readyz").status_code == 200
        program.process.send_signal(signal.SIGTERM)
        stopping = manager.state()
        assert stopping["STOPPING"] == "1"
        assert int(stopping["EXTEND_TIMEOUT_USEC"]) > 100_000_000, "the drain outlasts the manager's patience"
        assert program.end() == 0
        assert not any("WARNING" in line for line in program.lines)


@linux
def test_an_abstract_socket(tmp_path: Path) -> None:
    manager = Manager(f"@chatgpt-platform-tests-{os.getpid()}")
    with watched(manager, tmp_path):
        manager.close()


def test_a_reload_ends_ready_whether_taken_or_refused(manager: Manager, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("limits: {day: 2}\n", "utf-8")
    with watched(manager, tmp_path, "--config", str(config)) as program:
        for text, refused in (("limits: {day: 3}\n", False), ("limits: {day: x}\n", True), ("", False)):
            config.write_text(text, "utf-8")
            before = time.monotonic_ns() // 1000
            program.process.send_signal(SIGHUP)
            reloading = manager.next()
            assert reloading["RELOADING"] == "1"
            assert before <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
            status = manager.next()["STATUS"]
            assert status.startswith(f"serves {program.url}")
            assert ("refused" in status) is refused
            assert manager.next() == {"READY": "1"}


def test_there_are_three_signs_of_life_in_the_watchdog_s_time(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        assert manager.next() == {"WATCHDOG": "1"}
        if len(pauses) == 7:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", pause)
    notifier = Notifier({"NOTIFY_SOCKET": manager.address, **WATCHED}, LOG)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(notifier.keep_alive())
    notifier.close()
    assert pauses == pytest.approx([WATCHDOG / 3] * 7)


def test_signs_of_life_go_on_while_draining(manager: Manager, tmp_path: Path) -> None:
    with watched(manager, tmp_path, environment=WATCHED) as program:
        assert manager.next() == {"WATCHDOG": "1"}
        reader = Reader(program.url)
        program.process.send_signal(signal.SIGTERM)
        assert "STOPPING" in manager.state()
        for _ in range(2):
            assert manager.next() == {"WATCHDOG": "1"}
        assert reader.whole()
        assert program.end() == 0


def test_a_loop_that_hangs_gives_no_sign_of_life(manager: Manager) -> None:
    async def live() -> None:
        alive = asyncio.create_task(notifier.keep_alive())
        await asyncio.sleep(0)
        assert manager.next() == {"WATCHDOG": "1"}
        assert manager.missed(2 * WATCHDOG), "this wait is the hanging"
        assert await asyncio.to_thread(manager.next) == {"WATCHDOG": "1"}, "it turns again"
        alive.cancel()

    notifier = Notifier({"NOTIFY_SOCKET": manager.address, **WATCHED}, LOG)
    asyncio.run(live())
    notifier.close()


@pytest.mark.parametrize(
    ("variables", "alive"),
    [
        ({"WATCHDOG_PID": str(os.getpid())}, True),
        ({"WATCHDOG_PID": str(os.getppid())}, True),  # the launcher of the one-file executable
        ({"WATCHDOG_PID": "1000000000"}, False),
        ({"WATCHDOG_USEC": ""}, False),
        ({"NOTIFY_SOCKET": ""}, False),
    ],
)
def test_whose_watchdog_it_is(manager: Manager, variables: dict[str, str], alive: bool) -> None:
    async def live() -> None:
        if not alive:
            await notifier.keep_alive()  # ends, or else the test hangs
            return
        task = asyncio.create_task(notifier.keep_alive())
        await asyncio.sleep(0)
        task.cancel()
        assert manager.next() == {"WATCHDOG": "1"}

    environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "30000000", **variables}
    notifier = Notifier(environment, LOG)
    asyncio.run(asyncio.wait_for(live(), PATIENCE))
    notifier.close()


@pytest.mark.parametrize(
    ("environment", "part"),
    [
        ({"NOTIFY_SOCKET": "relative"}, "NOTIFY_SOCKET"),
        ({"NOTIFY_SOCKET": "vsock:2:1234"}, "NOTIFY_SOCKET"),
        ({"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "100000"}, "NOTIFY_SOCKET"),
        ({"NOTIFY_SOCKET": "/" + "x" * 300}, "NOTIFY_SOCKET"),
        ({"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "soon"}, "WATCHDOG_USEC"),
        ({"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "0"}, "WATCHDOG_USEC"),
    ],
)
def test_what_cannot_be_told_is_one_warning_and_serving_goes_on(
    tmp_path: Path, environment: dict[str, str], part: str
) -> None:
    with serving("--demo", directory=tmp_path, environment=environment) as program:
        for _ in range(2):
            program.process.send_signal(SIGHUP)
            program.wait_for("read again")
        assert requests.get(program.url + "/readyz").status_code == 200
        program.process.send_signal(signal.SIGTERM)
        assert program.end() == 0
    warnings = [line for line in program.lines if "WARNING" in line]
    assert len([line for line in warnings if part in line]) == 1
    # With a watchdog that is not understood there are two things to say.
    assert len(warnings) == (2 if part == "WATCHDOG_USEC" else 1), "each only once"


def test_a_manager_that_reads_late_still_gets_all_in_order(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "_AGAIN", 0.001)
    many = 2000  # more than any queue of datagrams holds

    async def live() -> None:
        for number in range(many):
            notifier.status(str(number))
        for number in range(many):
            assert await asyncio.to_thread(manager.next) == {"STATUS": str(number)}

    notifier = Notifier({"NOTIFY_SOCKET": manager.address}, LOG)
    asyncio.run(live())
    notifier.close()


def test_where_there_are_no_such_sockets(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notify, "_AF_UNIX", None)  # Windows
    notifier = Notifier({"NOTIFY_SOCKET": "/run/systemd/notify", "WATCHDOG_USEC": "1000"}, LOG)
    notifier.ready("serves")
    asyncio.run(asyncio.wait_for(notifier.keep_alive(), PATIENCE))
    notifier.close()
    assert "NOTIFY_SOCKET" in caplog.text
