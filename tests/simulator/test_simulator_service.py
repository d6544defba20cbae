"""From request to answer, without a network: refusals in OpenAI's words, and texts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders

from chatgpt_platform.simulator.request import Request
from chatgpt_platform.simulator.service import POSTS, answer
from chatgpt_platform.simulator.text import Script, compose, count, split

USER = {"role": "user", "content": "hi"}
CHAT = "/v1/chat/completions"
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def ask(path: str, body: bytes) -> tuple[int, Any]:
    """Status and JSON of the answer to a POST."""
    headers = HTTPHeaders({"Authorization": "Bearer test-key-1"})
    found = answer(Request("POST", path, headers, body))
    whole = b"".join(event.frame(found.streamed) for event in found.events)
    return found.status, None if found.streamed else json.loads(whole)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"x"', b"null", b"\xff", b'{"a": NaN}', b"[" * 100_000, b'{"model": "\\ud800"}'],
)
def test_a_body_that_is_not_json(body: bytes) -> None:
    status, document = ask(CHAT, body)
    assert status == 400
    assert "JSON" in document["error"]["message"]


@pytest.mark.parametrize(
    ("members", "param", "code"),
    [
        ({"messages": [USER]}, "model", "missing_required_parameter"),
        ({"model": 5, "messages": [USER]}, "model", "invalid_type"),
        ({"model": "x"}, "messages", "missing_required_parameter"),
        ({"model": "x", "messages": None}, "messages", "missing_required_parameter"),
        ({"model": "x", "messages": []}, "messages", "empty_array"),
        ({"model": "x", "messages": "hi"}, "messages", "invalid_type"),
        ({"model": "x", "messages": ["hi"]}, "messages[0]", "invalid_type"),
        ({"model": "x", "messages": [{"content": "x"}]}, "messages[0].role", "missing_required_parameter"),
        ({"model": "x", "messages": [{"role": "boss", "content": "x"}]}, "messages[0].role", "invalid_value"),
        (
            {"model": "x", "messages": [USER, {"role": "user"}]},
            "messages[1].content",
            "missing_required_parameter",
        ),
        ({"model": "x", "messages": [{"role": "user", "content": 5}]}, "messages[0].content", "invalid_type"),
        (
            {"model": "x", "messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]},
            "messages[0].content[0].text",
            "invalid_type",
        ),
        ({"model": "x", "messages": [USER], "stream": "yes"}, "stream", "invalid_type"),
        ({"model": "x", "messages": [USER], "max_tokens": 0}, "max_tokens", "integer_below_min_value"),
        ({"model": "x", "messages": [USER], "max_tokens": True}, "max_tokens", "invalid_type"),
        ({"model": "x", "messages": [USER], "n": 129}, "n", "integer_above_max_value"),
        ({"model": "x", "messages": [USER], "temperature": "hot"}, "temperature", "invalid_type"),
        ({"model": "x", "messages": [USER], "temperature": 2.5}, "temperature", "decimal_above_max_value"),
        ({"model": "x", "messages": [USER], "stream_options": {}}, "stream_options", None),
    ],
)
def test_a_chat_that_is_refused(members: dict[str, object], param: str, code: str | None) -> None:
    status, document = ask(CHAT, json.dumps(members).encode())
    assert status == 400
    assert (document["error"]["param"], document["error"]["code"]) == (param, code)


@pytest.mark.parametrize(
    ("path", "members", "param"),
    [
        ("/v1/completions", {"model": "x"}, "prompt"),
        ("/v1/completions", {"model": "x", "prompt": []}, "prompt"),
        ("/v1/completions", {"model": "x", "prompt": [1, "x"]}, "prompt[0]"),
        ("/v1/embeddings", {"model": "x"}, "input"),
        ("/v1/embeddings", {"model": "x", "input": {}}, "input"),
        ("/v1/embeddings", {"model": "x", "input": [[]]}, "input[0]"),
        ("/v1/embeddings", {"model": "x", "input": "a", "dimensions": 0}, "dimensions"),
        ("/v1/embeddings", {"model": "x", "input": "a", "encoding_format": "hex"}, "encoding_format"),
        ("/v1/embeddings", {"model": "x", "input": ["a"] * 2049}, "input"),
        ("/v1/moderations", {}, "input"),
        ("/v1/moderations", {"input": []}, "input"),
        ("/v1/moderations", {"input": 5}, "input"),
        ("/v1/responses", {"model": "x"}, "input"),
        ("/v1/responses", {"input": "hi"}, "model"),
        ("/v1/responses", {"model": "x", "input": "hi", "max_output_tokens": "9"}, "max_output_tokens"),
        ("/v1/responses", {"model": "x", "input": "hi", "previous_response_id": "r"}, "previous_response_id"),
    ],
)
def test_other_calls_that_are_refused(path: str, members: dict[str, object], param: str) -> None:
    status, document = ask(path, json.dumps(members).encode())
    assert (status, document["error"]["param"]) == (400, param)


NAMES = ["model", "messages", "prompt", "input", "stream", "stream_options", "max_tokens", "n", "dimensions"]


@given(path=st.sampled_from(sorted(POSTS)), members=st.dictionaries(st.sampled_from(NAMES), JSON_VALUES))
def test_any_json_is_answered_or_refused(path: str, members: dict[str, object]) -> None:
    status, document = ask(path, json.dumps({"model": "x", **members}).encode())
    assert status in (200, 400)
    assert status == 200 or document["error"]["message"]


@given(text=st.text())
def test_tokens_are_the_text_again(text: str) -> None:
    assert "".join(split(text)) == text
    assert all(len(piece.lstrip()) <= 8 for piece in split(text))


@given(said=st.text(), tokens=st.integers(0, 200), maximum=st.none() | st.integers(1, 200))
def test_the_length_of_a_reply(said: str, tokens: int, maximum: int | None) -> None:
    reply = compose(Script(tokens), 1, said, maximum)
    assert reply == compose(Script(tokens), 1, said, maximum)
    wanted = tokens or len(compose(Script(), 1, said, None).pieces)
    assert len(reply.pieces) == min(wanted, maximum or wanted)
    assert reply.finish_reason == ("length" if maximum and maximum < wanted else "stop")
    assert count(reply.text) <= 2 * len(reply.pieces)


def test_a_long_word_is_quoted_shortly() -> None:
    text = compose(Script(), 1, "a" * 10_000, None).text
    assert len(text) < 400
    assert "aaa…" in text
    assert "not said anything" in compose(Script(), 1, " ", None).text
