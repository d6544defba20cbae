"""Whose key a text is, while keys come and go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from chatgpt_platform.accounts import tokens
from chatgpt_platform.accounts.account import Account
from chatgpt_platform.accounts.keystore import StoredKey
from chatgpt_platform.accounts.ring import REVOKED, Credential, KeyRing
from chatgpt_platform.settings.secret import Secret
from chatgpt_platform.settings.sharing import VirtualKey

PEPPER = b"p" * 32
ALICE = "class-key-0123456789abcdef"


class Call:
    """One that is under way."""

    def __init__(self, then: Callable[[], None] | None = None) -> None:
        self.revoked = 0
        self._then = then

    def revoke(self) -> None:
        self.revoked += 1
        if self._then is not None:
            self._then()


class Rings:
    """A ring, and what it has said and set up."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.set_up: list[str] = []
        self.ring = KeyRing(self.warnings.append)

    def take(self, *configured: VirtualKey, stored: Sequence[tuple[StoredKey, VirtualKey]] = ()) -> None:
        self.set_up.clear()

        def set_up(account: Account, key: VirtualKey) -> None:
            assert account.name == key.name
            self.set_up.append(key.name)

        self.ring.configure(configured, stored, lambda text: tokens.digest(text, PEPPER), UTC, set_up)

    def find(self, text: str) -> Credential:
        found = self.ring.find(text)
        assert found is not None
        return found


def key(name: str = "alice", text: str = ALICE, expires: str = "") -> VirtualKey:
    return VirtualKey(name=name, key=Secret(text), expires=expires)


def stored(name: str, text: str, **changes: Any) -> tuple[StoredKey, VirtualKey]:
    facts: dict[str, Any] = {"revoked": None, "former_digest": "", "former_until": None, **changes}
    known = StoredKey(name, tokens.digest(text, PEPPER), tokens.hint(text), 0.0, "{}", **facts)
    return known, VirtualKey(name=name)


def test_a_key_of_the_settings_is_found_by_its_text_or_its_hash() -> None:
    rings = Rings()
    assert not rings.ring
    hashed = f"sha256:{sha256(b'the-key-of-bob-01').hexdigest()}"
    rings.take(key(), key("bob", hashed))
    assert bool(rings.ring)
    assert rings.find(ALICE).account.name == "alice"
    assert rings.find("the-key-of-bob-01").account is rings.ring.accounts["bob"]
    for text in (hashed, "", "alice", ALICE.upper(), f"{ALICE} ", "ключ", "\ud800"):
        assert rings.ring.find(text) is None


def test_a_stored_key_is_found_by_its_digest_alone() -> None:
    rings, text = Rings(), tokens.make()
    rings.take(stored=[stored("carol", text)])
    assert rings.find(text).account.name == "carol"
    assert rings.ring.find(tokens.digest(text, PEPPER)) is None
    assert rings.ring.find(tokens.make()) is None


def test_what_is_remembered_sees_its_end() -> None:
    rings = Rings()
    rings.take(key())
    credential, call = rings.find(ALICE), Call()
    credential.lasting[call] = call
    rings.take(key(expires="2026-11-26"))
    assert rings.find(ALICE) is credential
    assert credential.until == datetime(2026, 11, 27, tzinfo=UTC).timestamp()
    assert call.revoked == 0
    rings.take()
    assert (credential.until, call.revoked) == (REVOKED, 1)
    assert rings.ring.find(ALICE) is None
    rings.take(key())
    assert rings.find(ALICE) is credential, "a head that came before brings it, and a backup may bring keys back"
    assert credential.until == float("inf")


def test_a_key_that_is_somebody_else_s_now_ends_the_calls_of_the_former() -> None:
    rings = Rings()
    rings.take(key())
    credential, call = rings.find(ALICE), Call()
    credential.lasting[call] = call
    rings.take(key("bob"))
    assert rings.find(ALICE).account.name == "bob"
    assert (credential.until, call.revoked) == (REVOKED, 1)


def test_calls_that_end_while_others_are_ended() -> None:
    rings = Rings()
    rings.take(key())
    credential = rings.find(ALICE)
    calls = [Call(credential.lasting.clear) for _ in range(3)]
    credential.lasting.update({call: call for call in calls})
    rings.take()
    assert credential.lasting == {}


def test_a_rotated_key_counts_for_a_while_and_no_longer_than_the_new_one() -> None:
    rings, former, latter = Rings(), tokens.make(), tokens.make()
    rings.take(stored=[stored("carol", former)])
    credential = rings.find(former)
    rotated = stored("carol", latter, former_digest=tokens.digest(former, PEPPER), former_until=1000.0)
    rings.take(stored=[rotated])
    assert rings.find(former) is credential
    assert (credential.until, rings.find(latter).until) == (1000.0, float("inf"))
    rings.take(stored=[(rotated[0], VirtualKey(name="carol", expires="1970-01-01"))])
    assert credential.until == 1000.0
    assert rings.find(latter).until == 86400.0
    rings.take(stored=[stored("carol", latter)])
    assert credential.until == REVOKED


def test_a_revoked_one_is_none() -> None:
    rings, text = Rings(), tokens.make()
    rings.take(stored=[stored("carol", text, revoked=5.0)])
    assert rings.ring.find(text) is None
    assert rings.set_up == []


def test_the_settings_come_before_the_store_and_it_is_said_once() -> None:
    rings, text = Rings(), tokens.make()
    for _ in range(2):
        rings.take(key(), stored=[stored("alice", text), stored("bob", tokens.make())])
        assert rings.ring.find(text) is None
        assert rings.set_up == ["alice", "bob"]
    assert rings.warnings == ["the key alice of the key store does not count: the settings have one of that name"]
