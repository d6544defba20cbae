"""Which gateway bench.py, chaos.py and truth.py run: native modules, as it ships, plain Python, an executable."""

import sys
from dataclasses import dataclass
from pathlib import Path

import environment
import native


@dataclass(frozen=True)
class Program:
    """A gateway that can be started."""

    about: str
    """What the report calls it."""
    command: tuple[str, ...]
    """What stands before `serve`."""
    path: Path
    """Where Python is to find the package."""


def chosen(*, interpreted: bool, executable: Path | None) -> Program:
    """What the options ask for, compiled where it must be. Raises native.NativeError.

    Needs the packages of `lock` with the same options.
    """
    if executable:
        return Program(str(executable), (str(executable.resolve()),), environment.ROOT)
    command = (sys.executable, "-m", native.PACKAGE)
    if interpreted:
        return Program("plain Python, as the checkout is", command, environment.ROOT)
    # -OO: as the executable's other modules are.
    optimised = (sys.executable, "-OO", "-m", native.PACKAGE)
    return Program("native modules, as in the executable", optimised, native.make())


def lock(*, interpreted: bool, executable: Path | None) -> str:
    """The lock whose packages the run needs; compiling takes those of the checks."""
    return "run" if interpreted or executable else "dev"
