"""The artefact under test."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from support.program import ROOT

NAME = "chatgpt-platform.exe" if sys.platform == "win32" else "chatgpt-platform"


@pytest.fixture(scope="session")
def executable() -> Path:
    """The built file."""
    file = ROOT / (os.environ.get("CHATGPT_EXECUTABLE") or f"dist/{NAME}")
    if not file.is_file():
        pytest.fail(f"{file} is not there: python3 scripts/test.py --packaging builds it")
    return file
