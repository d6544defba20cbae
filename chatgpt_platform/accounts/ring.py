"""Which account a key's text stands for: the keys of the configuration, and those of the key store.

A text is looked up by its digest, so how long that takes tells nothing of any key. Credentials stay the same objects
while the keys around them change: who remembers one sees its end in it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import tzinfo
from typing import Final

from chatgpt_platform.accounts import tokens
from chatgpt_platform.accounts.account import Account
from chatgpt_platform.accounts.keystore import StoredKey
from chatgpt_platform.settings.sharing import VirtualKey

REVOKED: Final = -math.inf
_HASHED: Final = "sha256:"


class Credential:
    """``until``: epoch seconds up to which it counts; ``REVOKED``."""

    __slots__ = ("account", "until")

    def __init__(self, account: Account, until: float) -> None:
        self.account: Final = account
        self.until = until


class KeyRing:
    """All virtual keys."""

    def __init__(self, zone: tzinfo | None, logger_warn: Callable[[str], None]) -> None:
        self._warn: Final = logger_warn
        self._zone = zone
        self._pepper = b""
        self._credentials: dict[bytes, Credential] = {}
        self.accounts: Final[dict[str, Account]] = {}
        """By the name of their keys; those whose keys are gone, too."""
        self._told: Final[set[str]] = set()

    def __bool__(self) -> bool:
        return bool(self._credentials)

    def find(self, text: str) -> Credential | None:
        """Whom a key stands for, None where it is none of ours. Its ``until`` is the caller's to look at."""
        data = text.encode("utf-8", "surrogatepass")
        found = self._credentials.get(hashlib.sha256(data).digest())
        if found is None and self._pepper and tokens.is_key(text):
            found = self._credentials.get(tokens.digest(text, self._pepper))
        return found

    def configure(
        self, configured: Sequence[VirtualKey], stored: Sequence[StoredKey], pepper: bytes, zone: tzinfo | None,
        wall: float, clock: int,
    ) -> list[Credential]:  # fmt: skip
        """Take over these keys. Gives what has been revoked by it, for the calls under way to be ended."""
        self._zone, self._pepper = zone, pepper
        former, self._credentials = self._credentials, {}
        for key in configured:
            self._account(key, wall, clock)
            self._put(former, _digest(key), key.name, _expiry(key))
        names = {key.name for key in configured}
        for each in self._unshadowed(stored, names):
            if each.revoked is not None:
                continue
            self._account(each.settings, wall, clock)
            self._put(former, each.digest, each.name, _expiry(each.settings))
            if each.former_digest is not None and each.former_until is not None:
                self._put(former, each.former_digest, each.name, min(each.former_until, _expiry(each.settings)))
        gone = [credential for digest, credential in former.items() if digest not in self._credentials]
        for credential in gone:
            credential.until = REVOKED
        return gone

    def _account(self, key: VirtualKey, wall: float, clock: int) -> None:
        account = self.accounts.get(key.name)
        if account is None:
            account = self.accounts[key.name] = Account(key.name)
        if account.key != key or account.zone != self._zone:
            account.configure(key, self._zone, wall, clock)

    def _put(self, former: dict[bytes, Credential], digest: bytes, name: str, until: float) -> None:
        account = self.accounts[name]
        credential = former.get(digest)
        if credential is None or credential.account is not account:
            credential = Credential(account, until)
        credential.until = until
        self._credentials[digest] = credential

    def _unshadowed(self, stored: Iterable[StoredKey], names: set[str]) -> Iterator[StoredKey]:
        for each in stored:
            if each.name not in names:
                yield each
            elif each.name not in self._told:
                self._told.add(each.name)
                self._warn(f"the key {each.name} of the key store is not used: the configuration has one of that name")


def _digest(key: VirtualKey) -> bytes:
    text = key.key.reveal()
    if text.startswith(_HASHED):
        return bytes.fromhex(text.removeprefix(_HASHED))
    return hashlib.sha256(text.encode()).digest()


def _expiry(key: VirtualKey) -> float:
    return math.inf if key.expires is None else key.expires.timestamp()
