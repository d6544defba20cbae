"""A Debian booted with systemd as its first process, in a container that shares this machine's network.

with booted(tree(), tmp_path) as machine:
    machine.run("systemctl", "start", "something")
    machine.root / "etc"                 # its files, seen from here
"""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from support import debian, tools
from support.program import ROOT
from support.tools import Unavailable

_PATIENCE: Final = 120.0  # seconds: a guard against hanging
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PACKAGES: Final = ("dbus", "systemd", "systemd-sysv")


def tree() -> Path:
    """A Debian with systemd, of this machine's own suite; made once, kept in ``build/``. Not to be changed."""
    if getattr(os, "geteuid", lambda: 1)() != 0 or not Path("/sys/fs/cgroup").is_dir():
        pytest.skip("a container that boots takes Linux and root")
    suite = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    try:
        tools.need(systemd_nspawn="systemd-container")
        return debian.minimal(ROOT / "build" / "debian" / f"booted-{suite}", _PACKAGES, suite)
    except Unavailable as reason:
        pytest.skip(str(reason))


class Machine:
    """``root``: its file system."""

    def __init__(self, root: Path, process: subprocess.Popen[bytes]) -> None:
        self.root: Final = root
        self._process: Final = process
        self._leader = 0

    def run(
        self, *command: str, text: str = "", environment: Mapping[str, str] | None = None, fails: bool = False
    ) -> str:
        """What a command of root's printed, on both streams; ``text`` is its input. Its success is asserted,
        or with ``fails`` its failure."""
        done = self._enter(command, text, environment)
        assert (done.returncode != 0) is fails, f"{command}: {done.returncode}: {done.stdout}"
        return done.stdout

    def command(self, *command: str) -> list[str]:
        """The command line that runs ``command`` in there."""
        return ["nsenter", f"--target={self._leader}", "--all", "--", *command]

    def wait_until_booted(self) -> None:
        """Raises AssertionError with the console's output when it does not boot."""
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until and self._process.poll() is None:
            self._leader = self._leader or _child_of(self._process.pid)
            if self._leader and (self.root / "run").is_dir():
                done = self._enter(("systemctl", "is-system-running", "--wait"), "", None)
                if done.stdout.strip() in ("running", "degraded"):
                    return
            time.sleep(0.2)
        raise AssertionError("the container does not boot")

    def _enter(
        self, command: tuple[str, ...], text: str, environment: Mapping[str, str] | None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*command),
            env={"PATH": _PATH, "LC_ALL": "C.UTF-8", **(environment or {})}, cwd="/", input=text,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", timeout=_PATIENCE, check=False,
        )  # fmt: skip


@contextmanager
def booted(tree: Path, folder: Path) -> Iterator[Machine]:
    """A copy of ``tree``, booted; stopped and deleted at the end. The console's output is in ``folder``."""
    root, log = folder / "root", folder / "console.log"
    subprocess.run(["cp", "-a", "--reflink=auto", str(tree), str(root)], check=True, timeout=_PATIENCE)
    command = [
        "systemd-nspawn", "--quiet", "--boot", f"--directory={root}", f"--machine=booted-{os.getpid()}",
        "--register=no", "--keep-unit", "--console=pipe", "--resolv-conf=off", "--timezone=off",
    ]  # fmt: skip
    environment = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
    try:
        with (
            log.open("wb") as console,
            subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=console, stderr=console
            ) as process,
        ):
            machine = Machine(root, process)
            try:
                machine.wait_until_booted()
                yield machine
            finally:
                _power_off(process)
    except AssertionError as error:
        error.add_note(log.read_text("utf-8", "replace")[-2000:])
        raise
    finally:
        shutil.rmtree(root)


def _power_off(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)  # shuts the system down in order
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()


def _child_of(pid: int) -> int:
    """The first process of the container; 0 while there is none."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    return int(children[0]) if children else 0
