"""What an answer says of itself: the tokens used, and whether a stream came to its end; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from chatgpt_platform.upstream.sse import events

_FAILURES: Final = ("response.failed", "error")
_LAST_RESPONSES_EVENTS: Final = ("response.completed", "response.incomplete", *_FAILURES)


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


class _Response(msgspec.Struct):
    usage: _Usage | None = None


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


_Read = TypeVar("_Read")
_NO_ERROR: Final = msgspec.Raw()


class _Answer(msgspec.Struct):
    """What is read of a whole answer, on any endpoint."""

    usage: _Usage | None = None
    response: _Response | None = None
    type: str | None = None
    object: str | None = None
    error: msgspec.Raw = _NO_ERROR


class _Event(_Answer):
    """What is read of one event of an answer."""

    choices: list[_Choice] | None = None


class Tokens(msgspec.Struct):
    """Tokens as the upstream reported them; None where it did not."""

    prompt: int | None = None
    completion: int | None = None


@dataclass(slots=True)
class Ending:
    """How a stream ended. ``complete``: it said so itself. ``failed``: its last word was an error event."""

    complete: bool = False
    failed: bool = False
    tokens: Tokens | None = None


_answer_decoder: Final = msgspec.json.Decoder(_Answer)
_event_decoder: Final = msgspec.json.Decoder(_Event)
_object_decoder: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_value_decoder: Final = msgspec.json.Decoder(msgspec.Raw)


def tokens_of(body: bytes) -> Tokens:
    """The usage of a whole JSON answer. Raises ValueError when it is not a JSON object at all."""
    prompt, completion, _ = figures_of(body)
    return Tokens(prompt, completion)


def figures_of(body: bytes) -> tuple[int | None, int | None, bool]:
    """``tokens_of``, prompt and completion, and whether the answer may be an error object all the same."""
    decoded = _read(_answer_decoder, body)
    if decoded is None:
        # A JSON object with members of other types than OpenAI's is somebody's answer all the same.
        try:
            body.decode()
            _object_decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"the answer is not a JSON object: {error}") from None
        return None, None, True
    prompt, completion = _figures(decoded)
    told = decoded.error is not _NO_ERROR and bytes(decoded.error) != b"null"
    return prompt, completion, told or "error" in (decoded.type, decoded.object)


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
        body = _read(_event_decoder, event.data)
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
        body = _read(_answer_decoder, event.data) if b'"usage"' in event.data else None
        tokens = None if body is None else _told(body)
        if tokens is not None:
            return tokens
    return None


def _read(decoder: msgspec.json.Decoder[_Read], data: bytes) -> _Read | None:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _told(body: _Answer) -> Tokens | None:
    told = body.usage or (body.response and body.response.usage)
    return Tokens(*_figures(body)) if told else None


def _figures(body: _Answer) -> tuple[int | None, int | None]:
    usage = body.usage or (body.response.usage if body.response else None)
    if usage is None:
        return None, None
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    return (
        usage.input_tokens if prompt is None else prompt,
        usage.output_tokens if completion is None else completion,
    )
