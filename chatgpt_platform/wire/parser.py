"""Requests, read from bytes through llhttp (httptools) and held to stricter rules; no I/O.

    parser = RequestParser(Limits())
    head, data = parser.head(data)        # None and b"" until the head is whole
    while not parser.complete:
        body, data = parser.body(data)    # a piece of the body, and what was not read of ``data``
    parser.next()

Each call takes no more than one step needs and gives back the rest, so that the bytes of a next request
stay bytes until this one is answered. llhttp itself cannot be stopped between two requests. But a head, and
a chunked body, can end only at an empty line, and any other body ends where its length says: so llhttp is
fed up to there, and then asked.

The request line is read here. There llhttp is too lenient (two spaces, no version, HTTP/0.9 and 2.0, RTSP,
absolute targets, CONNECT's authority) and too strict (methods it has not heard of, UTF-8 in a target, which
curl sends as it is); it is told a plain ``POST /`` instead. Of the header lines and the body llhttp refuses
bare CR and LF, folded lines, names that are no tokens, control characters, a length that is not digits, two
lengths, a length beside chunked, chunk sizes with signs or white space. It lets pass, and this module
refuses (RFC 9112, 3.2, 6.1 and 7.1.2): two Hosts, none or a bad one; transfer codings beside chunked, and
chunked under HTTP/1.0; trailers, which nobody here wants; chunk extensions without end.
"""

from __future__ import annotations

import re
from typing import Final

import httptools

from chatgpt_platform.wire.head import BadRequest, Head, Limits, Lines

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_REQUEST_LINE: Final = re.compile(
    rb"(%b{1,24}) (/[!-\"$-~\x80-\xff]*|\*) HTTP/1\.([01])" % _TOKEN,
)
"""Method, target in origin or asterisk form, minor version. A fragment (#) is never sent (RFC 9110, 7.1)."""

_BEGINNING: Final = re.compile(rb"%b{1,24}(?: |$)" % _TOKEN)
_NOT_IN_LINE: Final = re.compile(rb"[\x00-\x1f\x7f]")
_LONGEST_METHOD_AND_VERSION: Final = 24 + len(b"  HTTP/1.1")

_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
"""RFC 9110, 7.2, less the comma: two Hosts may have become one on their way."""

_EMPTY_LINE: Final = b"\r\n\r\n"
_PLAIN_LINES: Final = (b"POST / HTTP/1.0\r\n", b"POST / HTTP/1.1\r\n")

_MOST_FRAMING: Final = 16 * 1024
"""Bytes of a chunked body that may come without a byte of content: extensions, and the blank before a head."""


class RequestParser:
    """Reads one request after another from the bytes of one connection."""

    __slots__ = ("_fault", "_fed", "_framing", "_head", "_held", "_limits", "_lines", "_llhttp", "_muted", "_pieces",
                 "_tail", "_upgrading", "complete")  # fmt: skip

    def __init__(self, limits: Limits) -> None:
        self._limits: Final = limits
        self._llhttp = httptools.HttpRequestParser(self)
        self.next()

    def next(self) -> None:
        """Begin with the next request."""
        self.complete = False
        self._head: Head | None = None
        self._lines: Lines | None = None
        self._pieces: list[bytes] = []
        self._held = self._tail = b""
        self._fed = self._framing = 0
        self._upgrading = self._muted = False
        self._fault: BadRequest | None = None

    def close(self) -> None:
        """Let llhttp go, whose callbacks make a circle with this object."""
        del self._llhttp

    @property
    def begun(self) -> bool:
        """Whether something of a request has come."""
        return self._head is not None or bool(self._held)

    @property
    def partial(self) -> Head:
        """What is known of a request whose head cannot be read."""
        head = self._head or Head("", b"", 1)
        head.fields = dict(self._lines or ())
        return head

    def head(self, data: bytes) -> tuple[Head | None, bytes]:
        """The head, once it is whole, and the bytes behind it. Raises BadRequest."""
        if self._head is None:
            data = self._request_line(data)
            if self._head is None:
                return None, b""
        end = self._behind_empty_line(data)
        part = data[:end] if end else data
        self._fed += len(part)
        if self._fed > self._limits.headers:
            raise BadRequest(431, "the header lines are too long")
        self._feed(part)
        if not end:
            return None, b""
        if self._lines is not None:  # an empty line that was not the head's end cannot be
            raise BadRequest(400, "the head does not end at its empty line")
        self._tail = b""
        return self._head, data[end:]

    def body(self, data: bytes) -> tuple[bytes, bytes]:
        """A piece of the body, which may be empty, and the bytes that were not read. Raises BadRequest."""
        assert self._head is not None
        if self._head.length is None:
            end = self._behind_empty_line(data) or len(data)
        else:
            end = self._head.length - self._fed
        part = data if end >= len(data) else data[:end]
        self._feed(part)
        self._fed += len(part)
        pieces = self._pieces
        if pieces:
            self._pieces = []
            self._framing = 0
            return pieces[0] if len(pieces) == 1 else b"".join(pieces), data[end:]
        self._framing += len(part)
        if self._framing > _MOST_FRAMING:
            raise BadRequest(400, "chunks without content do not end")
        return b"", data[end:]

    # What httptools calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._muted:
            return
        lines = self._lines
        if lines is None:
            raise self._refuse(400, "it has trailers")
        if len(lines) >= self._limits.count:
            raise self._refuse(431, "there are too many header lines")
        lines.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        head, lines = self._head, self._lines
        if head is None or lines is None:
            return
        fields = dict(lines)
        if len(fields) < len(lines):
            fields = _joined(lines)
        head.lines, head.fields, self._lines = lines, fields, None
        host = fields.get(b"host")
        if host is None:
            if head.minor:
                raise self._refuse(400, "it has no Host")
        elif not _HOST.fullmatch(host):
            raise self._refuse(400, "its Host is not one host")
        length, coding = fields.get(b"content-length"), fields.get(b"transfer-encoding")
        if coding is not None:
            if coding.lower() != b"chunked" or not head.minor:
                raise self._refuse(400, "its transfer coding is not just chunked")
            head.length = None
        elif length is not None:
            head.length = int(length)
        head.keep_alive = self._llhttp.should_keep_alive()
        head.expects_continue = fields.get(b"expect", b"").lower() == b"100-continue" and head.minor == 1
        self._fed = 0
        self._upgrading = b"upgrade" in fields and self._llhttp.should_upgrade()

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        if not self._upgrading:
            self.complete = True

    # Inside.

    def _request_line(self, data: bytes) -> bytes:
        """Read the request line, if it is whole; what follows it."""
        data = self._without_blank(data)
        end = data.find(b"\r\n")
        if end < 0:
            self._hold(data)
            return b""
        match = _REQUEST_LINE.fullmatch(data, 0, end)
        if match is None:
            raise BadRequest(400, "its request line is not one of HTTP/1.1")
        method, target, minor = match.groups()
        if len(target) > self._limits.target:
            raise BadRequest(414, "its target is too long")
        self._head = Head(method.decode(), target, 1 if minor == b"1" else 0)
        self._lines, self._held, self._tail = [], b"", b"\r\n"
        self._fed = self._framing = 0
        self._llhttp.feed_data(_PLAIN_LINES[self._head.minor])
        return data[end + 2 :]

    def _without_blank(self, data: bytes) -> bytes:
        """What was held and ``data``, less the empty lines that may stand before a request (RFC 9112, 2.2)."""
        if self._held:
            return self._held + data
        if not data.startswith((b"\r", b"\n")):
            return data
        stripped = data.lstrip(b"\r\n")
        self._framing += len(data) - len(stripped)
        if self._framing > _MOST_FRAMING:
            raise BadRequest(400, "empty lines without a request")
        return stripped

    def _hold(self, data: bytes) -> None:
        """Keep the beginning of a request line, if it may become one."""
        if data and not (_BEGINNING.match(data) and not _NOT_IN_LINE.search(data, 0, len(data) - 1)):
            raise BadRequest(400, "it is not HTTP")
        if len(data) > self._limits.target + _LONGEST_METHOD_AND_VERSION:
            raise BadRequest(414, "its target is too long")
        self._held = data

    def _behind_empty_line(self, data: bytes) -> int:
        """Where in ``data`` the first empty line ends, also one that began before it; 0 when there is none."""
        tail = self._tail
        if tail:
            border = (tail + data[:3]).find(_EMPTY_LINE)
            if border >= 0:
                self._tail = _EMPTY_LINE[1:]
                return border + 4 - len(tail)
        end = data.find(_EMPTY_LINE) + 4
        if end >= 4:
            self._tail = _EMPTY_LINE[1:]  # its line feeds may begin another
            return end
        self._tail = (tail + data)[-3:]
        return 0

    def _feed(self, data: bytes) -> None:
        try:
            self._llhttp.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._decline_upgrade()
        except httptools.HttpParserError as error:
            raise self._fault or BadRequest(400, f"llhttp: {error}") from None

    def _decline_upgrade(self) -> None:
        """Read the body like any other: llhttp takes a request for an upgrade as ended by its head.

        A server may ignore an upgrade (RFC 9110, 7.8), and the body would be read as another request.
        """
        assert self._head is not None
        self._upgrading = False
        self._llhttp = httptools.HttpRequestParser(self)
        length = self._head.length
        framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
        self._muted = True
        self._llhttp.feed_data(b"%b%b\r\n\r\n" % (_PLAIN_LINES[self._head.minor], framing))
        self._muted = False

    def _refuse(self, status: int, reason: str) -> BadRequest:
        """Remember the fault: httptools passes on no more than that a callback failed."""
        self._fault = BadRequest(status, reason)
        return self._fault


def _joined(lines: Lines) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    for name, value in lines:
        known = fields.get(name)
        fields[name] = value if known is None else b"%b, %b" % (known, value)
    return fields
