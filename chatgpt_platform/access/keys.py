"""Whose key pays for a call: the caller's, or the configured one. Pure.

| ``caller_keys`` | a key is configured | platform API | OpenAI API |
| --- | --- | --- | --- |
| ``true`` | either way | member, header, Bearer, else configured | Bearer, else configured |
| ``auto`` | no | as ``true`` | as ``true`` |
| ``auto`` | yes | member, header, else configured; Bearer is ignored | configured |
| ``false`` | either way | configured | configured |

``auto`` ignores the Bearer token because the official SDKs always send one, even a placeholder; a token
that is ignored is never forwarded. Who brings several keys pays with the first, and that one must be
usable.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from chatgpt_platform.errors import Kind, Problem

_USABLE: Final = re.compile(r"[!-~]{1,8192}")
_MODES: Final = ("auto", "true", "false")


@dataclass(frozen=True, slots=True)
class Key:
    """The key that goes upstream. ``own``: the caller brought it. Its repr does not show it."""

    value: str = field(repr=False)
    own: bool
    header_line: bytes = field(init=False, repr=False, compare=False)
    forms: tuple[bytes, ...] = field(init=False, repr=False, compare=False)
    """How the key may stand in an upstream's header lines: as it is, and as URLs have it."""

    def __post_init__(self) -> None:
        encoded = self.value.encode()
        object.__setattr__(self, "header_line", b"Authorization: Bearer %b\r\n" % encoded)
        object.__setattr__(self, "forms", tuple({encoded, quote(self.value, safe="").encode()}))


class KeyPolicy:
    """The rule of one configuration.

    ``mode``: the setting ``caller_keys``. ``configured``: the operator's key, None or blank for none. Raises
    ValueError for another mode and for a configured key that cannot be one.
    """

    def __init__(self, mode: str, configured: str | None) -> None:
        if mode not in _MODES:
            raise ValueError(f"caller_keys is one of {', '.join(_MODES)}, not {mode!r}")
        key = (configured or "").strip()
        if key and not usable(key):
            raise ValueError("the configured key has characters that no key has, or is too long")
        self._configured: Final = Key(key, own=False) if key else None
        self._explicit: Final = mode != "false"
        self.takes_bearer: Final = mode == "true" or (mode == "auto" and not key)
        """Whether a Bearer token may pay."""
        self.fixed_for_openai: Final = None if self.takes_bearer else self._configured
        """The key of every call on the OpenAI API, where no caller has a say."""

    def for_platform(self, *, member: str | None, header: str | None, bearer: str | None) -> Key:
        """Whose key pays on the platform API: ``api_key`` member, ``ApiKey`` header or Bearer token.

        Raises Problem: MISSING_KEY where there is none, KEY_REFUSED for one that cannot be a key.
        """
        given = (member, header) if self._explicit else ()
        return self._pick("missing_key", *given, bearer if self.takes_bearer else None)

    def for_openai(self, *, bearer: str | None) -> Key:
        """Whose key pays on the OpenAI API. Raises Problem as ``for_platform`` does."""
        return self._pick("missing_bearer", bearer if self.takes_bearer else None)

    def _pick(self, missing: str, *given: str | None) -> Key:
        for key in given:
            if key and not key.isspace():
                if not usable(key):
                    raise Problem(Kind.KEY_REFUSED, detail="the caller's key cannot be one; not forwarded")
                return Key(key, own=True)
        if self._configured is None:
            raise Problem(Kind.MISSING_KEY, missing)
        return self._configured


def usable(key: str) -> bool:
    """Whether a text can be a key: 1 to 8192 visible ASCII characters, nothing that ends a header line."""
    return _USABLE.fullmatch(key) is not None


def bearer_token(authorization: str) -> str | None:
    """The token of an ``Authorization`` header (RFC 6750, section 2.1); None for any other scheme."""
    scheme, _, token = authorization.strip(" \t").partition(" ")
    if scheme.lower() != "bearer":
        return None
    return token.strip(" \t") or None
