"""The artefact under test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.program import ROOT


@pytest.fixture(scope="session")
def executable() -> Path:
    """The built file."""
    file = Path(os.environ.get("CHATGPT_EXECUTABLE") or ROOT / "dist" / "chatgpt-platform").absolute()
    if not file.is_file():
        pytest.skip(f"{file.name} is not built: python3 scripts/build.py")
    return file
