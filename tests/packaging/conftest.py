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
        pytest.fail(f"{file} is not there: python3 scripts/test.py --packaging builds it")
    return file
