"""The access log: one record for each call, one JSON object for each record."""

from __future__ import annotations

from collections.abc import Sequence
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


_SHORT: Final = MAX_PATH
"""Characters of a line, at which surely no text in it is too long."""

_LINE: Final = (
    '{"time":"%s","request_id":%s,"client":%s,"method":%s,"path":%s,"status":%d,"model":%s,"upstream":%s'
    ',"stream":%s,"duration_ms":%.1f,"first_byte_ms":%s,"prompt_tokens":%s,"completion_tokens":%s'
    ',"bytes_out":%d,"error":%s,"upstream_request_id":%s%s}\n'
)
"""The names stand in the order of the documentation."""


def lines(records: Sequence[Record], redactor: Redactor) -> bytes:
    """``line`` of each. Most need no cleaning, which is seen at a glance over all of them."""
    shown = [_written(record) for record in records]
    texts = "\n".join([
        f"{of.request_id} {of.method} {of.path} {of.model}"
        f" {of.error} {of.upstream_request_id} {of.prompt} {of.answer}"
        for of in records
    ])  # fmt: skip
    if max(map(len, shown)) > _SHORT or "?" in texts or redactor.suspects(texts):
        shown = [_written(_cleaned(record, redactor)) for record in records]
    return "".join(shown).encode("ascii")


def line(record: Record, redactor: Redactor) -> bytes:
    """The record as one line of ASCII JSON, keys cleaned out of everything that others have chosen."""
    return _written(_cleaned(record, redactor)).encode("ascii")


def _written(record: Record) -> str:
    # On the way of each call, and so put together by hand.
    model, error, upstream_id = record.model, record.error, record.upstream_request_id
    first_byte, prompt, completion = record.first_byte_ms, record.prompt_tokens, record.completion_tokens
    text = _LINE % (
        stamp(record.time), quoted(record.request_id), quoted(record.client), quoted(record.method),
        quoted(record.path), record.status, "null" if model is None else quoted(model),
        "null" if record.upstream is None else quoted(record.upstream), "true" if record.stream else "false",
        record.duration_ms, "null" if first_byte is None else f"{first_byte:.1f}",
        "null" if prompt is None else prompt, "null" if completion is None else completion, record.bytes_out,
        "null" if error is None else quoted(error), "null" if upstream_id is None else quoted(upstream_id),
        "" if record.prompt is None and record.answer is None else _said(record),
    )  # fmt: skip
    if "\x7f" in text:
        text = text.replace("\x7f", "\\u007f")  # the one control character that JSON lets stand
    return text


def _cleaned(record: Record, redactor: Redactor) -> Record:
    """Without keys, and each text cut to what the log shows of it; cleaned first: half a key is no key."""

    def clean(text: str | None) -> str | None:
        return None if text is None else redactor.clean(text)

    def clean_start(text: str | None) -> str | None:
        return None if text is None else redactor.clean(text[:_LOOKED_AT])[:_MAX_TEXT]

    # A query does not belong here, and may hold a key that is nobody's but the caller's.
    path = record.path.partition("?")[0]
    return replace(
        record,
        request_id=redactor.clean(record.request_id),
        method=redactor.clean(record.method[:_LOOKED_AT])[:_MAX_TEXT],
        path=redactor.clean(path[:_LOOKED_AT])[:MAX_PATH],
        model=clean_start(record.model),
        error=clean_start(record.error),
        upstream_request_id=clean_start(record.upstream_request_id),
        prompt=clean(record.prompt),
        answer=clean(record.answer),
    )


def _said(record: Record) -> str:
    prompt, answer = ("null" if text is None else quoted(text) for text in (record.prompt, record.answer))
    return f',"prompt":{prompt},"answer":{answer}'
