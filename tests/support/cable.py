"""A network of two, whose cable can be pulled out: a network namespace at the end of a virtual cable.

    with Cable() as cable:
        process = cable.run("print('from there')")     # Python, on the other side
        ...  cable.here, cable.there: the addresses of both sides
        cable.pull()                                   # nothing goes through any more, in either direction

Needs root on Linux, ``ip`` (iproute2) and ``iptables``: see ``MISSING``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from types import TracebackType
from typing import Final, Self


def _missing() -> str:
    if getattr(os, "geteuid", lambda: 1)() != 0:
        return "ip netns needs root, on Linux"
    for tool in ("ip", "iptables"):
        if shutil.which(tool) is None:
            return f"needs {tool}"
    tried = subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "unshare -n: no network namespaces here"


MISSING: Final = _missing()
"""Why there is no cable here; empty where there is."""


class Cable:
    """Two addresses of their own; the addresses are from the range for such tests (RFC 2544)."""

    def __init__(self) -> None:
        number = os.getpid() % 16384
        self._name: Final = f"cable{number}"
        base = f"198.18.{number // 64}.{number % 64 * 4}".rpartition(".")
        self.here: Final = f"{base[0]}.{int(base[2]) + 1}"
        self.there: Final = f"{base[0]}.{int(base[2]) + 2}"
        self._processes: list[subprocess.Popen[str]] = []

    def run(self, code: str) -> subprocess.Popen[str]:
        """Python on the other side; its output can be read, its input written."""
        command = ["ip", "netns", "exec", self._name, sys.executable, "-u", "-c", code]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._processes.append(process)
        return process

    def pull(self) -> None:
        """Nobody is told: what is sent vanishes."""
        for chain in ("INPUT", "OUTPUT"):
            self._there("iptables", "-A", chain, "-j", "DROP")

    def __enter__(self) -> Self:
        _do("ip", "netns", "add", self._name)
        try:
            self._lay()
        except subprocess.CalledProcessError:
            _do("ip", "netns", "del", self._name)
            raise
        return self

    def _lay(self) -> None:
        near, far = self._name, f"f{self._name}"
        _do("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", self._name)
        _do("ip", "addr", "add", f"{self.here}/30", "dev", near)
        _do("ip", "link", "set", near, "up")
        self._there("ip", "addr", "add", f"{self.there}/30", "dev", far)
        self._there("ip", "link", "set", far, "up")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()
        _do("ip", "link", "del", self._name)  # it would go with the other, but some time later
        _do("ip", "netns", "del", self._name)

    def _there(self, *command: str) -> None:
        _do("ip", "netns", "exec", self._name, *command)


def _do(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
