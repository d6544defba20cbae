"""The head of a request, the limits on it, and what is said where it cannot be read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

Lines = list[tuple[bytes, bytes]]
"""Header lines in their order, as (name, value)."""


def joined(lines: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Header lines as they are written, each ended by CRLF."""
    return b"".join([b"%b: %b\r\n" % line for line in lines])


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes of a request target, bytes of all header lines together, and how many lines."""

    target: int = 64 * 1024
    headers: int = 64 * 1024
    count: int = 128


class Head:
    """A request's head.

    ``target``: as it was sent, in origin form (``/path?query``) or ``*``. ``fields``: headers by their names
    in lower case; several of one name are joined by ``, ``. ``block``: their lines as they were sent.
    ``length``: bytes of the body that Content-Length declares, 0 without a body, None when it is chunked.
    ``keep_alive``: whether the client would use the connection again. ``memo``: the application's own.

    A head that is sent again on the same connection, different in nothing but Content-Length and
    X-Forwarded-For, is the same object with these two changed, once the answer to the former is finished. On
    another connection it is a copy, which has the ``memo`` too.
    """

    __slots__ = ("block", "expects_continue", "fields", "keep_alive", "length", "memo", "method", "minor",
                 "target")  # fmt: skip

    def __init__(self, method: str, target: bytes, minor: int) -> None:
        """``minor``: of HTTP/1.1 or HTTP/1.0."""
        self.method = method
        self.target = target
        self.minor = minor
        self.block = b""
        self.fields: dict[bytes, bytes] = {}
        self.length: int | None = 0
        self.keep_alive = False
        self.memo: object = None
        self.expects_continue = False

    def copy(self) -> Head:
        """One that may change apart from this one."""
        head = Head(self.method, self.target, self.minor)
        head.block = self.block
        head.fields = self.fields.copy()
        head.length = self.length
        head.keep_alive = self.keep_alive
        head.memo = self.memo
        return head

    def differ(self, figure: bytes, addresses: bytes | None, block: bytes) -> None:
        """It was sent again, with another Content-Length or, where it has one, X-Forwarded-For."""
        fields = self.fields
        self.block = block
        if fields[b"content-length"] != figure:
            fields[b"content-length"] = figure
            self.length = int(figure)
        if addresses is not None:
            fields[b"x-forwarded-for"] = addresses.strip()

    @property
    def lines(self) -> Lines:
        """The header lines in their order, names in lower case."""
        parts = (line.partition(b":") for line in self.block.split(b"\r\n") if line)
        return [(name.lower(), value.strip()) for name, _, value in parts]


class BadRequest(Exception):
    """A request that cannot be read: it is answered with ``status``, and its connection closes.

    The text says why, for a log; it holds nothing of the request.
    """

    def __init__(self, status: int, reason: str) -> None:
        self.status: Final = status
        super().__init__(reason)


def status_line(status: int, reason: bytes = b"") -> bytes:
    """``HTTP/1.1 200 OK``, CRLF included; a server answers 1.0 with its own version (RFC 9110, 2.5)."""
    known = _STATUS_LINES.get(status)
    if known is not None and not reason:
        return known
    return b"HTTP/1.1 %d %b\r\n" % (status, reason or b"Unknown")


_STATUS_LINES: Final = {
    int(status): b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus
}
