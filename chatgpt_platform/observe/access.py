"""The access log's record of a call, and its line: one JSON object, all ASCII."""

from __future__ import annotations

import time
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as quoted
from typing import Final

from chatgpt_platform.observe.redact import Redactor

MAX_PATH: Final = 512
MAX_TEXT: Final = 1000


@dataclass(slots=True)
class Record:
    """What is noted of a call while it is answered. Times in milliseconds but ``time``: epoch seconds.

    ``status`` 499: the caller left. ``prompt`` and ``answer`` stay None unless the owner logs them.
    """

    time: float
    request_id: str
    client: str
    method: str
    path: str
    status: int = 0
    model: str | None = None
    upstream: str | None = None
    upstream_request_id: str | None = None
    stream: bool = False
    duration_ms: float = 0.0
    first_byte_ms: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    bytes_out: int = 0
    error: str | None = None
    prompt: str | None = None
    answer: str | None = None


class AccessLines:
    """Writes records as lines."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor: Final = redactor
        self._second = -1
        self._prefix = ""

    def line(self, record: Record) -> bytes:
        """The record as one JSON object and a line end."""
        members = [
            f'{{"time":"{self._time(record.time)}"',
            f'"request_id":{quoted(record.request_id)}',
            f'"client":{quoted(record.client)}',
            f'"method":{quoted(record.method[:32])}',
            f'"path":{self._text(record.path, MAX_PATH)}',
            f'"status":{record.status:d}',
            f'"model":{self._text(record.model)}',
            f'"upstream":{self._text(record.upstream)}',
            f'"stream":{"true" if record.stream else "false"}',
            f'"duration_ms":{record.duration_ms:.1f}',
            f'"first_byte_ms":{"null" if record.first_byte_ms is None else f"{record.first_byte_ms:.1f}"}',
            f'"prompt_tokens":{_number(record.prompt_tokens)}',
            f'"completion_tokens":{_number(record.completion_tokens)}',
            f'"bytes_out":{record.bytes_out:d}',
            f'"error":{self._text(record.error)}',
            f'"upstream_request_id":{self._text(record.upstream_request_id)}',
        ]
        if record.prompt is not None:
            members.append(f'"prompt":{quoted(self._redactor.clean(record.prompt))}')
            members.append(f'"answer":{quoted(self._redactor.clean(record.answer or ""))}')
        return (",".join(members) + "}\n").encode("ascii")

    def _time(self, moment: float) -> str:
        """RFC 3339 in UTC with milliseconds; the part up to the second is made once a second."""
        milliseconds = int(moment * 1000)
        second, rest = divmod(milliseconds, 1000)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._prefix}.{rest:03d}Z"

    def _text(self, text: str | None, longest: int = MAX_TEXT) -> str:
        return "null" if text is None else quoted(self._redactor.clean(text)[:longest])


def _number(figure: int | None) -> str:
    return "null" if figure is None else f"{figure:d}"
