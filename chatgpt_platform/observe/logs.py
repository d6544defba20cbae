"""The logs: ``access.log``, a JSON object a call, and ``app.log``, what happened, for people.

Without a directory both go to standard output. With one, the lines for people go to both.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TextIO

from chatgpt_platform.observe.access import AccessLines, Record
from chatgpt_platform.observe.logfile import LogFile
from chatgpt_platform.observe.redact import Redactor, printable

LOGGER: Final = "chatgpt_platform"
_FOREIGN: Final = ("tornado", "asyncio")
"""Libraries whose warnings belong into our log."""


class Logs:
    """Opens the logs, and is where lines go until ``close``. ``flush`` is for its owner to call every moment."""

    def __init__(
        self, directory: str, level: str, rotate_size: int, rotate_keep: int, redactor: Redactor,
        stdout: TextIO | None,
    ) -> None:  # fmt: skip
        """``directory``: "" for none; one that cannot be written is a warning, not an error."""
        self._lines: Final = AccessLines(redactor)
        self._stdout: Final = _Output(stdout)
        self._access_file: LogFile | None = None
        self._app_file: LogFile | None = None
        self.logger: Final = logging.getLogger(LOGGER)
        self._handler: Final = _Handler(redactor, self._put_app)
        self._attach(level)
        if directory:
            self._open(Path(directory), rotate_size, rotate_keep)

    def access(self, record: Record) -> None:
        """Log a call that ended."""
        line = self._lines.line(record)
        if self._access_file is not None:
            self._access_file.write(line)
        else:
            self._stdout.write(line.decode("ascii"))

    def flush(self) -> None:
        """Put down all lines taken so far."""
        for file in (self._access_file, self._app_file):
            if file is not None:
                file.flush()
        self._stdout.flush()

    def close(self) -> None:
        """Put down everything and let go. May be called again."""
        for logger in (self.logger, *map(logging.getLogger, _FOREIGN)):
            logger.removeHandler(self._handler)
        self.flush()
        for file in (self._access_file, self._app_file):
            if file is not None:
                file.close()

    def _attach(self, level: str) -> None:
        self.logger.setLevel(level.upper())
        self.logger.propagate = False
        self.logger.addHandler(self._handler)
        for name in _FOREIGN:
            foreign = logging.getLogger(name)
            foreign.setLevel(logging.WARNING)
            foreign.propagate = False
            foreign.addHandler(self._handler)

    def _open(self, directory: Path, size: int, keep: int) -> None:
        try:
            self._app_file = LogFile(directory / "app.log", size, keep, self._say_trouble)
            self._access_file = LogFile(directory / "access.log", size, keep, self._say_trouble)
        except OSError as error:
            if self._app_file is not None:
                self._app_file.close()
                self._app_file = None
            self.logger.warning(
                "%s cannot be written (%s): logs go to standard output; give the directory to the user who runs "
                "this, or set logging.directory to another one", directory, error.strerror,
            )  # fmt: skip

    def _say_trouble(self, message: str) -> None:
        # Not into the file that is in trouble.
        self._stdout.write(self._handler.format_line(logging.WARNING, time.time(), message))

    def _put_app(self, line: str) -> None:
        if self._app_file is not None:
            self._app_file.write(line.encode("utf-8", "backslashreplace"))
        self._stdout.write(line)


class _Handler(logging.Handler):
    """Formats a record as one escaped line without secrets, traceback and all at level debug."""

    def __init__(self, redactor: Redactor, put: Callable[[str], None]) -> None:
        super().__init__()
        self._redactor: Final = redactor
        self._put: Final = put

    def emit(self, record: logging.LogRecord) -> None:
        message = _message(record)
        if record.exc_info and record.exc_info[1] is not None:
            message += f": {self._exception(record)}"
        line = self.format_line(record.levelno, record.created, message)
        self._put(line)

    def format_line(self, level: int, created: float, message: str) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created))
        text = printable(self._redactor.clean(message))
        return f"{moment}.{int(created % 1 * 1000):03d}Z {logging.getLevelName(level):<8} {text}\n"

    def _exception(self, record: logging.LogRecord) -> str:
        assert record.exc_info is not None
        error = record.exc_info[1]
        if logging.getLogger(LOGGER).isEnabledFor(logging.DEBUG):
            return logging.Formatter().formatException(record.exc_info)
        trace = error.__traceback__ if error is not None else None
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})" if trace is not None else ""
        return f"{type(error).__name__}: {error}{place}"


class _Output:
    """Standard output, as far as it is there: a reader that has left costs lines, never an error."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._lines: list[str] = []

    def write(self, line: str) -> None:
        if self._stream is not None:
            self._lines.append(line)

    def flush(self) -> None:
        if not self._lines or self._stream is None:
            return
        text = "".join(self._lines)
        self._lines.clear()
        try:
            self._stream.write(text)
            self._stream.flush()
        except UnicodeEncodeError:
            self._lines.append(text.encode("ascii", "backslashreplace").decode())
            self.flush()
        except (BrokenPipeError, ValueError):
            if self._stream is sys.stdout:
                # The interpreter would complain at its end about what is left in the buffer.
                sys.stdout = None
            self._stream = None
        except OSError:
            return  # a full disk behind a redirection: these lines are lost


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):
        return f"{record.msg} {record.args}"
