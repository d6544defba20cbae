"""Base URLs: what they say, and what is no base URL."""

from __future__ import annotations

import pytest

from chatgpt_platform.upstream.target import Target, parse


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.example.com/v1", Target(True, "api.example.com", 443, b"/v1", b"api.example.com")),
        ("https://api.example.com:443/v1/", Target(True, "api.example.com", 443, b"/v1", b"api.example.com")),
        ("http://Example.com", Target(False, "example.com", 80, b"", b"example.com")),
        ("http://example.com:443/", Target(False, "example.com", 443, b"", b"example.com:443")),
        ("http://[::1]:8080/v1", Target(False, "::1", 8080, b"/v1", b"[::1]:8080")),
        ("https://[2001:db8::1]/v1", Target(True, "2001:db8::1", 443, b"/v1", b"[2001:db8::1]")),
        (
            "http://münchen.example/v1",
            Target(False, "xn--mnchen-3ya.example", 80, b"/v1", b"xn--mnchen-3ya.example"),
        ),
    ],
)
def test_parts(url: str, expected: Target) -> None:
    assert parse(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "", "api.example.com/v1", "ftp://example.com", "https://", "https:///v1", "http://:80/", "http://h:0/",
        "http://h:65536/", "http://h:x/", "http://user:test-key-1@h/", "http://h/?a=test-key-1", "http://h/#test-key-1",
        "http://h/v1\r\nX: y", "http://h /v1", "http://h/v\t1", "http://h/\x7f", "http://[::1/v1", "http://[fe80::1%25e]/",
        "http://h/\N{SNOWMAN}", "http://" + "\N{SNOWMAN}" * 70 + ".example/",
    ],
)  # fmt: skip
def test_what_is_no_base_url(url: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - UnicodeError is one too
        parse(url)
    assert "test-key" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "where", "literal"),
    [
        ("https://api.example.com/v1", "api.example.com:443", False),
        ("http://127.0.0.1:81", "127.0.0.1:81", True),
        ("http://[::1]:8080/v1", "[::1]:8080", True),
    ],
)
def test_where(url: str, where: str, literal: bool) -> None:
    assert parse(url).where == where
    assert parse(url).literal is literal
