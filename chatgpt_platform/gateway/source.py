"""The upstream's side of a streamed answer: blocks of whole events, and the tail that tells how it ended.

Events are cut at their borders, so that an upstream that breaks off in the middle of one leaves no half
event before the error event. Nothing but the tail is looked at: usage and the end stand there.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from typing import Final

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway import usage
from chatgpt_platform.gateway.blocks import Remover, texts_in
from chatgpt_platform.gateway.call import PassChunk
from chatgpt_platform.gateway.failures import event_status, may_tell_error
from chatgpt_platform.upstream.client import Response, Sink
from chatgpt_platform.upstream.sse import Event, Framer, events, holds
from chatgpt_platform.wire.framing import SIZE_LINES

MAX_EVENT: Final = 1024 * 1024
"""Bytes of one event that are held back at most, waiting for its end."""

_USAGE: Final = re.compile(rb'"usage"\s*:\s*\{')
_TAIL: Final = 4
"""Blocks kept for the end: usage, the finish reason and ``[DONE]`` may come in pieces of their own."""


_DONE: Final = b"\n\ndata: [DONE]\n\n"
_COMMON_NO_TEXT: Final = b'"content":""'
_MOST_MISFITS: Final = 3
"""Events in a row that were not like those before, after which all of a stream are looked at one by one."""

_NULL_USAGE: Final = re.compile(rb'"usage"\s*:\s*null')
_PIECE: Final = re.compile(rb'(data: ?\{[^\r\n]*"content":")([^"\\\r\n]+)("[^\r\n]*\}\n\n)')
_TEXT_ALONE: Final = re.compile(rb'[^"\\\r\n]+')


class Pattern:
    """An event with a piece of text, cut around the text. Most events of a stream differ in nothing else."""

    __slots__ = ("_before", "_behind", "_behind_in_chunk", "_left", "_right", "frame")

    def __init__(self, before: bytes, behind: bytes) -> None:
        self._before: Final = before
        self._behind: Final = behind
        self._behind_in_chunk: Final = behind + b"\r\n"
        self._left: Final = len(before)
        self._right: Final = len(behind)
        self.frame: Final = len(before) + len(behind)
        """Bytes of the event less its text."""

    @classmethod
    def of(cls, block: bytes) -> Pattern | None:
        """None where the block is more than one such event, or where an error or the usage may be told in it."""
        if block.count(b"\n") != 2 or _COMMON_NO_TEXT in block:
            return None  # spares the search, which is long where it finds nothing
        match = _PIECE.fullmatch(block)
        if match is None:
            return None
        rest = match[1] + match[3]
        told = may_tell_error(rest) or b"[DONE]" in rest or b'"usage"' in _NULL_USAGE.sub(b"", rest)
        return None if told else cls(match[1], match[3])

    def fits(self, block: bytes) -> bool:
        """Whether a block differs from that event in nothing but the text."""
        return (
            block.startswith(self._before)
            and block.endswith(self._behind)
            and _TEXT_ALONE.fullmatch(block, self._left, len(block) - self._right) is not None
        )

    def begins_in(self, chunk: bytes) -> int:
        """Where the event begins, if the bytes are one whole chunk and what it brings ``fits``; else 0."""
        length = len(chunk)
        line = SIZE_LINES.get(length)
        if line is None:
            return 0
        start = len(line)
        fits = (
            chunk.startswith(line)
            and chunk.startswith(self._before, start)
            and chunk.endswith(self._behind_in_chunk)
            and _TEXT_ALONE.fullmatch(chunk, start + self._left, length - self._right - 2) is not None
        )
        return start if fits else 0


class ErrorEvent(Exception):
    """The first event of a stream was an error: the call has that ``status`` and that ``data`` as its body."""

    def __init__(self, status: int, data: bytes) -> None:
        self.status: Final = status
        self.data: Final = data
        super().__init__(status)


class EventSource:
    """Blocks of whole events from an upstream's streamed answer."""

    def __init__(self, response: Response, *, release_long: bool, without_extra: bool = False) -> None:
        """``release_long``: an event above ``MAX_EVENT`` is passed on in parts; otherwise it is a Problem.

        ``without_extra``: the event with the usage is taken out, for a caller that did not ask for it.
        """
        self._response: Final = response
        self._framer: Final = Framer()
        self._release_long: Final = release_long
        self._tail: Final[deque[bytes]] = deque(maxlen=_TAIL)
        self._usage = b""
        """The last block that told the usage, which some upstreams do early."""
        self._over = False
        self.done = False
        """``[DONE]`` has come: nothing more is expected, whatever the upstream does."""
        self.in_event = False
        """The last block was part of a long event, whose end has not come."""
        self._pattern: Pattern | None = None
        """What the last event with a piece of text looked like."""
        self._misfits = 0
        self.pieces = 0
        """Pieces of text that came, for upstreams that do not report their usage."""
        self.text_bytes = 0
        """Their bytes."""
        self.told_at = 0
        """Pieces that had come when the usage was told last."""
        self._remover: Final = Remover() if without_extra else None
        self._others = 0
        """Events that came, less the pieces."""

    @property
    def events(self) -> int:
        """Events that came, less those that were taken out."""
        return self.pieces + self._others - (0 if self._remover is None else self._remover.removed)

    async def first(self) -> bytes:
        """The blocks up to and with the first event that is not a comment; held events and all.

        Raises:
            ErrorEvent: that event is an error.
            Problem: the upstream broke off, was too slow or ended before any event.
        """
        held = b""
        while True:
            block = await self.next()
            if block is None:
                raise Problem(Kind.BAD_UPSTREAM, detail="the stream ended before its first event")
            held += block
            if held.startswith(b"data:") and not may_tell_error(held):
                return held
            event = next(iter(events(held)), None)
            if event is not None:
                _raise_error(event)
                return held
            if len(held) > MAX_EVENT:
                raise Problem(Kind.BAD_UPSTREAM, detail="the stream began with too many comments")

    async def next(self) -> bytes | None:
        """The next block, None at the end. Raises Problem when the upstream breaks off or is too slow."""
        while not self.done and not self._over:
            data = await self._response.read()
            block = self._block(data) if data else self._last()
            if block:
                return block
        return None

    async def pump(self, write: Sink, plain: Sink, pass_chunk: PassChunk | None = None) -> None:
        """Give ``write`` each block as soon as it has come, to the end; raises as ``next`` does.

        ``plain`` is given those that are one event with a piece of text, and surely nothing else. ``pass_chunk``
        is asked before it, where such a one came as a chunk of its own.
        """

        def take(data: bytes) -> asyncio.Future[None] | None:
            pattern = self._pattern
            if pattern is not None:
                if pattern.fits(data):
                    self._note_plain(data, pattern.frame)
                    return plain(data)
                self._misfits += 1
            block = self._block(data)
            if self.done:
                self._response.stop()
            return write(block) if block else None

        def offer(chunk: bytes) -> bool:
            pattern = self._pattern
            if pattern is None or pass_chunk is None:
                return False
            start = pattern.begins_in(chunk)
            if not start or not pass_chunk(chunk, len(chunk) - start - 2):
                return False
            self._note_plain(chunk[start:-2], pattern.frame)
            return True

        if not self.done and not self._over:
            await self._response.pump(take, None if pass_chunk is None else offer)
        if not self.done and not self._over:
            block = self._last()
            congestion = write(block) if block else None
            if congestion is not None:
                await congestion

    def _block(self, data: bytes) -> bytes:
        """All that is whole with these bytes; may be empty."""
        block = self._framer.feed(data)
        if block is not data or self._misfits > _MOST_MISFITS:
            self._pattern = None  # what comes next may go on with an event
        elif self._pattern is None or self._misfits:
            self._pattern = Pattern.of(block) or self._pattern
        if block:
            self.in_event = False
        elif self._framer.held > MAX_EVENT:
            if not self._release_long:
                raise Problem(Kind.BAD_UPSTREAM, "upstream_too_large", detail="an event is too long")
            block = self._framer.flush()
            self.in_event = True
        if not block:
            return block
        self._note(block)
        return block if self._remover is None else self._remover.feed(block)

    def _last(self) -> bytes:
        """What is left at the end."""
        self._over = True
        block = self._rest()
        if block:
            self.in_event = False
            self._note(block)
        return block if self._remover is None else self._remover.feed(block)

    def stop(self) -> None:
        """End ``pump``, from within its ``write``."""
        self._over = True
        self._response.stop()

    def count_rest(self) -> None:
        """Count what has come and nobody was there to take."""
        with contextlib.suppress(Problem):
            if rest := self._response.unread():
                self._block(rest)

    def ending(self) -> usage.Ending:
        """What the last events say of the whole stream."""
        tail = b"".join(self._tail)
        if self.done and not may_tell_error(tail) and b"failed" not in tail:
            # Nearly always, and then only the usage is left to be read.
            return usage.Ending(complete=True, tokens=usage.tokens_told(self._usage))
        ending = usage.ending_of(tail)
        if ending.tokens is None:
            ending.tokens = usage.tokens_told(self._usage)
        return ending

    def close(self) -> None:
        """Let the upstream go: gently after ``[DONE]``, when it may not yet have ended its message."""
        self._response.close(linger=self.done)

    def _rest(self) -> bytes:
        """What is held at the end: an event that lacks only its empty line; half an event is nothing."""
        rest = self._framer.flush()
        whole = all(event.data == b"[DONE]" or usage.is_json(event.data) for event in events(rest))
        return rest.rstrip(b"\r\n") + b"\n\n" if rest.strip() and whole else b""

    def _note_plain(self, event: bytes, frame: int) -> None:
        self._misfits = 0
        self._tail.append(event)
        self.pieces += 1
        self.text_bytes += len(event) - frame

    def _note(self, block: bytes) -> None:
        if block[:1] != b":" or b"data" in block:  # comments may follow the end
            self._tail.append(block)
        pieces, size = texts_in(block)
        self.pieces += pieces
        self.text_bytes += size if pieces or not self.in_event else len(block)  # the text may go on for long
        if holds(block, b'"usage"') and _USAGE.search(block):
            self._usage = block
            self.told_at = self.pieces
        borders = block.count(b"\n\n")
        alone = borders == 1 and block[:1] != b":"
        self._others += (1 if alone else sum(1 for _ in events(block))) - pieces
        if block.endswith(_DONE):
            self.done = True
        elif holds(block, b"[DONE]"):
            self.done = any(event.data == b"[DONE]" for event in events(block))


def _raise_error(event: Event) -> None:
    status = event_status(event)
    if status is not None:
        raise ErrorEvent(status, event.data)
