"""What goes wrong with the files of the keystore, as one line for people with the cure."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from chatgpt_platform.accounts import keyfiles
from chatgpt_platform.settings.text import printable

PATIENCE: Final = 5.0
"""Seconds to wait for another process that writes: each holds the file for milliseconds."""


class StoreError(Exception):
    """What was asked for cannot be done; the text is one line for people."""


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """What goes wrong with the files, as ``StoreError``."""
    try:
        yield
    except OSError as error:
        what = f"{error.filename or path}: {keyfiles.reason(error)}"
        raise StoreError(printable(f"{what}. The cure: {_cure_of(error, path)}")) from None
    except sqlite3.Error as error:
        raise StoreError(printable(f"{path}: {error}. The cure: {_cure(error, path)}")) from None


def _cure_of(error: OSError, path: Path) -> str:
    if isinstance(error, PermissionError):
        return keyfiles.readable_cure(path.parent)
    if isinstance(error, FileNotFoundError):
        return "bring it back from a backup; the keys that are known stay in force until the gateway ends"
    return f"see to the disk of {path.parent}, or let state.directory name another"


def _cure(error: sqlite3.Error, path: Path) -> str:
    name = str(getattr(error, "sqlite_errorname", ""))
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return "bring it back from a backup, or move it away and make all keys anew"
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return f"try again: another process was writing for {PATIENCE:.0f} s"
    if name.startswith("SQLITE_FULL"):
        return f"make room on the disk of {path.parent}"
    if path.is_dir():
        return "remove it: a file belongs there"
    if not os.access(path, os.R_OK | os.W_OK):
        return keyfiles.readable_cure(path.parent)
    return f"see to the disk of {path.parent}, or let state.directory name another"
