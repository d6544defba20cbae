"""Keys and control characters never come out, and nothing else is touched."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chatgpt_platform.observe.redact import Redactor, mask, printable

SECRET = "test-key-1/a+b"
KEYS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=4, max_size=40)
# An alphabet in which the mask cannot become part of a secret.
QUIET = st.text(st.sampled_from("xyz ,:{}[]\n"), max_size=40)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        (f"key {SECRET}.", "key ***."),
        (SECRET * 2, "******"),
        ("nothing here", "nothing here"),
        ("sk-abcdefgh", "***"),
        ("(sk-proj_ABC-12345678)", "(***)"),
        ("sk-short", "sk-short"),
        ("cgp_abcdefgh", "***"),
        (f"GET /?q=cgp_{'Ab1' * 15}z&x", "GET /?q=***&x"),
        ("cgp_3fQx…", "cgp_3fQx…"),
        ("Authorization: Bearer whatever!", "Authorization: Bearer ***"),
        ("authorization: bearer\t a.b/c", "authorization: bearer\t ***"),
        ("GET /chatgpt?api_key=anything&prompt=hi", "GET /chatgpt?api_key=***&prompt=hi"),
        ("ApiKey: anything", "ApiKey: ***"),
        ('{"api_key": "anything", "x": 1}', '{"api_key": "***", "x": 1}'),
        ("missing_key", "missing_key"),
        (quote(SECRET, safe=""), "***"),
        (json.dumps({"k": SECRET}), '{"k": "***"}'),
    ],
)
def test_clean(text: str, cleaned: str) -> None:
    assert Redactor(["", SECRET]).clean(text) == cleaned


def test_a_secret_that_is_part_of_another_leaves_no_rest() -> None:
    assert Redactor(["test-key", "test-key-long"]).clean("test-key-long test-key") == "*** ***"


def test_a_tiny_secret_is_replaced_as_a_word_only() -> None:
    assert Redactor(["x"]).clean("example: x, ax, x-x") == "example: ***, ax, ***-***"


@given(KEYS, QUIET, QUIET)
def test_a_known_secret_never_comes_out(secret: str, before: str, after: str) -> None:
    assume(secret not in before + "***" + after)
    cleaned = Redactor([secret]).clean(f"{before}{secret}{after}")
    assert secret not in cleaned
    assert "***" in cleaned


@given(st.text(min_size=4), QUIET)
def test_a_secret_in_repr_never_comes_out(secret: str, before: str) -> None:
    shown = repr(secret)[1:-1]
    assume(shown not in before + "***")
    assert shown not in Redactor([secret]).clean(f"{before} {secret!r}")


@given(st.text(), st.lists(st.text()))
def test_clean_takes_any_text(text: str, secrets: list[str]) -> None:
    assert isinstance(Redactor(secrets).clean(text), str)


def test_mask_replaces_a_plain_secret() -> None:
    assert mask(b'{"error": "bad key test-key-1/a+b"}', SECRET) == b'{"error": "bad key ***"}'
    assert mask(b"<p>test-key-1/a+b</p>\xff", SECRET) == b"<p>***</p>\xff"


@pytest.mark.parametrize(
    "body",
    [
        rb'{"m": "k test-key-1\/a+b."}',
        rb'{"m": "k test\u002dkey\u002D1/a+b."}',
        rb'{"m": "k \u0074est-key-1/a+b."}',
        rb'{"m": "k \u0074est-key-1/a+b. test-key-1/a+b"}',
        rb'{"m": "k \"test-key-1\/a+b."}',
        rb'{"m": "k \\test-key-1\/a+b."}',
        rb'{"test-key-1\/a+b": 1, "m": "k ."}',
        rb'{"m": "k test-key-1\/a+b.", "cut',
        rb'{"m": "k test-key-1\/a+b',
        rb"{'m': \q test-key-1\/a+b}",
        b"\xff\\n test-key-1\\/a+b",
        rb"[" * 100_000 + rb'"k test-key-1\/a+b."',
        rb'{"m": "{\"inner\": \"k test-key-1\\\/a+b.\"}"}',
        rb'{"m": "{\"inner\": \"k test\\u002dkey-1/a+b.\"}"}',
    ],
)
def test_mask_finds_what_escapes_hide(body: bytes) -> None:
    masked = mask(body, SECRET)
    assert b"***" in masked
    assert b"a+b" not in masked


def test_mask_leaves_all_else_as_it_is() -> None:
    body = rb'{"a": 1.50e400, "a": 12345678901234567890123, "e": "\u00e9\/", "k": "test-key-1\/a+b", "n": NaN}'
    assert mask(body, SECRET) == body.replace(rb"test-key-1\/a+b", b"***")


@pytest.mark.parametrize("body", [b"", b"{}", rb'{"m": "a\/b \ud800 \u0074"}', b"\\", b"\xff\\u12", b'"' * 9])
def test_mask_gives_the_same_object_when_nothing_matched(body: bytes) -> None:
    assert mask(body, SECRET) is body
    assert mask(body, "") is body


@given(st.binary(), st.text())
def test_mask_never_raises(body: bytes, secret: str) -> None:
    assert isinstance(mask(body, secret), bytes)


@given(st.text(), st.text())
def test_mask_never_raises_on_json(text: str, secret: str) -> None:
    assert isinstance(mask(json.dumps({"m": text}).encode(), secret), bytes)


@given(KEYS, QUIET, QUIET, st.data())
def test_mask_finds_any_escaping(secret: str, before: str, after: str, data: st.DataObject) -> None:
    assume(secret not in before + "***" + after)
    escaped = "".join(
        f"\\u{ord(letter):04x}" if data.draw(st.booleans()) else json.dumps(letter)[1:-1] for letter in secret
    )
    body = f'{{"message": {json.dumps(before)[:-1]}{escaped}{json.dumps(after)[1:]}}}'.encode()
    assume(secret not in f'{{"message": {json.dumps(before)[:-1]}***{json.dumps(after)[1:]}}}')
    assert secret in json.loads(body)["message"]
    assert json.loads(mask(body, secret))["message"] == f"{before}***{after}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, 简体, Привет, 🙂", "plain text, 简体, Привет, 🙂"),
        ("a\nb\r\tc", r"a\x0ab\x0d\x09c"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("\x7f\x85\x9b", r"\x7f\x85\x9b"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("\u202eevil\u2066", r"\u202eevil\u2066"),
        ("\ud800", r"\ud800"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters()))
def test_printable_is_always_one_line_of_utf8(text: str) -> None:
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert shown.encode().decode() == shown
    assert printable(shown) == shown
    assert not any(ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0 for letter in shown)
