"""The access log: one record for each call, one JSON object for each record."""

from __future__ import annotations

from dataclasses import dataclass, replace
from json.encoder import encode_basestring_ascii as quoted
from typing import Final

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


def line(record: Record, redactor: Redactor) -> bytes:
    """The record as one line of ASCII JSON, keys cleaned out of everything that others have chosen.

    On the way of each call, so it is put together by hand and looked through for keys as a whole, but for
    texts that it shows only in part: half a key would not be known as one.
    """
    text = _compose(record)
    if redactor.suspects(text) or _shows_in_part(record):
        text = _compose(_cleaned(record, redactor))
    return text.encode("ascii")


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
        f',"stream":{"true" if record.stream else "false"},"duration_ms":{record.duration_ms:.1f}'
        f',"first_byte_ms":{"null" if first_byte is None else f"{first_byte:.1f}"}'
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


def _shows_in_part(record: Record) -> bool:
    texts = (record.method, record.path, record.model, record.error, record.upstream_request_id)
    return max(len(text or "") for text in texts) > MAX_PATH


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
