"""packaging/release/try.sh, which tries the executables on bare machines: it passes, and it can fail."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import environment
import processes

TRY = environment.ROOT / "packaging" / "release" / "try.sh"

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="its stand-in for the executable is a shell script"
)


def tried(folder: Path, instead: str = "") -> subprocess.CompletedProcess[str]:
    """The script's run on this checkout's program; `instead` is shell code that may answer in its place."""
    program = folder / "chatgpt-platform"
    python = f"{shlex.quote(sys.executable)} -m chatgpt_platform"
    program.write_text(f'#!/bin/sh\n{instead}\nexec {python} "$@"\n', "utf-8")
    program.chmod(0o755)
    return subprocess.run(
        ["sh", str(TRY), str(program), str(processes.free_port())],
        cwd=folder, env=processes.clean_environment(), capture_output=True, encoding="utf-8",
        timeout=120, check=False,
    )  # fmt: skip


def test_a_program_that_works_passes(tmp_path: Path) -> None:
    done = tried(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("all of it worked\n")


@pytest.mark.parametrize(
    ("instead", "told"),
    [
        ('[ "$2" != --licenses ] || exit 0', "something did not work"),
        ('[ "$1" != serve ] || { echo out of order; exit 1; }', "out of order"),
        ('[ "$1" != ask ] || exit 0', "serves http://"),
        ('[ "$1" != serve ] || { "$0" serv "$@"; exit 3; }', "is not ready"),
    ],
)
def test_a_program_that_does_not_fails(tmp_path: Path, instead: str, told: str) -> None:
    done = tried(tmp_path, instead)
    assert done.returncode != 0
    assert told in done.stderr
    assert "all of it worked" not in done.stdout
