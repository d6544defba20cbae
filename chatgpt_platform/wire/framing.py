"""The frames of chunks (RFC 9112, 7.1), written and seen at a glance; pure."""

from __future__ import annotations

import re
from typing import Final

_SHORT: Final = 1024
_SIZE_LINES: Final = tuple(b"%x\r\n" % size for size in range(_SHORT))
_END: Final = b"\r\n"
_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,7})\r\n")

SIZE_LINES: Final = {len(line) + size + len(_END): line for size, line in enumerate(_SIZE_LINES) if size}
"""The first line of a chunk as ``chunk`` makes it, by the length of all of it; of short ones."""


def chunk(payload: bytes) -> bytes:
    """A chunk with this payload, of at least a byte."""
    size = len(payload)
    line = _SIZE_LINES[size] if size < _SHORT else b"%x\r\n" % size
    return b"".join((line, payload, _END))


def left_of_chunk(data: bytes, left: int = 0) -> int:
    """Bytes that are missing of the chunk in which valid bytes end; 0 where they end between two.

    -1 where it takes more than a glance to tell: within a chunk's first line, from the last chunk on, behind chunk
    extensions. ``left``: the same for the bytes before them, not -1.
    """
    at = left
    while at < len(data):
        line = _SIZE_LINE.match(data, at)
        size = int(line[1], 16) if line else 0
        if line is None or not size:
            return -1
        at = line.end() + size + len(_END)
    return at - len(data)
