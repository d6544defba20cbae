"""The access log: one record for each call, one JSON object for each record."""

from __future__ import annotations

from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as quoted
from typing import Final

from chatgpt_platform.observe.redact import Redactor
from chatgpt_platform.observe.timestamps import stamp

MAX_PATH: Final = 512
_MAX_TEXT: Final = 1024
"""Characters of any other text that a caller or an upstream has chosen; what was said is written whole."""


@dataclass(slots=True)
class Record:
    """What is known of a call; filled while it runs, written once at its end.

    ``time``: epoch seconds of its start. ``path``: without the query. ``error``: English, None when all went well.
    ``prompt``, ``answer``: what was said; None unless the operator asked for prompts to be logged.
    """

    time: float
    request_id: str
    client: str
    method: str
    path: str
    status: int = 0
    model: str | None = None
    upstream: str | None = None
    stream: bool = False
    duration_ms: float = 0.0
    first_byte_ms: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    bytes_out: int = 0
    error: str | None = None
    upstream_request_id: str | None = None
    prompt: str | None = None
    answer: str | None = None


def line(record: Record, redactor: Redactor) -> bytes:
    """The record as one line of ASCII JSON, keys cleaned out of everything that others have chosen.

    On the way of each call, so it is put together by hand; the names stand in the order of the documentation.
    """
    path = redactor.clean(record.path.partition("?")[0])
    text = (
        f'{{"time":"{stamp(record.time)}","request_id":{_text(record.request_id, redactor)}'
        f',"client":{_text(record.client, redactor)},"method":{_text(record.method, redactor)}'
        f',"path":{quoted(path[:MAX_PATH])},"status":{record.status},"model":{_text(record.model, redactor)}'
        f',"upstream":{_text(record.upstream, redactor)},"stream":{"true" if record.stream else "false"}'
        f',"duration_ms":{record.duration_ms:.1f},"first_byte_ms":{_milliseconds(record.first_byte_ms)}'
        f',"prompt_tokens":{_figure(record.prompt_tokens)},"completion_tokens":{_figure(record.completion_tokens)}'
        f',"bytes_out":{record.bytes_out},"error":{_text(record.error, redactor)}'
        f',"upstream_request_id":{_text(record.upstream_request_id, redactor)}{_said(record, redactor)}}}\n'
    )
    if "\x7f" in text:
        text = text.replace("\x7f", "\\u007f")  # the one control character that JSON lets stand
    return text.encode("ascii")


def _said(record: Record, redactor: Redactor) -> str:
    if record.prompt is None and record.answer is None:
        return ""
    prompt, answer = (
        "null" if text is None else quoted(redactor.clean(text)) for text in (record.prompt, record.answer)
    )
    return f',"prompt":{prompt},"answer":{answer}'


def _text(text: str | None, redactor: Redactor) -> str:
    return "null" if text is None else quoted(redactor.clean(text)[:_MAX_TEXT])


def _figure(figure: int | None) -> str:
    return "null" if figure is None else str(figure)


def _milliseconds(figure: float | None) -> str:
    return "null" if figure is None else f"{figure:.1f}"
