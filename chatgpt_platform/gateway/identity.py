"""Whose virtual key a call has, if any; whoever has one lets the owner's keys pay."""

from __future__ import annotations

from typing import Final

from chatgpt_platform.access.keys import bearer_token
from chatgpt_platform.accounts import tokens
from chatgpt_platform.accounts.account import Account
from chatgpt_platform.accounts.accounts import Accounts
from chatgpt_platform.accounts.ring import REVOKED, Credential
from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway.call import Call


class Identity:
    """The rules of one configuration."""

    def __init__(self, accounts: Accounts, *, require_key: bool) -> None:
        """``require_key``: only callers with a virtual key."""
        self._ring: Final = accounts.ring
        self._require_key: Final = require_key

    def find_in_head(self, call: Call, apikey: str | None = None) -> None:
        """Find whose key stands in a call's head: in ``apikey``, or as a Bearer token. Raises Problem."""
        for text in (apikey, bearer_token(call.header(b"authorization") or "")):
            if text is not None and self.find(call, text):
                call.notes.credential = call.credential
                return

    def find(self, call: Call, text: str) -> bool:
        """Whether a text is somebody's key; then the call is theirs. Raises Problem."""
        credential = self._ring.find(text)
        if credential is not None:
            self.welcome(call, credential)
        elif tokens.claims(text):
            # Ours by its look: nobody else must see it.
            raise Problem(Kind.KEY_REFUSED, detail="it looks like a virtual key, and is none")
        return credential is not None

    def welcome(self, call: Call, credential: Credential) -> None:
        """Take a call for its holder's. Raises Problem where the key does not count any more, or not from
        there."""
        account = credential.account
        call.record.key = account.name
        if call.record.time >= credential.until:
            raise Problem(Kind.KEY_REFUSED, "key_revoked" if credential.until == REVOKED else "key_expired")
        if account.addresses is not None and not account.addresses.client(call.client.address, "").allowed:
            raise Problem(Kind.ADDRESS_DENIED, "key_not_from_here")
        call.credential, call.account = credential, account

    def settle_on(self, call: Call, missing: str) -> Account | None:
        """The account of a call; who has no key by now has none. Raises Problem where a key is required.
        ``missing``: the text that says so."""
        if call.account is None and self._require_key:
            raise Problem(Kind.MISSING_KEY, missing)
        return call.account
