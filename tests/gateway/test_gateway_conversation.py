from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway.conversation import (
    NO_USAGE,
    Answer,
    answer,
    delta,
    failure,
    messages,
    piece,
    request_body,
    success,
)
from chatgpt_platform.gateway.parameters import Question, from_json, question

unhurried = settings(deadline=None)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
said = texts.filter(lambda text: bool(text.strip()))
parts = st.lists(
    st.fixed_dictionaries({"type": st.just("text"), "text": texts})
    | st.fixed_dictionaries({"type": st.just("image_url"), "image_url": st.fixed_dictionaries({"url": texts})})
)
turns = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "developer", "user", "assistant"]), "content": texts | parts},
        optional={"name": texts, "tool_calls": st.lists(st.integers())},
    ),
    max_size=5,
)


def ask(**told: Any) -> Question:
    return question(from_json(json.dumps(told).encode()), None, "")


def said_by(**told: Any) -> list[Any]:
    """The messages of a question, as Python values."""
    value: list[Any] = json.loads(msgspec.json.encode(messages(ask(**told))))
    return value


def attempt(read: Callable[[bytes], Answer], body: bytes) -> Answer | Problem:
    try:
        return read(body)
    except Problem as problem:
        return problem


def chat(message: object, **others: object) -> bytes:
    return json.dumps({"choices": [{"index": 0, "message": message, "delta": message}], **others}).encode()


@unhurried
@given(said, said, turns)
def test_there_is_exactly_one_system_message_when_one_is_given(
    prompt: str, system: str, earlier: list[dict[str, Any]]
) -> None:
    sent = said_by(prompt=prompt, system_content=system, continuous=earlier)
    assert sent[0] == {"role": "system", "content": system}
    assert [turn for turn in sent[1:] if turn["role"] in ("system", "developer")] == []
    kept = [turn for turn in earlier if turn["role"] not in ("system", "developer")]
    assert sent[1:] == [*kept, {"role": "user", "content": prompt}]


@unhurried
@given(said, turns)
def test_without_a_system_message_the_earlier_turns_stay_as_they_are(
    prompt: str, earlier: list[dict[str, Any]]
) -> None:
    assert said_by(prompt=prompt, continuous=earlier) == [*earlier, {"role": "user", "content": prompt}]


@pytest.mark.parametrize("role", ["system", "s\\u0079stem", "\\u0064eveloper", "developer"])
def test_a_system_turn_is_known_in_any_spelling(role: str) -> None:
    body = f'{{"prompt": "x", "system_content": "new", "continuous": [{{"role": "{role}", "content": "old"}}]}}'
    sent = messages(question(from_json(body.encode()), None, ""))
    assert json.loads(msgspec.json.encode(sent)) == [
        {"role": "system", "content": "new"},
        {"role": "user", "content": "x"},
    ]


@unhurried
@given(st.lists(st.tuples(said, texts, st.none() | said), min_size=1, max_size=5), turns)
def test_a_result_fed_back_goes_on_with_the_conversation(
    talk: list[tuple[str, str, str | None]], earlier: list[dict[str, Any]]
) -> None:
    expected, result = earlier, earlier
    for prompt, reply, system in talk:
        value = ask(prompt=prompt, continuous=result, **({"system_content": system} if system else {}))
        sent = messages(value)
        if system:
            expected = [turn for turn in expected if turn["role"] not in ("system", "developer")]
            expected = [{"role": "system", "content": system}, *expected]
        expected = [*expected, {"role": "user", "content": prompt}]
        assert json.loads(request_body(value, sent, "m", {}))["messages"] == expected
        told = json.loads(success(sent, Answer(reply, "m", NO_USAGE)))
        expected = [*expected, {"role": "assistant", "content": reply}]
        result = told["result"]
        assert result == expected
        assert told["current_response"] == told["data"]["response"] == reply


def test_the_bytes_of_earlier_turns_travel_untouched() -> None:
    content = '[ {"type":"text", "text":"\\u4f60 1.50"} , {"n":1e2, "big":12345678901234567890123} ]'
    body = f'{{"prompt": "x", "continuous": [{{"role": "user", "content": {content}}}]}}'.encode()
    value = question(from_json(body), None, "")
    sent = messages(value)
    assert content.encode() in request_body(value, sent, "m", {})
    assert content.encode() in success(sent, Answer("y", "m", NO_USAGE))


def test_a_question_leaves_its_turns_alone() -> None:
    value = ask(prompt="x", system_content="s", continuous=[{"role": "user", "content": "a"}])
    assert messages(value) == messages(value)
    assert len(value.turns) == 1


def test_the_request_holds_what_was_asked_for_and_nothing_else() -> None:
    value = ask(prompt="x")
    assert json.loads(request_body(value, messages(value), "m", {})) == {
        "model": "m",
        "messages": [{"role": "user", "content": "x"}],
    }
    value = ask(prompt="x", temperature=0, top_p=0.5, stream=True, max_tokens=7, api_key="test-key-1")
    body = request_body(value, messages(value), "m", {"max_completion_tokens": 7})
    assert json.loads(body) == {
        "model": "m",
        "messages": [{"role": "user", "content": "x"}],
        "max_completion_tokens": 7,
        "temperature": 0,
        "top_p": 0.5,
        "stream": True,
    }
    assert b"test-key-1" not in body


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "hello"}, "hello"),
        ({"content": "", "refusal": "no"}, "no"),
        ({"content": None, "refusal": "no"}, "no"),
        ({"content": None}, ""),
        ({}, ""),
        (None, ""),
        ({"content": "a\u2028\n\x00b", "tool_calls": [{}], "unknown": 1e5}, "a\u2028\n\x00b"),
    ],
)
def test_what_the_model_said(message: object, text: str) -> None:
    for read in (answer, delta):
        assert read(chat(message, model="m")) == Answer(text, "m", NO_USAGE)


def test_the_first_choice_counts_and_the_usage_is_the_upstreams_own() -> None:
    body = b'{"choices": [{"message": {"content": "a"}}, {"message": {"content": "b"}}], "usage": {"x": 1.50}}'
    told = answer(body)
    assert told.text == "a"
    assert bytes(told.usage) == b'{"x": 1.50}'
    assert b'"usage":{"x": 1.50}' in success([], told)


@pytest.mark.parametrize("body", [b"{}", b'{"choices": []}', b'{"choices": null, "usage": {"prompt_tokens": 1}}'])
def test_a_whole_answer_has_a_choice_but_a_piece_of_one_need_not(body: bytes) -> None:
    with pytest.raises(Problem) as caught:
        answer(body)
    assert caught.value.kind is Kind.BAD_UPSTREAM
    assert delta(body).text == ""


@pytest.mark.parametrize("model", ["null", '""'])
def test_a_model_that_is_not_named_is_empty(model: str) -> None:
    assert delta(f'{{"choices": [], "model": {model}}}'.encode()).model == ""


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"null",
            b"[]",
            b'"x"',
            b"<html>",
            b'{"choices":[{"message"',
            b'{"choices":{}}',
            b'{"choices":[1]}',
        ),
        *(
            b'{"choices":[{"message":1,"delta":1}]}',
            b'{"choices":[{"message":{"content":1},"delta":{"content":1}}]}',
        ),
        *(b'{"choices":[],"x":"\xff"}', b'{"choices":[],"model":1}'),
        pytest.param(b'{"choices":[],"x":' + b"[" * 100_000, id="depth"),
        *(b'{"choices":[],"x":NaN}', b'{"choices":[],"x":"\\ud800........."}'),
    ],
)
def test_anything_else_is_not_an_answer(body: bytes) -> None:
    for read in (answer, delta):
        with pytest.raises(Problem) as caught:
            read(body)
        assert caught.value.kind is Kind.BAD_UPSTREAM
        assert caught.value.detail


@unhurried
@given(st.binary())
def test_any_bytes_are_an_answer_or_a_bad_upstream(body: bytes) -> None:
    for read in (answer, delta):
        told = attempt(read, body)
        assert isinstance(told, Answer) or told.kind is Kind.BAD_UPSTREAM


@pytest.mark.parametrize("usage", ["null", "[]", "5", '"x"', "{}"])
def test_a_usage_that_is_no_object_is_told_as_an_empty_one(usage: str) -> None:
    told = answer(f'{{"choices": [{{"message": {{"content": "a"}}}}], "usage": {usage}}}'.encode())
    assert json.loads(success([], told))["usage"] == {}


def test_the_success_object() -> None:
    value = ask(prompt="x")
    said = Answer("y", "m", msgspec.Raw(b'{"prompt_tokens":1}'))
    assert json.loads(success(messages(value), said)) == {
        "code": 200,
        "msg": "success",
        "data": {"response": "y"},
        "current_response": "y",
        "result": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}],
        "model": "m",
        "usage": {"prompt_tokens": 1},
    }


@unhurried
@given(texts)
def test_a_failure_and_a_piece_are_one_line_of_json(text: str) -> None:
    assert json.loads(failure(429, text)) == {"code": 429, "msg": "failed", "data": {"response": text}}
    assert json.loads(piece(text)) == {"delta": text}
    assert b"\n" not in failure(429, text) + piece(text)
    assert b"\r" not in failure(429, text) + piece(text)
