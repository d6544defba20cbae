"""What goes to an upstream and comes back beside the body: heads from an allow-list, failing answers."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Final

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway import failures
from chatgpt_platform.gateway.call import Call
from chatgpt_platform.gateway.source import ErrorEvent
from chatgpt_platform.observe.redact import mask
from chatgpt_platform.upstream.client import Response
from chatgpt_platform.upstream.keys import Key

MAX_ERROR: Final = 256 * 1024
"""Bytes of an error body that are read; more is no error message but nonsense."""

JSON_LINE: Final = b"Content-Type: application/json\r\n"
_CALLER_HEADERS: Final = (b"accept", b"openai-beta", b"idempotency-key")
_OWN_KEY_CALLER_HEADERS: Final = (*_CALLER_HEADERS, b"openai-organization", b"openai-project")
"""The last two choose who pays, so they count only beside the caller's own key."""

_ANSWER_HEADERS: Final = frozenset((b"content-type", b"retry-after", b"retry-after-ms", b"x-should-retry"))
_MEDIA_TYPES: Final = frozenset((b"application/json", b"text/event-stream", b"text/event-stream; charset=utf-8"))
_ANSWER_PREFIXES: Final = (b"x-ratelimit-", b"openai-")


def request_lines(call: Call) -> bytes:
    """The header lines for the upstream, but for the key's: the type, and what the allow-list lets through."""
    headers = call.headers
    names = _OWN_KEY_CALLER_HEADERS if call.own_key else _CALLER_HEADERS
    lines = [b"%b: %b\r\n" % (name, headers[name]) for name in names if headers.get(name)]
    return JSON_LINE + b"".join(lines) if call.body else b"".join(lines)


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


class FailedAnswer(Exception):
    """A complete answer that says that the call failed, by its status or by its first event.

    ``body``: with the key masked. ``headers``: what goes to the caller of its lines. ``wait``: seconds that its
    Retry-After asks for, None where there is none. ``event``: it came as the first event of a stream.
    """

    def __init__(
        self, status: int, body: bytes, headers: list[tuple[bytes, bytes]], wait: float | None,
        *, event: bool = False,
    ) -> None:  # fmt: skip
        self.status: Final = status
        self.body: Final = body
        self.headers: Final = headers
        self.wait = wait
        self.event: Final = event
        super().__init__(status)

    @property
    def problem(self) -> Problem:
        """It as a Problem, by the contract's table."""
        return failures.problem_of(self.status, self.body, self.wait)


async def failed_answer(response: Response, key: Key) -> FailedAnswer:
    """An answer with a failing status. Raises Problem when it breaks off, or is too large to be one."""
    body = mask(await response.read_all(MAX_ERROR), key.value)
    wait = failures.wait_of(response.header(b"retry-after-ms"), response.header(b"retry-after"), time.time())
    return FailedAnswer(response.status, body, answer_headers(response, key), wait)


def failed_event(event: ErrorEvent, response: Response, key: Key) -> FailedAnswer:
    """A stream whose first event is an error."""
    return FailedAnswer(event.status, mask(event.data, key.value), answer_headers(response, key), None, event=True)


def note_head(call: Call, response: Response) -> None:
    """Note what the head of an answer tells the owner; may be repeated."""
    identifier = response.fields.get(b"x-request-id")
    if identifier is not None:
        call.record.upstream_request_id = identifier.decode("latin-1")[:200]


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
