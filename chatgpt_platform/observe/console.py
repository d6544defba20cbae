"""Standard output as a place for log lines. When it is closed, gone or was never there, lines are lost."""

from __future__ import annotations

import contextlib
import io
from typing import Any, BinaryIO, Final, TextIO

from chatgpt_platform.observe.buffer import LineBuffer


class Console:
    """Writes UTF-8 lines to a stream, whatever its encoding and whatever becomes of it."""

    def __init__(self, stream: TextIO | BinaryIO | None) -> None:
        self._buffer: Final = LineBuffer()
        self._stream: Final = _lowest(stream)
        self._torn = False

    @property
    def lost(self) -> int:
        """Lines for which there was no room."""
        return self._buffer.lost

    def write(self, data: bytes, lines: int = 1) -> None:
        self._buffer.add(data, lines)

    def flush(self) -> None:
        data = self._buffer.take()
        if data and self._stream is not None:
            # Whoever started us has chosen the stream: it may raise anything, and a line that nobody
            # can read is no reason to fail. The next lines are tried again: a full disk has room one day.
            with contextlib.suppress(Exception):
                self._put(b"\n" + data if self._torn else data)

    def _put(self, data: bytes) -> None:
        stream = self._stream
        if not isinstance(stream, io.RawIOBase | io.BufferedIOBase):
            stream.write(data.decode("utf-8", "replace"))
            stream.flush()
            return
        rest = memoryview(data)
        while rest:
            written = stream.write(rest)
            if not written:  # a pipe that does not block and is full
                return
            rest = rest[written:]
            self._torn = data[-len(rest) - 1] != ord("\n")
        stream.flush()


def _lowest(stream: Any) -> Any:
    """The stream below all buffers: what is left in one fails the interpreter's exit once the reader is gone."""
    with contextlib.suppress(Exception):  # as above: any stream may come
        stream.flush()
    with contextlib.suppress(Exception):
        stream = getattr(stream, "buffer", stream)
        stream = getattr(stream, "raw", stream)
    return stream
