"""A log file that rotates by size, survives being moved away or deleted, and never fails its writer."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

MAX_BUFFER: Final = 1024 * 1024


class LogFile:
    """Lines are collected by ``write`` and put down by ``flush``, which its owner calls every moment.

    What cannot be written is dropped and counted; ``on_trouble`` is told when that begins and when it ends.
    """

    def __init__(self, path: Path, size: int, keep: int, on_trouble: Callable[[str], None]) -> None:
        """``size``: bytes at which the file becomes ``name.1``, 0: never. ``keep``: how many of those stay.

        Raises OSError when the file cannot be opened now.
        """
        self._path: Final = path
        self._max: Final = size
        self._keep: Final = keep
        self._on_trouble: Final = on_trouble
        self._lines: list[bytes] = []
        self._buffered = 0
        self._lost = 0
        self._descriptor = self._open()

    def write(self, line: bytes) -> None:
        """Take a line, line end and all."""
        if self._buffered + len(line) > MAX_BUFFER:
            self._lost += 1
            return
        self._lines.append(line)
        self._buffered += len(line)

    def flush(self) -> None:
        """Put down what was taken. Never raises."""
        if not self._lines:
            return
        lines, self._lines, self._buffered = self._lines, [], 0
        try:
            self._put(b"".join(lines))
        except OSError as error:
            first = self._lost == 0
            self._lost += len(lines)
            if first:
                self._on_trouble(
                    f"{self._path} cannot be written ({error.strerror}): log lines are lost until it can; "
                    "free some space or mend the directory"
                )
        else:
            if self._lost:
                lost, self._lost = self._lost, 0
                self._on_trouble(f"{self._path} can be written again; {lost} log lines were lost")

    def close(self) -> None:
        """Put down what was taken and close. Never raises."""
        self.flush()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _put(self, data: bytes) -> None:
        if self._moved():
            self._reopen()
        start = os.fstat(self._descriptor).st_size
        if self._max and start and start + len(data) > self._max:
            self._rotate()
            start = 0
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            # Half a line would spoil the next one too.
            os.ftruncate(self._descriptor, start)
            raise

    def _open(self) -> int:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        return os.open(self._path, flags, 0o640)

    def _moved(self) -> bool:
        """Whether the path leads elsewhere than to the open file."""
        if self._descriptor < 0:
            return True
        try:
            there = self._path.stat()
        except OSError:
            return True
        return not os.path.samestat(there, os.fstat(self._descriptor))

    def _reopen(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._descriptor = self._open()

    def _rotate(self) -> None:
        # Windows moves no open file.
        os.close(self._descriptor)
        self._descriptor = -1
        numbered = [self._path.with_name(f"{self._path.name}.{number}") for number in range(1, self._keep + 1)]
        steps = [self._path, *numbered]
        if not numbered:
            self._path.unlink(missing_ok=True)
        for older, newer in reversed(list(zip(steps[1:], steps[:-1], strict=True))):
            if newer.exists():
                newer.replace(older)
        self._descriptor = self._open()
