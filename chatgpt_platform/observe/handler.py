"""Lines of the application log: a time, a level, and a text that holds no key and no control character."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from pathlib import PurePath
from typing import Final

from chatgpt_platform.observe.buffer import Sink
from chatgpt_platform.observe.redact import Redactor, printable
from chatgpt_platform.observe.timestamps import stamp

NAME: Final = "chatgpt_platform"
"""Our own logger; the lines of any other begin with its name."""

MAX_TEXT: Final = 8192
"""Characters of a line; an exception may quote a whole answer."""


class LineHandler(logging.Handler):
    """Writes ``2026-01-31T12:00:00.123Z INFO  text`` to each sink.

    An exception adds its type, its text and its place; with ``tracebacks`` the whole stack follows, each of
    its lines set in.
    """

    def __init__(self, sinks: Sequence[Sink], redactor: Redactor, *, tracebacks: bool) -> None:
        super().__init__()
        self._sinks: Final = sinks
        self._redactor: Final = redactor
        self._tracebacks: Final = tracebacks

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self._text(record)
        except Exception as error:  # noqa: BLE001 - wrong arguments may raise anything; the caller goes on
            text = f"a log message cannot be formatted ({type(error).__name__}): {_place(record)}"
        line = f"{stamp(record.created)} {record.levelname:<5} {text}\n".encode()
        for sink in self._sinks:
            sink.write(line)

    def flush(self) -> None:
        """Also called by ``logging`` when the interpreter exits."""
        for sink in self._sinks:
            sink.flush()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Nothing: the default prints the record, keys and all, to standard error."""

    def _text(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.name != NAME:
            text = f"{record.name}: {text}"
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            return self._shown(text)
        if self._tracebacks:
            stack = self._redactor.clean("".join(traceback.format_exception(error)))
            lines = stack.rstrip("\n").split("\n")
            return "\n".join([self._shown(text), *(f"    {printable(line)[:MAX_TEXT]}" for line in lines)])
        return self._shown(f"{text}: {_summary(error)}")

    def _shown(self, text: str) -> str:
        # Cleaned before it is cut, as half a key would not be known as one; but not without bounds.
        return printable(self._redactor.clean(text[: 4 * MAX_TEXT]))[:MAX_TEXT]


def _summary(error: BaseException) -> str:
    """Type, text and place of an exception: what stands in a log without a traceback."""
    text = "".join(traceback.format_exception_only(error)).strip()
    frames = traceback.extract_tb(error.__traceback__)
    return f"{text} ({PurePath(frames[-1].filename).name}:{frames[-1].lineno})" if frames else text


def _place(record: logging.LogRecord) -> str:
    return f"{PurePath(record.pathname).name}:{record.lineno}"
