"""One request as h11 reads it: a second opinion, from a reader that shares no code with ours.

seen = read(data)
if seen.state is State.WHOLE:
    seen.body, seen.left        # its content, and how many bytes are behind it
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

import h11

_NO_BOUND = 10**9
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]+)([^\n]*?)\r\n")


class State(Enum):
    WHOLE = auto()
    WAITING = auto()
    REFUSED = auto()


@dataclass(frozen=True)
class Seen:
    """``head``: None unless the head was whole and good. ``raw_head`` and ``raw_body``: the bytes of both, as far
    as they go; all of the input is head where there is none. ``left``: how many bytes follow the request.
    """

    state: State
    head: h11.Request | None
    raw_head: bytes
    raw_body: bytes = b""
    body: bytes = b""
    trailers: bool = False
    left: int = 0
    keep_alive: bool = False

    def field(self, name: bytes) -> bytes | None:
        return dict(self.head.headers).get(name) if self.head else None

    def lines(self, name: bytes) -> list[bytes]:
        """The values of all header lines of this name (in lower case), as they were sent."""
        return [line.partition(b":")[2].strip() for line in self.raw_lines(name)]

    def raw_lines(self, name: bytes) -> list[bytes]:
        """The same lines whole, with the CR at their end."""
        return [line for line in self.raw_head.split(b"\n") if line.partition(b":")[0].lower() == name]

    def size_lines(self) -> list[bytes]:
        """The lines of a chunked body that tell a size, without their ends."""
        return [self.raw_body[start:end] for start, end in _size_lines(self.raw_body)]


def read(data: bytes) -> Seen:
    """What h11 makes of the first request in ``data``."""
    connection = h11.Connection(h11.SERVER, _NO_BOUND)
    if data:  # nothing at all would be the end of input
        connection.receive_data(data)
    head, raw_head, body, trailers = None, data, b"", False
    state = State.WAITING
    try:
        while (event := connection.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.Request):
                head = event
                raw_head = data[: len(data) - _left(connection)]
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                trailers = bool(event.headers)
                state = State.WHOLE
                break
    except h11.RemoteProtocolError:
        state = State.REFUSED
    except OverflowError:
        pass  # h11 waits for a chunk that is larger than any buffer
    left = _left(connection) if state is State.WHOLE else 0
    raw_body = data[len(raw_head) : len(data) - left]
    keep_alive = state is State.WHOLE and _would_stay(connection)
    return Seen(state, head, raw_head, raw_body, body, trailers, left, keep_alive)


def plain_sizes(data: bytes) -> bytes:
    """A chunked body whose sizes have no leading zeros."""
    plain, at = b"", 0
    for start, _ in _size_lines(data):
        digits = re.match(rb"0+(?=[0-9A-Fa-f])", data[start:])
        plain += data[at:start]
        at = start + (digits.end() if digits else 0)
    return plain + data[at:]


def _left(connection: h11.Connection) -> int:
    return len(connection.trailing_data[0])


def _would_stay(connection: h11.Connection) -> bool:
    connection.send(h11.Response(status_code=404, headers=[(b"Content-Length", b"0")]))
    connection.send(h11.EndOfMessage())
    return connection.our_state is h11.DONE


def _size_lines(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each begins, and where its end of line does."""
    at = 0
    while at < len(data) and (match := _SIZE_LINE.match(data, at)):
        yield at, match.end() - 2
        size = int(match[1], 16)
        if size == 0:
            return
        at = match.end() + size + 2
