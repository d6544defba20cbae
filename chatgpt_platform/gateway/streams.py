"""Streamed answers as the caller gets them: every event as it comes, then an honest end."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Final

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway import conversation, metering, transcript, usage
from chatgpt_platform.gateway.call import Call, PassChunk, Stream
from chatgpt_platform.gateway.conversation import Answer
from chatgpt_platform.gateway.failures import event_status, may_tell_error
from chatgpt_platform.gateway.parameters import Turn
from chatgpt_platform.gateway.source import EventSource
from chatgpt_platform.observe.access import NO_USAGE, Record
from chatgpt_platform.observe.redact import mask
from chatgpt_platform.upstream.client import Response, Sink
from chatgpt_platform.upstream.sse import Event, encode, events

MOST_USAGE: Final = 8192
"""Bytes at the end of a large answer among which its usage is looked for."""

_DONE: Final = encode(b"[DONE]")

Rendering = Callable[[Problem], bytes]
"""Says in the log that a stream broke off; gives the Problem's body in the shape and language of the call."""


class _EventStream(Stream):
    """What the two APIs' streams share: the record, the end, the last error event."""

    def __init__(self, source: EventSource, first: bytes, call: Call, render: Rendering) -> None:
        self._source: Final = source
        self._first: Final = first
        self._call: Final = call
        self._record: Final[Record] = call.record
        self._break_off_with: Final = render
        self._ended = False
        self._record.first_byte_ms = call.elapsed_ms()

    async def pump(self, write: Sink, pass_chunk: PassChunk | None = None) -> None:
        def take(block: bytes) -> asyncio.Future[None] | None:
            piece = self._passed_on(block)
            if self.broken:
                self._source.stop()
            return write(piece) if piece else None

        try:
            congestion = take(self._first)
            if congestion is not None and not self._source.done:
                await congestion
            if not self.broken:
                plain = self._plain_sink(take, write)
                await self._source.pump(take, plain, pass_chunk if plain is write else None)
            if self.broken:
                return
            self._end()
            last = self._last_words()
        except Problem as problem:
            last = self._break_off(problem)
        if last:
            write(last)

    @property
    def between_events(self) -> bool:
        return not self._source.in_event

    @property
    def pieces(self) -> int:
        return self._source.pieces

    def close(self) -> None:
        if not self._ended:
            self._source.count_rest()
            self._account(self._source.ending())
        self._ended = True
        self._source.close()

    def _plain_sink(self, take: Sink, write: Sink) -> Sink:
        """Where events with a piece of text and nothing else go: ``take`` looks at them, ``write`` does not."""
        return take

    @abstractmethod
    def _passed_on(self, block: bytes) -> bytes:
        """What the caller gets for a block of the upstream's events."""

    @abstractmethod
    def _last_words(self) -> bytes | None:
        """What the caller gets after a stream that came to its end."""

    def _end(self) -> None:
        """The upstream ended; raises Problem when its last events do not say that this was all."""
        ending = self._source.ending()
        self._account(ending)
        if ending.failed:
            self._record.error = "the upstream sent an error event"
        if not ending.complete:
            raise Problem(Kind.BAD_UPSTREAM, "upstream_broke_off", detail="the stream ended without [DONE]")
        self._ended = True

    def _break_off(self, problem: Problem) -> bytes:
        """The last event of a stream that cannot go on."""
        if not self._ended:
            self._account(self._source.ending())
        self._ended = self.broken = True
        self._record.error = str(problem)
        border = b"\n\n" if self._source.in_event else b""
        return border + encode(self._break_off_with(problem))

    def _account(self, ending: usage.Ending) -> None:
        if self._record.usage == NO_USAGE:
            self._record.events = self._source.events
            metering.streamed(self._call, self._source, ending)


class Relay(_EventStream):
    """The OpenAI API's stream: the upstream's events, unchanged but for a key echoed in an error event."""

    def __init__(self, source: EventSource, first: bytes, call: Call, render: Rendering, secret: str) -> None:
        super().__init__(source, first, call, render)
        self._secret: Final = secret
        self._said: Final[list[str] | None] = None if call.record.prompt is None else []

    def _passed_on(self, block: bytes) -> bytes:
        if self._said is not None:
            self._said.append(transcript.of_events(block))
        return masked(block, self._secret) if may_tell_error(block) else block

    def _plain_sink(self, take: Sink, write: Sink) -> Sink:
        return write if self._said is None else take

    def _last_words(self) -> bytes | None:
        return None

    def close(self) -> None:
        super().close()
        if self._said is not None:
            self._record.answer = "".join(self._said)


class Telling(_EventStream):
    """The platform API's stream: each piece of text, then the success object, then ``[DONE]``."""

    def __init__(
        self, source: EventSource, first: bytes, call: Call, render: Rendering, turns: Sequence[Turn],
        problem_of: Callable[[int, bytes], Problem],
    ) -> None:  # fmt: skip
        super().__init__(source, first, call, render)
        self._turns: Final = turns
        self._problem_of: Final = problem_of
        self._said: Final[list[str]] = []
        self._answer = Answer("", call.record.model or "", conversation.NO_USAGE, chosen=False)

    def close(self) -> None:
        super().close()
        if self._record.prompt is not None:
            self._record.answer = "".join(self._said)

    def _passed_on(self, block: bytes) -> bytes:
        pieces: list[bytes] = []
        try:
            for event in events(block):
                if event.data == b"[DONE]":
                    break  # nor is anything behind it read that comes later
                pieces.append(self._piece(event))
        except Problem as problem:
            pieces.append(self._break_off(problem))
        return b"".join(pieces)

    def _end(self) -> None:
        super()._end()
        if not self._answer.chosen:
            raise Problem(Kind.BAD_UPSTREAM, detail="the stream held no choices")

    def _last_words(self) -> bytes | None:
        self._answer.text = "".join(self._said)
        return encode(conversation.success(self._turns, self._answer)) + _DONE

    def _piece(self, event: Event) -> bytes:
        status = event_status(event)
        if status is not None:
            raise self._problem_of(status, event.data)
        delta = conversation.delta(event.data)
        self._answer.model = delta.model or self._answer.model
        if bytes(delta.usage).startswith(b"{"):
            self._answer.usage = delta.usage
        self._answer.chosen |= delta.chosen
        if not delta.text:
            return b""
        self._said.append(delta.text)
        return encode(conversation.piece(delta.text))


def whole_stream(turns: Sequence[Turn], said: Answer) -> bytes:
    """A platform stream in one go, for an upstream that answered a streamed question with a whole body."""
    text = encode(conversation.piece(said.text)) if said.text else b""
    return text + encode(conversation.success(turns, said)) + _DONE


class Passage(Stream):
    """A large answer that is no stream of events, passed on in parts as it comes."""

    events = False

    def __init__(self, response: Response, first: bytes, call: Call) -> None:
        self._response: Final = response
        self._first: Final = first
        self._call: Final = call
        self._size = len(first)
        self._tail = first[-MOST_USAGE:]
        self._closed = False
        call.record.first_byte_ms = call.elapsed_ms()

    async def pump(self, write: Sink, pass_chunk: PassChunk | None = None) -> None:
        def take(data: bytes) -> asyncio.Future[None] | None:
            self._size += len(data)
            self._tail = (data if len(data) > MOST_USAGE else self._tail + data)[-MOST_USAGE:]
            return write(data)

        try:
            congestion = write(self._first)
            if congestion is not None:
                await congestion
            await self._response.pump(take)
        except Problem as problem:
            # The head is out: all that is left is an end that the caller cannot take for a whole answer.
            self.broken = True
            self._call.record.error = str(problem)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            metering.passed_on(self._call, self._tail, self._size)
        self._response.close()


def masked(block: bytes, secret: str) -> bytes:
    """A block with the key masked in its error events; the same bytes where none holds it."""
    changed = False
    parts: list[bytes] = []
    for event in events(block):
        tells_error = event_status(event) is not None or b'"response.failed"' in event.data
        data = mask(event.data, secret) if tells_error else event.data
        changed |= data is not event.data
        name = b"" if event.name == b"message" else b"event: " + event.name + b"\n"
        parts.append(name + encode(data))
    return b"".join(parts) if changed else block
