"""How services differ in what they tell of tokens; as in ``effects``, pure functions from answer to answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from chatgpt_platform.simulator.answer import Answer, Document, Event, Refusal
from chatgpt_platform.simulator.effects import edited, without_usage
from chatgpt_platform.simulator.request import Members, Request

_REFUSAL: Final = Refusal("Unrecognized request argument supplied: stream_options")


def refuses_options(answer: Answer, request: Request) -> Answer:
    """400 to each call that has ``stream_options``, as older services of Azure have it."""
    if answer.status != 200 or Members.parse(request.body).raw("stream_options") is None:
        return answer
    return _REFUSAL.answer()


def ignores_options(answer: Answer, request: Request) -> Answer:
    """A stream without usage, whatever was asked."""
    if not answer.streamed or request.is_responses:
        return answer
    return replace(answer, events=edited(answer.events, without_usage))


def in_each_chunk(answer: Answer, request: Request) -> Answer:
    """A stream that tells the usage so far in each event, unasked, and has no event for it alone."""
    if not answer.streamed or request.is_responses:
        return answer
    return replace(answer, events=_telling(answer))


def cached(answer: Answer, request: Request) -> Answer:
    """Half of the prompt was cached."""
    return replace(answer, events=edited(answer.events, _half_cached))


def _telling(answer: Answer) -> Iterator[Event]:
    tokens = 0
    for event in answer.events:
        tokens += event.tokens
        if isinstance(event.data, bytes):
            yield event
        elif event.data.get("choices"):
            usage = {
                "prompt_tokens": answer.prompt_tokens,
                "completion_tokens": tokens,
                "total_tokens": answer.prompt_tokens + tokens,
            }
            yield replace(event, data={**event.data, "usage": usage})


def _half_cached(document: Document) -> Document:
    return {
        name: _cached_in(value) if name in ("usage", "response") else value for name, value in document.items()
    }


def _cached_in(value: object) -> object:
    """``value`` is a usage, or what holds one."""
    if not isinstance(value, Mapping):
        return value
    if "usage" in value:
        return _half_cached(value)
    found = dict(value)
    for kind in ("prompt", "input"):
        tokens, details = value.get(f"{kind}_tokens"), value.get(f"{kind}_tokens_details")
        if isinstance(tokens, int) and isinstance(details, Mapping):
            found[f"{kind}_tokens_details"] = {**details, "cached_tokens": tokens // 2}
    return found
