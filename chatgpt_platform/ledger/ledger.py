"""What the event loop sees of the ledger: it never waits for the disk."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from chatgpt_platform.ledger.batch import Batch
from chatgpt_platform.ledger.database import connect
from chatgpt_platform.ledger.retention import Limits, Retention
from chatgpt_platform.ledger.rows import Row
from chatgpt_platform.ledger.store import Store
from chatgpt_platform.ledger.trouble import LedgerError
from chatgpt_platform.ledger.upkeep import Upkeep
from chatgpt_platform.ledger.writer import Writer, states_in

ROWS_WAIT: Final = 50_000
"""Rows held at most while the disk does not take them: some 50 MB."""
SAID_WAITS: Final = 16 * 1024 * 1024
"""Characters of said texts held at most."""
_LAST_ROWS: Final = 50_000
"""More than a gateway writes in a second."""


class Ledger:
    """Rows, said texts and states on their way to ``ledger.db``.

    All methods belong to one thread. None but ``open``, ``settle`` and ``close`` ever waits.
    """

    def __init__(
        self, directory: Path, keep: float, size: int, shift: int, logger: logging.Logger,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:  # fmt: skip
        """``keep``: seconds that rows stay, ``size``: bytes that the file may hold; 0 for no limit.

        ``shift``: seconds behind a whole hour of UTC at which an hour begins in the owner's time zone; ``clock``:
        when rows are put in, in nanoseconds since the epoch.
        """
        self._logger: Final = logger
        self._store: Final = Store(directory, shift, logger)
        self._retention: Final = Retention(Limits(keep, size))
        self._writer: Final = Writer(self._store, Upkeep(self._retention), logger, clock)
        self._rows: Final[list[Row]] = []
        self._rest = Batch()
        self._states: dict[str, dict[str, str]] = {}
        self._closed = False
        self._overflows = False
        self.opened = False
        """Whether ``open`` could read the file; else ``states`` knows nothing."""
        self.add: Final[Callable[[Row], None]] = self._rows.append
        """Take one row, in the order of ``rows.COLUMNS``.

        It stands on the path of each call, so it is a list's own ``append``; ``flush`` keeps the bounds.
        """

    @property
    def lost(self) -> int:
        """Rows and said texts that were dropped, from the start on."""
        return self._writer.lost + self._writer.overflow

    def open(self) -> None:
        """Open the file and begin to write. Raises LedgerError where another gateway has the directory, or a newer
        program the file; any other trouble is logged and tried again, while rows wait."""
        failed: Exception | None = None
        try:
            connection = self._store.connection()
            self._states = states_in(connection)
            self.opened = True
        except (sqlite3.Error, OSError) as error:
            failed = error
        except BaseException:
            self._store.close()
            raise
        self._writer.start(failed)

    @property
    def renewed(self) -> int:
        """How often another file has taken the place of that which was written before: in it nothing is saved."""
        return self._store.renewed

    def take_late(self) -> bool:
        """Whether a file that could not be read at the start has been read since; then ``states`` has its own.

        True once. What was saved before that is not stored.
        """
        late, self._writer.late = self._writer.late, None
        if late is not None:
            self._states, self.opened = late, True
        return late is not None

    def recorded(self, request_ids: Collection[str]) -> frozenset[str]:
        """Which of these calls, of the last second before the start, have their rows; none where that cannot be
        read. Before the first row is added."""
        try:
            with closing(connect(self._store.path.parent)) as connection:
                last = connection.execute("SELECT request_id FROM entries ORDER BY id DESC LIMIT ?", (_LAST_ROWS,))
                return frozenset(request_id for (request_id,) in last).intersection(request_ids)
        except (LedgerError, sqlite3.Error):
            return frozenset()

    def retain(self, keep: float, size: int) -> None:
        """Keep more or less from now on; as in ``__init__``."""
        self._retention.limits = Limits(keep, size)

    def states(self, kind: str) -> dict[str, str]:
        """What was saved under a kind when the ledger was opened."""
        return dict(self._states.get(kind, {}))

    def say(self, request_id: str, key: str, client: str, prompt: str, answer: str) -> None:
        """Keep what was said in a call; only for a key that asks for it."""
        size = len(prompt) + len(answer)
        if self._writer.waiting()[1] + self._rest.said_size + size > SAID_WAITS:
            self._drop(1)
            return
        self._rest.said.append((time.time(), request_id, key, client, prompt, answer))
        self._rest.said_size += size

    def save(self, kind: str, values: Mapping[str, str]) -> None:
        """Lay running state over what is stored: texts by name, "" for what is to be deleted.

        It is written in one transaction with all rows up to the next ``flush``: save it just before that.
        """
        self._rest.save(kind, values, replace=False)

    def replace(self, kind: str, values: Mapping[str, str]) -> None:
        """As ``save``, and nothing else of this kind stays."""
        self._rest.save(kind, values, replace=True)

    def flush(self) -> None:
        """Hand what came to the thread that writes; a few times a second."""
        if not (self._rows or self._rest):
            return
        batch, self._rest = self._rest, Batch()
        room = ROWS_WAIT - self._writer.waiting()[0]
        batch.rows = self._rows[: max(room, 0)]
        dropped = len(self._rows) - len(batch.rows)
        self._rows.clear()
        if dropped:
            self._drop(dropped)
        elif room > ROWS_WAIT // 2:
            self._overflows = False
        self._writer.give(batch)

    def settle(self, timeout: float) -> bool:
        """Flush, and wait until all is written; False after ``timeout`` seconds. Not for the event loop."""
        self.flush()
        return self._writer.settled(timeout)

    def close(self) -> None:
        """Write what is left, and let go of the file: within a few seconds, whatever the disk does."""
        if not self._closed:
            self._closed = True
            self.flush()
            self._writer.close()

    def _drop(self, count: int) -> None:
        if not self._overflows:
            self._overflows = True
            self._logger.warning(
                "%s: more waits to be written than is held; rows are lost from now on", self._store.path
            )
        self._writer.overflow += count
