"""The systemd service as a test sees it, in a machine of ``support.booted``.

releases(machine, executable)            # two archives, unpacked
service = Service(machine, port)
with drop_in(machine, "name", "Environment=PORT=5000"):
    machine.run(INSTALL)
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import requests

from support.booted import Machine
from support.gateway import wait_until
from support.program import ROOT

NAME: Final = "chatgpt-platform"
INSTALL: Final = "/opt/release/install.sh"
NEWER: Final = "/opt/newer/install.sh"
"""Of another release."""
PROGRAM: Final = f"usr/local/bin/{NAME}"
UNIT: Final = f"etc/systemd/system/{NAME}.service"
SETTINGS: Final = f"etc/{NAME}/chatgpt.yaml"
KEY_FILE: Final = f"etc/{NAME}/api_key"
KEY: Final = "sk-0123456789-for-the-tests"
"""Of the upstream, as the fixture ``service`` installs it."""
PATIENCE: Final = 120.0  # seconds: a guard against hanging
_SOURCE: Final = ROOT / "packaging" / "systemd"


def releases(machine: Machine, executable: Path) -> None:
    """Unpack two releases: the first, and a newer one whose program and unit differ from it in their bytes."""
    first, newer = (machine.root / Path(script).parent.relative_to("/") for script in (INSTALL, NEWER))
    first.mkdir()
    for file in (executable, _SOURCE / "install.sh", _SOURCE / f"{NAME}.service"):
        shutil.copy(file, first)
    shutil.copytree(first, newer)
    for name in (NAME, f"{NAME}.service"):
        with (newer / name).open("ab") as stream:
            stream.write(b"\n# newer\n")


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


until = partial(wait_until, patience=PATIENCE, pause=0.2)
"""For what no event tells; each look is a process of its own."""


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
