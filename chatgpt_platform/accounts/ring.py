"""Which account a key's text stands for: the keys of the configuration, and those of the key store.

A text is looked up by its digest, so how long that takes tells nothing of any key. Credentials stay the same
objects while the keys around them change: who remembers one sees its end in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING, Final, Protocol

from chatgpt_platform.accounts import tokens
from chatgpt_platform.accounts.account import Account
from chatgpt_platform.settings.dates import end_of
from chatgpt_platform.settings.secret import digest_of
from chatgpt_platform.settings.sharing import VirtualKey

if TYPE_CHECKING:
    from chatgpt_platform.accounts.keystore import StoredKey

REVOKED: Final = -math.inf


class Revocable(Protocol):
    """A call that can be ended."""

    def revoke(self) -> None: ...


class Credential:
    """``until``: epoch seconds up to which it counts; ``REVOKED``. ``lasting``: the calls that came with it and
    wait for something."""

    __slots__ = ("account", "lasting", "until")

    def __init__(self, account: Account, until: float) -> None:
        self.account: Final = account
        self.until = until
        self.lasting: Final[dict[object, Revocable]] = {}

    def revoke(self) -> None:
        """End it, and the calls under way."""
        self.until = REVOKED
        for call in list(self.lasting.values()):
            call.revoke()


class KeyRing:
    """All virtual keys."""

    def __init__(self, warn: Callable[[str], None], look: Callable[[], bool] = lambda: False) -> None:
        """``look``: looks whether there are new keys, of which ``configure`` is told then."""
        self._warn: Final = warn
        self._look: Final = look
        self._digest_stored: Callable[[str], str] | None = None
        self._credentials: dict[str, Credential] = {}
        self._ended: dict[str, Credential] = {}
        """Those that are no key's any more: one may come back, as from a backup of the key store."""
        self.accounts: Final[dict[str, Account]] = {}
        """By the names of their keys; those whose keys are gone, too."""
        self._told: Final[set[str]] = set()

    def __bool__(self) -> bool:
        return bool(self._credentials)

    def find(self, text: str) -> Credential | None:
        """Whom a key stands for, None where it is none of ours. Its ``until`` is the caller's to look at."""
        digest = self._digest_stored
        if digest is not None and tokens.is_valid(text):
            found = self._credentials.get(digest(text))
            if found is None and self._look():
                found = self._credentials.get(digest(text))
            if found is not None:
                return found
        return self._credentials.get(tokens.fingerprint(text))

    def configure(
        self, configured: Sequence[VirtualKey], stored: Sequence[tuple[StoredKey, VirtualKey]],
        digest: Callable[[str], str] | None, zone: tzinfo | None, set_up: Callable[[Account, VirtualKey], None],
    ) -> None:  # fmt: skip
        """Take over these keys. ``digest``: of the key store's. ``zone``: what expiry dates are in. ``set_up``:
        gives an account its settings. A key that is gone ends, and so do its calls under way.
        """
        self._digest_stored = digest
        former, self._credentials = {**self._ended, **self._credentials}, {}
        for key in configured:
            set_up(self._account(key.name), key)
            self._put(former, f"sha256:{digest_of(key.key)}", key.name, end_of(key.expires, zone))
        for each, key in self._unshadowed(stored, {key.name for key in configured}):
            if each.revoked is not None:
                continue
            set_up(self._account(each.name), key)
            until = end_of(key.expires, zone)
            self._put(former, each.digest, each.name, until)
            if each.former_until is not None:
                self._put(former, each.former_digest, each.name, min(each.former_until, until))
        self._ended = {known: each for known, each in former.items() if self._credentials.get(known) is not each}
        for credential in self._ended.values():
            credential.revoke()

    def _account(self, name: str) -> Account:
        account = self.accounts.get(name)
        if account is None:
            account = self.accounts[name] = Account(name)
        return account

    def _put(self, former: dict[str, Credential], digest: str, name: str, until: float) -> None:
        account = self.accounts[name]
        credential = former.get(digest)
        if credential is None or credential.account is not account:
            credential = Credential(account, until)
        credential.until = until
        self._credentials[digest] = credential

    def _unshadowed(
        self, stored: Sequence[tuple[StoredKey, VirtualKey]], names: set[str]
    ) -> Iterator[tuple[StoredKey, VirtualKey]]:
        for each, key in stored:
            if each.name not in names:
                yield each, key
            elif each.name not in self._told:
                self._told.add(each.name)
                self._warn(
                    f"the key {each.name} of the key store does not count: the settings have one of that name"
                )
