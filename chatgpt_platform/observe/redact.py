"""Keeps keys out of what is logged and answered, and text that is logged on one harmless line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final

MASK: Final = "***"

_KEY_LIKE: Final = re.compile(r"sk-[A-Za-z0-9_\-]{8,}|(?i:\bbearer\s+)[^\s\"',;]+")
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


class Redactor:
    """Takes known secrets, and what looks like a key, out of text."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # The longest first: one secret may begin with another.
        known = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
        self._known: Final = re.compile("|".join(map(re.escape, known))) if known else None

    def __repr__(self) -> str:
        return "Redactor(***)"

    def clean(self, text: str) -> str:
        """The text with each secret replaced by ``***``."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        return _KEY_LIKE.sub(_masked, text)


def printable(text: str) -> str:
    """The text on one line: control and direction characters, line breaks of all kinds as escapes."""
    return _UNPRINTABLE.sub(_escaped, text)


def mask(body: bytes, secret: str) -> bytes:
    """An upstream's body without the secret, also where JSON escapes hide it.

    The very same object comes back when it does not hold the secret. Never raises.
    """
    if not secret:
        return body
    plain = secret.encode()
    if plain in body:
        body = body.replace(plain, MASK.encode())
    if b"\\" not in body:
        return body
    try:
        decoded = json.loads(body)
        found, clean = _without(decoded, secret)
        return json.dumps(clean, separators=(",", ":")).encode() if found else body
    except (ValueError, RecursionError):
        return body


def _without(value: Any, secret: str) -> tuple[bool, Any]:
    """Whether a JSON value holds the secret in any string, and the value without it."""
    if isinstance(value, str):
        return secret in value, value.replace(secret, MASK)
    if isinstance(value, list):
        parts = [_without(part, secret) for part in value]
        return any(found for found, _ in parts), [clean for _, clean in parts]
    if isinstance(value, dict):
        members = [(_without(name, secret), _without(part, secret)) for name, part in value.items()]
        found = any(name[0] or part[0] for name, part in members)
        return found, {name[1]: part[1] for name, part in members}
    return False, value


def _masked(match: re.Match[str]) -> str:
    text = match[0]
    return MASK if text.startswith("sk-") else f"{text.split(maxsplit=1)[0]} {MASK}"


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
