"""What an upstream's failing answers mean: statuses, error bodies, error events; pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

import msgspec

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.upstream.sse import Event, holds

_KINDS: Final[Mapping[int, Kind]] = {
    401: Kind.KEY_REFUSED,
    403: Kind.FORBIDDEN,
    408: Kind.UPSTREAM_TIMEOUT,
    429: Kind.UPSTREAM_BUSY,
}
_CODES: Final[Mapping[str, int]] = {
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "insufficient_quota": 429,
    "tokens": 429,
    "requests": 429,
    "invalid_api_key": 401,
    "authentication_error": 401,
    "permission_error": 403,
    "model_not_found": 404,
    "not_found_error": 404,
    "invalid_request_error": 400,
    "context_length_exceeded": 400,
    "content_filter": 400,
    "overloaded_error": 503,
}
_NO_CREDIT: Final = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
_LONGEST_WAIT: Final = 7.0 * 86_400


def is_error_object(data: bytes) -> bool:
    """Whether a JSON body or an event's data is an error in OpenAI's shape, or nearly so."""
    return _error_of(data) is not None


def may_tell_error(data: bytes) -> bool:
    """A quick look that misses no error: its name may be spelt with escapes."""
    return holds(data, b"error") or holds(data, b"\\u00")


def event_status(event: Event) -> int | None:
    """The status that an error event stands for, 500 when it does not say; None when it is no error.

    An event named ``error`` is one whatever its data.
    """
    if event.name != b"error" and not may_tell_error(event.data):
        return None
    error = _error_of(event.data)
    if error is None:
        if event.name != b"error":
            return None
        error = _decode(event.data) or {}
    for name in ("status", "status_code", "code"):
        figure = error.get(name)
        if isinstance(figure, str) and figure.isascii() and figure.isdigit():
            figure = int(figure[:4])
        if isinstance(figure, int) and 400 <= figure <= 599:
            return figure
    words = (error.get("code"), error.get("type"))
    return next((_CODES[word] for word in words if isinstance(word, str) and word in _CODES), 500)


def error_body(data: bytes) -> bytes:
    """An error as the body of an error answer in OpenAI's shape: the flat form is wrapped."""
    decoded = _decode(data)
    if decoded is None or "error" in decoded:
        return data
    members = {name: decoded.get(name) for name in ("message", "type", "param", "code")}
    return msgspec.json.encode({"error": members})


def problem_of(status: int, body: bytes, wait: float | None) -> Problem:
    """The Problem of a failing answer, by the contract's table.

    ``body``: already masked. ``wait``: seconds that it asks for.
    """
    kind = _KINDS.get(status, Kind.BAD_REQUEST if 400 <= status <= 499 else Kind.BAD_UPSTREAM)
    reason = _message_of(body)
    detail = f"the upstream answered {status}"  # not its words: they may repeat the prompt
    if status >= 500:
        return Problem(kind, "upstream_failed", detail=detail, status=status)
    if kind is not Kind.BAD_REQUEST:
        return Problem(kind, retry_after=whole(wait) if kind is Kind.UPSTREAM_BUSY else None, detail=detail)
    if not reason:
        return Problem(kind, "upstream_refused", detail=detail, status=status)
    # A 404 can also mean a wrong base_url, and then no model would do.
    unknown_model = status == 404 and "model" in reason.lower()
    return Problem(kind, "unknown_model" if unknown_model else "upstream_said", detail=detail, reason=reason)


def is_out_of_credit(status: int, body: bytes) -> bool:
    """Whether a failing answer says that the key's account has nothing left to spend, which no waiting mends.

    OpenAI: 429 with ``insufficient_quota`` (its guide "Error codes"); DeepSeek: 402 (its page "Error Codes").
    """
    if status == 402:
        return True
    error = (_error_of(body) or {}) if status == 429 else {}
    return any(error.get(name) in _NO_CREDIT for name in ("code", "type"))


def whole(wait: float | None) -> int | None:
    """Whole seconds for a Retry-After: never too few."""
    return None if wait is None else math.ceil(wait)


def wait_of(milliseconds: bytes | None, retry_after: bytes | None, now: float) -> float | None:
    """Seconds that an answer asks to wait for, None when it does not, or not readably. ``now``: epoch.

    Retry-After: seconds or a date (RFC 9110, 10.2.3). ``retry-after-ms``, which OpenAI's SDKs read first, is
    finer.
    """
    if milliseconds is not None and re.fullmatch(rb"\d{1,12}(\.\d{1,9})?", milliseconds):
        return min(float(milliseconds) / 1000, _LONGEST_WAIT)
    return None if retry_after is None else _seconds_of(retry_after.decode("latin-1").strip(), now)


def _seconds_of(text: str, now: float) -> float | None:
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):  # fractions are not the standard's, but are sent
        return min(float(text[:12]), _LONGEST_WAIT)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    # A date that names no zone, or "-0000", comes without one: HTTP's dates are UTC.
    wait = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
    return min(max(0.0, wait), _LONGEST_WAIT)


def _error_of(data: bytes) -> dict[str, object] | None:
    """The members of an error object: those of ``error``, or its own where it is flat."""
    decoded = _decode(data)
    if decoded is None:
        return None
    error = decoded.get("error")
    if isinstance(error, dict):
        return error
    if isinstance(error, str) and error:
        return {**decoded, "message": error}
    # The Responses API has the flat form with a type, older vLLM with an object.
    return decoded if "error" in (decoded.get("type"), decoded.get("object")) else None


def _message_of(body: bytes) -> str:
    decoded = _decode(body) or {}
    error = _error_of(body) or decoded
    reason = next((error[name] for name in ("message", "detail") if isinstance(error.get(name), str)), "")
    return str(reason)[:1000]


def _decode(data: bytes) -> dict[str, object] | None:
    try:
        data.decode()
        decoded = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return decoded if isinstance(decoded, dict) else None
