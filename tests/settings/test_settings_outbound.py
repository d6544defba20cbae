"""The kinds for the way to an upstream."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatgpt_platform.settings.kinds import Unusable
from chatgpt_platform.settings.nodes import Scalar, Style, Table
from chatgpt_platform.settings.outbound import Headers, HeaderValue, Patterns, Proxy, matches
from chatgpt_platform.settings.secret import Secret
from chatgpt_platform.settings.yaml_nodes import from_yaml
from chatgpt_platform.upstream import proxies

SECRET = "test-key-1"


def refusal(kind: Headers | HeaderValue | Patterns | Proxy, written: str) -> str:
    with pytest.raises(Unusable) as caught:
        kind.parse(from_yaml(written))
    return "; ".join(f"{fault.where}: {fault.text}" for fault in caught.value.faults)


def header(name: str, value: str) -> Table:
    return Table(((Scalar(name, Style.QUOTED), Scalar(value, Style.QUOTED)),))


# --- headers


def test_headers_are_kept_as_they_are_written_and_never_shown() -> None:
    headers = Headers().parse(from_yaml("{X-Team: one two, x-number: 5, openai-organization: org-1}"))
    assert {name: value.reveal() for name, value in headers.items()} == {
        "X-Team": "one two",
        "x-number": "5",
        "openai-organization": "org-1",
    }
    assert Headers().yaml(headers) == "{X-Team: ***, x-number: ***, openai-organization: ***}"
    assert "one two" not in repr(headers)


@pytest.mark.parametrize(
    "name",
    [
        *("Host", "connection", "Content-Length", "Transfer-Encoding", "TE", "Trailer", "upgrade", "Keep-Alive"),
        *("Proxy-Authorization", "proxy-connection", "Accept-Encoding", "Expect", "Content-Type", "User-Agent"),
        *("Accept", "traceparent"),
    ],
)
def test_headers_of_the_gateway_s_own_are_refused(name: str) -> None:
    says = refusal(Headers(), f"{{{name}: {SECRET}}}")
    assert f'found "{name}", expected another header: this one is the gateway\'s own' in says
    assert SECRET not in says


@pytest.mark.parametrize("name", ["Authorization", "api-key"])
def test_a_key_is_no_header(name: str) -> None:
    says = refusal(Headers(), f"{{{name}: {SECRET}}}")
    assert "a key belongs into api_keys" in says
    assert SECRET not in says


@pytest.mark.parametrize("name", ["X Team", "X:Team", "", "Ünicode", "X-Team\\r\\nX-Other", "a" * 129, "(a)"])
def test_what_is_no_name_of_a_header(name: str) -> None:
    assert "expected the name of a header, such as X-Team" in refusal(Headers(), f'{{"{name}": a}}')


def test_a_name_in_two_spellings_is_there_twice() -> None:
    says = refusal(Headers(), "{X-Team: a, x-team: b}")
    assert says == '["x-team"]: found a second time (as X-Team), expected once'
    assert "found a second time" in refusal(Headers(), "{X-Team: a, X-Team: b}")


@pytest.mark.parametrize("value", ["a\\r\\nb: c", "a\\u0000", " a", "a ", "é", "", "\\t", "a\\u2028b", "~"])
def test_values_that_would_break_a_head(value: str) -> None:
    says = refusal(Headers(), f'{{X-Team: "{value}"}}' if value != "~" else "{X-Team: ~}")
    assert "expected a text of visible ASCII characters and blanks" in says


@settings(deadline=None, max_examples=100)
@given(name=st.text(max_size=20), value=st.text(max_size=20))
def test_what_is_accepted_is_one_line_of_a_head_and_what_is_not_is_not_repeated(name: str, value: str) -> None:
    secret = f"{SECRET}{value}"
    said: list[str] = []
    try:
        headers = Headers().parse(header(name, secret))
    except Unusable as unusable:
        said = [fault.where + fault.text for fault in unusable.faults]
    else:
        ((key, text),) = headers.items()
        assert re.fullmatch(r"[!#-'*+.0-9A-Z^-z|~-]+: [!-~]([ -~]*[!-~])?", f"{key}: {text.reveal()}")
    assert all(SECRET not in line and len(line.splitlines()) == 1 for line in said)


def test_a_value_that_stands_as_a_name_is_not_repeated() -> None:
    for written in (
        f"{{X-Key:{SECRET}}}",
        f"{{'{SECRET}': }}",
        f"X-Key:{SECRET}",
        f"[{SECRET}]",
        f"{{'a {SECRET}': b}}",
    ):
        assert SECRET not in refusal(Headers(), written)


# --- proxy


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("", ""),
        ("http://proxy", "http://proxy:80"),
        ("HTTP://Proxy:3128/", "http://proxy:3128"),
        ("socks5://[::1]", "socks5://[::1]:1080"),
        ("socks5h://user:p%40ss@Proxy.example", "socks5h://user:p%40ss@proxy.example:1080"),
        ("http://user@proxy:1", "http://user@proxy:1"),
        ("http://User:Pass:Word@proxy:1", "http://User:Pass:Word@proxy:1"),
    ],
)
def test_a_proxy_is_always_kept_with_its_port(written: str, meant: str) -> None:
    proxy = Proxy().parse(from_yaml(f'"{written}"'))
    assert proxy == Secret(meant)
    assert Proxy().parse(from_yaml(f'"{meant}"')) == proxy


@pytest.mark.parametrize(
    "written",
    [
        *("proxy:3128", "https://proxy", "socks4://proxy", "ftp://proxy", "http://", "http:///", "http://:80"),
        *("http://proxy/path", "http://proxy?a", "http://proxy#a", "http://proxy:", "http://proxy:0"),
        *("http://proxy:99999", "http://@proxy", "http://:pass@proxy", "http://a@b@proxy", "http://us/er@proxy"),
        *("http://us er@proxy", "http://user:100%@proxy", "http://user:a%zz@proxy", "socks5://münchen", "5"),
    ],
)
def test_what_is_no_proxy(written: str) -> None:
    says = refusal(Proxy(), f"'{written}'")
    assert "found a value that is not shown, expected an http://, socks5:// or socks5h:// URL" in says


@settings(deadline=None, max_examples=100)
@given(user=st.text(min_size=1, max_size=10), password=st.text(max_size=10))
def test_credentials_survive_where_they_are_encoded_and_are_never_shown(user: str, password: str) -> None:
    user, password = (text.encode("utf-8", "replace").decode() for text in (user.replace(":", ";"), password))
    written = f"http://{quote(user, safe='')}:{quote(SECRET + password, safe='')}@proxy:1080"
    proxy = Proxy().parse(Scalar(written, Style.QUOTED))
    parts = urlsplit(proxy.reveal())
    assert (unquote(parts.username or ""), unquote(parts.password or "")) == (user, SECRET + password)
    assert Proxy().yaml(proxy) == '"http://***@proxy:1080"'


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
@pytest.mark.parametrize(
    "credentials",
    [
        *("user", "user:", "user:pass", "us%3Aer:pass", "%3A:pass", "m%C3%BCller:pass", "user:%ff", "user:a%00b"),
        *(f"{'u' * 255}:{'p' * 255}", f"{'u' * 256}:pass", f"user:{'p' * 256}"),
    ],
)
def test_credentials_that_pass_can_be_told_to_the_proxy(scheme: str, credentials: str) -> None:
    url = f"{scheme}://{credentials}@proxy:1080"
    try:
        proxies.Proxy(url)
    except ValueError:
        refused = refusal(Proxy(), f"'{url}'")
        assert "found a value that is not shown, expected" in refused
        assert ("a colon" if scheme == "http" else "SOCKS5") in refused
    else:
        assert Proxy().parse(from_yaml(f"'{url}'")) == Secret(url)


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=20))
def test_a_refused_proxy_does_not_repeat_its_credentials(text: str) -> None:
    for written in (f"http://user:{SECRET}{text}@proxy:1/path", f"ftp://{SECRET}@proxy{text}", f"{text}{SECRET}"):
        with pytest.raises(Unusable) as caught:
            Proxy().parse(Scalar(written, Style.QUOTED))
        assert SECRET not in str(caught.value)


# --- models


@pytest.mark.parametrize("written", ["[]", "~", "['']", "[' ']", "[a, ' b']", "gpt-4o", "['a\\nb ']", "[[a]]"])
def test_models_are_one_name_or_more_and_none_is_blank(written: str) -> None:
    assert "expected" in refusal(Patterns(), written)


@pytest.mark.parametrize(
    ("pattern", "name", "meant"),
    [
        ("*", "anything/at all", True),
        ("gpt-4o*", "gpt-4o", True),
        ("gpt-4o*", "gpt-4", False),
        ("o?", "o3", True),
        ("o?", "o", False),
        ("o?", "o33", False),
        ("a.c", "abc", False),
        ("[ab]", "a", False),
        ("[ab]", "[ab]", True),
        ("GPT", "gpt", False),
    ],
)
def test_wildcards(pattern: str, name: str, meant: bool) -> None:
    assert matches(pattern, name) is meant


@settings(deadline=None, max_examples=50)
@given(st.text(alphabet="ab*?.[\\", min_size=1, max_size=8), st.data())
def test_a_pattern_means_what_it_becomes_when_its_wildcards_are_filled(pattern: str, data: st.DataObject) -> None:
    filled = "".join(
        data.draw(st.text(max_size=3)) if char == "*" else data.draw(st.characters()) if char == "?" else char
        for char in pattern
    )
    assert matches(pattern, filled)
