"""An HTTP/1.1 answer, read from bytes through llhttp (httptools), and held to stricter rules; no I/O.

    answer = Answer()
    answer.expect(head_only=False)
    answer.feed(data)                  # as often as bytes come; raises BadAnswer
    answer.status                      # 0 until the head has come
    answer.take(), answer.complete     # the body so far; whether that was all
    answer.left_of_chunk               # 0: what comes begins a chunk, which may go by unfed if it is whole

llhttp refuses two lengths, a length beside chunked, folded lines, bare LFs, signed sizes. It lets pass,
and this module refuses, as RFC 9112 asks: transfer codings other than one chunked, chunked under
HTTP/1.0, other versions, RTSP; and, because nobody wants them here: 101, statuses outside 200..599, a
compressed 2xx, endless heads, trailers and interim answers.
"""

from __future__ import annotations

import re
from typing import Final

import httptools

from chatgpt_platform.wire import framing

MAX_HEAD: Final = 64 * 1024
"""Bytes of a head; also of framing (chunk extensions, trailers) that brings no body."""

MAX_HEADERS: Final = 200
MAX_INTERIM: Final = 8

KEEP_ALIVE: Final = 4.0
"""Seconds after which an idle connection retires: before the 5 s after which uvicorn and Node close theirs."""

LONGEST_KEEP_ALIVE: Final = 60.0

_KEEP_ALIVE_TIMEOUT: Final = re.compile(rb"(?i)(?:^|[,;\s])timeout\s*=\s*(\d{1,6})(?!\d)")
_LET_GO: Final = httptools.HttpResponseParser(None)
"""Of a connection that is closed."""

_NO_BODY: Final = (204, 304)


class BadAnswer(Exception):
    """What came cannot be used; its text says why, in words that hold nothing of the answer."""


class Answer:
    """Reads one answer after another from the bytes of one connection."""

    __slots__ = (
        "_begun", "_chunked", "_fault", "_fed", "_framing", "_head_only", "_interim", "_parser", "_persistent",
        "_plainly_1_1", "_until_close", "buffered", "complete", "fields", "headers", "keep_alive",
        "left_of_chunk", "pieces", "reusable", "status",
    )  # fmt: skip

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.fields: dict[bytes, bytes] = {}
        self.expect(head_only=False)
        self.on_message_begin()

    def expect(self, *, head_only: bool) -> None:
        """Begin with the next answer. ``head_only``: it is to a HEAD request."""
        self.status = 0
        self.pieces: list[bytes] = []
        self.buffered = 0
        self.complete = False
        self.reusable = False
        self._head_only = head_only
        self._fault = ""
        self._begun = False
        self._chunked = False
        self.left_of_chunk = -1
        self._framing = self._fed = 0  # bytes without a byte of body; the same with what is being fed
        self._interim = 0
        self._plainly_1_1 = False  # llhttp would tell, but takes its time

    def close(self) -> None:
        """Let llhttp go, whose callbacks make a circle with this object."""
        self._parser = _LET_GO

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raises BadAnswer; the body that was read before the fault can still be taken."""
        begins = not self._begun
        if begins:
            # llhttp would also read RTSP and ICE.
            if not (data.startswith(b"HTTP/") or b"HTTP/".startswith(data)):
                raise BadAnswer("it is not HTTP")
            self._begun = True
            self._plainly_1_1 = data.startswith(b"HTTP/1.1 ")
        before = self.buffered
        if not self.status:
            self._fed = self._framing + len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.reusable = False
            if not self.complete:  # otherwise the answer is whole, and only what follows it is at fault
                raise BadAnswer(self._fault or str(error) or "it is not HTTP") from None
        if self._chunked:
            self._follow_chunks(data, begins=begins)
        if self.buffered > before:
            self._framing = 0
        elif not self.complete:
            self._framing += len(data)
            if self._framing > MAX_HEAD or len(self.headers) > MAX_HEADERS:
                raise BadAnswer("its head or its trailers do not end")

    def finish(self) -> bool:
        """The connection ended properly: whether the answer is whole, which its end may just have told."""
        if self.status and self._until_close:
            self.complete = True
        return self.complete

    def take(self) -> bytes:
        """The body since the last call."""
        pieces = self.pieces
        self.buffered = 0
        if len(pieces) == 1:
            return pieces.pop()
        self.pieces = []
        return b"".join(pieces)

    # What httptools calls.

    def on_message_begin(self) -> None:
        if self.complete:
            self._refuse("more than one answer")
        self.headers: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.status:  # otherwise it is a trailer
            self.headers.append((name.lower(), value.rstrip()))  # llhttp leaves white space at the end

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self._skip_interim(status)
            return
        headers = self.headers
        if len(headers) > MAX_HEADERS:
            self._refuse("it has too many headers")
        if self._fed > MAX_HEAD and sum(len(n) + len(v) + 4 for n, v in headers) > MAX_HEAD:
            self._refuse("its head is too large")
        if not 200 <= status <= 599:
            self._refuse(f"its status is {status}")
        version = "1.1" if self._plainly_1_1 else self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            self._refuse(f"its version is {version}")
        self.fields = fields = dict(reversed(headers))  # so that the first of a name wins
        coded = b"transfer-encoding" in fields
        if coded and (version == "1.0" or self._values(b"transfer-encoding") != [b"chunked"]):
            self._refuse("its transfer coding is not just chunked")
        if b"content-encoding" in fields and status < 300 and self._is_compressed():
            # It was asked for identity; unpacking what came all the same could fill the memory.
            self._refuse("it is compressed")
        self.keep_alive = KEEP_ALIVE
        if b"keep-alive" in fields:
            self._note_keep_alive()
        self.status = status
        self._persistent = version == "1.1"
        self._chunked = coded
        self._until_close = not (coded or b"content-length" in fields or status in _NO_BODY)
        if self._head_only:
            # llhttp does not know what was asked, and waits for a body that will not come.
            self.complete = True

    def on_body(self, body: bytes) -> None:
        if not self.complete:
            self.pieces.append(body)
            self.buffered += len(body)

    def on_message_complete(self) -> None:
        if self.status and not self.complete:
            self.complete = True
            self.reusable = self._persistent and self._parser.should_keep_alive()

    # Inside.

    def _follow_chunks(self, data: bytes, *, begins: bool) -> None:
        """Keep ``left_of_chunk`` true: llhttp would take two calls a chunk for it. ``begins``: with the head."""
        if begins:
            end = data.find(b"\r\n\r\n")
            self.left_of_chunk = framing.left_of_chunk(data[end + 4 :]) if end >= 0 else -1
        elif self.left_of_chunk >= 0:
            self.left_of_chunk = framing.left_of_chunk(data, self.left_of_chunk)

    def _values(self, name: bytes) -> list[bytes]:
        """In lower case, of all headers of this name."""
        return [value.lower() for known, value in self.headers if known == name]

    def _is_compressed(self) -> bool:
        return any(value not in (b"", b"identity") for value in self._values(b"content-encoding"))

    def _note_keep_alive(self) -> None:
        for match in filter(None, map(_KEEP_ALIVE_TIMEOUT.search, self._values(b"keep-alive"))):
            # A second before the upstream's own limit, for the way there.
            self.keep_alive = min(int(match[1]) - 1.0, LONGEST_KEEP_ALIVE)

    def _skip_interim(self, status: int) -> None:
        self._interim += 1
        self._plainly_1_1 = False
        if status == 101:
            self._refuse("it wants to speak another protocol")
        if self._interim > MAX_INTERIM:
            self._refuse("its interim answers do not end")

    def _refuse(self, fault: str) -> None:
        """Stop llhttp, which passes on no more than that a callback failed."""
        self._fault = fault
        raise BadAnswer(fault)
