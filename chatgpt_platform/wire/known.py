"""Heads that came before: a client that keeps its connection tends to send the same one again.

It then differs in its Content-Length, and behind a proxy in X-Forwarded-For. A head that is equal byte for byte
outside these two need not be judged and split again, nor an application make again what it made of it. Clients
of one kind send the same head over many connections, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from chatgpt_platform.wire.head import Head

_VARYING: Final = re.compile(
    rb"(?i)\r\n(?:content-length:[ \t]*([0-9]{1,15})|x-forwarded-for:[ \t]*([0-9a-f:., ]{1,256}))(?=\r\n)",
)
"""The header lines that may differ."""

_LONGEST_FIGURE: Final = 15
_LONGEST_ADDRESSES: Final = 256
_OF_ADDRESSES: Final = b"0123456789abcdefABCDEF:., "


@dataclass(frozen=True, slots=True, repr=False)  # it holds keys
class Known:
    """A head as it came, and what was read of it.

    ``before``, ``between``, ``behind``: the bytes around its length's figure and the addresses it is forwarded
    for. ``between`` is None in a head without the latter. ``figure_first``: which of the two comes first.
    ``lines_at``: where the header lines begin.
    """

    before: bytes
    between: bytes | None
    behind: bytes
    figure_first: bool
    lines_at: int
    head: Head

    @classmethod
    def of(cls, head: Head, sent: bytes, lines_at: int, end: int) -> Known | None:
        """``sent``: the head from its beginning, up to ``end``. None where it would not be known again."""
        if not head.length or head.expects_continue:
            return None
        holes = list(_VARYING.finditer(sent, lines_at - 2, end))
        figures = [hole for hole in holes if hole[1] is not None]
        if len(figures) != 1 or len(holes) > 2:
            return None  # a length between spaces, or addresses in two lines
        first, last = holes[0], holes[-1]
        return cls(
            sent[: first.start(first.lastindex or 0)],
            sent[first.end() : last.start(last.lastindex or 0)] if first is not last else None,
            sent[last.end() : end],
            first is figures[0],
            lines_at,
            head,
        )

    def again(self, data: bytes) -> int:
        """Where the head ends in ``data``, which begins with ``before``; 0 where it is another one.

        ``head`` has the new length and addresses then.
        """
        between, behind = self.between, self.behind
        start = len(self.before)
        if between is None:
            end = data.find(behind, start, start + _LONGEST_FIGURE + len(behind))
            figure, addresses = data[start:end], None
        else:
            middle = data.find(between, start, start + _LONGEST_ADDRESSES + len(between))
            last = middle + len(between)
            end = data.find(behind, last, last + _LONGEST_ADDRESSES + len(behind)) if middle >= 0 else -1
            figure, addresses = data[start:middle], data[last:end]
            if not self.figure_first:
                figure, addresses = addresses, figure
            if not addresses or addresses.translate(None, _OF_ADDRESSES):
                return 0
        if end < 0 or not figure.isdigit() or len(figure) > _LONGEST_FIGURE:
            return 0
        end += len(behind)
        self.head.differ(figure, addresses, data[self.lines_at : end - 4])
        return end

    def elsewhere(self) -> Known:
        """The same for another connection, whose head changes on its own."""
        return replace(self, head=self.head.copy())


class LastKnown:
    """The head that came last over any connection of a server."""

    __slots__ = ("known",)

    def __init__(self) -> None:
        self.known: Known | None = None
