"""The text of a virtual key: ``cgp_``, 40 random base62 characters, 6 of a checksum. Pure but for ``secrets``.

The prefix and the checksum (CRC-32 of the 40, as in GitHub's tokens) let scanners of secrets tell a key that has
leaked from whatever looks like one, and the gateway a slip of the pen from a key that it does not know. Nothing
here compares secrets: a key is found by its digest.
"""

from __future__ import annotations

import hmac
import re
import secrets
import string
from hashlib import sha256
from typing import Final
from zlib import crc32

PREFIX: Final = "cgp_"
_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM: Final = 40
_CHECKSUM: Final = 6
"""Characters; 62 ** 6 is more than 2 ** 32."""
_SHAPE: Final = re.compile(f"{PREFIX}([0-9A-Za-z]{{{_RANDOM}}})([0-9A-Za-z]{{{_CHECKSUM}}})")
_SHOWN: Final = len(PREFIX) + 4


def make() -> str:
    """A new key, of 238 random bits."""
    random = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))
    return PREFIX + random + _checksum(random)


def claims(text: str) -> bool:
    """Whether a text wants to be a virtual key: it may be no key, but it is nobody else's either."""
    return text.startswith(PREFIX)


def is_valid(text: str) -> bool:
    """Whether a text is a virtual key, be it known or not; any one character changed, it is none."""
    match = _SHAPE.fullmatch(text)
    return match is not None and _checksum(match[1]) == match[2]


def digest(text: str, pepper: bytes) -> str:
    """What is stored of a key: HMAC-SHA256 under ``pepper``, in hexadecimal digits. Any text has one."""
    return hmac.digest(pepper, _bytes(text), "sha256").hex()


def fingerprint(text: str) -> str:
    """What may stand in a configuration in place of a key: ``sha256:`` and 64 hexadecimal digits."""
    return f"sha256:{sha256(_bytes(text)).hexdigest()}"


def hint(text: str) -> str:
    """What may be shown of a key, so that its owner knows it again: ``cgp_3fQx…``."""
    return f"{text[:_SHOWN]}…"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _checksum(random: str) -> str:
    number = crc32(random.encode("ascii"))
    digits = []
    for _ in range(_CHECKSUM):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
