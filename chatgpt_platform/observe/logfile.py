"""A log file of one process: rotates by size, outlives being renamed or deleted and a full disk."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from chatgpt_platform.observe.buffer import LIMIT, LineBuffer

_FLAGS: Final = (
    os.O_WRONLY
    | os.O_APPEND
    | os.O_CREAT
    | getattr(os, "O_BINARY", 0)  # Windows: no CR before each LF
    | getattr(os, "O_NONBLOCK", 0)  # a pipe in the file's place must not stop the gateway
)
_REPLACEABLE: Final = sys.platform != "win32"
"""Windows lets nobody rename or delete a file that we hold open."""


class LogFile:
    """Appends lines; ``write`` keeps them in memory, ``flush`` puts them on disk. Nothing but ``open`` raises.

    Lines that the disk does not take are kept until it does, as far as the buffer goes; what is dropped is
    counted. ``on_trouble`` is called with one sentence when trouble starts and with one when it is over.

    ``rotate_size``: bytes at which the file becomes ``name.1``, that ``name.2`` and so on up to ``rotate_keep``;
    0 for no rotation. With a ``rotate_keep`` of 0 the old lines are deleted. Any thread may write, only the
    owner may flush and close.
    """

    def __init__(
        self, path: Path, rotate_size: int, rotate_keep: int, on_trouble: Callable[[str], None],
        *, limit: int = LIMIT,
    ) -> None:  # fmt: skip
        self._path: Final = path
        self._rotate_size: Final = rotate_size
        self._rotate_keep: Final = rotate_keep
        self._on_trouble: Final = on_trouble
        self._buffer: Final = LineBuffer(limit)
        self._descriptor: int | None = None
        self._torn = False
        """What stands at the end of the file is no whole line."""
        self._failing = False
        self._stuck = False
        """The file cannot be rotated."""

    @property
    def lost(self) -> int:
        """Lines for which there was no room, from the start on."""
        return self._buffer.lost

    @property
    def failing(self) -> bool:
        """Whether the file could not be written the last time."""
        return self._failing

    def open(self) -> int:
        """Open the file, making its directory first where there is none; its descriptor. Raises OSError."""
        try:
            descriptor = os.open(self._path, _FLAGS, 0o666)
        except FileNotFoundError:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, _FLAGS, 0o666)
        self._release()
        self._descriptor = descriptor
        self._torn = self._ends_torn(os.fstat(descriptor))
        return descriptor

    def write(self, data: bytes, lines: int = 1) -> None:
        """Keep one or more lines, line feeds included, for the next flush."""
        self._buffer.add(data, lines)

    def flush(self) -> None:
        """Write what was kept: as a rule one call of the system."""
        data = self._buffer.take()
        if data:
            written, error = self._append(data)
            if error is not None:
                self._buffer.put_back(data[written:])
            self._settle(error)

    def close(self) -> None:
        """Flush, and let go of the file. A later flush opens it again."""
        self.flush()
        self._release()

    def _append(self, data: bytes) -> tuple[int, OSError | None]:
        """Bytes written, whole lines all of them, and the error that stopped it."""
        written = start = 0
        try:
            descriptor = self._current()
            if self._is_due(os.fstat(descriptor), len(data)):
                self._rotate()
                descriptor = self.open()
            if self._torn:
                _write(descriptor, b"\n")
                self._torn = False
            start = os.fstat(descriptor).st_size
            while written < len(data):
                written += _write(descriptor, memoryview(data)[written:])
        except OSError as error:
            whole = data.rfind(b"\n", 0, written) + 1
            self._cut(written - whole, start + whole)
            self._release()  # a fresh descriptor next time: this one may be what is broken
            return whole, error
        return written, None

    def _current(self) -> int:
        """The descriptor of the file that is at the path now. Raises OSError."""
        if self._descriptor is not None:
            if not _REPLACEABLE:
                return self._descriptor
            with contextlib.suppress(OSError):
                if os.path.samestat(os.fstat(self._descriptor), self._path.stat()):
                    return self._descriptor
        return self.open()

    def _is_due(self, state: os.stat_result, more: int) -> bool:
        if not self._rotate_size or not stat.S_ISREG(state.st_mode):
            return False
        return state.st_size > 0 and state.st_size + more > self._rotate_size

    def _rotate(self) -> None:
        self._release()  # Windows renames no open file
        try:
            if self._rotate_keep == 0:
                self._path.unlink(missing_ok=True)
            for number in range(self._rotate_keep, 0, -1):
                older = self._numbered(number - 1) if number > 1 else self._path
                with contextlib.suppress(FileNotFoundError):
                    older.replace(self._numbered(number))
        except OSError as error:
            if not self._stuck:
                self._stuck = True
                self._on_trouble(f"{self._path} cannot be rotated and grows: {_reason(error)}")
        else:
            self._stuck = False

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _cut(self, excess: int, size: int) -> None:
        """Take the beginning of an unfinished line away again, or remember that it stands there."""
        if excess and self._descriptor is not None:
            try:
                os.ftruncate(self._descriptor, size)
            except OSError:
                self._torn = True

    def _ends_torn(self, state: os.stat_result) -> bool:
        """Whether the last writer was stopped in mid-line."""
        if not stat.S_ISREG(state.st_mode):
            return self._torn
        if state.st_size == 0:
            return False
        try:
            with self._path.open("rb") as file:
                file.seek(-1, os.SEEK_END)
                return file.read(1) != b"\n"
        except OSError:
            return False  # ours to write but not to read: nothing can be known

    def _release(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _settle(self, error: OSError | None) -> None:
        """Say it when trouble starts and when it is over."""
        if error is not None:
            if not self._failing:
                self._failing = True
                self._on_trouble(
                    f"{self._path} cannot be written: {_reason(error)}; lines will be lost until it can be"
                )
            return
        dropped = self._buffer.take_dropped()
        if self._failing:
            self._failing = False
            self._on_trouble(f"{self._path} is written again; lines lost: {dropped}")
        elif dropped:
            self._on_trouble(f"{self._path}: more lines came than could be held; lines lost: {dropped}")


def _write(descriptor: int, data: bytes | memoryview) -> int:
    written = os.write(descriptor, data)
    if written == 0:  # some file systems say so when they are full
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return written


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
