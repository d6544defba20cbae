"""The one thread that writes: batches as they come, upkeep between them, and patience with a disk that fails."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Final

from chatgpt_platform.ledger import trouble
from chatgpt_platform.ledger.batch import Batch
from chatgpt_platform.ledger.inserting import insert_calls, insert_said, save
from chatgpt_platform.ledger.store import Store
from chatgpt_platform.ledger.traits import Traits
from chatgpt_platform.ledger.transactions import transaction
from chatgpt_platform.ledger.upkeep import Upkeep

_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 10.0
"""Seconds between two attempts while the disk fails: each pause is twice the one before."""
_LAST_ATTEMPTS: Final = 2.0
"""Seconds for which the end is put off while the disk fails."""
_ENDS_WITHIN: Final = 5.0
"""Seconds to wait for the thread's end: a disk that does not even fail must not hold up the gateway's."""


def states_in(connection: sqlite3.Connection) -> dict[str, dict[str, str]]:
    """All that is stored, by kind and name."""
    found: dict[str, dict[str, str]] = {}
    for kind, name, value in connection.execute("SELECT kind, name, value FROM states"):
        found.setdefault(kind, {})[name] = value
    return found


class Writer:
    """``give`` and ``close`` belong to the event loop's thread, all else to the writer's own."""

    def __init__(self, store: Store, upkeep: Upkeep, logger: logging.Logger, clock: Callable[[], int]) -> None:
        self._store: Final = store
        self._upkeep: Final = upkeep
        self._logger: Final = logger
        self._clock: Final = clock
        self._changed: Final = threading.Condition()
        self._given = Batch()
        self._pending = Batch()
        self._waiting = (0, 0)
        self._traits: Traits | None = None
        """Of the connection that the upkeep knows, too."""
        self._closing = False
        self._failures = 0
        self._failing_since_lost = 0
        self.lost = 0
        """Rows and said texts that did not fit, or could not be written until the end."""
        self._unread = False
        """The states of the file are not known yet."""
        self.late: dict[str, dict[str, str]] | None = None
        """Those of a file that could only be opened after the start."""
        self.overflow = 0
        """Of the event loop's counting: what it had no room for."""
        self._thread: Final = threading.Thread(target=self._run, name="ledger", daemon=True)

    def start(self, failed: Exception | None = None) -> None:
        """Begin. ``failed``: the store could not be opened yet, which is said and tried again."""
        if failed is not None:
            self._unread = True
            self._failed(failed)
        self._thread.start()

    def waiting(self) -> tuple[int, int]:
        """Rows, and characters of said texts, that are given and not yet written."""
        return self._waiting

    def give(self, batch: Batch) -> None:
        """Hand over a batch to be written."""
        with self._changed:
            self._given.join(batch)
            rows, size = self._waiting
            self._waiting = (rows + len(batch.rows), size + batch.said_size)
            self._changed.notify_all()

    def settled(self, timeout: float) -> bool:
        """Wait until all that was given is written; False after ``timeout`` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._given and not self._pending, timeout)

    def close(self) -> None:
        """Write what waits, if the disk lets it, and end."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.ident is None:
            self._store.close()
            return
        self._thread.join(_ENDS_WITHIN)
        if self._thread.is_alive():
            self._logger.error(
                "%s: the disk does not answer; what waits to be written is lost: %d rows", self._store.path,
                self._waiting[0],
            )  # fmt: skip

    def _run(self) -> None:
        deadline: float | None = None
        while True:
            self._await_work()
            done = self._work()
            if self._closing:
                now = time.monotonic()
                deadline = now + _LAST_ATTEMPTS if deadline is None else deadline
                if (done and not self._given) or now >= deadline:
                    break
        self._give_up()
        self._store.close()

    def _await_work(self) -> None:
        """Wait for a batch, for upkeep that is due, for the end, or for the next attempt."""
        pause = min(_FIRST_PAUSE * 2 ** (self._failures - 1), _LONGEST_PAUSE) if self._failures else None
        with self._changed:
            if pause is None:
                rest = 0.0 if self._pending else self._upkeep.rest()
                self._changed.wait_for(lambda: bool(self._given) or self._closing, rest)
            elif self._closing:
                self._changed.wait(_FIRST_PAUSE)
            else:
                self._changed.wait_for(lambda: self._closing, pause)
            given, self._given = self._given, Batch()
            self._pending.join(given)

    def _work(self) -> bool:
        """Write what waits, then one piece of upkeep; whether the disk let it."""
        try:
            connection = self._store.connection()
            traits = self._traits
            if traits is None or traits.connection is not connection:
                # Opened anew: it may be another file, with other numbers and other rows that wait in it.
                self._traits = traits = Traits(connection)
                self._upkeep.begin()
            if self._unread:
                self.late = states_in(connection)
                self._unread = False
                self._pending.states.clear()  # they were made without these
            if self._pending:
                self._put(connection, traits)
            if not self._closing and self._upkeep.step(connection):
                self._traits = Traits(connection)  # some may be gone from the file
        except Exception as error:  # noqa: BLE001 - whatever it is, the thread goes on
            self._failed(error)
            return False
        if self._failures:
            self._recovered()
        return True

    def _put(self, connection: sqlite3.Connection, traits: Traits) -> None:
        batch, unfit = self._pending, list[str]()
        with transaction(connection):
            traits.renew()
            now = self._clock() // 1000
            # Ids first: a batch whose transaction fails takes new ones.
            first = self._store.next_id(now, len(batch.rows))
            insert_calls(connection, traits, batch.rows, first, unfit.append)
            insert_said(connection, batch.said, self._store.next_id(now, len(batch.said)), unfit.append)
            for kind, states in batch.states.items():
                if states.replaced:
                    connection.execute("DELETE FROM states WHERE kind = ?", (kind,))
                save(connection, kind, states.values, unfit.append)
        self._upkeep.written(len(batch.rows))
        if unfit:
            self.lost += len(unfit)
            self._logger.error(
                "%s: rows that did not fit were left out: %d (%s)", self._store.path, len(unfit), unfit[0]
            )
        self._settle()

    def _settle(self) -> None:
        """What waited is written, or lost."""
        with self._changed:
            rows, size = self._waiting
            self._waiting = (rows - len(self._pending.rows), size - self._pending.said_size)
            self._pending = Batch()
            self._changed.notify_all()

    def _failed(self, error: Exception) -> None:
        """Say it once, and let go of the file: the next attempt opens it anew."""
        if not isinstance(error, trouble.PASSING):
            self._logger.error("the ledger met a fault of its own", exc_info=error)
        elif not self._failures:
            self._failing_since_lost = self.lost + self.overflow
            self._logger.warning(
                "%s cannot be written: %s; rows wait in memory until it can",
                self._store.path,
                trouble.described(error),
            )
        self._failures += 1
        try:
            if trouble.is_broken(error):
                self._store.set_aside(str(error))
            self._store.let_go()
        except OSError as second:
            self._logger.warning(
                "%s cannot be moved out of the way: %s", self._store.path, trouble.described(second)
            )

    def _recovered(self) -> None:
        self._failures = 0
        lost = self.lost + self.overflow - self._failing_since_lost
        self._logger.warning("%s is written again; rows lost: %d", self._store.path, lost)

    def _give_up(self) -> None:
        with self._changed:
            self._pending.join(self._given)
            self._given = Batch()
        lost = len(self._pending.rows) + len(self._pending.said)
        if lost:
            self.lost += lost
            self._logger.error("%s could not be written until the end; rows lost: %d", self._store.path, lost)
        self._settle()
