"""One process at a time: the others wait until it is done, or has died."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_EVERY = 0.2  # seconds


@contextlib.contextmanager
def holding(file: Path, others: str) -> Iterator[None]:
    """Holds the lock of a file, which stays; where it must wait, it says `others` and that it waits.

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
