"""What streams of other services look like, and what goes wrong in them: silences, borders, fields, errors.

As in ``effects``, each is a pure function from the sound answer to the one that is sent. Where it says so, the
shape is that of a service: vLLM's and Anthropic's errors, Azure's first event, DeepSeek's reasoning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Final

from chatgpt_platform.simulator.answer import DONE, Answer, Document, Event, Refusal
from chatgpt_platform.simulator.effects import Change, beginning, body_of, error_event
from chatgpt_platform.simulator.request import Request

_CALL: Final = {"id": "call_simulated", "type": "function"}
_FILTERED: Final = {"hate": {"filtered": False, "severity": "safe"}}


def silent_start(answer: Answer, request: Request) -> Answer:
    """The head at once, the rest after a silence."""
    events, headers = answer.events, answer.headers
    if not answer.streamed:
        body, tokens = body_of(answer)
        events, headers = [Event(body, tokens)], {**headers, "Content-Length": str(len(body))}
    return replace(answer, events=_late(iter(events)), headers=headers, streamed=True)


def pauses(answer: Answer, request: Request) -> Answer:
    """A silence after some tokens, and another before the end."""
    return replace(answer, events=_with_pauses(answer)) if answer.streamed else answer


def no_border(answer: Answer, request: Request) -> Answer:
    """The empty lines between events are missing, so that the first one never ends."""
    return _rewritten(answer, lambda frame: frame.replace(b"\n\n", b"\n"))


def no_space(answer: Answer, request: Request) -> Answer:
    """No space behind the colon of a field."""
    return _rewritten(answer, lambda frame: frame.replace(b"data: ", b"data:", 1))


def lone_cr(answer: Answer, request: Request) -> Answer:
    """Lines that end with CR alone, as the format allows."""
    return _rewritten(answer, lambda frame: frame.replace(b"\n", b"\r"))


def two_lines(answer: Answer, request: Request) -> Answer:
    """The JSON of an event over two data lines, which readers join with a line break."""
    return _rewritten(answer, lambda frame: frame.replace(b"data: {", b"data: {\ndata: ", 1))


def fields(answer: Answer, request: Request) -> Answer:
    """Fields beside data that few services send."""
    return _rewritten(answer, lambda frame: b"id: 7\nretry: 3000\n" + frame)


def byte_order_mark(answer: Answer, request: Request) -> Answer:
    """U+FEFF at the start of the stream, which readers pass over."""
    if not answer.streamed:
        return answer
    return replace(answer, events=chain([Event(b"\xef\xbb\xbf")], answer.events))


def wrong_type(answer: Answer, request: Request) -> Answer:
    """A content type that is not that of the body."""
    return replace(answer, headers={**answer.headers, "Content-Type": "text/plain"})


def empty(answer: Answer, request: Request) -> Answer:
    """An answer with no body: a stream without an event."""
    return replace(answer, events=())


def no_content(answer: Answer, request: Request) -> Answer:
    """204, which cannot have a body."""
    return Answer((), 204, {})


def only_done(answer: Answer, request: Request) -> Answer:
    """A stream that says nothing but that it is over."""
    return replace(answer, events=[DONE]) if answer.streamed else empty(answer, request)


def late_events(answer: Answer, request: Request) -> Answer:
    """Events behind ``[DONE]``."""
    if not answer.streamed:
        return answer
    late = Event({"id": "late", "object": "late", "choices": [{"index": 0, "delta": {"content": "too late"}}]})
    return replace(answer, events=chain(answer.events, [late]))


def first_event(refusal: Refusal) -> Change:
    """200, but the first event is the refusal's error, its status in ``code``; without a stream, that status."""
    error = {**refusal.error, "code": refusal.status}

    def change(answer: Answer, request: Request) -> Answer:
        if not answer.streamed:
            return refusal.answer()
        return replace(answer, prompt_tokens=0, events=[error_event(answer, request, error, 0)])

    return change


def named_error(answer: Answer, request: Request) -> Answer:
    """An event named error after some tokens, as Anthropic's service has it, then the end."""
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    if not answer.streamed:
        return replace(answer, status=529, prompt_tokens=0, events=[Event(error)])
    return replace(answer, events=[*beginning(answer.events), Event(error, name="error")])


def flat_error(answer: Answer, request: Request) -> Answer:
    """An error without the member ``error``, then ``[DONE]``, as vLLM did."""
    error: Document = {
        "object": "error", "message": "The engine is dead.", "type": "InternalServerError", "param": None,
        "code": 500,
    }  # fmt: skip
    if not answer.streamed:
        return replace(answer, status=500, prompt_tokens=0, events=[Event(error)])
    return replace(answer, events=[*beginning(answer.events), Event(error), DONE])


def azure_filter(answer: Answer, request: Request) -> Answer:
    """A first event without choices that tells of content filters, as Azure's service has it."""
    if not answer.streamed:
        return answer
    told: Document = {
        "id": "", "object": "", "created": 0, "model": "", "choices": [],
        "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": _FILTERED}],
    }  # fmt: skip
    return replace(answer, events=chain([Event(told)], answer.events))


def reasoning(answer: Answer, request: Request) -> Answer:
    """Thoughts before the text, in a member of their own, as DeepSeek's service has it."""
    return _with_choices(answer, lambda inner: {**inner, "reasoning_content": "Let me think."})


def tool_calls(answer: Answer, request: Request) -> Answer:
    """A call of a function instead of a text."""
    called = [{"index": 0, **_CALL, "function": {"name": "lookup", "arguments": "{}"}}]
    return _with_choices(answer, lambda inner: {**inner, "content": None, "tool_calls": called}, "tool_calls")


def cut_short(answer: Answer, request: Request) -> Answer:
    """The reply ended at a maximum."""
    return _with_choices(answer, lambda inner: inner, "length")


def _late(events: Iterator[Event]) -> Iterator[Event]:
    """Nothing, so that the head goes out alone; then all, the first after a silence."""
    yield Event(b"")
    for number, event in enumerate(events):
        yield event if number else replace(event, wait=1)


def _with_pauses(answer: Answer) -> Iterator[Event]:
    events = list(answer.events)
    before = list(beginning(events))
    *rest, last = events[len(before) :]
    return chain(before, [replace(event, wait=1) for event in rest[:1]], rest[1:], [replace(last, wait=1)])


def _rewritten(answer: Answer, write: Callable[[bytes], bytes]) -> Answer:
    """Each event of a stream as ``write`` makes it of its bytes."""
    if not answer.streamed:
        return answer
    return replace(answer, events=(replace(event, data=write(event.frame(True))) for event in answer.events))


def _with_choices(answer: Answer, edit: Callable[[Document], Document], reason: str = "") -> Answer:
    """Each message, and each delta with a text, as ``edit`` makes it; ``reason`` for the end, where it is told."""
    return replace(answer, events=(_edited(event, edit, reason) for event in answer.events))


def _edited(event: Event, edit: Callable[[Document], Document], reason: str) -> Event:
    if isinstance(event.data, bytes) or "choices" not in event.data:
        return event
    choices = event.data["choices"]
    assert isinstance(choices, list)
    return replace(event, data={**event.data, "choices": [_choice(choice, edit, reason) for choice in choices]})


def _choice(choice: Mapping[str, object], edit: Callable[[Document], Document], reason: str) -> Document:
    found = dict(choice)
    for name in ("message", "delta"):
        inner = found.get(name)
        if isinstance(inner, dict) and inner.get("content"):
            found[name] = edit(inner)
    if reason and found.get("finish_reason"):
        found["finish_reason"] = reason
    return found
