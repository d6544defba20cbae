"""How faults are done: each ``Change`` is a pure function from the sound answer to the one that is sent.

``faults`` gives them names. What they say about bytes and connections, ``handlers`` carries out.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from chatgpt_platform.simulator.answer import JSON, Answer, Document, End, Event, Refusal
from chatgpt_platform.simulator.request import Request

Change = Callable[[Answer, Request], Answer]

_TOKENS_BEFORE = 3  # a stream breaks after so many
_BLOCK = 1 << 16  # bytes
_LONG_LINE = 100_000_000  # bytes
_BOMB_BLOCK = 1 << 20  # bytes
_BOMB_BLOCKS = 1024
_LISTS = ("choices", "output", "data", "results")  # what was asked for, in each of the APIs
_TEXT = re.compile(rb'"(?:content|text|delta)":"')  # where the text of a reply begins
_ANY_TEXT = re.compile(rb':"')
_NOT_ASCII = re.compile(rb"[\x80-\xff]")


def status(
    code: int, message: str, kind: str, error_code: str | None, headers: Mapping[str, str] | None = None
) -> Change:
    """Another status, with an error in OpenAI's shape and ``headers``."""
    refusal = Refusal(message, status=code, kind=kind, code=error_code)
    return lambda answer, request: refusal.answer(headers)


def refused(refusal: Refusal) -> Change:
    """A refusal, whatever was asked."""
    return lambda answer, request: refusal.answer()


def page(code: int) -> Change:
    """An HTML page, as a proxy in between would send it."""
    body = b"<!DOCTYPE html>\n<html><head><title>Gateway</title></head><body><h1>Sorry</h1></body></html>\n"
    return lambda answer, request: Answer([Event(body)], code, {"Content-Type": "text/html"})


def redirect(answer: Answer, request: Request) -> Answer:
    """Elsewhere: RFC 2606 reserves .invalid, so whoever follows gets nowhere with the key."""
    return Answer([Event(b"")], 307, {**JSON, "Location": f"http://redirected.invalid{request.path}"})


def nothing(end: End) -> Change:
    """Not one byte, then ``end``."""
    return lambda answer, request: Answer((), status=0, end=end)


def broken(end: End) -> Change:
    """Some events of a stream, or half of a body whose whole length was promised; then ``end``."""

    def change(answer: Answer, request: Request) -> Answer:
        if answer.streamed:
            return replace(answer, events=beginning(answer.events), end=end)
        body, tokens = body_of(answer)
        half = Event(body[: len(body) // 2], tokens)
        headers = {**answer.headers, "Content-Length": str(len(body))}
        return replace(answer, events=[half], headers=headers, streamed=True, end=end)

    return change


def cut_event(answer: Answer, request: Request) -> Answer:
    """The connection ends in the middle of an event."""
    if not answer.streamed:
        return broken(End.CLOSED)(answer, request)
    *events, last = beginning(answer.events)
    frame = last.frame(True)
    half = replace(last, data=frame[: len(frame) // 2])
    return replace(answer, events=[*events, half], end=End.CLOSED)


def no_done(answer: Answer, request: Request) -> Answer:
    """A stream that ends cleanly without having said so."""
    if not answer.streamed:
        return answer
    return replace(answer, events=(event for event in answer.events if not event.final))


def bad_json(answer: Answer, request: Request) -> Answer:
    """One broken event among good ones, or half a body that is declared as the whole."""
    if not answer.streamed:
        body, tokens = body_of(answer)
        return replace(answer, events=[Event(body[: len(body) // 2], tokens)])
    return replace(answer, events=_with_event(answer.events, Event(b'data: {"id": "broken\n\n')))


def bad_utf8(answer: Answer, request: Request) -> Answer:
    """A byte in the text that no UTF-8 has."""
    return replace(answer, events=_with_bytes(answer, [b"\xff"], after=1 if answer.streamed else 0))


def long_line(answer: Answer, request: Request) -> Answer:
    """A text of 100 MB in one line, made block by block as the reader takes it."""
    whole, rest = divmod(_LONG_LINE, _BLOCK)
    block = b"x" * _BLOCK
    sizes = (block[:size] for size in (*[_BLOCK] * whole, rest))
    return replace(answer, events=_with_bytes(answer, sizes), streamed=True)


def split_utf8(answer: Answer, request: Request) -> Answer:
    """Each event in two pieces, the cut inside its first character that is not ASCII."""
    return replace(answer, events=_split(answer), streamed=True)


def comments(answer: Answer, request: Request) -> Answer:
    """An SSE comment before each event."""
    if not answer.streamed:
        return answer
    comment = Event(b": keep-alive\n\n")
    return replace(answer, events=(part for event in answer.events for part in (comment, event)))


def crlf(answer: Answer, request: Request) -> Answer:
    """SSE lines that end with CR LF."""
    if not answer.streamed:
        return answer
    events = (replace(event, data=event.frame(True).replace(b"\n", b"\r\n")) for event in answer.events)
    return replace(answer, events=events)


def error_first(answer: Answer, request: Request) -> Answer:
    """A 200 that holds nothing but an error."""
    return replace(
        answer, status=200, prompt_tokens=0, events=[error_event(answer, request, _server_error().error, 0)]
    )


def error_later(answer: Answer, request: Request) -> Answer:
    """A stream that has begun well and ends with an error."""
    if not answer.streamed:
        return error_first(answer, request)
    events = list(beginning(answer.events))
    error = error_event(answer, request, _server_error().error, len(events))
    return replace(answer, events=[*events, error])


def echo_key(answer: Answer, request: Request) -> Answer:
    """The caller's key in an error and in headers, one of which proxies like to pass on."""
    message = f"Your key {request.key} is not to our liking."
    error = Refusal(message, kind="invalid_request_error", code="echoed_key")
    echoed = {"openai-organization": request.key, "x-echoed-key": request.key}
    if not answer.streamed:
        return error.answer(echoed)
    event = error_event(answer, request, error.error, 0)
    return replace(answer, prompt_tokens=0, events=[event], headers={**answer.headers, **echoed})


def gzip_bomb(answer: Answer, request: Request) -> Answer:
    """One megabyte that unpacks to one gigabyte of zeros."""
    headers = {**answer.headers, "Content-Encoding": "gzip"}
    return replace(answer, events=_bomb(), headers=headers, streamed=True)


def silence_after_done(answer: Answer, request: Request) -> Answer:
    """A whole stream on a connection that is then neither closed nor finished."""
    return replace(answer, end=End.HELD) if answer.streamed else answer


def empty_choices(answer: Answer, request: Request) -> Answer:
    """The list that was asked for, empty."""
    return replace(answer, events=edited(answer.events, _emptied))


def null_content(answer: Answer, request: Request) -> Answer:
    """null for each text of the reply."""
    return replace(answer, events=edited(answer.events, _nulled))


def no_usage(answer: Answer, request: Request) -> Answer:
    """Nothing is said of tokens."""
    return replace(answer, events=edited(answer.events, without_usage))


def body_of(answer: Answer) -> tuple[bytes, int]:
    """The whole of a plain answer, and its tokens."""
    events = list(answer.events)
    return b"".join(event.frame(False) for event in events), sum(event.tokens for event in events)


def beginning(events: Iterable[Event]) -> Iterator[Event]:
    """The first few tokens of a stream, never its end."""
    tokens = 0
    for event in events:
        if event.final or tokens >= _TOKENS_BEFORE:
            return
        yield event
        tokens += event.tokens


def _with_event(events: Iterable[Event], extra: Event) -> Iterator[Event]:
    """``extra`` after the first few tokens."""
    tokens = 0
    waiting = True
    for event in events:
        if waiting and (event.final or tokens >= _TOKENS_BEFORE):
            waiting = False
            yield extra
        yield event
        tokens += event.tokens


def _with_bytes(answer: Answer, filler: Iterable[bytes], after: int = 0) -> Iterator[Event]:
    """``filler`` at the beginning of the first text that comes after ``after`` tokens."""
    tokens = 0
    waiting = True
    for event in answer.events:
        frame = event.frame(answer.streamed)
        found = _TEXT.search(frame) if answer.streamed else _TEXT.search(frame) or _ANY_TEXT.search(frame)
        if waiting and found and tokens >= after:
            waiting = False
            yield Event(frame[: found.end()], event.tokens)
            yield from (Event(block) for block in filler)
            yield Event(frame[found.end() :])
        else:
            yield event
        tokens += event.tokens


def _split(answer: Answer) -> Iterator[Event]:
    for event in answer.events:
        frame = event.frame(answer.streamed)
        found = _NOT_ASCII.search(frame)
        if found:
            yield Event(frame[: found.end()])
        yield replace(event, data=frame[found.end() :] if found else frame)


def _server_error() -> Refusal:
    return Refusal(
        "The server had an error while processing your request.", kind="server_error", code="server_error"
    )


def error_event(answer: Answer, request: Request, error: Mapping[str, object], number: int) -> Event:
    """An error inside an answer; streams of the Responses API have an event of their own for it."""
    if not (answer.streamed and request.is_responses):
        return Event({"error": error})
    members = {name: error[name] for name in ("code", "message", "param")}
    return Event({"type": "error", "sequence_number": number, **members}, name="error")


def edited(events: Iterable[Event], edit: Callable[[Document], Document | None]) -> Iterator[Event]:
    """Each JSON object as ``edit`` makes it; left out where that is None."""
    for event in events:
        data = event.data if isinstance(event.data, bytes) else edit(event.data)
        if data is not None:
            yield replace(event, data=data)


def _emptied(document: Document) -> Document | None:
    response = document.get("response")
    if isinstance(response, dict):
        return {**document, "response": {**response, "output": []}}
    if str(document.get("type", "")).startswith("response."):
        return None  # an event about a part of the output
    return {name: [] if name in _LISTS else value for name, value in document.items()}


def _nulled(document: Document) -> Document:
    return {name: _null_in(name, value) for name, value in document.items()}


def _null_in(name: str, value: object) -> object:
    if isinstance(value, dict):
        return _nulled(value)
    if isinstance(value, list):
        return [_null_in("", item) for item in value]
    return None if isinstance(value, str) and name in ("content", "text", "delta") else value


def without_usage(document: Document) -> Document | None:
    """A JSON object less what it tells of tokens; None where that was all."""
    if document.get("choices") == []:
        return None  # the last event of a chat, which is there for the usage only
    response = document.get("response")
    kept = {name: value for name, value in document.items() if name != "usage"}
    return {**kept, "response": without_usage(response)} if isinstance(response, dict) else kept


def _bomb() -> Iterator[Event]:
    """A gzip member (RFC 1952) of zeros. Its blocks stand alone, so one serves for all."""
    zeros = bytes(_BOMB_BLOCK)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = deflate.compress(zeros) + deflate.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    yield Event(b"\x1f\x8b\x08" + bytes(6) + b"\xff")
    for _ in range(_BOMB_BLOCKS):
        checksum = zlib.crc32(zeros, checksum)
        yield Event(block)
    size = _BOMB_BLOCK * _BOMB_BLOCKS % (1 << 32)
    yield Event(deflate.flush() + checksum.to_bytes(4, "little") + size.to_bytes(4, "little"))
