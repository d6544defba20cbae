"""Heads that came before: a client that keeps its connection tends to send the same one again.

It then differs in its Content-Length, and behind a proxy in X-Forwarded-For. A head that is equal byte for byte
outside these two need not be judged and split again, nor an application make again what it made of it. Clients
of one kind send the same head over many connections, too.
"""

from __future__ import annotations

import re
from typing import Final

from chatgpt_platform.wire.head import Head

_VARYING: Final = re.compile(
    rb"(?i)\r\n(?:content-length:[ \t]*([0-9]{1,15})|x-forwarded-for:[ \t]*([0-9a-f:., ]{1,256}))(?=\r\n)",
)
"""The header lines that may differ."""

_LONGEST_FIGURE: Final = 15
_LONGEST_ADDRESSES: Final = 256
_OF_ADDRESSES: Final = b"0123456789abcdefABCDEF:., "


class Known:
    """A head as it came, and what was read of it."""

    __slots__ = ("_behind", "_between", "_figure_first", "_first_within", "_lines_at", "before", "head")

    def __init__(
        self, before: bytes, between: bytes | None, behind: bytes, lines_at: int, head: Head, *, figure_first: bool
    ) -> None:  # fmt: skip
        """``before``, ``between``, ``behind``: the bytes around its length's figure and the addresses it is
        forwarded for. ``between`` is None in a head without the latter. ``figure_first``: which of the two comes
        first. ``lines_at``: where the header lines begin.
        """
        self.before: Final = before
        self.head: Final = head
        self._between: Final = between
        self._behind: Final = behind
        self._figure_first: Final = figure_first
        self._lines_at: Final = lines_at
        next_bytes = behind if between is None else between
        self._first_within: Final = len(before) + _LONGEST_ADDRESSES + len(next_bytes)
        """Where what stands behind the first of the two must end."""

    @classmethod
    def of(cls, head: Head, sent: bytes, lines_at: int, end: int) -> Known | None:
        """``sent``: the head from its beginning, up to ``end``. None where it would not be known again."""
        if not head.length or head.expects_continue:
            return None
        holes = list(_VARYING.finditer(sent, lines_at - 2, end))
        figures = [hole for hole in holes if hole[1] is not None]
        addresses = [hole[2].strip() for hole in holes if hole[2] is not None]
        if len(figures) != 1 or len(addresses) > 1:
            return None  # a length between spaces, or addresses in two lines
        if addresses and head.fields[b"x-forwarded-for"] != addresses[0]:
            return None  # more of them stand in lines of another form, and must not be forgotten
        first, last = holes[0], holes[-1]
        return cls(
            sent[: first.start(first.lastindex or 0)],
            sent[first.end() : last.start(last.lastindex or 0)] if first is not last else None,
            sent[last.end() : end],
            lines_at,
            head,
            figure_first=first is figures[0],
        )

    def again(self, data: bytes) -> int:
        """Where the head ends in ``data``, which begins with ``before``; 0 where it is another one.

        ``head`` has the new length and addresses then.
        """
        between, behind = self._between, self._behind
        start = len(self.before)
        addresses = None
        if between is None:
            end = data.find(behind, start, self._first_within)
            if end < 0:
                return 0
            figure = data[start:end]
        else:
            middle = data.find(between, start, self._first_within)
            if middle < 0:
                return 0
            last = middle + len(between)
            end = data.find(behind, last, last + _LONGEST_ADDRESSES + len(behind))
            if end < 0:
                return 0
            if self._figure_first:
                figure, addresses = data[start:middle], data[last:end]
            else:
                addresses, figure = data[start:middle], data[last:end]
            if not addresses or addresses.translate(None, _OF_ADDRESSES):
                return 0
        if not figure.isdigit() or len(figure) > _LONGEST_FIGURE:
            return 0
        self.head.differ(figure, addresses, data[self._lines_at : end + len(behind) - 4])
        return end + len(behind)

    def elsewhere(self) -> Known:
        """The same for another connection, whose head changes on its own."""
        return Known(
            self.before, self._between, self._behind, self._lines_at, self.head.copy(),
            figure_first=self._figure_first,
        )  # fmt: skip


class LastKnown:
    """The head that came last over any connection of a server."""

    __slots__ = ("known",)

    def __init__(self) -> None:
        self.known: Known | None = None
