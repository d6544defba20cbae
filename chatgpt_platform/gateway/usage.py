"""What an answer says of itself: the tokens used, and whether a stream came to its end; pure.

Figures that cannot be (negative, huge, no whole numbers) count as not told, each by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from chatgpt_platform.gateway.shapes import (
    ABSENT,
    Answered,
    AnsweredEvent,
    Details,
    EndedChoice,
    Figure,
    OddAnswer,
    Usage,
)
from chatgpt_platform.upstream.sse import events

_FAILURES: Final = ("response.failed", "error")
_LAST_RESPONSES_EVENTS: Final = ("response.completed", "response.incomplete", *_FAILURES)


_Read = TypeVar("_Read")


@dataclass(slots=True)
class Tokens:
    """Tokens as the upstream reported them; None where it did not. ``cached``: of those of the prompt."""

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None


@dataclass(slots=True)
class Ending:
    """How a stream ended. ``complete``: it said so itself. ``failed``: its last word was an error event."""

    complete: bool = False
    failed: bool = False
    tokens: Tokens | None = None


_answer_decoder: Final = msgspec.json.Decoder(Answered)
_event_decoder: Final = msgspec.json.Decoder(AnsweredEvent)
_FIGURES: Final = ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens")
_DETAILS: Final = ("prompt_tokens_details", "input_tokens_details")
_odd_decoder: Final = msgspec.json.Decoder(OddAnswer)
_object_decoder: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_list_decoder: Final = msgspec.json.Decoder(list[msgspec.Raw])
_choice_decoder: Final = msgspec.json.Decoder(EndedChoice)
_text_decoder: Final = msgspec.json.Decoder(str)
_figure_decoder: Final = msgspec.json.Decoder(Figure)
_value_decoder: Final = msgspec.json.Decoder(msgspec.Raw)


def tokens_of(body: bytes) -> Tokens:
    """The usage of a whole JSON answer. Raises ValueError when it is not a JSON object at all."""
    return Tokens(*figures_of(body)[:3])


def figures_of(body: bytes) -> tuple[int | None, int | None, int | None, bool]:
    """``tokens_of``, member by member, and whether the answer may be an error object all the same."""
    decoded = _read(_answer_decoder, body)
    if decoded is None:
        # A JSON object with members of other types than OpenAI's is somebody's answer all the same.
        try:
            body.decode()
            odd = _odd_decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"the answer is not a JSON object: {error}") from None
        return *_figures(_usage_in(odd)), True
    prompt, completion, cached = _figures(decoded.usage or (decoded.response.usage if decoded.response else None))
    told = decoded.error is not ABSENT and bytes(decoded.error) != b"null"
    return prompt, completion, cached, told or "error" in (decoded.type, decoded.object)


def is_json(data: bytes) -> bool:
    """Whether this is one whole JSON value."""
    try:
        _value_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def ending_of(tail: bytes) -> Ending:
    """What the last events of a stream say. ``tail``: whole events."""
    ending = Ending()
    for event in events(tail):
        if event.data == b"[DONE]":
            ending.complete = True
            continue
        body = _read_event(event.data)
        if body is None:
            continue
        flat = body.type in _FAILURES or body.object == "error"
        failed = event.name == b"error" or flat or bytes(body.error).startswith((b"{", b'"'))
        finished = any(choice.finish_reason for choice in body.choices or ())
        ending.failed |= failed
        ending.complete |= failed or finished or body.type in _LAST_RESPONSES_EVENTS
        ending.tokens = _told(body) or ending.tokens
    return ending


def tokens_told(block: bytes) -> Tokens | None:
    """``ending_of(block).tokens``: what the last of these events that tells the usage says."""
    for event in reversed(list(events(block))):
        body = _read_event(event.data) if b'"usage"' in event.data else None
        tokens = None if body is None else _told(body)
        if tokens is not None:
            return tokens
    return None


def _read(decoder: msgspec.json.Decoder[_Read], data: bytes | msgspec.Raw) -> _Read | None:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _read_event(data: bytes) -> AnsweredEvent | None:
    """One event, as far as it can be read; None where it is no JSON object."""
    event = _read(_event_decoder, data)
    odd = _read(_odd_decoder, data) if event is None else None
    if odd is None:
        return event
    choices = [_read(_choice_decoder, each) for each in _read(_list_decoder, odd.choices) or ()]
    return AnsweredEvent(
        usage=_usage_in(odd),
        type=_read(_text_decoder, odd.type),
        object=_read(_text_decoder, odd.object),
        error=odd.error,
        choices=[each for each in choices if each is not None],
    )


def _told(body: Answered) -> Tokens | None:
    usage = body.usage or (body.response and body.response.usage)
    return Tokens(*_figures(usage)) if usage else None


def _figures(usage: Usage | None) -> tuple[int | None, int | None, int | None]:
    """Prompt, completion, and what was cached of the prompt."""
    if usage is None:
        return None, None, None
    prompt, completion, details = usage.prompt_tokens, usage.completion_tokens, usage.prompt_tokens_details
    if prompt is None:
        prompt, details = usage.input_tokens, usage.input_tokens_details
    if completion is None:
        completion = usage.output_tokens
    if details is None or prompt is None:
        return prompt, completion, None
    cached = details.cached_tokens
    return prompt, completion, prompt if cached and cached > prompt else cached


def _usage_in(odd: OddAnswer) -> Usage | None:
    """Its usage, without the figures that are none; None where it tells none at all."""
    told = _read(_object_decoder, odd.usage)
    if told is None:
        told = _read(_object_decoder, (_read(_object_decoder, odd.response) or {}).get("usage", ABSENT))
    if told is None:
        return None
    usage = Usage()
    for name in _FIGURES:
        setattr(usage, name, _read(_figure_decoder, told.get(name, ABSENT)))
    for name in _DETAILS:
        details = _read(_object_decoder, told.get(name, ABSENT)) or {}
        setattr(usage, name, Details(_read(_figure_decoder, details.get("cached_tokens", ABSENT))))
    return usage
