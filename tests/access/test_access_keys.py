from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt_platform.access.keys import Key, KeyPolicy, bearer_token, usable
from chatgpt_platform.errors import Kind, Problem

OURS = Key("configured-1", own=False)
MEMBER = Key("member-1", own=True)
HEADER = Key("header-1", own=True)
BEARER = Key("bearer-1", own=True)

Table = dict[tuple[str, bool], dict[str, Key | None]]
"""Mode, whether a key is configured, what was given (m: member, h: header, b: Bearer): the key that pays."""

PLATFORM: Table = {
    ("true", False): {"": None, "b": BEARER, "h": HEADER, "hb": HEADER, "m": MEMBER, "mb": MEMBER},
    ("true", True): {"": OURS, "b": BEARER, "h": HEADER, "hb": HEADER, "m": MEMBER, "mb": MEMBER},
    ("auto", False): {"": None, "b": BEARER, "h": HEADER, "hb": HEADER, "m": MEMBER, "mb": MEMBER},
    ("auto", True): {"": OURS, "b": OURS, "h": HEADER, "hb": HEADER, "m": MEMBER, "mb": MEMBER},
    ("false", False): {"": None, "b": None, "h": None, "hb": None, "m": None, "mb": None},
    ("false", True): {"": OURS, "b": OURS, "h": OURS, "hb": OURS, "m": OURS, "mb": OURS},
}
OPENAI: Table = {
    ("true", False): {"": None, "b": BEARER},
    ("true", True): {"": OURS, "b": BEARER},
    ("auto", False): {"": None, "b": BEARER},
    ("auto", True): {"": OURS, "b": OURS},
    ("false", False): {"": None, "b": None},
    ("false", True): {"": OURS, "b": OURS},
}
NOT_GIVEN = [None, "", " ", "\t\r\n", "\u3000"]
IMPOSSIBLE = [
    "a b",
    " test-key-1",
    "test-key-1 ",
    "test-key-1\r\nX: 1",
    "k\x00",
    "k\x7f",
    "schlüssel",
    "钥匙",
    "\ud800",
    "k" * 8193,
]


def with_member_and_header(row: dict[str, Key | None]) -> dict[str, Key | None]:
    """The member comes first: a header beside it changes nothing."""
    return row | {"mh": row["m"], "mhb": row["mb"]}


PLATFORM_ROWS = [
    (mode, configured, given, payer)
    for (mode, configured), row in PLATFORM.items()
    for given, payer in with_member_and_header(row).items()
]
OPENAI_ROWS = [
    (mode, configured, given, payer) for (mode, configured), row in OPENAI.items() for given, payer in row.items()
]


def policy(mode: str, configured: bool) -> KeyPolicy:
    return KeyPolicy(mode, OURS.value if configured else None)


@pytest.mark.parametrize("absent", NOT_GIVEN)
@pytest.mark.parametrize(("mode", "configured", "given", "payer"), PLATFORM_ROWS)
def test_whose_key_pays_on_the_platform_api(
    mode: str, configured: bool, given: str, payer: Key | None, absent: str | None
) -> None:
    def pick() -> Key:
        return policy(mode, configured).for_platform(
            member=MEMBER.value if "m" in given else absent,
            header=HEADER.value if "h" in given else absent,
            bearer=BEARER.value if "b" in given else absent,
        )

    if payer is not None:
        assert pick() == payer
        return
    with pytest.raises(Problem) as caught:
        pick()
    assert caught.value.kind is Kind.MISSING_KEY


@pytest.mark.parametrize("absent", NOT_GIVEN)
@pytest.mark.parametrize(("mode", "configured", "given", "payer"), OPENAI_ROWS)
def test_whose_key_pays_on_the_openai_api(
    mode: str, configured: bool, given: str, payer: Key | None, absent: str | None
) -> None:
    bearer = BEARER.value if given else absent
    if payer is not None:
        assert policy(mode, configured).for_openai(bearer=bearer) == payer
        return
    with pytest.raises(Problem) as caught:
        policy(mode, configured).for_openai(bearer=bearer)
    assert caught.value.kind is Kind.MISSING_KEY


@pytest.mark.parametrize("key", IMPOSSIBLE)
@pytest.mark.parametrize("place", ["member", "header", "bearer"])
def test_what_cannot_be_a_key_is_refused_and_not_echoed(key: str, place: str) -> None:
    given = {"member": None, "header": None, "bearer": None} | {place: key}
    with pytest.raises(Problem) as caught:
        policy("true", True).for_platform(**given)
    assert caught.value.kind is Kind.KEY_REFUSED
    assert key not in f"{caught.value} {caught.value.detail} {caught.value.values}"


def test_a_bad_key_is_refused_even_beside_a_good_one_of_less_weight() -> None:
    with pytest.raises(Problem) as caught:
        policy("auto", True).for_platform(member="a b", header="header-1", bearer=None)
    assert caught.value.kind is Kind.KEY_REFUSED


@pytest.mark.parametrize("key", IMPOSSIBLE)
def test_a_key_that_does_not_count_is_not_even_judged(key: str) -> None:
    assert policy("auto", True).for_openai(bearer=key) == OURS
    assert policy("auto", True).for_platform(member=None, header=None, bearer=key) == OURS
    assert policy("false", True).for_platform(member=key, header=key, bearer=key) == OURS


@pytest.mark.parametrize("blank", ["", "  ", "\n"])
def test_a_blank_configured_key_is_none(blank: str) -> None:
    assert KeyPolicy("auto", blank).for_openai(bearer="bearer-1") == BEARER


def test_blanks_around_the_configured_key_do_not_count() -> None:
    assert KeyPolicy("auto", " configured-1\n").for_openai(bearer=None) == OURS


def test_a_configured_key_that_cannot_be_one_is_refused_at_once_and_not_echoed() -> None:
    with pytest.raises(ValueError, match="configured key") as caught:
        KeyPolicy("auto", "test-key\r\nX: 1")
    assert "test-key" not in str(caught.value)


@pytest.mark.parametrize("mode", ["", "True", "yes", "AUTO"])
def test_an_unknown_mode_is_refused(mode: str) -> None:
    with pytest.raises(ValueError, match="caller_keys"):
        KeyPolicy(mode, None)


def test_a_key_does_not_show_itself() -> None:
    key = KeyPolicy("auto", "test-key-1").for_openai(bearer=None)
    assert "test-key-1" not in f"{key!r} {key} {[key]}"


@pytest.mark.parametrize("key", ["a", "!~", "test-key_1.x/y+z=", "k" * 8192])
def test_usable_keys(key: str) -> None:
    assert usable(key)


@pytest.mark.parametrize("key", ["", *IMPOSSIBLE, "k\n"])
def test_unusable_keys(key: str) -> None:
    assert not usable(key)


@given(st.text(max_size=40))
def test_what_is_usable_is_visible_ascii(key: str) -> None:
    assert usable(key) == (bool(key) and all("!" <= character <= "~" for character in key))


@pytest.mark.parametrize(
    ("authorization", "token"),
    [
        ("Bearer test-key-1", "test-key-1"),
        ("bearer test-key-1", "test-key-1"),
        ("BEARER   test-key-1\t", "test-key-1"),
        (" Bearer test-key-1", "test-key-1"),
        ("Bearer a b", "a b"),
        ("Bearer", None),
        ("Bearer ", None),
        ("Bearertest-key-1", None),
        ("Basic dXNlcjpwYXNz", None),
        ("test-key-1", None),
        ("", None),
    ],
)
def test_bearer_token(authorization: str, token: str | None) -> None:
    assert bearer_token(authorization) == token


@given(st.text(max_size=40))
def test_no_authorization_breaks_it(authorization: str) -> None:
    token = bearer_token(authorization)
    assert token is None or (token and token in authorization)
