"""Opening ``ledger.db``: made where there is none, moved aside where it cannot be read."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from chatgpt_platform.ledger import schema
from chatgpt_platform.ledger.trouble import LedgerError, NoRoomError, described, is_broken

NAME: Final = "ledger.db"
COMPANIONS: Final = ("-wal", "-shm")
"""What SQLite keeps beside the file."""
_PATIENCE: Final = 1.0
"""Seconds to wait for another process that writes, in the gateway."""
_COMMAND_PATIENCE: Final = 30.0
"""The same for a command."""
_CACHE: Final = 1000
"""KiB of pages in memory: what is written lies close together, so that twice as much saves no time."""
_WAL_KEPT: Final = 16 * 1024 * 1024
_MOVED: Final = 250_000
"""Rows that are brought to a newer format in a second, more or less."""
_ROOM: Final = 300
"""Bytes of the disk that each takes meanwhile: once in the log, once in the file, before its old place is free."""


def open_to_write(
    directory: Path, on_broken: Callable[[str], None], on_older: Callable[[str], None] | None = None
) -> sqlite3.Connection:
    """The gateway's connection, to a file of this version. What is no ledger or is broken is moved aside first,
    which ``on_broken`` is told in one sentence; so is ``on_older`` before a file of an older version is brought to
    this one. Raises LedgerError, OSError or sqlite3.Error."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / NAME
    try:
        return _opened(path, on_older)
    except sqlite3.DatabaseError as error:
        if not is_broken(error):
            raise
        on_broken(f"{path} cannot be read ({error}); it is kept as {move_aside(path)}, and a new one begins")
    return _opened(path, on_older)


def move_aside(path: Path) -> Path:
    """Rename the file and its companions to a name that is free; the new name. Raises OSError."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = path.with_name(f"{path.name}.broken-{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.broken-{stamp}-{number}")
    # The companions first: beside a new file they would be taken for its own.
    for companion in (*COMPANIONS, ""):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + companion).replace(aside.with_name(aside.name + companion))
    return aside


def connect(directory: Path) -> sqlite3.Connection:
    """A connection that reads, for reports, in any thread. Raises LedgerError."""
    connection = _existing(directory, "ro", _COMMAND_PATIENCE)
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def connect_to_erase(directory: Path) -> sqlite3.Connection:
    """A connection for ``erasure.forget``, beside a gateway that runs or without one. Raises LedgerError."""
    connection = _existing(directory, "rw", _COMMAND_PATIENCE)
    try:
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA secure_delete = ON")
    except sqlite3.Error as error:
        connection.close()
        raise LedgerError(f"{directory / NAME} cannot be written: {described(error)}") from None
    return connection


def _existing(directory: Path, mode: str, patience: float) -> sqlite3.Connection:
    path = directory / NAME
    if not path.is_file():
        raise LedgerError(
            f"{directory} holds no {NAME}: nothing was recorded there yet, or state.directory is another"
        )
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}", patience, isolation_level=None,
            check_same_thread=False, uri=True,
        )  # fmt: skip
    except sqlite3.Error as error:
        raise LedgerError(f"{path} cannot be opened: {described(error)}") from None
    try:
        version = schema.check(connection, str(path))
        if version < schema.VERSION:
            raise LedgerError(
                f"{path} is of an older version: start the gateway once, which brings it up to date; "
                "where it runs already, its log says what hinders it"
            )
    except sqlite3.Error as error:
        connection.close()
        raise LedgerError(f"{path} cannot be read: {described(error)}") from None
    except LedgerError:
        connection.close()
        raise
    return connection


def _opened(path: Path, on_older: Callable[[str], None] | None) -> sqlite3.Connection:
    # With its mode from the first moment on; SQLite gives its companions the same. One that is there is not opened
    # here: closing it would take the locks of the reports that are being read from this process.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    connection = sqlite3.connect(path, _PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        schema.check(connection, str(path))
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # stands before the first table, then for good
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute(f"PRAGMA cache_size = -{_CACHE}")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_KEPT}")
        schema.migrate(connection, str(path), lambda: _tell_older(connection, path, on_older))
        for table in ("traits", "entries", "said", "totals", "hours", "client_totals", "states", "marks"):
            connection.execute(f"SELECT * FROM {table} LIMIT 1").fetchone()  # noqa: S608 - reads their first pages
    except BaseException:
        connection.close()
        raise
    return connection


def _tell_older(connection: sqlite3.Connection, path: Path, on_older: Callable[[str], None] | None) -> None:
    """Raises NoRoomError where the disk would only be filled up, in vain."""
    (count,) = connection.execute("SELECT count(*) FROM calls").fetchone()
    room = count * _ROOM
    if shutil.disk_usage(path.parent).free < room:
        raise NoRoomError(
            f"bringing it to the format of this version takes {room // 10**6 + 1} MB of its disk for a while; "
            "make room there"
        )
    if on_older is not None:
        on_older(
            f"{path} is brought to the format of this version, once; with its {count:,} calls that takes some "
            f"{count // _MOVED + 1} s"
        )
