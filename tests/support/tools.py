"""Programs that the tests of artefacts need: installed where root may and apt can, else a reason to skip."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from typing import Final

_PATIENCE: Final = 900.0  # seconds, for a slow mirror
_PATHS: Final = "/usr/lib/podman"
"""Where podman keeps what only it calls."""


class Unavailable(Exception):
    """Why something cannot be had here, in one line."""


def need(**packages: str) -> None:
    """Make sure of programs, each named with the Debian package that has it. Raises ``Unavailable``."""
    missing = [program for program in packages if _find(program) is None]
    if missing:
        _install(tuple(sorted({packages[program] for program in missing})))
    for program in missing:
        if _find(program) is None:
            raise Unavailable(f"{program} is not there, and Debian's {packages[program]} cannot be installed here")


def _find(program: str) -> str | None:
    name = program.replace("_", "-")
    return shutil.which(name) or shutil.which(name, path=_PATHS)


@functools.cache
def _install(packages: tuple[str, ...]) -> None:
    """Try it; whether it went well shows in what is there afterwards."""
    if shutil.which("apt-get") is None or getattr(os, "geteuid", lambda: 1)() != 0:
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        subprocess.run(["apt-get", "-qq", *command], env=environment, stdin=subprocess.DEVNULL,
                       capture_output=True, timeout=_PATIENCE, check=False)  # fmt: skip
