"""Which pages may call from a browser: cross-origin headers for the origins of ``server.cors``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

Fields = Mapping[bytes, bytes]
"""A request's headers: names in lower case."""

Lines = list[tuple[bytes, bytes]]

_EXPOSED: Final = b"Retry-After, RateLimit, RateLimit-Policy, X-Request-Id"


def lines(origins: Sequence[str], fields: Fields) -> Lines:
    """The header lines that let the calling page read the answer; none for other pages."""
    if not origins:
        return []
    vary = (b"Vary", b"Origin")
    origin = fields.get(b"origin", b"")
    if not _may_call(origins, origin):
        return [vary]
    return [vary, (b"Access-Control-Allow-Origin", origin), (b"Access-Control-Expose-Headers", _EXPOSED)]


def is_preflight(origins: Sequence[str], method: str, fields: Fields) -> bool:
    """Whether a browser asks beforehand, for a page that may call."""
    asks = method == "OPTIONS" and b"access-control-request-method" in fields
    return asks and _may_call(origins, fields.get(b"origin", b""))


def preflight_lines(methods: Sequence[str], fields: Fields) -> Lines:
    """What a preflight is answered: these methods, the headers that the page names, for an hour."""
    return [
        (b"Access-Control-Allow-Methods", ", ".join(methods).encode()),
        (b"Access-Control-Allow-Headers", fields.get(b"access-control-request-headers", b"")),
        (b"Access-Control-Max-Age", b"3600"),
    ]


def _may_call(origins: Sequence[str], origin: bytes) -> bool:
    return bool(origin) and ("*" in origins or origin.decode("latin-1") in origins)
