"""What each kind reads, refuses, and writes back."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatgpt_platform.settings.addresses import RESERVED, BaseUrl, Cidr, Host, Origin, Route
from chatgpt_platform.settings.containers import ListOf, MapOf, Percents
from chatgpt_platform.settings.kinds import (
    Boolean,
    Choice,
    Fault,
    Kind,
    Number,
    Text,
    Unusable,
    UserIds,
)
from chatgpt_platform.settings.measures import Duration, Size
from chatgpt_platform.settings.nodes import Scalar, Style, Unreadable, from_json
from chatgpt_platform.settings.secret import Key, Keys, Secret
from chatgpt_platform.settings.yaml_nodes import from_yaml

MiB = 2**20
v4, v6 = ipaddress.IPv4Network, ipaddress.IPv6Network


@pytest.mark.parametrize(
    ("kind", "written", "value"),
    [
        (Number(), "0", 0),
        (Number(0, 65535), "65535", 65535),
        (Boolean(), "TRUE", True),
        (Boolean(), "false", False),
        (Choice("auto", "true", "false"), "true", "true"),
        (Choice("auto", "true", "false"), "False", "false"),
        (Choice("auto", "en", "zh_CN"), "zh_cn", "zh_CN"),
        (Text(), "no", "no"),
        (Text(), "010", "010"),
        (Text(), "1:30", "1:30"),
        (Text(empty=True), '""', ""),
        (Duration(), "500ms", 0.5),
        (Duration(), "1m30s", 90.0),
        (Duration(), "'2h'", 7200.0),
        (Duration(), "1.5s", 1.5),
        (Duration(zero=True), "0s", 0.0),
        (Duration(days=True), "1d12h", 129_600.0),
        (Duration(days=True), "36500d", 36_500 * 86_400.0),
        (Size(), "10MiB", 10 * MiB),
        (Size(), "10mb", 10_000_000),
        (Size(), "4096", 4096),
        (Host(), "0.0.0.0", "0.0.0.0"),
        (Host(), '"::"', "::"),
        (Host(), '"[::1]"', "::1"),
        (Host(), "my_service.local", "my_service.local"),
        (Cidr(), "10.0.0.0/8", v4("10.0.0.0/8")),
        (Cidr(), "10.1.2.3", v4("10.1.2.3/32")),
        (Cidr(), "fd00::/8", v6("fd00::/8")),
        (Cidr(), "2001:db8::1", v6("2001:db8::1/128")),
        (Cidr(), "::ffff:10.0.0.0/104", v4("10.0.0.0/8")),
        (Cidr(), "0.0.0.0/0", v4("0.0.0.0/0")),
        (Origin(), "'*'", "*"),
        (Origin(), "HTTPS://Chat.Example:443", "https://chat.example"),
        (Origin(), "http://localhost:3000", "http://localhost:3000"),
        (Origin(), "http://[::1]:3000", "http://[::1]:3000"),
        (BaseUrl(), "https://api.example/v1/", "https://api.example/v1"),
        (BaseUrl(), "HTTP://Host:8080", "http://host:8080"),
        (BaseUrl(), "http://[::1]:9/v1", "http://[::1]:9/v1"),
        (Route(), "''", ""),
        (Route(), "/", ""),
        (Route(), "api", "/api"),
        (Route(), "/api", "/api"),
        (Route(), "api/", "/api"),
        (Route(), "/a-b/c.d_~", "/a-b/c.d_~"),
        (Route(), "v10", "/v10"),
        (UserIds(), "''", ""),
        (UserIds(), "65532", "65532"),
        (UserIds(), "65532:65532", "65532:65532"),
        (UserIds(), "1000:0", "1000:0"),
        (UserIds(), "4294967294:4294967294", "4294967294:4294967294"),
        (ListOf(Number()), "[1, 2]", (1, 2)),
        (ListOf(Number()), "", ()),
        (MapOf(Text(), Text()), "{no: gpt-4o, 1: 2}", {"no": "gpt-4o", "1": "2"}),
        (MapOf(Text(), Text()), "~", {}),
        (Keys(), "[test-key-1]", (Secret("test-key-1"),)),
        (Keys(), "[]", ()),
    ],
)
def test_read(kind: Kind[Any], written: str, value: object) -> None:
    assert kind.parse(from_yaml(written)) == value


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        *(
            (Number(), text)
            for text in ["fifty", "010", "1_000", "+5", "1e3", "5.0", "0x1F", "1:30", "'5'", "-1", "٣"]
        ),
        *((Number(), text) for text in ["", "~", "[1]", "{a: 1}", "9" * 5000, "9" * 16, "-0"]),
        (Number(1), "0"),
        (Number(0, 65535), "65536"),
        *((Boolean(), text) for text in ["yes", "no", "on", "1", "0", "'true'", "~", "[]"]),
        *((Choice("auto", "true"), text) for text in ["no", "yes", "1", "", "[auto]"]),
        (Text(), "''"),
        (Text(), "~"),
        (Text(), '"a\\nb"'),
        (Text(), '"a\\u2028b"'),
        *(
            (Duration(), text)
            for text in ["5", "5 s", "s", "-5s", "5d", "0s", "0.4ms", "1:30", "200h", "٣s", "''"]
        ),
        *((Size(), text) for text in ["0", "10M", "ten", "-1", "1.5MiB", "2TiB", "9999999999999", "''", "[1]"]),
        *((Host(), text) for text in ["''", "a b", "0.0.0.0:5000", "http://x", "256.1.1.1", "-x", "a..b", "'*'"]),
        *(
            (Cidr(), text)
            for text in ["10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/255.0.0.0", "x", "fe80::1%eth0", "''"]
        ),
        *((Cidr(), text) for text in ["10.0.0", "10.0.0.0/", "010.0.0.0", "10.0.0.0/8/8", "fd00::1/8", "1"]),
        *((Origin(), text) for text in ["chat.example", "https://x/", "https://x/a", "https://u@x", "https://"]),
        *((Origin(), text) for text in ["https://x?y", "https://x#y", "'null'", "https://x:99999", "https://x:"]),
        *((BaseUrl(), text) for text in ["api.example/v1", "ftp://x", "https://", "http:/x", "https://x:0", "''"]),
        *(
            (BaseUrl(), text)
            for text in ["https://u:p@x", "https://x?k=v", "'https://x#f'", "https://x?", "'http://a b'"]
        ),
        *(
            (BaseUrl(), text)
            for text in ["'http://a\\b'", "http://x:port", "http://[::1", "http://münchen", "http://x:70000"]
        ),
        *((Route(), text) for text in ["a//b", "a b", "a?b", "//a", "..", "a/./b", "'%61'", "é", "a" * 201]),
        *((Route(), f"/{reserved}/x") for reserved in RESERVED),
        (Route(), "/api/usage"),
        (Route(), "API/usage/"),
        (Route(), "V1"),
        *((UserIds(), text) for text in ["root", "0", "0:0", "1:", ":1", "1:2:3", "-1", "01", "1 1", "٣", "~"]),
        *((UserIds(), text) for text in ["4294967295", "1:4294967295", "99999999999", "65532:nonroot", "[1, 1]"]),
        (ListOf(Number()), "5"),
        (ListOf(Number()), "{a: 1}"),
        (MapOf(Text(), Text()), "[a]"),
        (MapOf(Text(), Text()), "{a: b, a: c}"),
        (MapOf(Text(), Text()), "{a: }"),
        *((Keys(), text) for text in ["[a, a]", "[a b]", "['']", "[é]", "test-key-1", "{a: 1}", "[~]", "[[a]]"]),
    ],
)
def test_refused_in_one_line(kind: Kind[Any], written: str) -> None:
    with pytest.raises(Unusable) as caught:
        kind.parse(from_yaml(written))
    for fault in caught.value.faults:
        assert fault.text.startswith("found ")
        assert "expected" in fault.text
        assert "\n" not in fault.text


@pytest.mark.parametrize("written", ["5", "true", "null", "5.5"])
def test_json_that_is_no_text_is_not_taken_for_one(written: str) -> None:
    for kind in (Text(), Duration(), Host(), Key()):
        with pytest.raises(Unusable):
            kind.parse(from_json(written))


def test_host_bits_name_the_network_that_was_meant() -> None:
    with pytest.raises(Unusable, match=r"the network 10\.0\.0\.0/8, or the address 10\.1\.2\.3 alone"):
        Cidr().parse(from_yaml("10.1.2.3/8"))


def test_every_item_that_is_wrong_is_named_with_its_place() -> None:
    with pytest.raises(Unusable) as caught:
        ListOf(Number()).parse(from_yaml("- x\n- 1\n- y\n"))
    assert [(fault.where, fault.line) for fault in caught.value.faults] == [("[0]", 1), ("[2]", 3)]


def test_lists_from_the_environment_are_comma_separated_or_json() -> None:
    kind = ListOf(Cidr())
    both = (v4("10.0.0.0/8"), v6("fd00::/8"))
    assert kind.parse(kind.node("10.0.0.0/8, fd00::/8")) == both
    assert kind.parse(kind.node('["10.0.0.0/8", "fd00::/8"]')) == both
    assert kind.parse(kind.node("[]")) == ()
    with pytest.raises(Unusable):
        kind.parse(kind.node("10.0.0.0/8,"))


def test_a_variable_holds_one_key_whatever_is_in_it_or_a_list_of_json() -> None:
    kind = Keys()
    assert kind.parse(kind.node("test,key")) == (Secret("test,key"),)
    assert kind.parse(kind.node('["test,1", "test-2"]')) == (Secret("test,1"), Secret("test-2"))
    with pytest.raises(Unreadable) as caught:
        kind.node("[test-key-1]")
    assert "test" not in str(caught.value)


def test_secrets_show_nothing() -> None:
    secret = Secret("test-key-1")
    assert secret.reveal() == "test-key-1"
    assert f"{secret} {secret!r} {[secret]}" == "*** *** [***]"
    assert secret == Secret("test-key-1")
    assert secret != Secret("test-key-2")
    assert secret != "test-key-1"
    assert len({secret, Secret("test-key-1")}) == 1
    assert Keys().yaml((secret,)) == "[***]"


@settings(deadline=None, max_examples=50)
@given(st.text(min_size=1))
def test_wrong_secrets_are_not_repeated(text: str) -> None:
    written = f"test {text} key"
    for kind, value in (
        (Key(), written),
        (BaseUrl(), f"https://{written}@host/"),
        (BaseUrl(), f"https://host/?{written}"),
    ):
        with pytest.raises(Unusable) as caught:
            kind.parse(Scalar(value, Style.QUOTED))
        assert written not in str(caught.value)
        assert "that is not shown" in str(caught.value)


ROUND_TRIPS: list[tuple[Kind[Any], st.SearchStrategy[Any]]] = [
    (Number(), st.integers(0, 10**15)),
    (Boolean(), st.booleans()),
    (Choice("auto", "true", "false"), st.sampled_from(["auto", "true", "false"])),
    (Duration(zero=True), st.integers(0, 604_800_000).map(lambda each: each / 1000)),
    (Duration(zero=True, days=True), st.integers(0, 36_500 * 86_400).map(float)),
    (Size(), st.integers(1, 2**40)),
    (Size(zero=True), st.integers(0, 2**40)),
    (Percents(), st.sets(st.integers(1, 100)).map(sorted)),
    (Text(), st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), min_size=1)),
    (
        ListOf(Cidr()),
        st.lists(st.ip_addresses(v=4).map(v4) | st.integers(0, 2**32).map(lambda each: v6((each, 128)))),
    ),
    (
        MapOf(Text(), Text()),
        st.dictionaries(st.from_regex(r"[ -~]+", fullmatch=True), st.sampled_from(["no", "~", "1", "#"])),
    ),
]


@pytest.mark.parametrize("index", range(len(ROUND_TRIPS)))
def test_what_a_kind_writes_it_reads_as_the_same(index: int) -> None:
    kind, values = ROUND_TRIPS[index]

    @settings(deadline=None, max_examples=50)
    @given(values)
    def check(value: Any) -> None:
        value = tuple(value) if isinstance(value, list) else value
        assert kind.parse(from_yaml(f"key: {kind.yaml(value)}").entries[0][1]) == value  # type: ignore[union-attr]

    check()


@settings(deadline=None, max_examples=50)
@given(st.text())
def test_no_text_breaks_a_kind(text: str) -> None:
    kinds: list[Kind[Any]] = [Number(), Boolean(), Duration(), Size(), Text(), Host(), Cidr(), Origin(), BaseUrl()]
    faults: list[Fault] = []
    for kind in (*kinds, Route(), Keys(), ListOf(Cidr()), Choice("a", "b")):
        for style in Style:
            try:
                kind.parse(Scalar(text, style))
            except Unusable as unusable:
                faults += unusable.faults
    assert all(len(fault.text.splitlines()) == 1 for fault in faults)
