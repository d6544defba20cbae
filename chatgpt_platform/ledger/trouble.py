"""What can go wrong with the ledger's file: what stops a start, and what passes."""

from __future__ import annotations

import errno
import sqlite3
from typing import Final


class LedgerError(Exception):
    """The ledger cannot be used; the text is one line that names the place and the cure."""


class TooNewError(LedgerError):
    """A later version of the program has written the file."""


class InUseError(LedgerError):
    """Another gateway has the state directory."""


class NoRoomError(OSError):
    """The disk has no room to bring the file to a newer format; the text names the cure."""


class ForeignError(sqlite3.DatabaseError):
    """A database, but no ledger."""


PASSING: Final = (sqlite3.Error, OSError, LedgerError)
"""What is tried again once the ledger runs: a disk may be repaired, a lock let go of."""

_BROKEN: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_CURES: Final = {
    sqlite3.SQLITE_FULL: "make room on its disk, or set ledger.size lower",
    sqlite3.SQLITE_READONLY: "let the gateway's user write to it and to its directory",
    sqlite3.SQLITE_CANTOPEN: "let the gateway's user write to it and to its directory",
    sqlite3.SQLITE_PERM: "let the gateway's user write to it and to its directory",
    sqlite3.SQLITE_BUSY: "wait for the program that holds it locked, or end it",
    sqlite3.SQLITE_IOERR: "look for a full or broken disk, and for a limit on file sizes",
}
_SYSTEM_CURES: Final = {
    errno.ENOSPC: _CURES[sqlite3.SQLITE_FULL],
    errno.EACCES: _CURES[sqlite3.SQLITE_PERM],
    errno.EPERM: _CURES[sqlite3.SQLITE_PERM],
    errno.EROFS: _CURES[sqlite3.SQLITE_PERM],
}


def is_broken(error: Exception) -> bool:
    """Whether the file is no ledger, or one that cannot be read: no waiting cures that."""
    return isinstance(error, ForeignError) or _code(error) in _BROKEN


def described(error: Exception) -> str:
    """The reason and the cure, as the end of a sentence."""
    if isinstance(error, LedgerError | NoRoomError):
        return str(error)
    if isinstance(error, OSError):
        cure = _SYSTEM_CURES.get(error.errno or 0, "see that state.directory is a directory it can write to")
        return f"{error.strerror or error}; {cure}"
    cure = _CURES.get(_code(error), "see that its disk is sound")
    return f"{error}; {cure}"


def _code(error: Exception) -> int:
    """SQLite's primary result code; 0 where there is none."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
