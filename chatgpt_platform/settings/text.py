"""Text that comes from outside, made safe to print in one line of an error or a listing."""

from __future__ import annotations

import re
from typing import Final

# Control characters, line separators, marks that reorder what a terminal shows, and lone surrogates.
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_LONGEST: Final = 80


def printable(text: str) -> str:
    """The text in one line: whatever could move the cursor or break the line is escaped."""
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def is_printable(text: str) -> bool:
    """Whether ``printable`` would leave the text as it is."""
    return _UNPRINTABLE.search(text) is None


def quoted(text: str) -> str:
    """The text for an error message: printable, in double quotes, cut when it is long."""
    return f'"{printable(text[:_LONGEST])}{"…" if len(text) > _LONGEST else ""}"'
