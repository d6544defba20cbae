"""What goes back: an answer made of events, and how its connection ends.

A plain JSON answer is an ``Answer`` of one event; a stream has many. Nothing here is sent or timed:
``handlers`` does that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

Document = Mapping[str, object]

JSON: Final = {"Content-Type": "application/json"}
SSE: Final = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}


class End(Enum):
    """What becomes of the connection after the last event."""

    WHOLE = auto()  # the answer is complete and the connection stays usable
    HELD = auto()  # the answer is complete, but the connection then stays open and silent
    STALLED = auto()  # incomplete and silent
    PARTED = auto()  # the answer is complete; FIN
    CLOSED = auto()  # incomplete, FIN
    HALF_CLOSED = auto()  # incomplete, FIN, but what the caller sends is still taken
    RESET = auto()  # incomplete, RST


@dataclass(frozen=True, slots=True)
class Event:
    """One piece of an answer.

    ``data``: a JSON object, or bytes that go out as they are. ``tokens``: how many tokens are generated
    for it. ``name``: the SSE event name. ``final``: it tells that the generation has ended. ``wait``: how
    much of ``Behaviour.silence`` passes before it.
    """

    data: Document | bytes
    tokens: int = 0
    name: str = ""
    final: bool = False
    wait: float = 0.0

    def frame(self, streamed: bool) -> bytes:
        """The bytes on the wire: JSON, as an SSE event if ``streamed``."""
        if isinstance(self.data, bytes):
            return self.data
        body = json.dumps(self.data, ensure_ascii=False, separators=(",", ":")).encode()
        if not streamed:
            return body
        name = f"event: {self.name}\n".encode() if self.name else b""
        return name + b"data: " + body + b"\n\n"


DONE: Final = Event(b"data: [DONE]\n\n", final=True)


@dataclass(frozen=True, slots=True)
class Answer:
    """``streamed``: each event is flushed by itself; else all go out together, with a Content-Length.

    ``status`` 0: not even a head is sent. ``raw``: the events are all that is sent, head and framing included.
    ``prompt_tokens``: those that have been read when the first event goes out.
    """

    events: Iterable[Event]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)
    streamed: bool = False
    end: End = End.WHOLE
    raw: bool = False
    prompt_tokens: int = 0

    @property
    def complete(self) -> bool:
        """Whether all of it is sent, errors included."""
        return self.end in (End.WHOLE, End.HELD, End.PARTED)


class Refusal(Exception):
    """A request that is answered with an error in OpenAI's shape."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status: Final = status
        self.headers: Final = headers or {}
        self.error: Final = {"message": message, "type": kind, "param": param, "code": code}
        super().__init__(message)

    def answer(self, headers: Mapping[str, str] | None = None) -> Answer:
        """The answer that says so, with ``headers`` added to its own."""
        return Answer([Event({"error": self.error})], self.status, {**JSON, **self.headers, **(headers or {})})


def plain(document: Document, tokens: int = 0, prompt_tokens: int = 0) -> Answer:
    """A JSON answer for which ``tokens`` tokens are generated."""
    return Answer([Event(document, tokens)], prompt_tokens=prompt_tokens)


def stream(events: Iterable[Event], prompt_tokens: int) -> Answer:
    """A streamed answer."""
    return Answer(events, headers=SSE, streamed=True, prompt_tokens=prompt_tokens)
