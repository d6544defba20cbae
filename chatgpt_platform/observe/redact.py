"""Keeps keys and control characters out of what is shown.

``Redactor`` cleans the text of logs, ``mask`` the bytes that an upstream answers, ``printable`` makes one harmless
line of any text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

MASK: Final = "***"

_SHORT: Final = 4
"""A known secret below this length is replaced only as a word of its own, or it would shred every text."""

_KEY_LIKE: Final = re.compile(
    r"(?:sk-|cgp_)[A-Za-z0-9_-]{8,}"
    r"|(?P<scheme>bearer(?:\s|%20|\+)+)\S+"
    r"|(?P<member>api[_-]?key['\"]?\s*[=:]\s*['\"]?)[^\s&'\"]+",
    re.IGNORECASE,
)
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029"
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # Unicode's Bidi_Control: they reorder what is seen
    r"\ud800-\udfff]"
)

_ESCAPED: Final = re.compile(r'(?:[^"\\]++|\\["\\/bfnrt]|\\u[0-9A-Fa-f]{4})++')
"""What may stand between the quotes of a JSON string (RFC 8259, 7), control characters included."""
_NESTING: Final = 3
"""JSON inside a JSON string inside a JSON string: how far a masked body is unpacked."""


class Redactor:
    """Replaces the secrets it knows, and whatever looks like a key, by ``***``.

    What looks like a key: ``sk-`` or ``cgp_`` (a virtual key) and eight or more key characters, what follows
    ``Bearer``, the value of ``api_key=`` and ``ApiKey:``. The secrets are found in the forms that URLs, JSON and
    ``repr`` give them, too.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if secret for form in _forms(secret)}
        # The longest first: a secret may be a part of another.
        self._secrets: Final = tuple(sorted(forms, key=len, reverse=True))

    def suspects(self, text: str) -> bool:
        """Whether ``clean`` may have something to do; quick, for the many texts where it has not."""
        for secret in self._secrets:
            if secret in text:
                return True
        text = text.lower()
        return "sk-" in text or "bearer" in text or "key" in text or "cgp_" in text

    def clean(self, text: str) -> str:
        """The text without its secrets."""
        if not self.suspects(text):
            return text
        for secret in self._secrets:
            text = _replaced(text, secret)
        return _KEY_LIKE.sub(_masked_match, text)


def mask(body: bytes, secret: str) -> bytes:
    r"""The body with the secret replaced by ``***``, even where JSON escapes (``\/``, ``\u002d``) hide it.

    It need not be valid JSON: every stretch that could be the inside of a JSON string is looked at by itself, so
    broken, cut and bottomless bodies are masked as well. All else stays as it is; the same object comes back
    when nothing matched. Never raises.
    """
    if not secret:
        return body
    if secret.encode("utf-8", "surrogatepass") not in body and b"\\" not in body:
        return body
    text = body.decode("utf-8", "surrogateescape")
    # Escapes first: a plain replacement could cut one of them in half.
    masked = _replaced(_unescaped_mask(text, secret, _NESTING), secret)
    return body if masked == text else masked.encode("utf-8", "surrogateescape")


def printable(text: str) -> str:
    r"""One line that any terminal or viewer shows as it is; control, line-breaking and reordering characters
    and lone surrogates become ``\xNN`` or ``\uNNNN``."""
    if text.isascii() and text.isprintable():
        return text
    return _UNSAFE.sub(_escape, text)


def _forms(secret: str) -> tuple[str, ...]:
    # Lone surrogates cannot be percent-encoded as they are; such a secret has no form in a URL.
    in_url = quote(secret.encode("utf-8", "surrogatepass"), safe="")
    return (
        secret, in_url, in_url.replace("%20", "+"), json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1], ascii(secret)[1:-1],
        repr(secret.encode("utf-8", "surrogatepass"))[2:-1],
    )  # fmt: skip


def _replaced(text: str, secret: str) -> str:
    if len(secret) >= _SHORT:
        return text.replace(secret, MASK)
    return re.sub(rf"(?<![A-Za-z0-9]){re.escape(secret)}(?![A-Za-z0-9])", MASK, text)


def _masked_match(match: re.Match[str]) -> str:
    return f"{match['scheme'] or match['member'] or ''}{MASK}"


def _unescaped_mask(text: str, secret: str, nesting: int) -> str:
    """The text with the secret masked where JSON escapes hide it, in JSON within strings too."""

    def masked(match: re.Match[str]) -> str:
        inside = match[0]
        if "\\" not in inside or len(inside) < len(secret):  # escapes never shorten
            return inside
        said = str(json.loads(f'"{inside}"', strict=False))
        clean = _replaced(said, secret)
        if nesting and "\\" in clean:
            clean = _unescaped_mask(clean, secret, nesting - 1)
        return inside if clean == said else json.dumps(clean)[1:-1]

    return _ESCAPED.sub(masked, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"
