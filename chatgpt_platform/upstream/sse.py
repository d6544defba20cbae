"""Server-sent events, framed on bytes; pure. (WHATWG HTML, "Server-sent events", parsing.)

Lines end at CR, LF or CRLF and nowhere else: ``str.splitlines`` would also break at U+2028, which
stands unescaped inside JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

_BOM: Final = b"\xef\xbb\xbf"
_DATA: Final = b"data: "
_BORDERS: Final = (b"\n\n", b"\n\r", b"\r\r")
"""The last two bytes of an event: the end of a line, and of an empty one after it."""


class Event(NamedTuple):
    """``name``: the event's type, ``message`` when it tells none. ``data``: its lines, joined by LF."""

    name: bytes
    data: bytes


class Framer:
    """Cuts a stream of bytes at event borders. Nearly free where each chunk ends with an event."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = bytearray()

    @property
    def held(self) -> int:
        """Bytes held back: the beginning of an event whose end has not come."""
        return len(self._rest)

    def feed(self, data: bytes) -> bytes:
        """All that is whole now: what was held and ``data`` up to the last border; may be empty."""
        if not self._rest and data.endswith(b"\n\n"):
            return data
        rest = self._rest
        searched = max(0, len(rest) - 1)
        rest += data
        border = max(rest.rfind(sign, searched) for sign in _BORDERS)
        if border < 0:
            return b""
        end = border + 2
        if rest[end - 1 : end + 1] == b"\r\n":
            end += 1
        whole = bytes(rest[:end])
        del rest[:end]
        return whole

    def flush(self) -> bytes:
        """Give up what is held."""
        rest = bytes(self._rest)
        self._rest.clear()
        return rest


def holds(data: bytes, part: bytes) -> bool:
    """``part in data``: Python would try first whether ``part`` is a number, and take ten times as long."""
    return data.find(part) >= 0


def events(block: bytes) -> Iterator[Event]:
    """The events of a block. Comments, and events without data, are dropped."""
    if holds(block, b"\r"):
        block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    for part in block.removeprefix(_BOM).split(b"\n\n"):
        if part.startswith(_DATA) and not holds(part, b"\n"):
            yield Event(b"message", part[len(_DATA) :])  # as most services write them all
            continue
        event = _event(part)
        if event is not None:
            yield event


def encode(data: bytes) -> bytes:
    """An event with this data; line breaks in it become lines of their own, so text cannot forge an event."""
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\ndata: ")
    return b"data: %b\n\n" % data


def _event(part: bytes) -> Event | None:
    name, lines = b"message", []
    for line in part.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            lines.append(value)
        elif field == b"event":
            name = value or b"message"
    return Event(name, b"\n".join(lines)) if lines else None
