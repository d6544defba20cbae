"""Both logs, set up from the settings; see the package's docstring for the way of a line."""

from __future__ import annotations

import errno
import logging
import os
import sys
from pathlib import Path
from typing import BinaryIO, Final, TextIO

from chatgpt_platform.observe import access
from chatgpt_platform.observe.access import Record
from chatgpt_platform.observe.buffer import Sink
from chatgpt_platform.observe.console import Console
from chatgpt_platform.observe.handler import NAME, LineHandler
from chatgpt_platform.observe.logfile import LogFile
from chatgpt_platform.observe.redact import Redactor

_FOREIGN: Final = ("tornado", "asyncio", "concurrent.futures")
"""Loggers of what we are built on; their warnings come out in our form, never raw."""


_AT_ONCE: Final = 64
"""Records that become lines together: one after the other costs less than each amid the work of its call."""

_MUCH: Final = 128 * 1024
"""Bytes of lines that are written without waiting for the timer: megabytes of them would take memory, and their
places in the processor's cache."""


class Logs:
    """The access log and the application log of one configuration.

    With a ``directory``, ``access.log`` and ``app.log`` in it, the latter's lines on ``stdout`` as well; without
    one, or when it cannot be written (one warning says so, with the cure), all lines on ``stdout``.

    On a reload make the new one first, then close the old one: no line is lost between them. ``access`` may still
    be called on a closed one, for calls that began under it.
    """

    def __init__(
        self, directory: str, level: str, rotate_size: int, rotate_keep: int, redactor: Redactor,
        stdout: TextIO | BinaryIO | None,
    ) -> None:  # fmt: skip
        """``level``: debug, info, warning or error. ``rotate_size``: bytes. Never raises for a file's sake."""
        self.logger: Final = logging.getLogger(NAME)
        self._redactor: Final = redactor
        self._console: Final = Console(stdout)
        self._closed = False
        files, warning = self._open_files(directory, rotate_size, rotate_keep) if directory else ((), "")
        self._files: Final[tuple[LogFile, ...]] = files
        self._access: Final[Sink] = files[0] if files else self._console
        self._records: list[Record] = []
        self._held = 0
        """Bytes of lines since the file was written."""
        self._at_once: Final = _AT_ONCE if files else 1  # on the console they stand between other lines
        self._handler: Final = LineHandler((self._console, *files[1:]), redactor, tracebacks=level == "debug")
        self._attach(level)
        if warning:
            self._warn(warning)

    @property
    def lost(self) -> int:
        """Lines for which there was no room."""
        return self._console.lost + sum(file.lost for file in self._files)

    def access(self, record: Record) -> None:
        """Write a call's line. ``record`` is final."""
        records = self._records
        records.append(record)
        if self._closed:
            self._let_go()
        elif len(records) >= self._at_once:
            self._write_records()

    def flush(self) -> None:
        """Put on disk what was written since the last time; for the owner's timer."""
        self._write_records()
        self._held = 0
        self._access.flush()
        self._handler.flush()

    def close(self) -> None:
        """Leave the loggers, write what is left, let go of the files."""
        self._closed = True
        for logger in self._loggers():
            logger.removeHandler(self._handler)
            if not any(isinstance(handler, LineHandler) for handler in logger.handlers):
                logger.propagate = True
                logger.setLevel(logging.NOTSET)
        self._let_go()
        self._handler.close()

    def _write_records(self) -> None:
        records, self._records = self._records, []
        if not records:
            return
        lines = access.lines(records, self._redactor)
        self._access.write(lines, len(records))
        self._held += len(lines)
        if self._held >= _MUCH and self._files and not self._files[0].failing:
            self._held = 0
            self._access.flush()

    def _let_go(self) -> None:
        self._write_records()
        for file in self._files * 2:  # what there is to say of one may go into the other
            file.close()
        self._console.flush()

    def _attach(self, level: str) -> None:
        for logger in self._loggers():
            logger.addHandler(self._handler)
            logger.propagate = False
            logger.setLevel(logging.WARNING)
        self.logger.setLevel(level.upper())

    def _loggers(self) -> tuple[logging.Logger, ...]:
        return (self.logger, *(logging.getLogger(name) for name in _FOREIGN))

    def _open_files(self, directory: str, rotate_size: int, rotate_keep: int) -> tuple[tuple[LogFile, ...], str]:
        """Both files, open; or none and the warning."""
        folder = Path(directory).absolute()
        files = tuple(
            LogFile(folder / name, rotate_size, rotate_keep, self._warn) for name in ("access.log", "app.log")
        )
        try:
            for file in files:
                file.open()
        except OSError as error:
            for file in files:
                file.close()
            return (), _cure(folder, error)
        return files, ""

    def _warn(self, message: str) -> None:
        # By way of our own handler: it also works while the loggers are given up or belong to another Logs.
        record = self.logger.makeRecord(NAME, logging.WARNING, __file__, 0, message, (), None)
        self._handler.handle(record)


def _cure(folder: Path, error: OSError) -> str:
    if isinstance(error, FileExistsError | NotADirectoryError | IsADirectoryError):
        # A file may stand where one of the directories should be.
        obstacle = next((each for each in folder.parents if each.is_file()), Path(error.filename or folder))
        obstacle = folder if folder.is_file() else obstacle
        cure = f"remove {obstacle}, which stands in the way"
    elif error.errno == errno.EROFS:
        cure = "mount it writable"
    elif error.errno == errno.ENOSPC:
        cure = "make room on its disk"
    elif sys.platform != "win32":
        cure = f"mkdir -p {folder}; chown -R {os.getuid()} {folder}; chmod -R u+rwX {folder}"
    else:
        cure = "allow this user to write there"
    return (
        f"the log directory {folder} cannot be written ({error.strerror or error});"
        f" log lines go to standard output. The cure: {cure}; or set logging.directory to another one or to none"
    )
