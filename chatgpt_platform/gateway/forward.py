"""One call to the upstream: its head from an allow-list, its answer sorted into body, stream or failure."""

from __future__ import annotations

import logging
import time
from functools import lru_cache
from typing import Final

from chatgpt_platform.access.keys import Key
from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway import failures
from chatgpt_platform.gateway.call import Call
from chatgpt_platform.observe.metrics import Breaker, KeyState, UpstreamState
from chatgpt_platform.observe.redact import mask
from chatgpt_platform.upstream.client import Client, Response

MAX_ERROR: Final = 256 * 1024
"""Bytes of an error body that are read; more is no error message but nonsense."""

_JSON_BODY: Final = b"Content-Type: application/json\r\n"
_CALLER_HEADERS: Final = (b"accept", b"openai-beta", b"idempotency-key")
_OWN_KEY_CALLER_HEADERS: Final = (*_CALLER_HEADERS, b"openai-organization", b"openai-project")
"""The last two choose who pays, so they count only beside the caller's own key."""

_ANSWER_HEADERS: Final = frozenset((b"content-type", b"retry-after", b"retry-after-ms", b"x-should-retry"))
_MEDIA_TYPES: Final = frozenset((b"application/json", b"text/event-stream", b"text/event-stream; charset=utf-8"))
_ANSWER_PREFIXES: Final = (b"x-ratelimit-", b"openai-")


def request_headers(call: Call, key: Key) -> bytes:
    """The header lines for the upstream: the key, the type, and what the allow-list lets through."""
    lines = [key.header_line]
    if call.body:
        lines.append(_JSON_BODY)
    headers = call.headers
    names = _OWN_KEY_CALLER_HEADERS if key.own else _CALLER_HEADERS
    lines += [b"%b: %b\r\n" % (name, headers[name]) for name in names if headers.get(name)]
    return b"".join(lines)


def question_headers(key: Key) -> bytes:
    """The header lines for a question of the platform API: nothing of the caller's travels on."""
    return key.header_line + _JSON_BODY


def answer_headers(response: Response, key: Key) -> list[tuple[bytes, bytes]]:
    """The upstream's header lines that go to the caller, the key masked."""
    lines = [line for line in response.headers if _goes_on(line[0])]
    if len(lines) == 1 and lines[0][1] in _MEDIA_TYPES:
        return lines  # nearly always, and no key
    for form in key.forms:
        lines = [(name, value.replace(form, b"***")) for name, value in lines]
    return lines


@lru_cache(maxsize=256)
def _goes_on(name: bytes) -> bool:
    """Whether an answer's header goes to the caller; ``name`` in lower case."""
    return name in _ANSWER_HEADERS or name.startswith(_ANSWER_PREFIXES)


class Upstream:
    """An upstream by its name, and the client that reaches it."""

    def __init__(self, name: str, client: Client, logger: logging.Logger) -> None:
        self._name: Final = name
        self._client: Final = client
        self._log: Final = logger
        self._key_works = True

    def state(self, keys: int) -> UpstreamState:
        """How it is, with so many keys configured."""
        key = KeyState.IN_USE if self._key_works else KeyState.SET_ASIDE
        client = self._client
        return UpstreamState(self._name, Breaker.CLOSED, (key,) * keys, client.under_way, client.connections)

    def ask(self, call: Call, key: Key, path: bytes, headers: bytes, body: bytes) -> None:
        """Ask: ``call.response`` is the answer, of which nothing has come yet."""
        call.record.upstream = self._name
        call.key = key
        call.response = self._client.begin(call.endpoint.upstream_method, path, headers, body)

    def note(self, call: Call, key: Key, response: Response) -> None:
        """Note what the head of an answer tells the owner; may be repeated."""
        fields = response.fields
        if b"x-request-id" in fields:
            call.record.upstream_request_id = fields[b"x-request-id"].decode("latin-1")[:200]
        if not key.own and self._key_works is (response.status == 401):
            self._note_key(response.status)

    def warn(self, call: Call, what: str) -> None:
        """Tell the owner what went wrong with a call whose answer does not show it as a failure of ours."""
        self._log.warning("%s: %s: %s", call.record.request_id, self._name, what)

    def _note_key(self, status: int) -> None:
        """Tell the owner, once each time it begins, that the configured key is refused: callers cannot mend it."""
        worked, self._key_works = self._key_works, status != 401
        if worked and not self._key_works:
            self._log.warning(
                "%s refuses the configured key (401): callers cannot be answered with it", self._name
            )


async def error_body(response: Response, key: Key) -> bytes:
    """The whole body of a failing answer, the key masked. Raises Problem when it is too large to be one."""
    return mask(await response.read_all(MAX_ERROR), key.value)


def failure(response: Response, body: bytes) -> Problem:
    """The Problem of a failing answer. ``body``: its masked body."""
    retry_after = response.header(b"retry-after")
    text = retry_after.decode("latin-1") if retry_after else None
    return failures.problem_of(response.status, body, text, now=time.time())


def content_type(response: Response) -> bytes:
    """The media type alone, in lower case; empty when there is none."""
    value = response.header(b"content-type") or b""
    if value == b"application/json":
        return value
    return value.partition(b";")[0].strip().lower()


def is_json(media_type: bytes) -> bool:
    return media_type == b"application/json" or media_type.endswith(b"+json")


def unusable(response: Response) -> Problem:
    """An answer that nobody asked for: a page, a redirect, a body of another kind."""
    kind = content_type(response).decode("latin-1") or "no content type"
    return Problem(Kind.BAD_UPSTREAM, detail=f"the upstream answered {response.status} with {kind}")
