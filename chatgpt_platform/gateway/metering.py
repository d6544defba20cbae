"""The tokens of a call, for its record: as the upstream tells them, else estimated, which takes time.

``usage`` of the record says which: ``reported`` where all figures are the upstream's; ``estimated`` where one is
not; ``none`` where nothing was generated or no upstream was asked. A prompt of no tokens counts as not told, since
services that do not count tell zeros.
"""

from __future__ import annotations

import re
from typing import Final

from chatgpt_platform.gateway import estimate, forward, transcript
from chatgpt_platform.gateway.call import Call
from chatgpt_platform.gateway.source import EventSource
from chatgpt_platform.gateway.usage import Ending, Tokens, tokens_of
from chatgpt_platform.observe.access import ESTIMATED, NO_USAGE, REPORTED
from chatgpt_platform.upstream.client import Response

_NOT_TOLD: Final = Tokens()
_USAGE: Final = re.compile(rb'"usage"\s*:\s*\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}')
_GENERATING: Final = (b"application/json", b"text/event-stream")


def answered(call: Call, told: Tokens, body: bytes) -> None:
    """A whole JSON answer."""
    record, completion = call.record, told.completion
    if not call.endpoint.metered:
        record.prompt_tokens, record.completion_tokens, record.cached_tokens = told.prompt, completion, told.cached
        nothing = told.prompt is completion is told.cached is None
        record.usage = NO_USAGE if nothing else REPORTED
        return
    counted = not completion and not told.prompt and bool(call.endpoint.token_members)
    if counted or (completion is None and call.endpoint.token_members):
        completion, counted = estimate.text_tokens(transcript.of_answer(body)), True
    _note(call, told, completion, counted=counted)


def passed_on(call: Call, tail: bytes, size: int) -> None:
    """A JSON answer that was too long to be held: its last bytes, where the usage stands, and its length."""
    found = _USAGE.findall(tail)
    told = tokens_of(b"{%b}" % found[-1]) if found else _NOT_TOLD
    completion, counted = told.completion, False
    if completion is None and call.endpoint.token_members:
        completion, counted = estimate.completion_tokens(0, size), True
    _note(call, told, completion, counted=counted)


def streamed(call: Call, source: EventSource, ending: Ending) -> None:
    """A stream, to its end or as far as it came."""
    told = ending.tokens or _NOT_TOLD
    completion = told.completion
    behind = not ending.complete and source.pieces > source.told_at
    """The usage was told along the way, and more came after it."""
    counted = completion is None or behind or (not completion and source.pieces > 0)
    if counted:
        completion = max(completion or 0, estimate.completion_tokens(source.pieces, source.text_bytes))
    _note(call, told, completion, counted=counted)


def broken_off(call: Call, response: Response) -> None:
    """No answer came, or not all of it: the upstream may have begun, unless what came tells otherwise."""
    begun = not response.status or (response.status < 300 and forward.content_type(response) in _GENERATING)
    if begun and call.endpoint.metered and call.record.usage == NO_USAGE:
        _note(call, _NOT_TOLD, None, counted=True)


def _note(call: Call, told: Tokens, completion: int | None, *, counted: bool) -> None:
    """``counted``: the completion is not the upstream's figure."""
    record, prompt, cached = call.record, told.prompt, told.cached
    if not prompt:
        prompt, cached, counted = estimate.prompt_tokens(call.body), None, True
    record.prompt_tokens, record.completion_tokens, record.cached_tokens = prompt, completion, cached
    record.usage = ESTIMATED if counted else REPORTED
