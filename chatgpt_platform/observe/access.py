"""The access log: one record for each call, one JSON object for each record."""

from __future__ import annotations

from dataclasses import dataclass, replace
from json.encoder import encode_basestring_ascii as quoted
from typing import Final

import msgspec

from chatgpt_platform.observe.redact import MASK, Redactor
from chatgpt_platform.observe.timestamps import stamp

MAX_PATH: Final = 512
_LOOKED_AT: Final = 16 * 1024
"""Characters of a text that are searched for keys: the longest key fits in, behind what is kept of the text."""

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

    def hide(self, secret: str) -> None:
        """Take a caller's own key, which no redactor knows, out of all that a caller or an upstream wrote."""
        for name in ("path", "model", "error", "upstream_request_id", "prompt", "answer"):
            text = getattr(self, name)
            if text is not None and secret in text:
                setattr(self, name, text.replace(secret, MASK))


_encode: Final = msgspec.json.Encoder().encode
_NOTHING_SAID: Final = ',"prompt":null,"answer":null}'
_SHORT: Final = MAX_PATH + 256
"""Characters of a line that surely shows each text whole: the names alone take more than 256 of them."""


def line(record: Record, redactor: Redactor) -> bytes:
    """The record as one line of ASCII JSON, keys cleaned out of everything that others have chosen.

    On the way of each call: nearly all lines are short and plain, and made in C. Rounds the record's times.
    """
    record.duration_ms = round(record.duration_ms, 1)
    if record.first_byte_ms is not None:
        record.first_byte_ms = round(record.first_byte_ms, 1)
    text = _plain(record)
    if text is None or redactor.suspects(text):
        text = _compose(_cleaned(record, redactor))
    return text.encode("ascii")


def _plain(record: Record) -> str | None:
    """The line of a record that holds nothing unusual; None for others."""
    try:
        encoded = _encode(record)
    except UnicodeEncodeError:  # half of a surrogate pair
        return None
    if len(encoded) > _SHORT or not encoded.isascii() or b"\x7f" in encoded or b"?" in encoded:
        return None
    text = encoded.decode("ascii")
    if not text.endswith(_NOTHING_SAID):
        return None
    start = text.index(",")  # behind the time
    return f'{{"time":"{stamp(record.time)}"{text[start : -len(_NOTHING_SAID)]}}}\n'


def _compose(record: Record) -> str:
    """The names stand in the order of the documentation."""
    model, error, upstream_id = record.model, record.error, record.upstream_request_id
    first_byte = record.first_byte_ms
    prompt_tokens, completion_tokens = record.prompt_tokens, record.completion_tokens
    text = (
        f'{{"time":"{stamp(record.time)}","request_id":{quoted(record.request_id)}'
        f',"client":{quoted(record.client)},"method":{quoted(record.method[:_MAX_TEXT])}'
        # A query does not belong here, and may hold a key that is nobody's but the caller's.
        f',"path":{quoted(record.path.partition("?")[0][:MAX_PATH])}'
        f',"status":{record.status},"model":{"null" if model is None else quoted(model[:_MAX_TEXT])}'
        f',"upstream":{"null" if record.upstream is None else quoted(record.upstream)}'
        f',"stream":{"true" if record.stream else "false"},"duration_ms":{record.duration_ms}'
        f',"first_byte_ms":{"null" if first_byte is None else first_byte}'
        f',"prompt_tokens":{"null" if prompt_tokens is None else prompt_tokens}'
        f',"completion_tokens":{"null" if completion_tokens is None else completion_tokens}'
        f',"bytes_out":{record.bytes_out},"error":{"null" if error is None else quoted(error[:_MAX_TEXT])}'
        f',"upstream_request_id":{"null" if upstream_id is None else quoted(upstream_id[:_MAX_TEXT])}'
    )
    if record.prompt is not None or record.answer is not None:
        prompt, answer = ("null" if said is None else quoted(said) for said in (record.prompt, record.answer))
        text += f',"prompt":{prompt},"answer":{answer}'
    if "\x7f" in text:
        text = text.replace("\x7f", "\\u007f")  # the one control character that JSON lets stand
    return text + "}\n"


def _cleaned(record: Record, redactor: Redactor) -> Record:
    def clean(text: str | None) -> str | None:
        return None if text is None else redactor.clean(text)

    def clean_start(text: str | None) -> str | None:
        return None if text is None else redactor.clean(text[:_LOOKED_AT])

    return replace(
        record,
        request_id=redactor.clean(record.request_id),
        method=redactor.clean(record.method[:_LOOKED_AT]),
        path=redactor.clean(record.path[:_LOOKED_AT]),
        model=clean_start(record.model),
        error=clean_start(record.error),
        upstream_request_id=clean_start(record.upstream_request_id),
        prompt=clean(record.prompt),
        answer=clean(record.answer),
    )
