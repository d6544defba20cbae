"""What a call is likely to use, learned from the calls before it; pure."""

from __future__ import annotations

from typing import Final

from chatgpt_platform.accounts.prices import Price

FIRST_GUESS: Final = 1000
"""Tokens of an answer, before there has been one."""

_FORGETS: Final = 16
"""A longer answer than the others is forgotten by a sixteenth with each that follows it."""


class Meter:
    """One model's calls of one account. ``price``: None where the model has none."""

    __slots__ = ("_bytes", "_ms", "_prompt", "_told", "completion", "price")

    def __init__(self, price: Price | None) -> None:
        self.price = price
        self.completion = FIRST_GUESS
        """Tokens that an answer without a cap is taken to have: as many as the longer ones of late."""
        self._prompt = 0
        self._bytes = 0
        """The last question: its tokens, and the bytes of its body."""
        self._told = 0
        self._ms = 0.0
        """The last answer that was no stream: its tokens, and how long it took."""

    def prompt(self, length: int, rough: int) -> int:
        """Tokens of a question whose body has so many bytes. ``rough``: what they are where none came before."""
        known = self._bytes
        return -(-self._prompt * length // known) if known else rough

    def told_by(self, ms: float, most: int) -> int:
        """Tokens that an answer which is no stream is likely to have after so long, though none of it has come."""
        return min(int(self._told * ms / self._ms), most) if self._ms else 0

    def learn(self, length: int, prompt: int, completion: int, ms: float, *, cut: bool = False) -> None:
        """A call went well. ``completion``: tokens of each of its answers. ``ms``: how long it took; 0 for a
        stream. ``cut``: the answer ended at the caller's cap, so it does not tell how long others may be."""
        if ms:
            self._told, self._ms = completion, ms
        if cut:
            completion = max(completion, self.completion)
        if prompt:
            if not self._bytes:
                self.completion = completion
            self._prompt, self._bytes = prompt, length
        if completion >= self.completion:
            self.completion = completion
        else:
            self.completion -= (self.completion - completion) // _FORGETS
