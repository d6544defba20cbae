"""Whose key a text is, while keys come and go."""

from __future__ import annotations

from chatgpt_platform.accounts.account import Account
from chatgpt_platform.accounts.ring import REVOKED, KeyRing
from chatgpt_platform.settings.secret import Secret
from chatgpt_platform.settings.sharing import VirtualKey

TEXT = "class-key-0123456789abcdef"
KEY = VirtualKey("alice", Secret(TEXT))


def ring_of(*keys: VirtualKey, ring: KeyRing | None = None) -> KeyRing:
    def set_up(account: Account, key: VirtualKey) -> None:
        assert account.name == key.name

    ring = KeyRing(lambda text: None) if ring is None else ring
    ring.configure(keys, (), None, None, set_up)
    return ring


def test_who_remembers_a_credential_sees_its_end_and_its_return() -> None:
    """A head that came before brings the credential that was found for it."""
    ring = ring_of(KEY)
    credential = ring.find(TEXT)
    assert credential is not None
    for _ in range(3):
        ring_of(ring=ring)
        assert ring.find(TEXT) is None
        assert not ring
        assert credential.until == REVOKED
        ring_of(KEY, ring=ring)
        assert ring.find(TEXT) is credential
        assert credential.until > 0


def test_a_key_that_comes_back_as_anothers_is_anothers() -> None:
    ring = ring_of(KEY)
    former = ring.find(TEXT)
    assert former is not None
    ring_of(VirtualKey("bob", Secret(TEXT)), ring=ring)
    found = ring.find(TEXT)
    assert found is not None
    assert found.account.name == "bob"
    assert former.until == REVOKED
