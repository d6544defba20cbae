"""How many tokens a text has, by a rule instead of a tokenizer; pure.

The rule counts runs of characters by their class. Its weights were fitted to o200k_base, the encoding of OpenAI's
models since gpt-4o; docs/accounting.md has its errors, and tests/gateway/test_gateway_estimate.py measures them.
"""

from __future__ import annotations

import re
from math import ceil
from typing import Final, NamedTuple

WHOLE: Final = 16_384
"""Characters up to which a text is read whole; of a longer one as many are read, in ``_SLICES`` places."""

_SLICES: Final = 32


class _Class(NamedTuple):
    """Tokens of characters that belong together: ``run`` for each match, ``letter`` for each letter in it."""

    pattern: re.Pattern[str]
    run: float
    letter: float


class _Words(NamedTuple):
    """Tokens of a word in Latin letters: ``word``, and ``letter`` for each beyond the fourth."""

    word: float
    letter: float


_ENGLISH: Final = _Words(1.08, 0.05)
_FOREIGN: Final = _Words(0.15, 0.55)
_ACCENTED: Final = 1.0  # a letter with an accent, on top of its word
_CAPITALS: Final = _Words(1.0, 0.35)
_FEW_LETTERS: Final = 4
_ACCENTS_OF_ENGLISH: Final = 0.01  # of the letters; a text with more is in another language
_DIGITS: Final = 3  # of a number are one token
_DENSE: Final = 0.65  # of a token: a character of base64 or of hexadecimal digits
_DIGITS_OF_DENSE: Final = 16  # one character in so many, at least, is a digit there; in a path or a name none is

_DENSE_RUN: Final = re.compile(r"[A-Za-z0-9+/]{24,}={0,2}")
_WORD: Final = re.compile("[A-ZÀ-ÖØ-Þ]*[a-zß-öø-ÿĀ-ɏḀ-ỿ]+|[A-ZÀ-ÖØ-Þ]+")  # helloWorld: two
_ACCENT: Final = re.compile("[À-ÖØ-öø-ɏḀ-ỿ]")
_NUMBER: Final = re.compile("[0-9]+")

_ASCII: Final = (
    _Class(re.compile(r"[!-/:-@\[-`{-~]+"), 0.2, 0.4),  # punctuation
    _Class(re.compile(r"\s(?=[0-9])"), 1.0, 0.0),  # a space belongs to a word behind it, but to no number
    _Class(re.compile(r"[ \t]{2,}"), 0.9, 0.0),
    _Class(re.compile(r"\w\s*\n"), 0.3, 0.0),  # behind punctuation it belongs to that
)
_OTHERS: Final = (
    _Class(re.compile("[\u0370-\u03ff]+"), 1.2, 0.2),  # Greek
    _Class(re.compile("[\u0400-\u052f]+"), 1.0, 0.15),  # Cyrillic
    _Class(re.compile("[\u0590-\u05ff]+"), 0.2, 0.41),  # Hebrew
    _Class(re.compile("[\u0600-\u06ff]+"), 0.35, 0.27),  # Arabic
    _Class(re.compile("[\u0900-\u0dff]+"), 0.7, 0.19),  # India's scripts
    _Class(re.compile("[\u0e00-\u0eff]+"), 0.0, 0.39),  # Thai, Lao
    _Class(re.compile("[\u0530-\u058f\u0700-\u08ff\u0f00-\u1dff]+"), 0.0, 1.0),  # rarer ones
    _Class(re.compile("[\u3040-\u30ff]+"), 0.0, 0.61),  # Japanese syllables
    _Class(re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+"), 0.0, 0.81),  # Chinese characters
    _Class(re.compile("[\uac00-\ud7af]+"), 0.0, 0.67),  # Korean
    _Class(re.compile("[\u3000-\u303f\uff00-\uffef]+"), 0.0, 0.8),  # their punctuation
    _Class(re.compile("[\u00a1-\u00bf\u1f00-\u2bff]+"), 0.0, 1.0),  # signs
    _Class(re.compile("[\U00010000-\U0010ffff]+"), 0.0, 2.0),  # emoji
)


def text_tokens(text: str) -> int:
    """The tokens that a text has, about; a text that is not empty has one at least."""
    if len(text) <= WHOLE:
        return ceil(_tokens(text))
    length = WHOLE // _SLICES
    step = (len(text) - length) / (_SLICES - 1)
    read = sum(_tokens(text[int(index * step) : int(index * step) + length]) for index in range(_SLICES))
    return ceil(read * len(text) / WHOLE)


def _tokens(text: str) -> float:
    dense = 0

    def take(found: re.Match[str]) -> str:
        nonlocal dense
        run = found[0]
        if sum(map(len, _NUMBER.findall(run))) * _DIGITS_OF_DENSE < len(run):
            return run
        dense += len(run)
        return " "

    rest = _DENSE_RUN.sub(take, text)
    tokens = dense * _DENSE + _words(rest)
    tokens += sum((len(number) + _DIGITS - 1) // _DIGITS for number in _NUMBER.findall(rest))
    for pattern, run, letter in _ASCII if rest.isascii() else _ASCII + _OTHERS:
        if found := pattern.findall(rest):
            tokens += len(found) * run + sum(map(len, found)) * letter
    return max(tokens, 1.0 if text else 0.0)


def _words(text: str) -> float:
    words = _WORD.findall(text)
    letters = sum(map(len, words))
    accents = 0 if text.isascii() else len(_ACCENT.findall(text))
    foreign = accents > letters * _ACCENTS_OF_ENGLISH
    tokens = accents * _ACCENTED if foreign else 0.0
    small = _FOREIGN if foreign else _ENGLISH
    for word in words:
        weights = _CAPITALS if len(word) > 1 and word.isupper() else small
        tokens += weights.word + max(0, len(word) - _FEW_LETTERS) * weights.letter
    return tokens
