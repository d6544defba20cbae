"""A chunked request body, read through an llhttp of its own (httptools); no I/O.

llhttp refuses sizes with signs, white space or without digits, bare CR and LF, sizes that overflow. It lets
pass, and this module refuses: trailers, which nobody here wants and which could pose as headers, and chunk
extensions without end (RFC 9112, 7.1).
"""

from __future__ import annotations

from typing import Final

import httptools

from chatgpt_platform.wire.head import BadRequest

_MOST_FRAMING: Final = 16 * 1024
"""Bytes that may come without a byte of content."""

_EMPTY_LINE: Final = b"\r\n\r\n"
LET_GO: Final = httptools.HttpRequestParser(None)
"""Stands where one was whose callbacks would make a circle with their object."""

_HEAD: Final = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


class Chunks:
    """Reads one body."""

    __slots__ = ("_framing", "_llhttp", "_pieces", "_tail", "_trailers", "complete")

    def __init__(self) -> None:
        self.complete = False
        self._pieces: list[bytes] = []
        self._framing = 0
        self._tail = b""  # the last bytes that were read, of which an empty line may be made
        self._llhttp = httptools.HttpRequestParser(self)
        self._llhttp.feed_data(_HEAD)
        self._trailers = False  # behind the line: its own header is none

    def read(self, data: bytes) -> tuple[bytes, bytes]:
        """A piece of the body, which may be empty, and the bytes that were not read. Raises BadRequest.

        Only up to the next empty line, which is where the body may end.
        """
        end = self._behind_empty_line(data) or len(data)
        part = data if end == len(data) else data[:end]
        try:
            self._llhttp.feed_data(part)
        except httptools.HttpParserError as error:
            raise BadRequest(400, f"llhttp: {error}") from None
        if self._trailers:
            raise BadRequest(400, "it has trailers")
        pieces, self._pieces = self._pieces, []
        if self.complete:
            self._llhttp = LET_GO
        elif not pieces:
            self._framing += len(part)
            if self._framing > _MOST_FRAMING:
                raise BadRequest(400, "chunks without content do not end")
        else:
            self._framing = 0
        return b"".join(pieces), data[end:]

    # What httptools calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        self._trailers = True

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        self.complete = True

    def _behind_empty_line(self, data: bytes) -> int:
        """Where in ``data`` the first empty line ends, also one that began before it; 0 when there is none."""
        tail = self._tail
        border = (tail + data[:3]).find(_EMPTY_LINE)
        end = border + 4 - len(tail) if border >= 0 else data.find(_EMPTY_LINE) + 4
        if end >= 4 or border >= 0:
            self._tail = _EMPTY_LINE[1:]
            return end
        self._tail = (tail + data)[-3:]
        return 0
