from __future__ import annotations

import json
import sys
import time
from collections import Counter
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway.members import (
    FORBIDDEN,
    MAX_MEMBERS,
    prompts,
    read_openai,
    rewrite,
    stream_options,
)
from chatgpt_platform.gateway.shapes import OpenAIBody
from chatgpt_platform.locales import en

unhurried = settings(deadline=None)

TOKEN_NAMES = ("max_tokens", "max_completion_tokens", "max_output_tokens")
READ_NAMES = ("model", "stream", *TOKEN_NAMES)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
names = st.sampled_from(READ_NAMES + FORBIDDEN) | texts
# An object is a tuple of pairs, so that a name can stand in it twice.
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(names, inner), max_size=3).map(tuple),
    max_leaves=6,
)
well_typed = (
    st.tuples(st.just("model"), texts)
    | st.tuples(st.just("stream"), st.none() | st.booleans())
    | st.tuples(st.sampled_from(TOKEN_NAMES), st.none() | st.integers())
    | st.tuples(texts.filter(lambda name: name not in READ_NAMES + FORBIDDEN), values)
)
members = st.lists(well_typed, max_size=6)
randoms = st.randoms(use_true_random=False)


def written(value: Any, random: Random) -> str:
    """The value as JSON, with escapes and white space as chance has it."""
    if isinstance(value, str):
        return '"' + "".join(spelt(sign, random) for sign in value) + '"'
    if isinstance(value, list):
        return "[" + ",".join(blank(random) + written(item, random) for item in value) + blank(random) + "]"
    if isinstance(value, tuple):
        pairs = [
            f"{blank(random)}{written(name, random)}{blank(random)}:{blank(random)}{written(inner, random)}"
            for name, inner in value
        ]
        return "{" + ",".join(pairs) + blank(random) + "}"
    return json.dumps(value)


def spelt(sign: str, random: Random) -> str:
    must = sign in '"\\' or sign < " "
    if not must and random.random() < 0.7:
        return sign
    units = sign.encode("utf-16-be")
    escapes = [f"\\u{units[index : index + 2].hex()}" for index in range(0, len(units), 2)]
    return "".join(random.choice((escape, escape.upper().replace("U", "u", 1))) for escape in escapes)


def blank(random: Random) -> str:
    return random.choice(("", "", "", " ", "\t", "\r\n", " " * 50))


def attempt(body: bytes) -> OpenAIBody | Problem:
    try:
        return read_openai(body)
    except Problem as problem:
        return problem


def refusal(body: bytes) -> Problem:
    problem = attempt(body)
    assert isinstance(problem, Problem)
    assert problem.kind is Kind.BAD_REQUEST
    assert problem.text in en.TEXTS
    return problem


@unhurried
@given(members, randoms)
def test_members_are_read_whatever_their_spelling_and_doubles_that_matter_are_refused(
    pairs: list[tuple[str, Any]], random: Random
) -> None:
    body = written(tuple(pairs), random).encode()
    exact: list[tuple[str, Any]] = json.loads(body, object_pairs_hook=list)
    assert [name for name, _ in exact] == [name for name, _ in pairs]
    doubles = {name for name, number in Counter(name for name, _ in exact).items() if number > 1}
    if doubles.intersection(READ_NAMES):
        problem = refusal(body)
        assert problem.text == "duplicate_member"
        assert problem.param in doubles
        return
    read, told = read_openai(body), dict(exact)
    assert read.model == told.get("model", msgspec.UNSET)
    for name in ("stream", *TOKEN_NAMES):
        assert getattr(read, name) == told.get(name)


@unhurried
@given(members, st.sampled_from(READ_NAMES), st.integers(0, 100), randoms)
def test_a_name_doubled_in_any_spelling_is_refused(
    pairs: list[tuple[str, Any]], name: str, place: int, random: Random
) -> None:
    value: Any = "m" if name == "model" else None
    unique = {name: (name, value) for name, value in pairs} | {name: (name, value)}
    doubled = list(unique.values())
    doubled.insert(place % (len(doubled) + 1), (name, value))
    problem = refusal(written(tuple(doubled), random).encode())
    assert (problem.text, problem.param) == ("duplicate_member", name)


@unhurried
@given(members, st.sampled_from(FORBIDDEN), values, randoms)
def test_members_that_would_choose_address_key_or_headers_are_refused(
    pairs: list[tuple[str, Any]], name: str, value: Any, random: Random
) -> None:
    unique = {name: (name, value) for name, value in pairs} | {name: (name, value)}
    problem = refusal(written(tuple(unique.values()), random).encode())
    assert (problem.text, problem.param) == ("forbidden_member", name)


@unhurried
@given(members, randoms, st.binary(max_size=4), st.integers(0, 400), st.integers(0, 4))
def test_bytes_are_read_as_json_says_or_refused(
    pairs: list[tuple[str, Any]], random: Random, junk: bytes, place: int, cut: int
) -> None:
    whole = written(tuple(pairs), random).encode()
    place %= len(whole) + 1
    body = whole[:place] + junk + whole[place + cut :]
    read = attempt(body)
    if isinstance(read, Problem):
        assert read.kind is Kind.BAD_REQUEST
        assert read.text in en.TEXTS
        return
    told = json.loads(body)
    assert [getattr(read, name) for name in TOKEN_NAMES] == [told.get(name) for name in TOKEN_NAMES]
    json.dumps(told, ensure_ascii=False).encode()  # holds no half of a surrogate pair


@unhurried
@given(st.binary())
def test_any_bytes_are_an_object_or_a_refusal(body: bytes) -> None:
    assert isinstance(attempt(body), Problem) or isinstance(json.loads(body), dict)


@unhurried
@given(
    st.dictionaries(st.sampled_from(READ_NAMES) | texts, values, max_size=6),
    st.dictionaries(st.sampled_from(READ_NAMES), texts | st.integers(1, 10**6), min_size=1),
    randoms,
)
def test_a_rewrite_changes_only_its_members(
    told: dict[str, Any], changes: dict[str, str | int], random: Random
) -> None:
    spelt_values = {name: written(value, random) for name, value in told.items()}
    pairs = [f"{blank(random)}{written(name, random)}:{text}" for name, text in spelt_values.items()]
    result = rewrite(f"{{{','.join(pairs)}}}".encode(), changes)
    raw = msgspec.json.decode(result, type=dict[str, msgspec.Raw])
    kept = {name: text.encode() for name, text in spelt_values.items() if name not in changes}
    assert {name: bytes(value) for name, value in raw.items() if name not in changes} == kept
    exact: list[tuple[str, Any]] = json.loads(result, object_pairs_hook=list)
    assert {name: value for name, value in exact if name in changes} == changes
    assert [name for name, _ in exact] == [*told, *(name for name in changes if name not in told)]


@unhurried
@given(st.binary())
def test_without_changes_the_very_same_bytes_come_back(body: bytes) -> None:
    assert rewrite(body, {}) is body


def test_unknown_members_may_stand_there_twice_and_the_last_survives_a_rewrite() -> None:
    body = b'{"x": 1, "x": 2.50, "model": "a"}'
    assert read_openai(body).model == "a"
    assert rewrite(body, {"model": "b"}) == b'{"x":2.50,"model":"b"}'


@pytest.mark.parametrize(
    ("member", "value", "text"),
    [
        *(("model", value, "wrong_type_string") for value in ("null", "1", "true", "[]", "{}")),
        *(("stream", value, "wrong_type_boolean") for value in ('"true"', "1", "0.5", "[]", "{}")),
        *(
            (name, value, "wrong_type_integer")
            for name in TOKEN_NAMES
            for value in ('"5"', "1.5", "1.0", "1e3", "true", "[]", "{}")
        ),
        pytest.param("max_tokens", "9" * 5000, "wrong_type_integer", id="digits"),
        ("max_tokens", "1e400", "wrong_type_number"),
    ],
)
def test_a_wrong_type_names_the_member(member: str, value: str, text: str) -> None:
    problem = refusal(f'{{"{member}": {value}}}'.encode())
    assert (problem.text, problem.param) == (text, member)
    assert problem.values == {"member": member}


@pytest.mark.parametrize("body", ["null", "1", '"x"', "[]", '[{"model": "a"}]', "true"])
def test_anything_but_an_object_is_refused(body: str) -> None:
    assert refusal(body.encode()).text == "not_an_object"


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"  ", b"{", b"{}{}", b"{} x", b'{"a":1,}', b"{'a':1}", b'{"a":01}', b'{"a":1}\x00', b'{"a":tru}'),
        *(b'{"a":NaN}', b'{"max_tokens":NaN}', b'{"a":-Infinity}', b'{"a":"\n"}', b'{"a":"\\q........."}'),
        *(b'{"a":"\\ud800........."}', b'{"a":"\\udc00.........."}', b'{"\\ud800":1........}'),
        *(b'{"a":"\\ud800\\u0041........."}', b'{"model":"\\ud800........."}'),
        b'\xef\xbb\xbf{"model":"a"}',
        '{"model":"a"}'.encode("utf-16-le"),
    ],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    assert refusal(body).text == "bad_json"


@pytest.mark.parametrize(
    "body",
    [
        *(b'{"a":"\xff"}', b'{"\xff":1}', b'{"model":"\xed\xa0\x80"}', b'{"a":"\xe4\xbd"}', b'{"a":"\xc0\x80"}'),
        '{"model":"ä"}'.encode("latin-1"),
        '{"model":"a"}'.encode("utf-16"),
        '{"model":"a"}'.encode("utf-32"),
    ],
)
def test_what_is_not_utf8_is_refused_wherever_it_stands(body: bytes) -> None:
    assert refusal(body).text == "not_utf8"


@pytest.mark.parametrize("start", [b'{"a":', b'{"a":[', b'{"model":"a","model":"b","x":[[', b'{"\\u0041":{"x":'])
def test_bottomless_nesting_is_refused(start: bytes) -> None:
    assert refusal(start * 500_000).text == "too_deep"


def test_doubles_are_refused_at_any_depth_that_is_read() -> None:
    limit = sys.getrecursionlimit()
    seen = {
        refusal(b'{"model":"a","model":"b","x":' + b"[" * depth + b"]" * depth + b"}").text
        for depth in (*range(limit - 150, limit + 5), 100_000)
    }
    assert seen == {"duplicate_member", "too_deep"}


@pytest.mark.parametrize("pad", [0, 1, 41, 100_000])
def test_white_space_hides_no_double(pad: int) -> None:
    body = b'{"max_tokens":9,"\\u006dax_tokens"%b:1}' % (b" " * pad)
    assert refusal(body).param == "max_tokens"


def test_numbers_pass_at_any_size_where_they_are_not_read() -> None:
    body = b'{"x": 1e999, "y": %b, "z": -0.0}' % (b"9" * 10_000)
    assert read_openai(body) == OpenAIBody()
    assert rewrite(body, {"model": "m"}) == b'{"x":1e999,"y":%b,"z":-0.0,"model":"m"}' % (b"9" * 10_000)


@pytest.mark.parametrize("number", [MAX_MEMBERS, MAX_MEMBERS + 1])
@pytest.mark.parametrize("name", ['"k%d":1', '"\\u0041%d":1', '"%d":"\\"model\\" \\"model\\""'])
def test_a_body_has_so_many_members_and_no_more(number: int, name: str) -> None:
    body = ("{" + ",".join(name % index for index in range(number)) + "}").encode()
    if number > MAX_MEMBERS:
        assert refusal(body).text == "too_many_parameters"
    else:
        read_openai(body)


def test_members_deeper_down_are_not_counted() -> None:
    inner = ",".join(f'"k{index}":{{"model":"a","model":"b"}}' for index in range(MAX_MEMBERS + 1))
    assert read_openai(f'{{"model":"c","x":{{{inner}}}}}'.encode()).model == "c"


MEBIBYTE = 1024 * 1024
HOSTILE = {
    "one string": lambda: b'{"x":"' + b"a" * (10 * MEBIBYTE) + b'"}',
    "escapes": lambda: b'{"x":"' + b"\\u0041" * (10 * MEBIBYTE // 6) + b'"}',
    "quotes": lambda: b'{"x":"' + b'\\"' * (5 * MEBIBYTE) + b'\\u0041"}',
    "almost names": lambda: b'{"x":[' + b'"\\u006dodel",' * (10 * MEBIBYTE // 13) + b"1]}",
    "long almost names": lambda: b'{"x":[' + (b'"' + b"\\u0061" * 5000 + b'",') * 300 + b"1]}",
    "white space": lambda: b'{"\\u0061"' + b" " * (10 * MEBIBYTE) + b":1}",
    "digits": lambda: b'{"x":' + b"9" * (10 * MEBIBYTE) + b"}",
    "read digits": lambda: b'{"max_tokens":' + b"9" * (10 * MEBIBYTE) + b"}",
    "members": lambda: b"{" + b",".join(b'"k%d":1' % index for index in range(700_000)) + b"}",
    "lists": lambda: b'{"x":{"model":1,"model":2},"y":[' + b"[]," * (3 * MEBIBYTE) + b"1]}",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_ten_mebibytes_of_anything_do_not_hang(what: str) -> None:
    body, start = HOSTILE[what](), time.process_time()
    read = attempt(body)
    if isinstance(read, Problem):
        assert read.text in ("too_many_parameters", "wrong_type_integer")
    else:
        assert rewrite(body, {"model": "m"}).endswith(b',"model":"m"}')
    assert time.process_time() - start < 10


@pytest.mark.parametrize(
    ("body", "options"),
    [
        ({}, {"include_usage": True}),
        ({"stream_options": None}, {"include_usage": True}),
        ({"stream_options": {}}, {"include_usage": True}),
        ({"stream_options": {"include_usage": False}}, {"include_usage": True}),
        ({"stream_options": {"include_usage": None, "x": [1]}}, {"include_usage": True, "x": [1]}),
        (
            {"stream_options": {"include_obfuscation": False}},
            {"include_obfuscation": False, "include_usage": True},
        ),
        ({"stream_options": {"include_usage": True}}, None),
        ({"stream_options": {"include_usage": True, "x": 1}}, None),
        ({"messages": [{"content": "stream_options"}]}, {"include_usage": True}),
        # The upstream's to refuse.
        ({"stream_options": {"include_usage": "yes"}}, None),
        ({"stream_options": {"include_usage": 1}}, None),
        ({"stream_options": "yes"}, None),
        ({"stream_options": []}, None),
        ({"stream_options": False}, None),
    ],
)
def test_how_a_stream_is_asked_for_its_usage(body: object, options: object) -> None:
    for written in (json.dumps(body), json.dumps(body).replace("stream_options", "stream\\u005foptions")):
        asked = stream_options(written.encode())
        assert (json.loads(asked) if asked else None) == options


@pytest.mark.parametrize(
    ("prompt", "figure"),
    [
        ("a", 1),
        ("a," * 200_000, 1),
        ([], 1),
        (["a", "b"], 2),
        ([1, 2], 1),
        ([[1, 2], [3]], 2),
        ([1] * 200_000, 1),
        (["a"] * 50_000, 50_000),
    ],
    ids=lambda value: str(value)[:12],
)
def test_how_many_prompts_there_are(prompt: object, figure: int) -> None:
    assert prompts(json.dumps({"prompt": prompt}).encode()) == figure


def test_of_very_many_prompts_there_are_at_least_so_many() -> None:
    assert prompts(b'{"prompt":[%b""]}' % (b'"",' * 200_000)) > 200_000
