"""Which commit this program was made from."""

from __future__ import annotations

import shutil
import subprocess
from importlib import resources
from pathlib import Path


def commit() -> str:
    """The commit: of the build where one was stamped in (``COMMIT`` beside the package's modules), else of
    the checkout that the program runs from, else "unknown"."""
    stamp = resources.files("chatgpt_platform") / "COMMIT"
    if stamp.is_file():
        return stamp.read_text("ascii").strip()
    return _of_checkout(Path(__file__).resolve().parents[2]) or "unknown"


def _of_checkout(root: Path) -> str | None:
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    asked = subprocess.run(  # noqa: S603 - fixed arguments
        [git, "-C", str(root), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() if asked.returncode == 0 else None
