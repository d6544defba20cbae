"""``version``: what the program says of itself, and of what it holds."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

import pytest

import chatgpt_platform
from support.program import ROOT, run


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A folder with the package as a build leaves it, the notices in it."""
    shutil.copytree(
        ROOT / "chatgpt_platform", tmp_path / "chatgpt_platform", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / "chatgpt_platform" / "NOTICES").write_text("Übersicht\n\n版权\n", "utf-8")
    (tmp_path / "chatgpt_platform" / "COMMIT").write_text("0123456789ab\n", "ascii")
    return tmp_path


def test_it_names_version_python_platform_and_commit(built: Path) -> None:
    told = run("version", directory=built, environment={"PYTHONPATH": str(built)})
    assert told.returncode == 0
    assert told.stdout.splitlines() == [
        f"chatgpt-platform {chatgpt_platform.__version__}",
        f"Python {platform.python_version()}",
        f"platform {platform.platform()}",
        "commit 0123456789ab",
    ]


def test_a_build_prints_the_notices_that_travel_inside(built: Path) -> None:
    told = run("version", "--licenses", directory=built, environment={"PYTHONPATH": str(built)})
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout == "Übersicht\n\n版权\n"


def test_a_checkout_says_what_it_prints_instead(tmp_path: Path) -> None:
    told = run("version", "--licenses", directory=tmp_path)
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith("Not a built executable: these are the licences of the Python packages inst")
    assert "\ntornado 6." in told.stdout
    assert "--- LICENSE\n\n" in told.stdout
    assert "http://www.apache.org/licenses/" in told.stdout
