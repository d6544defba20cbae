"""The words of the simulator. They depend on the request alone, so a test can know them beforehand.

A token is a piece of a word: up to eight characters with the white space before them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, cycle, islice

_PIECE = re.compile(r"\s*\S{1,8}|\s+")
_MORE = " And one more sentence, so that the reply becomes as long as you asked."
_QUOTED = 200  # characters


@dataclass(frozen=True, slots=True)
class Script:
    """How replies are to be made.

    ``tokens``: their exact length; 0: as long as the text is. ``opening``: text to begin with, for
    faults. ``now``: Unix time in whole seconds, for ``created``.
    """

    tokens: int = 0
    opening: str = ""
    now: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """``pieces``: the tokens, in order. ``cut``: the caller's maximum ended it."""

    pieces: tuple[str, ...]
    cut: bool

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def finish_reason(self) -> str:
        return "length" if self.cut else "stop"


def split(text: str) -> list[str]:
    """The tokens of ``text``; joined, they are the text again."""
    return _PIECE.findall(text)


def count(text: str) -> int:
    """The number of tokens in ``text``."""
    return len(split(text))


def compose(script: Script, turn: int, said: str, maximum: int | None) -> Reply:
    """A friendly reply to ``said``, the caller's word in turn number ``turn``, of at most ``maximum`` tokens."""
    pieces = split(script.opening + _greeting(turn, said))
    wanted = script.tokens or len(pieces)
    length = wanted if maximum is None else min(wanted, maximum)
    return Reply(tuple(islice(_endless(pieces), length)), cut=length < wanted)


def _endless(pieces: list[str]) -> Iterator[str]:
    return chain(pieces, cycle(split(_MORE)))


def _greeting(turn: int, said: str) -> str:
    said = said.strip()
    if not said:
        return f"Hello! This is turn {turn} of our conversation, and you have not said anything yet."
    quoted = said if len(said) <= _QUOTED else said[:_QUOTED] + "…"
    return (
        f"Hello! This is turn {turn} of our conversation. You said: “{quoted}” "
        "I am only the simulator, but I am listening."
    )
