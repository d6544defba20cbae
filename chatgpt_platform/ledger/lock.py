"""One gateway for each state directory: the lock that says so, freed by the system when its process ends."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from pathlib import Path
from typing import Final

from chatgpt_platform.ledger.trouble import InUseError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

NAME: Final = "gateway.lock"
_TAKEN: Final = (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK)
_PLACE: Final = 1024  # of the byte that is locked on Windows, where nobody else can read it


class Lock:
    """The lock of a directory. Only its holder writes there; readers need none."""

    def __init__(self, directory: Path) -> None:
        self._path: Final = directory / NAME
        self._descriptor: int | None = None

    def take(self) -> None:
        """Take it, unless it is held already. Raises InUseError, or OSError where the file cannot be made."""
        if self._descriptor is not None:
            if self._stands():
                return
            self.release()
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            _lock(descriptor)
        except OSError as error:
            holder = _holder(descriptor)
            os.close(descriptor)
            if error.errno in _TAKEN:
                raise InUseError(
                    f"{self._path.parent} is in use by another gateway{holder}: stop it, "
                    "or give this one a state.directory of its own"
                ) from None
            raise
        except BaseException:
            os.close(descriptor)
            raise
        with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode("ascii"))
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go of it. The file stays: removing it could take away another's lock."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _stands(self) -> bool:
        """Whether the locked file is the one at the path, not one that was removed with its directory."""
        try:
            return self._descriptor is not None and os.path.samestat(os.fstat(self._descriptor), self._path.stat())
        except OSError:
            return False


if sys.platform == "win32":

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, _PLACE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
else:

    def _lock(descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Some network file systems have no locks; that one gateway is there alone is the owner's care.
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
                raise


def _holder(descriptor: int) -> str:
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        number = os.read(descriptor, 20).decode("ascii", "replace").strip()
    except OSError:
        return ""
    return f" (process {number})" if number.isdecimal() else ""
