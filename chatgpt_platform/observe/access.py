"""The access log: one record for each call, one JSON object for each record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import asdict

from chatgpt_platform.observe.redact import MASK, Redactor
from chatgpt_platform.observe.timestamps import stamp

MAX_PATH: Final = 512
_LOOKED_AT: Final = 16 * 1024
"""Characters of a text that are searched for keys: the longest key fits in, behind what is kept of the text."""

_MAX_TEXT: Final = 1024
"""Characters of any other text that a caller or an upstream has chosen; what was said is written whole."""


NO_USAGE: Final = "none"
"""Nothing was generated, or no upstream was asked."""

REPORTED: Final = "reported"
"""The tokens are the upstream's own figures."""

ESTIMATED: Final = "estimated"
"""The upstream told no figures, or not all."""


class Record:
    """What is known of a call; filled while it runs, written once at its end.

    ``time``: epoch seconds of its start. ``path``: without the query. ``error``: English, None when all went well.
    ``attempts``: how often an upstream was asked. ``reason``: why more than once. ``trace_id``: of a W3C trace.
    ``prompt``, ``answer``: what was said; None unless the operator asked for prompts to be logged. ``key``: the
    name of the virtual key; empty: none. ``cost``: picodollars; ``priced``: whether its model has a price.
    ``outcome``: as in the ledger; empty until it is known. ``endpoint``: its label. ``cached_tokens``: of those of
    the prompt. ``usage``: where the figures come from.
    """

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
    attempts: int = 0
    reason: str | None = None
    trace_id: str | None = None
    prompt: str | None = None
    answer: str | None = None
    events: int = 0
    """Those of a stream, for metrics."""
    key: str = ""
    cost: int = 0
    priced: bool = False
    outcome: str = ""
    cached_tokens: int | None = None
    usage: str = NO_USAGE

    def __init__(
        self, time: float, request_id: str, client: str, method: str, path: str, endpoint: str = ""
    ) -> None:
        self.time = time
        self.request_id = request_id
        self.client = client
        self.method = method
        self.path = path
        self.endpoint = endpoint

    def copy(self) -> Record:
        """The same figures, to be changed without changing these."""
        copy = Record(self.time, self.request_id, self.client, self.method, self.path, self.endpoint)
        for name in _FILLED_LATER:
            setattr(copy, name, getattr(self, name))
        return copy

    def hide(self, secret: str) -> None:
        """Take a caller's own key, which no redactor knows, out of all that a caller or an upstream wrote."""
        for name in ("path", "model", "error", "upstream_request_id", "prompt", "answer"):
            text = getattr(self, name)
            if text is not None and secret in text:
                setattr(self, name, text.replace(secret, MASK))


_FILLED_LATER: Final = (
    "status", "model", "upstream", "stream", "duration_ms", "first_byte_ms", "prompt_tokens", "completion_tokens",
    "bytes_out", "error", "upstream_request_id", "attempts", "reason", "trace_id", "prompt", "answer", "events",
    "key", "cost", "priced", "outcome", "cached_tokens", "usage",
)  # fmt: skip
"""The members of a record that it is not made with."""

_SHORT: Final = MAX_PATH
"""Characters of a text, at which it surely is not too long."""


class _Line(msgspec.Struct, gc=False):
    """A record as it is written: the same fields in the same order, which is that of the documentation."""

    time: str
    request_id: str
    client: str
    method: str
    path: str
    status: int
    model: str | None
    upstream: str | None
    stream: bool
    duration_ms: float
    first_byte_ms: float | None
    prompt_tokens: int | None
    completion_tokens: int | None
    bytes_out: int
    error: str | None
    upstream_request_id: str | None
    attempts: int
    reason: str | None
    trace_id: str | msgspec.UnsetType
    key: str | msgspec.UnsetType
    prompt: str | msgspec.UnsetType | None
    answer: str | msgspec.UnsetType | None
    cached_tokens: int | msgspec.UnsetType
    usage: str | msgspec.UnsetType


_encoder: Final = msgspec.json.Encoder()


def lines(records: Sequence[Record], redactor: Redactor) -> bytes:
    """``line`` of each. Most need no cleaning, which is seen at a glance over all of them."""
    # As a rule many share the first of these.
    kinds = {(of.method, of.path, of.model, of.upstream, of.error, of.prompt, of.answer) for of in records}
    texts = [str(text) for kind in kinds for text in kind]
    texts += [f"{of.request_id} {of.client} {of.upstream_request_id}" for of in records]
    text = "\n".join(texts)
    if max(map(len, texts)) > _SHORT or "?" in text or redactor.suspects(text):
        records = [_cleaned(record, redactor) for record in records]
    shown = [_shown(record) for record in records]
    if text.isascii() and "\x7f" not in text:
        return _encoder.encode_lines(shown)
    return b"".join([_escaped(each) for each in shown])


def line(record: Record, redactor: Redactor) -> bytes:
    """The record as one line of ASCII JSON, keys cleaned out of everything that others have chosen."""
    return lines((record,), redactor)


def _shown(record: Record) -> _Line:
    """As it is written; times with one decimal, by a way that is quicker than ``round``."""
    first_byte, prompt, answer = record.first_byte_ms, record.prompt, record.answer
    said = prompt is not None or answer is not None
    return _Line(
        stamp(record.time), record.request_id, record.client, record.method, record.path, record.status,
        record.model, record.upstream, record.stream, int(record.duration_ms * 10 + 0.5) / 10,
        None if first_byte is None else int(first_byte * 10 + 0.5) / 10,
        record.prompt_tokens, record.completion_tokens, record.bytes_out, record.error, record.upstream_request_id,
        record.attempts, record.reason,
        record.trace_id or msgspec.UNSET, record.key or msgspec.UNSET,
        prompt if said else msgspec.UNSET, answer if said else msgspec.UNSET,
        record.cached_tokens or msgspec.UNSET, msgspec.UNSET if record.usage != ESTIMATED else ESTIMATED,
    )  # fmt: skip


def _escaped(line: _Line) -> bytes:
    """With all characters escaped that are no ASCII, or the one control character that JSON lets stand."""
    members = {name: value for name, value in asdict(line).items() if value is not msgspec.UNSET}
    return json.dumps(members, separators=(",", ":")).replace("\x7f", "\\u007f").encode() + b"\n"


def _cleaned(record: Record, redactor: Redactor) -> Record:
    """Without keys, and each text cut to what the log shows of it; cleaned first: half a key is no key."""

    def clean(text: str | None) -> str | None:
        return None if text is None else redactor.clean(text)

    def clean_start(text: str | None) -> str | None:
        return None if text is None else redactor.clean(text[:_LOOKED_AT])[:_MAX_TEXT]

    # A query does not belong here, and may hold a key that is nobody's but the caller's.
    path = record.path.partition("?")[0]
    cleaned = record.copy()
    cleaned.request_id = redactor.clean(record.request_id)
    cleaned.method = redactor.clean(record.method[:_LOOKED_AT])[:_MAX_TEXT]
    cleaned.path = redactor.clean(path[:_LOOKED_AT])[:MAX_PATH]
    cleaned.model = clean_start(record.model)
    cleaned.error = clean_start(record.error)
    cleaned.upstream_request_id = clean_start(record.upstream_request_id)
    cleaned.prompt = clean(record.prompt)
    cleaned.answer = clean(record.answer)
    return cleaned
