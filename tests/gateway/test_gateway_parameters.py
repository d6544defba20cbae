from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote, unquote_to_bytes, urlencode

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway.parameters import (
    MAX_PARAMETERS,
    Question,
    from_json,
    from_query,
    from_text,
    question,
)
from chatgpt_platform.locales import en

Result = TypeVar("Result")

unhurried = settings(deadline=None)

OTHER_NAMES = {"prompt": "user_content", "system_content": "sys_content", "continuous": "continuous_dialogue"}
TURN_NAMES = ("continuous", "continuous_dialogue")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
said = texts.filter(lambda text: bool(text.strip()))
numbers = st.floats(allow_nan=False, allow_infinity=False)
turns = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant"]) | said, "content": texts | st.lists(texts)}
    ),
    max_size=3,
)
asked = st.fixed_dictionaries(
    {"prompt": said},
    optional={
        "system_content": texts,
        "model": texts,
        "api_key": texts,
        "continuous": turns,
        "max_tokens": st.integers(1, 10**18 - 1),
        "temperature": numbers,
        "top_p": numbers,
        "stream": st.booleans(),
    },
)


def plain(value: Question) -> dict[str, Any]:
    """A question's fields, its turns as Python values."""
    fields = {name: getattr(value, name) for name in Question.__dataclass_fields__}
    return fields | {"turns": json.loads(msgspec.json.encode(list(value.turns)))}


def as_text(told: Mapping[str, Any]) -> dict[str, str]:
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in told.items()}


def from_form(told: Mapping[str, str]) -> dict[str, Any]:
    return from_text(from_query(urlencode(told)))


def attempt(read: Callable[..., Result], *values: Any) -> Result | Problem:
    try:
        return read(*values)
    except Problem as problem:
        return problem


def problem_of(read: Callable[..., object], *values: Any) -> Problem:
    problem = attempt(read, *values)
    assert isinstance(problem, Problem)
    assert problem.kind is Kind.BAD_REQUEST
    assert problem.text in en.TEXTS
    return problem


def ask(body: bytes) -> Question:
    return question(from_json(body), None, "")


@unhurried
@given(asked, st.sets(st.sampled_from(sorted(OTHER_NAMES))), st.booleans())
def test_query_form_and_json_say_the_same_under_either_name(
    told: dict[str, Any], renamed: set[str], ascii_only: bool
) -> None:
    named = {OTHER_NAMES[name] if name in renamed else name: value for name, value in told.items()}
    ways = [
        from_json(json.dumps(named, ensure_ascii=ascii_only).encode()),
        from_form(as_text(named)),
        from_text(from_query(urlencode(as_text(named), quote_via=quote, safe="/"))),
        from_text(list(as_text(named).items())),
    ]
    for given_ in ways:
        assert plain(question(given_, None, "")) == {
            "prompt": told["prompt"],
            "system": told.get("system_content", "") if told.get("system_content", "").strip() else "",
            "model": told.get("model", ""),
            "api_key": told.get("api_key"),
            "turns": told.get("continuous", []),
            "max_tokens": told.get("max_tokens"),
            "temperature": told.get("temperature"),
            "top_p": told.get("top_p"),
            "stream": told.get("stream", False),
        }


@unhurried
@given(st.binary())
def test_a_json_body_is_parameters_or_a_refusal(body: bytes) -> None:
    given_ = attempt(from_json, body)
    if not isinstance(given_, Problem):
        assert isinstance(json.loads(body), dict)
        assert None not in given_.values()


@unhurried
@given(st.dictionaries(st.sampled_from(["prompt", "user_content", "continuous", "top_p", "x"]), texts | turns))
def test_parameters_of_any_type_make_a_question_or_a_refusal(told: dict[str, Any]) -> None:
    value = attempt(ask, json.dumps(told).encode())
    assert value.text in en.TEXTS if isinstance(value, Problem) else value.prompt.strip()


@unhurried
@given(st.lists(st.tuples(texts, texts)), st.binary())
def test_pairs_are_parted_as_they_were_joined(pairs: list[tuple[str, str]], junk: bytes) -> None:
    assert from_query(urlencode(pairs)) == pairs
    read = attempt(from_query, junk.decode("latin-1"))
    if isinstance(read, Problem):
        assert read.text == "not_utf8"
        return
    parts = [part.replace(b"+", b" ").partition(b"=") for part in junk.split(b"&") if part]
    assert read == [
        (unquote_to_bytes(name).decode(), unquote_to_bytes(value).decode()) for name, _, value in parts
    ]


@unhurried
@given(
    st.lists(
        st.sampled_from([b"%41", b"%e4%bd%a0", b"\\", b"\\x41", b"%", b"%4", b"%zz", b"+", "ä".encode(), b"\n"])
    )
)
def test_escapes_are_read_as_the_url_standard_says(parts: list[bytes]) -> None:
    raw = b"".join(parts)
    expected = unquote_to_bytes(raw.replace(b"+", b" "))
    try:
        text = expected.decode()
    except UnicodeDecodeError:
        assert problem_of(from_query, "prompt=" + raw.decode("latin-1")).text == "not_utf8"
    else:
        assert from_query("prompt=" + raw.decode("latin-1")) == [("prompt", text)]


def test_bytes_that_were_not_percent_encoded_are_utf8() -> None:
    assert from_query("prompt=你好 100%&x".encode().decode("latin-1")) == [("prompt", "你好 100%"), ("x", "")]


@pytest.mark.parametrize("query", ["prompt=%ff", "%ff=1", "prompt=%ed%a0%80", "prompt=\xe4", "prompt=%e4%bd"])
def test_a_query_that_is_not_utf8_is_refused(query: str) -> None:
    assert problem_of(from_query, query).text == "not_utf8"


def test_a_query_has_so_many_parameters_and_no_more() -> None:
    assert len(from_query("&".join(["a=1"] * MAX_PARAMETERS))) == MAX_PARAMETERS
    problem = problem_of(from_query, "&".join(["a=1"] * (MAX_PARAMETERS + 1)))
    assert (problem.text, problem.values) == ("too_many_parameters", {"limit": MAX_PARAMETERS})


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        *(
            ("max_tokens", text, "wrong_type_integer")
            for text in ("1.5", "5x", "1e3", "--5", "- 5", "٣", "9" * 19)
        ),
        *(
            ("temperature", text, "wrong_type_number")
            for text in ("warm", "nan", "inf", "1e999", "1_0", "٣", "1,5")
        ),
        ("top_p", "-Infinity", "wrong_type_number"),
        *(("stream", text, "wrong_type_boolean") for text in ("yes", "2", "null", "true false")),
        *(
            (name, text, "wrong_type_turns")
            for name in TURN_NAMES
            for text in ("hello", "{}", '"x"', "[1]", "[[]]", "null", "[", '[{"role":"\ud800"}]')
        ),
    ],
)
def test_text_of_a_wrong_type_names_the_parameter(name: str, text: str, complaint: str) -> None:
    problem = problem_of(from_text, [("prompt", "x"), (name, text)])
    assert (problem.text, problem.param, problem.values) == (complaint, name, {"member": name})


WRONG: list[tuple[str, tuple[str, ...], list[object]]] = [
    ("wrong_type_string", ("prompt", "user_content", "model", "api_key"), [1]),
    ("wrong_type_string", ("system_content", "sys_content"), [1, True, [], {}, 0.5]),
    ("wrong_type_integer", ("max_tokens",), ["5", 1.5, True, [], 10**18, -(10**18)]),
    ("wrong_type_number", ("temperature", "top_p"), ["1", True, [], {}]),
    ("wrong_type_boolean", ("stream",), ["true", 1, []]),
    ("wrong_type_turns", TURN_NAMES, ["[]", {}, 1, True]),
]


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [(name, value, complaint) for complaint, names, values in WRONG for name in names for value in values],
)
def test_json_of_a_wrong_type_names_the_member(name: str, value: object, complaint: str) -> None:
    problem = problem_of(from_json, json.dumps({name: value}).encode())
    assert (problem.text, problem.param, problem.values) == (complaint, name, {"member": name})


TURN = {"role": "user", "content": "hello"}
NO_TURNS: list[object] = [
    {},
    {"role": "user"},
    {"content": "x"},
    {"role": "", "content": "x"},
    {"role": 1, "content": "x"},
    {"role": ["system"], "content": "x"},
    {"role": "user", "content": None},
    {"role": "user", "content": 1},
    {"role": "user", "content": {}},
]


@pytest.mark.parametrize("name", ["max_tokens", "temperature", "top_p"])
def test_a_giant_figure_is_refused_wherever_it_stands(name: str) -> None:
    for problem in (
        problem_of(from_json, json.dumps({name: 10**400}).encode()),
        problem_of(from_text, [(name, str(10**400))]),
    ):
        assert problem.param == name


@pytest.mark.parametrize("name", TURN_NAMES)
def test_bottomless_turns_are_refused(name: str) -> None:
    assert problem_of(from_text, [(name, "[" * 100_000)]).param == name
    assert problem_of(from_json, f'{{"{name}":[{{"role":{"[" * 100_000}'.encode()).text == "too_deep"


@pytest.mark.parametrize("name", TURN_NAMES)
@pytest.mark.parametrize("turn", NO_TURNS)
def test_a_turn_without_role_or_content_is_named(name: str, turn: object) -> None:
    given_ = [TURN, turn, TURN]
    for problem in (
        problem_of(from_json, json.dumps({name: given_}).encode()),
        problem_of(from_text, [(name, json.dumps(given_))]),
    ):
        assert (problem.text, problem.param) == ("wrong_type_turn", f"{name}[1]")


@pytest.mark.parametrize("inner", [1, "x", [], None])
def test_a_turn_that_is_no_object_is_refused(inner: object) -> None:
    problem = problem_of(from_json, json.dumps({"continuous": [TURN, inner]}).encode())
    assert (problem.text, problem.param) == ("wrong_type_turn", "continuous[1]")


@pytest.mark.parametrize("prompt", [None, "", " \t\r\n", "\u3000\u2028"])
def test_a_prompt_is_required_and_not_blank(prompt: str | None) -> None:
    problem = problem_of(ask, json.dumps({"prompt": prompt, "model": "m"}).encode())
    assert (problem.text, problem.param) == ("missing_prompt" if prompt is None else "blank_prompt", "prompt")
    assert problem_of(question, from_text([("prompt", prompt or "")]), None, "").text == "blank_prompt"


@pytest.mark.parametrize("figure", [0, -1])
def test_max_tokens_is_at_least_one(figure: int) -> None:
    for given_ in (
        from_json(b'{"prompt":"x","max_tokens":%d}' % figure),
        from_text([("prompt", "x"), ("max_tokens", str(figure))]),
    ):
        problem = problem_of(question, given_, None, "")
        assert (problem.text, problem.param) == ("out_of_range", "max_tokens")
        assert problem.values == {"member": "max_tokens", "low": 1}


@pytest.mark.parametrize("name", ["max_tokens", "temperature", "top_p", "stream", "continuous"])
def test_a_blank_figure_or_a_null_counts_as_not_given(name: str) -> None:
    assert from_text([(name, " " if name != "stream" else "")]) == {}
    assert from_json(json.dumps({name: None}).encode()) == {}


@pytest.mark.parametrize(
    "pairs",
    [
        [("prompt", "a"), ("prompt", "b")],
        [("prompt", "a"), ("max_tokens", ""), ("max_tokens", "5")],
        [("continuous", "[]"), ("continuous", "[]")],
    ],
)
def test_a_parameter_given_twice_is_refused(pairs: list[tuple[str, str]]) -> None:
    problem = problem_of(from_text, pairs)
    assert (problem.text, problem.param) == ("duplicate_member", pairs[-1][0])


def test_what_is_not_known_is_passed_over() -> None:
    assert from_text([("x", "1"), ("x", "2"), ("", ""), ("prompt", "a")]) == {"prompt": "a"}
    assert from_json(b'{"x":1,"x":2,"prompt":"a"}') == {"prompt": "a"}


def test_the_first_name_wins_over_the_second_within_one_place() -> None:
    assert from_text([("user_content", "b"), ("prompt", "a")]) == {"prompt": "a"}
    assert from_json(b'{"sys_content":"b","system_content":"a"}') == {"system_content": "a"}


@pytest.mark.parametrize("in_body", ["prompt", "user_content"])
@pytest.mark.parametrize("in_query", ["prompt", "user_content"])
def test_the_body_wins_over_the_query_under_either_name(in_query: str, in_body: str) -> None:
    given_ = from_form({in_query: "query", "model": "m"}) | from_json(json.dumps({in_body: "body"}).encode())
    value = question(given_, None, "")
    assert (value.prompt, value.model) == ("body", "m")


def test_the_model_may_stand_in_a_header() -> None:
    assert question({"prompt": "x"}, "header", "").model == "header"
    assert question({"prompt": "x", "model": "member"}, "header", "").model == "member"
    assert question({"prompt": "x", "model": ""}, "header", "").model == "header"
    assert question({"prompt": "x"}, None, "").model == ""


@pytest.mark.parametrize(
    ("told", "accept", "stream"),
    [
        (None, "text/event-stream", True),
        (None, "application/json, Text/Event-Stream;q=0.9", True),
        (None, "*/*", False),
        (None, "", False),
        (False, "text/event-stream", False),
        (True, "application/json", True),
    ],
)
def test_a_stream_is_asked_for_by_member_or_header(told: bool | None, accept: str, stream: bool) -> None:
    given_ = {"prompt": "x"} | ({} if told is None else {"stream": told})
    assert question(given_, None, accept).stream is stream


@pytest.mark.parametrize(
    ("text", "meaning"),
    [("true", True), ("True", True), ("1", True), ("false", False), ("FALSE", False), ("0", False)],
)
def test_words_for_yes_and_no(text: str, meaning: bool) -> None:
    assert from_text([("stream", text)]) == {"stream": meaning}


def test_a_question_shown_tells_neither_key_nor_words() -> None:
    shown = repr(question({"prompt": "words-1", "api_key": "test-key-1", "system_content": "words-2"}, None, ""))
    assert "test-key-1" not in shown
    assert "words" not in shown


MEBIBYTE = 1024 * 1024
HOSTILE = {
    "escapes": lambda: "prompt=" + "%E4%BD%A0" * MEBIBYTE,
    "escapes and bytes": lambda: ("prompt=" + "%41你" * MEBIBYTE).encode().decode("latin-1"),
    "stray signs": lambda: "prompt=" + "%" * (10 * MEBIBYTE),
    "backslashes": lambda: "prompt=" + "\\x" * (5 * MEBIBYTE),
    "pluses": lambda: "prompt=" + "+" * (10 * MEBIBYTE),
    "equals": lambda: "=" * (10 * MEBIBYTE),
    "ampersands": lambda: "&" * (10 * MEBIBYTE),
    "digits": lambda: "max_tokens=" + "9" * (10 * MEBIBYTE),
    "fraction": lambda: "prompt=x&top_p=0." + "9" * (10 * MEBIBYTE),
    "depth": lambda: "continuous=" + "[" * (10 * MEBIBYTE),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_ten_mebibytes_of_anything_do_not_hang(what: str) -> None:
    query, start = HOSTILE[what](), time.process_time()
    value = attempt(lambda: question(from_text(from_query(query)), None, ""))
    assert value.text in en.TEXTS if isinstance(value, Problem) else value.prompt.strip()
    assert time.process_time() - start < 10
