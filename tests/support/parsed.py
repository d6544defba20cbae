"""What ``RequestParser`` makes of bytes, however they are cut, as values that can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from chatgpt_platform.wire.head import BadRequest, Limits, Lines
from chatgpt_platform.wire.known import LastKnown
from chatgpt_platform.wire.parser import RequestParser


@dataclass(frozen=True)
class Request:
    """One whole request. ``end``: how many bytes of the input were read when it was complete."""

    method: str
    target: bytes
    minor: int
    lines: tuple[tuple[bytes, bytes], ...]
    body: bytes
    end: int
    keep_alive: bool = True
    fields: tuple[tuple[bytes, bytes], ...] = ()
    """Those that the application is given."""

    def field(self, name: bytes) -> bytes | None:
        return dict(self.lines).get(name)


@dataclass(frozen=True)
class Outcome:
    """Whole requests in their order, and why it ended: a refusal's status and text, or neither.

    ``begun``: whether a part of one more request had come when the bytes ended.
    """

    requests: tuple[Request, ...]
    status: int = 0
    reason: str = ""
    begun: bool = False

    @property
    def refused(self) -> bool:
        return self.status != 0


def parse(data: bytes, limits: Limits | None = None, *, last: LastKnown | None = None) -> Outcome:
    """All of it at once."""
    return parse_pieces([data], limits, last=last)


def parse_pieces(
    pieces: Iterable[bytes], limits: Limits | None = None, *, last: LastKnown | None = None
) -> Outcome:
    """Piece by piece, as a connection does it: the rest of each step goes into the next.

    ``last``: of the server to which the connection belongs.
    """
    parser = RequestParser(limits or Limits(), last)
    requests: list[Request] = []
    head, body, came = None, b"", 0
    try:
        for data in pieces:
            came += len(data)
            while True:
                if head is None:
                    head, data = parser.head(data)
                    if head is None:
                        assert data == b"", "the rest of an unfinished head is not the caller's to keep"
                        break
                elif parser.complete:
                    lines: Lines = head.lines
                    method, target, end = head.method, head.target, came - len(data)
                    fields = tuple(sorted(head.fields.items()))
                    requests.append(
                        Request(method, target, head.minor, tuple(lines), body, end, head.keep_alive, fields)
                    )
                    if not head.keep_alive:
                        return Outcome(tuple(requests))
                    head, body = None, b""
                    parser.next()
                    if not data:
                        break
                elif data:
                    before = len(data)
                    piece, data = parser.body(data)
                    assert len(data) < before, "a step without progress would be a loop without end"
                    body += piece
                else:
                    break
        return Outcome(tuple(requests), begun=parser.begun)
    except BadRequest as bad:
        return Outcome(tuple(requests), bad.status, str(bad))
    finally:
        parser.close()


def in_two(data: bytes) -> Iterator[list[bytes]]:
    """Every way to cut the bytes once."""
    for at in range(1, len(data)):
        yield [data[:at], data[at:]]


def bytewise(data: bytes) -> list[bytes]:
    """Each byte on its own."""
    return [data[at : at + 1] for at in range(len(data))]


def assert_cuts_do_not_matter(data: bytes, limits: Limits | None = None) -> Outcome:
    """The outcome, which is the same for the whole, for every cut in two and for single bytes."""
    whole = parse(data, limits)
    expected = essence(whole)
    assert essence(parse_pieces(bytewise(data), limits)) == expected
    for pieces in in_two(data):
        assert essence(parse_pieces(pieces, limits)) == expected, pieces
    return whole


def essence(outcome: Outcome) -> tuple[object, ...]:
    """What must not depend on the cuts. The words of a refusal may: whoever sees it first says it."""
    return outcome.requests, outcome.status, outcome.begun
