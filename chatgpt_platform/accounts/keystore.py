"""The virtual keys of ``state.directory``: what is known of each of them, and never the key itself.

``keys.db`` (SQLite) has a row for each key; ``keys.secret`` the 32 random bytes under which keys are digested, so
that the database alone does not even tell whether a guess was right. The ``keys`` command and the running gateway
use both at the same time: the one writes, the other asks ``changed`` and reads again.

    Exception
     ├── ConfigurationError   the files cannot be used: the place and the cure
     └── StoreError           what was asked for cannot be done: no such key, a full disk
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chatgpt_platform.accounts import keyfiles, tokens
from chatgpt_platform.accounts.storeerrors import PATIENCE, explained
from chatgpt_platform.accounts.storeerrors import StoreError as StoreError
from chatgpt_platform.errors import ConfigurationError
from chatgpt_platform.settings.text import quoted

DATABASE: Final = "keys.db"
SECRET: Final = "keys.secret"  # noqa: S105 - the name of a file

_MIGRATIONS: Final = (
    (
        """CREATE TABLE keys (name TEXT PRIMARY KEY, digest TEXT NOT NULL UNIQUE, hint TEXT NOT NULL,
        created REAL NOT NULL, options TEXT NOT NULL, revoked REAL, former_digest TEXT, former_until REAL)""",
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    ),
)
"""What leads from each ``user_version`` to the next. What is here once is never changed."""

_COLUMNS: Final = "name, digest, hint, created, options, revoked, former_digest, former_until"
_CHECK: Final = "check"
"""A fact: the digest of this very word, by which the right ``keys.secret`` is known. It is written once that file
is there and before any key: without it there is no key either."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """One key. Times are epoch seconds.

    ``options``: its settings as JSON text, whose meaning is not known here. ``former_digest``: of the key that it
    had before it was rotated, which also counts until ``former_until``; "" for none. A name that is revoked
    stays taken: the ledger's rows bear it.
    """

    name: str
    digest: str = field(repr=False)
    hint: str
    created: float
    options: str
    revoked: float | None
    former_digest: str = field(repr=False)
    former_until: float | None


class KeyStore:
    """The keys of one directory; open from the beginning until ``close``. Any thread may call.

    Each method raises ``StoreError``; ``changed`` may raise ``ConfigurationError`` as well, where other files have
    taken the place of those that were opened.
    """

    def __init__(self, directory: Path) -> None:
        """Open the files, making them where there are none. Raises ``ConfigurationError``."""
        self._path: Final = directory / DATABASE
        self._lock: Final = threading.RLock()
        self._writes = 0
        keyfiles.make_directory(directory)
        self._connection, self._pepper = _open(self._path)
        self._place = _place(self._path)
        self._seen = self._state()

    def digest(self, text: str) -> str:
        """The digest by which a key would stand in the store."""
        return tokens.digest(text, self._pepper)

    def create(self, name: str, options: str, now: float) -> str:
        """Add a key and return its text, for the only time. Raises ``StoreError`` where the name is taken."""
        token = tokens.make()
        with self._writing() as connection:
            other = _find(connection, name)
            if other is not None:
                past = " by a revoked key, and stays so" if other.revoked is not None else ""
                raise StoreError(f"the name {name} is taken{past}; choose another")
            row = (name, self.digest(token), tokens.hint(token), now, options)
            connection.execute("INSERT INTO keys VALUES (?, ?, ?, ?, ?, NULL, NULL, NULL)", row)
        return token

    def all(self) -> list[StoredKey]:
        """Every key, the revoked ones too, the oldest first."""
        with self._lock, explained(self._path):
            rows = self._connection.execute(f"SELECT {_COLUMNS} FROM keys ORDER BY created, name")  # noqa: S608
            return [_stored(row) for row in rows]

    def edit(self, name: str, change: Callable[[str], str]) -> None:
        """Give a key other options: what ``change`` makes of those that it has."""
        with self._writing() as connection:
            options = change(_usable(connection, name).options)
            connection.execute("UPDATE keys SET options = ? WHERE name = ?", (options, name))

    def revoke(self, name: str, now: float) -> None:
        """End a key and the one it had before; no harm is done to one that is revoked."""
        with self._writing() as connection:
            key = _known(connection, name)
            at = now if key.revoked is None else key.revoked
            connection.execute(
                "UPDATE keys SET revoked = ?, former_digest = NULL, former_until = NULL WHERE name = ?", (at, name)
            )

    def rotate(self, name: str, overlap: float, now: float) -> str:
        """Give a key another text, which is returned for the only time.

        The one before it counts for ``overlap`` seconds more; one before that ends now.
        """
        token = tokens.make()
        with self._writing() as connection:
            former = _usable(connection, name).digest
            kept = (former, now + overlap) if overlap > 0 else (None, None)
            connection.execute(
                "UPDATE keys SET digest = ?, hint = ?, former_digest = ?, former_until = ? WHERE name = ?",
                (self.digest(token), tokens.hint(token), *kept, name),
            )
        return token

    def changed(self) -> bool:
        """Whether anything was written, by any process, since this was asked last; cheap.

        Asked for the first time: since the store was opened.
        """
        with self._lock, explained(self._path):
            place = _place(self._path)
            if place != self._place:
                self._open_anew(place)
                return True
            state = self._state()
            seen, self._seen = self._seen, state
            return state != seen

    def close(self) -> None:
        """Let go of the files. Nothing may be called after it but this."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def _open_anew(self, place: tuple[int, int]) -> None:
        """Other files lie there now, as after a backup was brought back."""
        connection, self._pepper = _open(self._path)
        self._connection.close()
        self._connection, self._place = connection, place
        self._seen = self._state()

    def _state(self) -> tuple[int, int]:
        """Two counts: of what others have written, and of what was written through this connection."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return version, self._writes

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, on the disk when it ends."""
        with self._lock, explained(self._path):
            with _transaction(self._connection):
                yield self._connection
            self._writes += 1


def _open(path: Path) -> tuple[sqlite3.Connection, bytes]:
    """The database, of the newest version, and its secret. Raises ``ConfigurationError``."""
    try:
        with explained(path):
            keyfiles.make_empty(path)
            connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
            try:
                return connection, _prepare(connection, path)
            except BaseException:
                connection.close()
                raise
    except StoreError as error:
        raise ConfigurationError([str(error)]) from None


def _prepare(connection: sqlite3.Connection, path: Path) -> bytes:
    _write_ahead(connection)
    connection.execute("PRAGMA synchronous = FULL")  # what is revoked stays so
    if _version(connection) != len(_MIGRATIONS):
        with _transaction(connection):
            _migrate(connection, path)
    secret_file = path.with_name(SECRET)
    if _fact(connection) is None:
        with _transaction(connection):
            if _fact(connection) is None:  # else another process was quicker
                pepper = keyfiles.read_secret(secret_file) or keyfiles.write_secret(secret_file)
                connection.execute("INSERT INTO facts VALUES (?, ?)", (_CHECK, tokens.digest(_CHECK, pepper)))
    return _checked_secret(connection, secret_file)


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Each process may find it otherwise at first; only one can change it at a time, and SQLite does not wait."""
    deadline = time.monotonic() + PATIENCE
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    while mode != "wal":
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    version = _version(connection)
    if version > len(_MIGRATIONS):
        raise keyfiles.unusable(
            path, f"was written by a newer chatgpt-platform (its version is {version})", "use that one"
        )
    if version == 0 and connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None:
        raise keyfiles.unusable(path, "is a database of another program", "move it away")
    for statements in _MIGRATIONS[version:]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _fact(connection: sqlite3.Connection) -> str | None:
    row = connection.execute("SELECT value FROM facts WHERE name = ?", (_CHECK,)).fetchone()
    return None if row is None else str(row[0])


def _checked_secret(connection: sqlite3.Connection, path: Path) -> bytes:
    pepper = keyfiles.read_secret(path)
    if pepper is None:
        raise keyfiles.unusable(path, "is missing, and without it no key is known", keyfiles.RESTORE)
    right = tokens.digest(_CHECK, pepper)
    if connection.execute("SELECT 1 FROM facts WHERE value = ?", (right,)).fetchone() is None:
        raise keyfiles.unusable(path, f"is not the one that belongs to {DATABASE}", keyfiles.RESTORE)
    return pepper


def _place(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_dev, state.st_ino


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _find(connection: sqlite3.Connection, name: str) -> StoredKey | None:
    row = connection.execute(f"SELECT {_COLUMNS} FROM keys WHERE name = ?", (name,)).fetchone()  # noqa: S608
    return None if row is None else _stored(row)


def _known(connection: sqlite3.Connection, name: str) -> StoredKey:
    key = _find(connection, name)
    if key is None:
        raise StoreError(f"there is no key with the name {quoted(name)}; `keys list` tells which there are")
    return key


def _usable(connection: sqlite3.Connection, name: str) -> StoredKey:
    key = _known(connection, name)
    if key.revoked is not None:
        raise StoreError(f"the key {name} is revoked for good; make one with another name")
    return key


def _stored(row: tuple[str, str, str, float, str, float | None, str | None, float | None]) -> StoredKey:
    name, digest, hint, created, options, revoked, former_digest, former_until = row
    return StoredKey(name, digest, hint, created, options, revoked, former_digest or "", former_until)
