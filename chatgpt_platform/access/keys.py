"""Whether a call is paid for with a key that its caller brings, or with the owner's. Pure.

| ``caller_keys`` | the upstream has keys | platform API | OpenAI API |
| --- | --- | --- | --- |
| ``true`` | either way | member, header, Bearer, else the owner's | Bearer, else the owner's |
| ``auto`` | no | as ``true`` | as ``true`` |
| ``auto`` | yes | member, header, else the owner's; Bearer is ignored | the owner's |
| ``false`` | either way | the owner's | the owner's |

``auto`` ignores the Bearer token because the official SDKs always send one, even a placeholder; a token
that is ignored is never forwarded. Who brings several keys pays with the first, and that one must be
usable. The upstream is the one to which the call's model belongs.
"""

from __future__ import annotations

import re
from typing import Final

from chatgpt_platform.errors import Kind, Problem

_USABLE: Final = re.compile(r"[!-~]{1,8192}")
_MODES: Final = ("auto", "true", "false")


class KeyPolicy:
    """The rule of one configuration. ``configured``: whether the upstream has keys of the owner's."""

    def __init__(self, mode: str) -> None:
        """``mode``: the setting ``caller_keys``. Raises ValueError for another."""
        if mode not in _MODES:
            raise ValueError(f"caller_keys is one of {', '.join(_MODES)}, not {mode!r}")
        self._mode: Final = mode

    def takes_bearer(self, *, configured: bool) -> bool:
        """Whether a Bearer token may pay."""
        return self._mode == "true" or (self._mode == "auto" and not configured)

    def own_on_platform(
        self, *, member: str | None, header: str | None, bearer: str | None, configured: bool
    ) -> str | None:
        """The caller's key on the platform API: ``api_key`` member, ``ApiKey`` header or Bearer token.

        None: the owner's pays. Raises Problem: KEY_REFUSED for one that cannot be a key.
        """
        given = (member, header) if self._mode != "false" else ()
        return _pick(*given, bearer if self.takes_bearer(configured=configured) else None)

    def own_on_openai(self, *, bearer: str | None, configured: bool) -> str | None:
        """The caller's key on the OpenAI API, as ``own_on_platform``."""
        return _pick(bearer if self.takes_bearer(configured=configured) else None)


def _pick(*given: str | None) -> str | None:
    for key in given:
        if key and not key.isspace():
            if not usable(key):
                raise Problem(Kind.KEY_REFUSED, detail="the caller's key cannot be one; not forwarded")
            return key
    return None


def usable(key: str) -> bool:
    """Whether a text can be a key: 1 to 8192 visible ASCII characters, nothing that ends a header line."""
    return _USABLE.fullmatch(key) is not None


def bearer_token(authorization: str) -> str | None:
    """The token of an ``Authorization`` header (RFC 6750, section 2.1); None for any other scheme."""
    scheme, _, token = authorization.strip(" \t").partition(" ")
    if scheme.lower() != "bearer":
        return None
    return token.strip(" \t") or None
