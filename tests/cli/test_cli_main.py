"""The command line itself: what an installed package starts."""

from __future__ import annotations

import tomllib
from importlib.metadata import EntryPoint

import pytest

from support.program import ROOT


def test_what_pyproject_names_can_be_started(capsys: pytest.CaptureFixture[str]) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert list(scripts) == ["chatgpt-platform"]
    for name, place in scripts.items():
        assert EntryPoint(name, place, "console_scripts").load()(["version"], {}) == 0
        assert capsys.readouterr().out.startswith(f"{name} ")
