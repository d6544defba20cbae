"""One key from a store or a command line: read by the kinds of the file, and written back."""

from __future__ import annotations

import json
from datetime import date
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatgpt_platform.errors import ConfigurationError
from chatgpt_platform.settings.allowances import PICODOLLARS, Allowance
from chatgpt_platform.settings.secret import Secret
from chatgpt_platform.settings.sharing import KeyLimits, VirtualKey
from chatgpt_platform.settings.virtual_keys import FLAGS, key_from, name_from, options_from, options_of

TYPED = {
    "limits": "3/minute,50/hour",
    "tokens": "100000/day, 2k/minute",
    "budget": "5.00/month",
    "models": "gpt-4o*,o3",
    "expires": "2027-01-31",
    "addresses": "10.0.0.0/8,::1",
    "concurrency": " 4 ",
    "prompts": "true",
}
OPTIONS = {
    "limits": {"minute": 3, "hour": 50},
    "tokens": ["100000/day", "2k/minute"],
    "budget": ["5.00/month"],
    "models": ["gpt-4o*", "o3"],
    "expires": "2027-01-31",
    "addresses": ["10.0.0.0/8", "::1/128"],
    "concurrency": 4,
    "prompts": True,
}
KEY = VirtualKey(
    name="alice",
    limits=KeyLimits(minute=3, hour=50),
    tokens=(Allowance(100_000, "day", 0, "100000/day"), Allowance(2000, "minute", 60, "2k/minute")),
    budget=(Allowance(5 * PICODOLLARS, "month", 0, "5.00/month"),),
    models=("gpt-4o*", "o3"),
    expires="2027-01-31",
    addresses=(ip_network("10.0.0.0/8"), ip_network("::1")),
    concurrency=4,
    prompts=True,
)


def test_from_the_command_line_to_the_store_and_back() -> None:
    assert tuple(TYPED) == FLAGS
    assert options_from(TYPED) == OPTIONS
    stored = json.loads(json.dumps(OPTIONS))
    assert key_from(stored, "keys.db: alice", name="alice") == KEY
    assert options_of(KEY) == OPTIONS
    assert key_from(stored, "x").key == Secret("")


@pytest.mark.parametrize("nothing", [{}, None, {"limits": {}, "tokens": []}, {"limits": None, "models": ["*"]}])
def test_what_is_not_said_is_the_default(nothing: object) -> None:
    key = key_from(nothing, "x")
    assert key == VirtualKey()
    assert options_of(key) == {}


def test_an_empty_text_stands_for_the_default() -> None:
    given = options_from(dict.fromkeys(FLAGS, " "))
    assert key_from({**OPTIONS, **given}, "x") == VirtualKey()
    assert given["models"] == ["*"]


def test_a_flag_replaces_the_whole_option() -> None:
    key = key_from({**OPTIONS, **options_from({"limits": "1/second"})}, "x")
    assert key.limits == KeyLimits(second=1)
    assert key.concurrency == 4


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("limits", "3", '--limits: found "3", expected limits such as 3/minute,50/hour'),
        ("limits", "3/month", '--limits: found "3/month", expected limits such as 3/minute,50/hour'),
        ("limits", "x/minute", '--limits: found "x/minute", expected limits such as 3/minute,50/hour'),
        ("limits", "3/minute,", '--limits: found "", expected limits such as 3/minute,50/hour'),
        ("limits", "3/minute,4/minute", "--limits: found a second limit for a minute, expected one"),
        ("limits", "03/minute", '--limits: found "03", expected a whole number, 0 or more'),
        ("tokens", "5/fortnight", '--tokens: found "5/fortnight", expected tokens/period such as 100k/day: '),
        ("budget", "5/fortnight", '--budget: found "5/fortnight", expected dollars/period such as 5.00/month: '),
        ("budget", "5/day,5/day", '--budget: found "5/day" beside "5/day", expected one for each period'),
        ("models", "a,,b", '--models: found "", expected the name of a model, * and ? in it as wildcards that is'),
        ("expires", "tomorrow", '--expires: found "tomorrow", expected a date, or a date and a time, such as'),
        ("addresses", "10.0.0.1/8", '--addresses: found "10.0.0.1/8", expected the network 10.0.0.0/8, or'),
        ("addresses", "[1", "--addresses: not valid JSON: "),
        ("concurrency", "-1", '--concurrency: found "-1", expected a whole number, 0 to 1000000'),
        ("prompts", "yes", '--prompts: found "yes", expected true or false'),
    ],
)
def test_a_flag_that_is_wrong(name: str, text: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        options_from({"concurrency": "1", name: text})
    (line,) = caught.value.lines
    assert line.startswith(says)


def test_all_flags_that_are_wrong_are_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        options_from({"limits": "a,b", "budget": "1\x1b[0m/day", "concurrency": "x"})
    assert [line.partition(":")[0] for line in caught.value.lines] == ["--limits"] * 2 + [
        "--budget",
        "--concurrency",
    ]
    assert not any("\x1b" in line for line in caught.value.lines)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "keys.db: alice: found a list, expected a mapping with limits, tokens, budget"),
        ({"budget": [5]}, 'keys.db: alice: budget[0]: found "5", expected dollars/period'),
        ({"budget": "5/day"}, 'keys.db: alice: budget: found "5/day", expected a list'),
        ({"limits": {"minute": "3"}}, 'keys.db: alice: limits.minute: found "3", expected a whole number'),
        (
            {"limits": {"minut": 3}},
            "keys.db: alice: limits.minut: found an unknown setting, did you mean limits.m",
        ),
        ({"prompts": 1}, 'keys.db: alice: prompts: found "1", expected true or false'),
        ({"name": "bob"}, "keys.db: alice: name: found an unknown setting"),
        ({"key": "test-key-of-alice"}, "keys.db: alice: key: found an unknown setting"),
    ],
)
def test_options_that_are_wrong(options: object, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        key_from(options, "keys.db: alice")
    (line,) = caught.value.lines
    assert line.startswith(says)
    assert "test-key" not in line


def test_names() -> None:
    assert name_from("alice-2.b_c", "--name") == "alice-2.b_c"
    for bad in ("", "a b", "-a", "a" * 65, "é", "a\n"):
        with pytest.raises(ConfigurationError, match=r"^--name: found .*expected a name of letters"):
            name_from(bad, "--name")


PERIODS = st.sampled_from(["day", "week", "month", "year", "total", "36h", "7d", "90m"])


def allowances(amounts: st.SearchStrategy[Any]) -> st.SearchStrategy[list[str]]:
    return st.dictionaries(PERIODS, amounts).map(
        lambda found: [f"{each}/{period}" for period, each in found.items()]
    )


@settings(deadline=None, max_examples=100)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "limits": st.dictionaries(
                st.sampled_from(["second", "minute", "hour", "day"]), st.integers(0, 10**15)
            ),
            "tokens": allowances(st.integers(1, 10**9)),
            "budget": allowances(st.decimals("0.01", "100", places=2)),
            "models": st.lists(st.from_regex(r"\A[a-z*?.-]{1,9}\Z"), min_size=1),
            "expires": st.dates(date(2000, 1, 1), date(2999, 12, 31)).map(str),
            "addresses": st.lists(st.ip_addresses().map(str)),
            "concurrency": st.integers(0, 10**6),
            "prompts": st.booleans(),
        },
    )
)
def test_what_was_read_is_written_so_that_it_reads_as_the_same(options: dict[str, object]) -> None:
    key = key_from(options, "x")
    assert key_from(json.loads(json.dumps(options_of(key))), "x") == key
