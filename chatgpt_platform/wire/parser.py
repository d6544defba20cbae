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

Who does what:

- The request line is read here. There llhttp is too lenient (two spaces, no version, HTTP/0.9 and 2.0,
  RTSP, absolute targets, CONNECT's authority) and too strict (methods it has not heard of, UTF-8 in a
  target, which curl sends as it is); it is told a plain ``POST /`` instead.
- llhttp judges the header lines: it refuses bare CR and LF, folded lines, names that are no tokens, control
  characters, a length that is not digits, two lengths, a length beside chunked. What it has let pass is
  then surely ``name: value`` and CRLF, line by line, so that splitting it is quick and safe.
- It lets pass, and this module refuses (RFC 9112, 3.2 and 6.1): two Hosts, none or a bad one; transfer
  codings beside chunked, and chunked under HTTP/1.0.
- Chunked bodies are read by an llhttp of their own, see ``chunks``.
- A head that is the same as one before, but for the length of its body and the addresses in X-Forwarded-For, is
  not judged and split a second time, see ``known``.
"""

from __future__ import annotations

import re
from typing import Final

import httptools

from chatgpt_platform.wire.chunks import LET_GO, Chunks
from chatgpt_platform.wire.head import BadRequest, Head, Limits, Lines
from chatgpt_platform.wire.known import Known, LastKnown

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_REQUEST_LINE: Final = re.compile(
    rb"(%b{1,24}) (/[!-\"$-~\x80-\xff]*|\*) HTTP/1\.([01])\r\n" % _TOKEN,
)
"""Method, target in origin or asterisk form, minor version. A fragment (#) is never sent (RFC 9110, 7.1)."""

_BLANK: Final = re.compile(rb"(?:\r?\n)+")
_HALF_LINE: Final = re.compile(rb"(%b{1,24}) (/[!-\"$-~\x80-\xff]*)" % _TOKEN)
_BEGINNING: Final = re.compile(rb"%b{1,24}(?: |$)" % _TOKEN)
_NOT_IN_LINE: Final = re.compile(rb"[\x00-\x1f\x7f]")
_LONGEST_METHOD_AND_VERSION: Final = 24 + len(b"  HTTP/1.1")

_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
"""RFC 9110, 7.2, less the comma: two Hosts may have become one on their way."""

_EMPTY_LINE: Final = b"\r\n\r\n"
_PLAIN_LINES: Final = {b"0": b"POST / HTTP/1.0\r\n", b"1": b"POST / HTTP/1.1\r\n"}

_MOST_BLANK: Final = 1024
"""Bytes of empty lines that may stand before a request (RFC 9112, 2.2, speaks of one)."""


_MOST_MISSES: Final = 3
"""Heads in a row that were not the same again, after which a connection's heads are remembered no more."""


class RequestParser:
    """Reads one request after another from the bytes of one connection."""

    __slots__ = (
        "_apart", "_blank", "_block", "_chunks", "_head", "_held", "_host", "_keep_alive", "_known", "_last",
        "_left", "_limits", "_llhttp", "_misses", "_stale", "complete",
    )  # fmt: skip

    def __init__(self, limits: Limits, last: LastKnown | None = None) -> None:
        """``last``: of the server to which the connection belongs."""
        self._limits: Final = limits
        self._llhttp = httptools.HttpRequestParser(self)
        self._chunks: Chunks | None = None
        self._stale = False
        self._host: bytes | None = None
        """The last one that was found to be good."""
        self._last: Final = last or LastKnown()
        self._known: Known | None = None
        self._misses = 0
        self.next()

    def next(self) -> None:
        """Begin with the next request."""
        self.complete = False
        self._head: Head | None = None
        self._held = b""  # what has come of the request line
        self._blank = 0  # bytes of empty lines before it
        self._block = b""  # what has come of the header lines, while they are not whole
        self._keep_alive: bool | None = None  # None until llhttp has seen the end of the head
        self._left = 0  # bytes that are missing of a body whose length is known
        self._apart = False  # llhttp does not know of the body
        if self._stale or self._chunks is not None:
            self._stale, self._chunks = False, None
            self._llhttp = httptools.HttpRequestParser(self)  # the other one waits for chunks, or for nothing

    def close(self) -> None:
        """Let llhttp go, whose callback makes a circle with this object."""
        self._llhttp = LET_GO
        self._chunks = None

    @property
    def begun(self) -> bool:
        """Whether something of a request has come."""
        return self._head is not None or self._held not in (b"", b"\r")  # half an empty line is no request

    @property
    def partial(self) -> Head:
        """What is known of a request whose head cannot be read."""
        if self._head is not None:
            return self._head
        match = _HALF_LINE.match(self._held)
        return Head(match[1].decode(), match[2], 1) if match else Head("", b"", 1)

    def head(self, data: bytes) -> tuple[Head | None, bytes]:
        """The head, once it is whole, and the bytes behind it. Raises BadRequest."""
        head = self._head
        if head is None:
            known = self._known or self._last.known
            if known is not None and data.startswith(known.before) and not self._held:
                head, rest = self._again(known, data)
                if head is not None:
                    return head, rest
            sent = b"" if self._held else data
            data = self._request_line(data)
            head = self._head
            if head is None:
                return None, b""
            if self._misses < _MOST_MISSES:
                return self._header_lines(head, data, sent)
        return self._header_lines(head, data, b"")

    def _header_lines(self, head: Head, data: bytes, sent: bytes) -> tuple[Head | None, bytes]:
        """``sent``: the head from its very beginning, where it may be remembered."""
        known = len(self._block)
        block = self._block + data if known else data
        # The end of the request line may be the first half of the empty line.
        end = 2 if block.startswith(b"\r\n") else block.find(_EMPTY_LINE, max(0, known - 3)) + 4
        whole = end != 3
        if not whole:
            end = len(block)
        if end > self._limits.headers:
            raise BadRequest(431, "the header lines are too long")
        self._feed(data if end == len(block) else block[known:end])
        if whole is (self._keep_alive is None):
            raise BadRequest(400, "the head does not end at its empty line")
        if not whole:
            self._block = block
            return None, b""
        self._read_lines(head, block[: end - 4] if end > 2 else b"")
        self._expect_body(head)
        if sent:
            self._remember(head, sent, len(sent) - len(data), len(sent) - len(data) + end)
        return head, block[end:]

    def _remember(self, head: Head, sent: bytes, lines_at: int, end: int) -> None:
        self._misses += 1
        self._known = None if self._apart else Known.of(head, sent, lines_at, end)
        if self._known is not None:
            self._last.known = self._known

    def _again(self, known: Known, data: bytes) -> tuple[Head | None, bytes]:
        """The head, if it is the known one."""
        if known is not self._known:
            known = known.elsewhere()
        end = known.again(data)
        if not end:
            return None, data
        self._known = known
        self._misses = 0
        self._head = head = known.head
        self._left = length = head.length or 0
        self.complete = not length
        self._apart = True
        return head, data[end:]

    def body(self, data: bytes) -> tuple[bytes, bytes]:
        """A piece of the body, which may be empty, and the bytes that were not read. Raises BadRequest."""
        if self._chunks is not None:
            body, data = self._chunks.read(data)
            self.complete = self._chunks.complete
            return body, data
        left = self._left
        body = data if len(data) <= left else data[:left]
        self._left = left - len(body)
        self.complete = not self._left
        if not self._apart:
            self._feed(body)  # only so that llhttp knows that it is over
        return body, data[left:]

    def take(self, data: bytes) -> bool:
        """Whether ``data`` is the whole body just as it stands, which then need not go through ``body``."""
        if self._apart and self._left == len(data) and self._chunks is None:
            self._left = 0
            self.complete = True
            return True
        return False

    def on_headers_complete(self) -> None:
        """httptools calls this."""
        self._keep_alive = self._llhttp.should_keep_alive()

    def _request_line(self, data: bytes) -> bytes:
        """Read the request line, if it is whole; what follows it."""
        if self._held:
            data = self._held + data
        match = _REQUEST_LINE.match(data)
        if match is None and data.startswith((b"\r", b"\n")):
            data = self._without_blank(data)
            match = _REQUEST_LINE.match(data)
        if match is None:
            self._hold(data)
            return b""
        method, target, minor = match.groups()
        self._head = Head(method.decode(), target, 1 if minor == b"1" else 0)
        if len(target) > self._limits.target:
            raise BadRequest(414, "its target is too long")
        self._held = b""
        self._llhttp.feed_data(_PLAIN_LINES[minor])
        return data[match.end() :]

    def _without_blank(self, data: bytes) -> bytes:
        """Less the empty lines that may stand before a request (RFC 9112, 2.2)."""
        match = _BLANK.match(data)
        rest = data[match.end() :] if match else data
        self._blank += len(data) - len(rest)
        if self._blank > _MOST_BLANK:
            raise BadRequest(400, "empty lines without a request")
        return rest

    def _hold(self, data: bytes) -> None:
        """Keep the beginning of a request line, if it may become one."""
        if b"\r\n" in data:
            raise BadRequest(400, "its request line is not one of HTTP/1.1")
        if data not in (b"", b"\r") and not (
            _BEGINNING.match(data) and not _NOT_IN_LINE.search(data, 0, len(data) - 1)
        ):
            raise BadRequest(400, "it is not HTTP")
        self._held = data
        if len(data) > self._limits.target + _LONGEST_METHOD_AND_VERSION:
            raise BadRequest(414, "its target is too long")

    def _feed(self, data: bytes) -> None:
        try:
            self._llhttp.feed_data(data)
        except httptools.HttpParserUpgrade:
            # To llhttp this request ends with its head. A server may ignore an upgrade (RFC 9110, 7.8), and
            # the body, if there is one, must not be read as another request.
            self._apart = True
        except httptools.HttpParserError as error:
            raise BadRequest(400, f"llhttp: {error}") from None

    def _read_lines(self, head: Head, block: bytes) -> None:
        if not block:
            return
        lines = block.split(b"\r\n")
        if len(lines) > self._limits.count:
            raise BadRequest(431, "there are too many header lines")
        head.block, fields = block, head.fields
        for line in lines:
            name, _, value = line.partition(b":")
            fields[name.lower()] = value.strip()
        if len(fields) < len(lines):
            head.fields = _joined(head.lines)

    def _expect_body(self, head: Head) -> None:
        """Decide on the body, and refuse what llhttp lets pass."""
        fields = head.fields
        host = fields.get(b"host")
        if host is None:
            if head.minor:
                raise BadRequest(400, "it has no Host")
        elif host != self._host:  # seldom another one on the same connection
            if not _HOST.fullmatch(host):
                raise BadRequest(400, "its Host is not one host")
            self._host = host
        if b"transfer-encoding" in fields:
            if fields[b"transfer-encoding"].lower() != b"chunked" or not head.minor:
                raise BadRequest(400, "its transfer coding is not just chunked")
            head.length = None
            self._chunks = Chunks()
        elif b"content-length" in fields:
            # Less leading zeros, of which there may be more than ``int`` takes digits.
            head.length = self._left = int(fields[b"content-length"].lstrip(b"0") or b"0")
            self.complete = not self._left
        else:
            self.complete = True
        head.keep_alive = _stays(head)
        if head.keep_alive and not self._keep_alive:
            self._apart = self._stale = True  # llhttp takes Proxy-Connection for Connection (RFC 9112, C.2.2)
        if b"expect" in fields:
            head.expects_continue = fields[b"expect"].lower() == b"100-continue" and head.minor == 1


def _stays(head: Head) -> bool:
    """Whether the client would use the connection again (RFC 9112, 9.3)."""
    if b"connection" not in head.fields:
        return head.minor == 1
    options = {option.strip() for option in head.fields[b"connection"].lower().split(b",")}
    return b"close" not in options and (head.minor == 1 or b"keep-alive" in options)


def _joined(lines: Lines) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    for name, value in lines:
        known = fields.get(name)
        fields[name] = value if known is None else b"%b, %b" % (known, value)
    return fields
