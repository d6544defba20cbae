"""The gateway's open file: who holds it, and whether it still is the one at its path."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sqlite3
from pathlib import Path
from typing import Final, TypeAlias

from chatgpt_platform.ledger import database, totals
from chatgpt_platform.ledger.lock import Lock
from chatgpt_platform.ledger.transactions import transaction

_Identity: TypeAlias = tuple[int, int] | None
_BIRTH: Final = ("file", "#birth")
"""The kind and the name of a state that no key and no client has."""


class Store:
    """Opens the file when it is needed, and again when somebody removed or replaced it. Used by one thread at a
    time."""

    def __init__(self, directory: Path, shift: int, logger: logging.Logger) -> None:
        """``shift``: seconds behind a whole hour of UTC at which an hour begins in the owner's time zone."""
        self.path: Final = directory / database.NAME
        self._directory: Final = directory
        self._shift: Final = shift
        self._logger: Final = logger
        self._lock: Final = Lock(directory)
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[_Identity, _Identity] = (None, None)
        self._told_older_once = False
        self._last = 0
        self._birth = ""
        """What tells the file that was open last from any other."""
        self.renewed = 0
        """How often the file was another one than before."""

    def connection(self) -> sqlite3.Connection:
        """The connection to the file at the path. Raises one of ``trouble.PASSING``."""
        if self._connection is not None:
            identity = self._identify()
            if identity == self._identity:
                return self._connection
            if identity[0] != self._identity[0]:
                self._logger.error(
                    "%s was removed or replaced while it was open; the ledger goes on in what lies there now, "
                    "without what was recorded before", self.path,
                )  # fmt: skip
                self.let_go()
                if identity[1] is not None and identity[1] == self._identity[1]:
                    # Of the file before. SQLite would lay it over the one that lies there now.
                    for companion in database.COMPANIONS:
                        self.path.with_name(self.path.name + companion).unlink(missing_ok=True)
            self.let_go()
        return self._open()

    def next_id(self, now: int, count: int) -> int:
        """The first of ``count`` ids that are free. ``now``: microseconds since the epoch."""
        first = max(now, self._last + 1)
        self._last = first + count - 1
        return first

    def let_go(self) -> None:
        """Close the file; the next ``connection`` opens it anew."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def set_aside(self, reason: str) -> None:
        """Move a broken file out of the way. Raises OSError."""
        self.let_go()
        aside = database.move_aside(self.path)
        self._told_broken(f"{self.path} is broken ({reason}); it is kept as {aside}, and a new one begins")

    def close(self) -> None:
        """Close the file and let another gateway have the directory."""
        self.let_go()
        self._lock.release()

    def _open(self) -> sqlite3.Connection:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock.take()
        connection = database.open_to_write(self._directory, self._told_broken, self._told_older)
        self._told_older_once = False
        try:
            totals.prepare(connection)
            self._adopt(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        self._identity = self._identify()
        return connection

    def _adopt(self, connection: sqlite3.Connection) -> None:
        """Go on behind the last id, and with the owner's hours."""
        self._recognise(connection)
        marks = totals.marks(connection)
        for (last,) in connection.execute("SELECT max(id) FROM entries UNION ALL SELECT max(id) FROM said"):
            self._last = max(self._last, last or 0, *marks.values())
        if marks["shift"] != self._shift:
            # The totals of clients are made anew from their rows; the others keep the hours they were made of.
            with transaction(connection):
                connection.execute("DELETE FROM client_totals")
                totals.mark(connection, totals.CLIENTS.mark, 0)
                totals.mark(connection, "shift", self._shift)

    def _recognise(self, connection: sqlite3.Connection) -> None:
        """Numbers of files are used again at once, so each file gets a mark of its own."""
        known = connection.execute("SELECT value FROM states WHERE kind = ? AND name = ?", _BIRTH).fetchone()
        birth = known[0] if known is not None else secrets.token_hex(8)
        if known is None:
            with transaction(connection):
                connection.execute("INSERT INTO states VALUES (?, ?, ?)", (*_BIRTH, birth))
        self.renewed += bool(self._birth) and birth != self._birth
        self._birth = birth

    def _identify(self) -> tuple[_Identity, _Identity]:
        return _of(self.path), _of(self.path.with_name(self.path.name + "-wal"))

    def _told_older(self, sentence: str) -> None:
        """Once, however often it is tried."""
        if not self._told_older_once:
            self._told_older_once = True
            self._logger.info("%s", sentence)

    def _told_broken(self, sentence: str) -> None:
        self._logger.error("%s", sentence)


def _of(path: Path) -> _Identity:
    try:
        state = os.stat(path)  # noqa: PTH116 - four times a second
    except OSError:
        return None
    return state.st_dev, state.st_ino
