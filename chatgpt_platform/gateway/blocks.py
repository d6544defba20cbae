"""What is told in blocks of whole events, and the one event that is taken out of them; pure.

Streams are asked for their usage on behalf of callers that did not ask (``gateway/attempts``). They then have
one event more, with ``choices: []`` and the usage (OpenAI's API reference, "stream_options"), over which a program
would fall that looks into ``choices[0]`` of each.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from chatgpt_platform.gateway.shapes import ExtraEvent
from chatgpt_platform.upstream.sse import events, holds

_NAMES: Final = rb'"(?:content|text|delta|arguments|refusal|reasoning_content|reasoning)"\s*:\s*"'
_TEXT: Final = re.compile(_NAMES + rb'((?!")[^"\\]*(?:\\.[^"\\]*)*)', re.DOTALL)
"""A text that is not empty, to its end or that of the block."""

_COMMON_TEXT: Final = b'"content":"'
_TEXT_ALONE: Final = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)
_ESCAPE: Final = re.compile(rb"\\(.)", re.DOTALL)
_BORDER: Final = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2,}")
_LINE: Final = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r)")
_RESPONSES_EVENT: Final = re.compile(rb'"type"\s*:\s*"response\.([a-z_.]+)"')
_NO_CHOICES: Final = re.compile(rb'"choices"\s*:\s*(?:\[\s*\]|null)')
_EMPTY: Final = (b"", b"null", b"[]", b"{}")


_extra_decoder: Final = msgspec.json.Decoder(ExtraEvent)


def texts_in(block: bytes) -> tuple[int, int]:
    """How many pieces of generated text a block has, and their bytes, less what escapes add."""
    start = block.find(_COMMON_TEXT) + len(_COMMON_TEXT)
    if start >= len(_COMMON_TEXT) and block.count(b"\n\n") == 1:  # an event of most services: no need to search on
        alone = _TEXT_ALONE.match(block, start)
        if alone is not None and alone[0]:
            return 1, _size(alone[0])
    if holds(block, b'"response.') and _RESPONSES_EVENT.search(block):
        # Those of the Responses API that end something repeat all of its text.
        block = b"\n".join([event.data for event in events(block) if _is_delta(event.data)])
    texts: list[bytes] = _TEXT.findall(block)
    return len(texts), sum(map(_size, texts))


class Remover:
    """Takes the events that are there for the usage alone out of a stream; all other bytes stay as they came."""

    __slots__ = ("_half_end", "removed")

    def __init__(self) -> None:
        self.removed = 0
        """Events that were taken out."""
        self._half_end = False
        """The last block's end was taken out, but for a LF that may follow its CR."""

    def feed(self, block: bytes) -> bytes:
        """The block without such events, comments in them left; may be empty."""
        if self._half_end:
            self._half_end = False
            block = block.removeprefix(b"\n")
        if not holds(block, b'"usage"') or not _NO_CHOICES.search(block):
            return block
        kept: list[bytes] = []
        start = 0
        for border in _BORDER.finditer(block):
            part, start = block[start : border.end()], border.end()
            extra = start > len(border[0]) and _is_extra(part)
            kept.append(_comments(part) if extra else part)
            self.removed += extra
            self._half_end = extra and start == len(block) and part.endswith(b"\r")
        return b"".join([*kept, block[start:]])


def _size(text: bytes) -> int:
    """Its bytes, were there no escapes: one of six characters stands for three bytes as a rule."""
    if not holds(text, b"\\"):
        return len(text)
    escapes = _ESCAPE.findall(text)
    return len(text) - len(escapes) - 2 * escapes.count(b"u")


def _is_delta(data: bytes) -> bool:
    found = _RESPONSES_EVENT.search(data)
    return found is not None and found[1].endswith(b".delta")


def _is_extra(part: bytes) -> bool:
    event = next(iter(events(part)), None) if b'"usage"' in part else None
    if event is None or event.name == b"error":
        return False
    try:
        told = _extra_decoder.decode(event.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return not told.choices and bytes(told.error) in _EMPTY and bytes(told.prompt_filter_results) in _EMPTY


def _comments(part: bytes) -> bytes:
    """What is left of such an event: an end of the one before, and comments, as an event without data."""
    before = part[: len(part) - len(part.lstrip(b"\r\n"))]
    lines = [line for line in _LINE.findall(part) if line.startswith(b":")]
    end = lines[-1][len(lines[-1].rstrip(b"\r\n")) :] if lines else b""
    return b"".join([before, *lines, end])
