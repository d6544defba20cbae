"""What a call's head tells of its body, before that is read: its type, its encoding, its length."""

from __future__ import annotations

from typing import Final

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway.call import Call
from chatgpt_platform.gateway.endpoints import Api

_JSON_TYPES: Final = ("application/json",)
_FORM_TYPES: Final = ("application/x-www-form-urlencoded", "multipart/form-data")
_MOST_DIGITS: Final = 18


def check_body(call: Call, max_body: int) -> None:
    """Refuse a body that is not read here, whatever it holds. ``max_body``: bytes. Raises Problem."""
    headers = call.headers
    if call.method != "GET":
        if b"content-encoding" in headers:
            _check_encoding(headers[b"content-encoding"])
        if headers.get(b"content-type") != b"application/json":
            _check_type(call)
    check_length(call, max_body)


def check_length(call: Call, max_body: int) -> None:
    """Refuse a body that is declared to be longer than so many bytes. Raises Problem."""
    declared = call.headers.get(b"content-length", b"").lstrip(b"0")
    if declared.isdigit() and (len(declared) > _MOST_DIGITS or int(declared) > max_body):
        raise too_large(max_body)


def too_large(max_body: int) -> Problem:
    """The Problem of a body that is longer than so many bytes."""
    return Problem(Kind.TOO_LARGE, limit=_size(max_body))


def _check_encoding(encoding: bytes) -> None:
    if encoding.strip().lower() not in (b"", b"identity"):
        raise Problem(Kind.MEDIA_TYPE, "encoding")


def _check_type(call: Call) -> None:
    media_type = (call.header(b"content-type") or "").partition(";")[0].strip().lower()
    types = _JSON_TYPES if call.api is Api.OPENAI else _JSON_TYPES + _FORM_TYPES
    if media_type and media_type not in types and not media_type.endswith("+json"):
        raise Problem(Kind.MEDIA_TYPE, types=", ".join(types))


def _size(figure: int) -> str:
    for unit, factor in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if figure % factor == 0:
            return f"{figure // factor} {unit}"
    return f"{figure} bytes"
