"""Folders that are made whole or not at all, by one process at a time."""

import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

STAMP = "made-from.json"
_EVERY = 0.2  # seconds


class FolderError(Exception):
    """The folder could not be made; the text says why, and what helps."""


@contextlib.contextmanager
def holding(file: Path, others: str) -> Iterator[None]:
    """Holds the lock of a file, which stays, until it ends or dies. Where it must wait, it says `others`, and so.

    Raises OSError where the file cannot be made. Where a file system has no locks, nobody waits.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        told = False
        while not _is_taken(descriptor):
            if not told:
                print(f"{others}; waiting for it ...", flush=True)
            told = True
            time.sleep(_EVERY)
        yield
    finally:
        os.close(descriptor)  # the system frees the lock


def stamp_of(folder: Path) -> str:
    """The digest that a folder was made with; "" where it is not there, or was not finished."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads((folder / STAMP).read_text("utf-8"))["digest"])
    return ""


@contextlib.contextmanager
def made(folder: Path, digest: Callable[[], str]) -> Iterator[Path]:
    """A new folder to fill, which then takes the place of `folder`, stamped: there is never half of it.

    One at a time, which is the caller's care. `digest`: of what it is made from. Raises FolderError where that
    changes meanwhile, and OSError.
    """
    before = digest()
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = f"{folder.name}-unfinished-"
    for left in folder.parent.glob(f"{prefix}*"):  # by one that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=folder.parent) as place:
        beside = Path(place, "new")
        beside.mkdir()
        yield beside
        if digest() != before:
            raise FolderError("the sources changed meanwhile: run it again")
        (beside / STAMP).write_text(json.dumps({"digest": before}) + "\n", "utf-8")
        if folder.exists():
            try:
                folder.rename(Path(place, "old"))
            except PermissionError:  # Windows keeps libraries that are in use
                raise FolderError(f"{folder} is in use: stop what runs from it") from None
        beside.rename(folder)


if sys.platform == "win32":

    def _is_taken(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True
else:

    def _is_taken(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True  # of a file system without locks
        return True
