from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt_platform.access.keys import KeyPolicy, bearer_token, usable
from chatgpt_platform.errors import Kind, Problem

OURS = None
MEMBER = "member-1"
HEADER = "header-1"
BEARER = "bearer-1"

Table = dict[tuple[str, bool], dict[str, str | None]]
"""Mode, whether a key is configured, what was given (m: member, h: header, b: Bearer): the caller's key that pays,
or None: the owner's, if there is one."""

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


def with_member_and_header(row: dict[str, str | None]) -> dict[str, str | None]:
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


@pytest.mark.parametrize("absent", NOT_GIVEN)
@pytest.mark.parametrize(("mode", "configured", "given", "payer"), PLATFORM_ROWS)
def test_whose_key_pays_on_the_platform_api(
    mode: str, configured: bool, given: str, payer: str | None, absent: str | None
) -> None:
    own = KeyPolicy(mode).own_on_platform(
        member=MEMBER if "m" in given else absent,
        header=HEADER if "h" in given else absent,
        bearer=BEARER if "b" in given else absent,
        configured=configured,
    )
    assert own == payer


@pytest.mark.parametrize("absent", NOT_GIVEN)
@pytest.mark.parametrize(("mode", "configured", "given", "payer"), OPENAI_ROWS)
def test_whose_key_pays_on_the_openai_api(
    mode: str, configured: bool, given: str, payer: str | None, absent: str | None
) -> None:
    assert KeyPolicy(mode).own_on_openai(bearer=BEARER if given else absent, configured=configured) == payer


@pytest.mark.parametrize("key", IMPOSSIBLE)
@pytest.mark.parametrize("place", ["member", "header", "bearer"])
def test_what_cannot_be_a_key_is_refused_and_not_echoed(key: str, place: str) -> None:
    given = {"member": None, "header": None, "bearer": None} | {place: key}
    with pytest.raises(Problem) as caught:
        KeyPolicy("true").own_on_platform(**given, configured=True)
    assert caught.value.kind is Kind.KEY_REFUSED
    assert key not in f"{caught.value} {caught.value.detail} {caught.value.values}"


def test_a_bad_key_is_refused_even_beside_a_good_one_of_less_weight() -> None:
    with pytest.raises(Problem) as caught:
        KeyPolicy("auto").own_on_platform(member="a b", header="header-1", bearer=None, configured=True)
    assert caught.value.kind is Kind.KEY_REFUSED


@pytest.mark.parametrize("key", IMPOSSIBLE)
def test_a_key_that_does_not_count_is_not_even_judged(key: str) -> None:
    assert KeyPolicy("auto").own_on_openai(bearer=key, configured=True) is None
    assert KeyPolicy("auto").own_on_platform(member=None, header=None, bearer=key, configured=True) is None
    assert KeyPolicy("false").own_on_platform(member=key, header=key, bearer=key, configured=True) is None


@pytest.mark.parametrize("mode", ["", "True", "yes", "AUTO"])
def test_an_unknown_mode_is_refused(mode: str) -> None:
    with pytest.raises(ValueError, match="caller_keys"):
        KeyPolicy(mode)


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
