"""The text of a virtual key: what is one, what nearly is, and what may be kept and shown of it."""

from __future__ import annotations

import hashlib
import hmac
import re
import string
import zlib

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from chatgpt_platform.accounts import tokens

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM = st.text(BASE62, min_size=40, max_size=40)
PEPPERS = st.binary(min_size=32, max_size=32)
KNOWN = "cgp_abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123"


def key_of(random: str) -> str:
    """A key as its description says, written down a second time."""
    number = zlib.crc32(random.encode())
    digits = ""
    while len(digits) < 6:
        digits = BASE62[number % 62] + digits
        number //= 62
    return f"cgp_{random}{digits}"


def test_a_new_key_is_one_of_its_own() -> None:
    made = {tokens.make() for _ in range(1000)}
    assert len(made) == 1000
    assert all(re.fullmatch("cgp_[0-9A-Za-z]{46}", key) and tokens.is_valid(key) for key in made)
    assert {character for key in made for character in key[4:44]} == set(BASE62)


@given(RANDOM)
@example("0" * 40)
@example("z" * 40)
def test_the_checksum_is_the_crc_of_what_is_random(random: str) -> None:
    key = key_of(random)
    assert len(key) == 50
    assert tokens.is_valid(key)
    assert tokens.claims(key)


@given(RANDOM, st.integers(0, 49), st.characters())
def test_any_one_character_changed_is_noticed(random: str, place: int, character: str) -> None:
    key = key_of(random)
    assume(key[place] != character)
    assert not tokens.is_valid(key[:place] + character + key[place + 1 :])


@given(RANDOM, st.integers(4, 48))
def test_two_neighbours_that_changed_places_are_noticed(random: str, place: int) -> None:
    key = key_of(random)
    assume(key[place] != key[place + 1])
    assert not tokens.is_valid(key[:place] + key[place + 1] + key[place] + key[place + 2 :])


@given(RANDOM, st.characters())
def test_a_character_more_or_less_is_noticed(random: str, more: str) -> None:
    key = key_of(random)
    for near in (key[:-1], key[1:], key + more, more + key, key + "\n", f" {key}", key.replace("cgp_", "cgp-")):
        assert not tokens.is_valid(near)


@given(st.text())
@example("")
@example("cgp_")
@example("cgp_" + "０" * 46)
@example("cgp_\ud800")
@example("CGP_" + "0" * 46)
def test_other_texts_are_no_keys(text: str) -> None:
    assert not tokens.is_valid(text)
    assert tokens.claims(text) == (text[:4] == "cgp_")
    assert re.fullmatch("[0-9a-f]{64}", tokens.digest(text, b"p" * 32))


@given(RANDOM, PEPPERS)
def test_what_is_stored_depends_on_the_key_and_the_secret(random: str, pepper: bytes) -> None:
    key = key_of(random)
    stored = tokens.digest(key, pepper)
    assert stored == hmac.new(pepper, key.encode(), hashlib.sha256).hexdigest()
    assert stored != tokens.digest(key, bytes([pepper[0] ^ 1]) + pepper[1:])
    assert random not in stored


def test_what_a_configuration_may_hold() -> None:
    assert tokens.fingerprint("") == f"sha256:{hashlib.sha256().hexdigest()}"
    assert tokens.fingerprint(KNOWN) == f"sha256:{hashlib.sha256(KNOWN.encode()).hexdigest()}"


@pytest.mark.parametrize("key", [tokens.make(), KNOWN], ids=["new", "known"])
def test_four_characters_are_shown(key: str) -> None:
    assert tokens.hint(key) == f"{key[:8]}…"
