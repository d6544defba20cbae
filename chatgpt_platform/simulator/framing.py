"""Faults below the events: heads, lengths and chunks (RFC 9112) that no web server would write.

As in ``effects``, each is a pure function from the sound answer to the one that is sent, byte by byte.
"""

from __future__ import annotations

import http
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from chatgpt_platform.simulator.answer import Answer, End, Event, Refusal
from chatgpt_platform.simulator.request import Request

_LONG_HEADER: Final = 1 << 20  # bytes
_LAST_CHUNK: Final = b"0\r\n\r\n"
_CLOSE: Final = {"Connection": "close"}
_GARBAGE: Final = b"\x00\x01these bytes belong to no answer\r\n"

TLS_ALERT: Final = b"\x15\x03\x03\x00\x02\x02\x28"
"""RFC 8446, 6: an alert, fatal, handshake_failure."""


def dribble(answer: Answer, request: Request) -> Answer:
    """The head one byte at a time."""
    head = _head(answer, {**_framing(answer), **_CLOSE})
    drops = (Event(head[at : at + 1], wait=1 / len(head) if at else 0) for at in range(len(head)))
    return _raw(answer, _joined(drops, _body(answer)), End.PARTED)


def half_close(answer: Answer, request: Request) -> Answer:
    """A head, and FIN; the other direction stays open."""
    return _raw(answer, [Event(_head(answer, _framing(answer)))], End.HALF_CLOSED)


def bad_head(answer: Answer, request: Request) -> Answer:
    """Bytes that are no HTTP."""
    return _raw(answer, [Event(b"SSH-2.0-OpenSSH_9.2\r\n")], End.CLOSED)


def long_head(answer: Answer, request: Request) -> Answer:
    """A header of one megabyte."""
    return _wholly(answer, {"X-Padding": "x" * _LONG_HEADER})


def bad_chunk(answer: Answer, request: Request) -> Answer:
    """A size that is none after the first chunk of a chunked body."""
    *events, _ = _chunks(answer)
    head = _head(answer, {"Transfer-Encoding": "chunked"})
    return _raw(answer, [Event(head), events[0], Event(b"size\r\nx\r\n")], End.STALLED)


def length_short(answer: Answer, request: Request) -> Answer:
    """More bytes than Content-Length says, then silence."""
    body = b"".join(event.frame(answer.streamed) for event in answer.events)
    head = _head(answer, {"Content-Length": str(len(body) // 2)})
    return _raw(answer, [Event(head), Event(body)], End.HELD)


def extra_bytes(answer: Answer, request: Request) -> Answer:
    """Garbage right after a whole answer, on a connection that stays open."""
    return _wholly(answer, {}, behind=_GARBAGE)


def extra_answer(answer: Answer, request: Request) -> Answer:
    """A second answer, which a careless caller takes for that to its next request."""
    return _wholly(answer, {}, behind=_bytes_of(Refusal("Nobody asked this.")))


def early_hints(answer: Answer, request: Request) -> Answer:
    """Answers of status 100 and 103 before the real one (RFC 9110, 15.2; RFC 8297)."""
    hints = Event(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </>; rel=preload\r\n\r\n")
    whole = _wholly(answer, _CLOSE)
    return replace(whole, events=_joined([hints], whole.events), end=End.PARTED)


def http10(answer: Answer, request: Request) -> Answer:
    """HTTP/1.0 without a length: the body goes on until the connection ends."""
    head = _head(answer, {}).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    body = (replace(event, data=event.frame(answer.streamed)) for event in answer.events)
    return _raw(answer, _joined([Event(head)], body), End.PARTED)


def close_after(answer: Answer, request: Request) -> Answer:
    """A whole answer that promises to keep the connection, which then ends."""
    return replace(_wholly(answer, {"Connection": "keep-alive"}), end=End.PARTED)


def _bytes_of(refusal: Refusal) -> bytes:
    """A refusal as a whole answer, as it goes over the wire."""
    return b"".join(event.frame(False) for event in _wholly(refusal.answer(), _CLOSE).events)


def _raw(answer: Answer, events: Iterable[Event], end: End) -> Answer:
    return replace(answer, events=events, streamed=True, end=end, raw=True)


def _wholly(answer: Answer, headers: Mapping[str, str], behind: bytes = b"") -> Answer:
    """The sound answer with ``headers``, then ``behind``; the connection stays open."""
    head = Event(_head(answer, {**_framing(answer), **headers}))
    return _raw(answer, _joined([head], _body(answer), [Event(behind)] if behind else []), End.HELD)


def _joined(*parts: Iterable[Event]) -> Iterator[Event]:
    for part in parts:
        yield from part


def _head(answer: Answer, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} {http.HTTPStatus(answer.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in {**answer.headers, **headers}.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _framing(answer: Answer) -> dict[str, str]:
    """The header that tells where the body ends."""
    if answer.streamed:
        return {"Transfer-Encoding": "chunked"}
    return {"Content-Length": str(sum(len(event.frame(False)) for event in answer.events))}


def _body(answer: Answer) -> Iterable[Event]:
    if answer.streamed:
        return _chunks(answer)
    return [replace(event, data=event.frame(False)) for event in answer.events]


def _chunks(answer: Answer) -> Iterator[Event]:
    """Each event as a chunk, and the end of a chunked body."""
    for event in answer.events:
        data = event.frame(answer.streamed)
        yield replace(event, data=b"%x\r\n%b\r\n" % (len(data), data))
    yield Event(_LAST_CHUNK)


TOO_EARLY: Final = _bytes_of(Refusal("That is too long.", status=413))
