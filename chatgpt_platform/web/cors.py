"""Which pages may call from a browser: cross-origin headers for the origins of ``server.cors``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tornado import httputil

_EXPOSED: Final = "Retry-After, RateLimit, RateLimit-Policy, X-Request-Id"


def headers(origins: Sequence[str], request: httputil.HTTPServerRequest) -> list[tuple[str, str]]:
    """The header lines that let the calling page read the answer; none for other pages."""
    if not origins:
        return []
    origin = request.headers.get("Origin", "")
    vary = [("Vary", "Origin")]
    if not origin or not ("*" in origins or origin in origins):
        return vary
    return [*vary, ("Access-Control-Allow-Origin", origin), ("Access-Control-Expose-Headers", _EXPOSED)]


def is_preflight(origins: Sequence[str], request: httputil.HTTPServerRequest) -> bool:
    """Whether a browser asks beforehand, for a page that may call."""
    origin = request.headers.get("Origin", "")
    asks = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
    return asks and bool(origin) and ("*" in origins or origin in origins)


def preflight_headers(methods: Sequence[str], request: httputil.HTTPServerRequest) -> list[tuple[str, str]]:
    """What a preflight is answered: these methods, the headers that the page names, for an hour."""
    asked = request.headers.get("Access-Control-Request-Headers", "")
    return [
        ("Access-Control-Allow-Methods", ", ".join(methods)),
        ("Access-Control-Allow-Headers", asked),
        ("Access-Control-Max-Age", "3600"),
    ]
