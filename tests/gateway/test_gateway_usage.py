from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatgpt_platform.gateway.usage import Ending, Tokens, ending_of, tokens_of
from chatgpt_platform.upstream.sse import encode

unhurried = settings(deadline=None)


def stream(*data: object, name: str = "") -> bytes:
    """Events with this data; a string stands for itself."""
    head = f"event: {name}\n".encode() if name else b""
    return b"".join(
        head + encode(item.encode() if isinstance(item, str) else json.dumps(item).encode()) for item in data
    )


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({"usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}}, Tokens(3, 5)),
        ({"usage": {"input_tokens": 3, "output_tokens": 5}}, Tokens(3, 5)),
        ({"usage": {"prompt_tokens": 0, "input_tokens": 7}}, Tokens(0, None)),
        ({"usage": {"prompt_tokens": 3, "total_tokens": 3}}, Tokens(3, None)),
        ({"response": {"usage": {"input_tokens": 1, "output_tokens": 2}}}, Tokens(1, 2)),
        ({"usage": {}}, Tokens()),
        ({"usage": None}, Tokens()),
        ({}, Tokens()),
        ({"usage": {"prompt_tokens": 3}, "type": None, "choices": None, "error": None}, Tokens(3, None)),
        ({"usage": "none"}, Tokens()),
        ({"usage": {"prompt_tokens": "3"}}, Tokens()),
        ({"usage": {"prompt_tokens": "3", "completion_tokens": 5}}, Tokens(None, 5)),
        ({"usage": {"prompt_tokens": -3, "completion_tokens": 5}}, Tokens(None, 5)),
        ({"usage": {"prompt_tokens": 3, "completion_tokens": 10**30}}, Tokens(3, None)),
        ({"usage": {"prompt_tokens": 3.0, "completion_tokens": True}}, Tokens()),
        ({"usage": {"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}}}, Tokens(3, None, 2)),
        ({"usage": {"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}}, Tokens(3, None, 3)),
        ({"usage": {"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": -1}}}, Tokens(3)),
        ({"usage": {"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": None}}}, Tokens(3)),
        ({"usage": {"prompt_tokens": 3, "prompt_tokens_details": None}}, Tokens(3)),
        ({"usage": {"prompt_tokens": 3, "prompt_tokens_details": ["x"]}}, Tokens(3)),
        ({"usage": {"prompt_tokens": 3, "prompt_tokens_details": {}}}, Tokens(3)),
        ({"usage": {"prompt_tokens_details": {"cached_tokens": 2}}}, Tokens()),
        ({"usage": {"input_tokens": 3, "input_tokens_details": {"cached_tokens": 2}}}, Tokens(3, None, 2)),
        (
            {"response": {"usage": {"input_tokens": 3, "output_tokens": "5", "input_tokens_details": {}}}},
            Tokens(3),
        ),
        ({"usage": [], "response": {"usage": {"input_tokens": 3}}}, Tokens(3)),
        ({"choices": "x", "response": "text", "error": 5}, Tokens()),
    ],
)
def test_the_usage_of_a_whole_answer(body: object, tokens: Tokens) -> None:
    assert tokens_of(json.dumps(body).encode()) == tokens


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"5",
        b'"x"',
        b"<html>",
        b'{"usage":',
        b'{"type":"\xff"}',
        pytest.param(b"[" * 100_000, id="depth"),
        b"{}{}",
    ],
)
def test_what_is_not_an_object_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        tokens_of(body)


@unhurried
@given(st.binary())
def test_any_bytes_have_tokens_or_are_a_value_error(body: bytes) -> None:
    with suppress(ValueError):
        assert isinstance(tokens_of(body), Tokens)
        assert isinstance(json.loads(body), dict)


PIECE = {"choices": [{"delta": {"content": "a"}, "finish_reason": None}]}
LAST = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
USAGE = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 5}}


@pytest.mark.parametrize(
    ("tail", "ending"),
    [
        (b"", Ending()),
        (b": comment\n\n", Ending()),
        (stream(PIECE), Ending()),
        (stream(PIECE, "[DONE]"), Ending(complete=True)),
        (stream(PIECE, LAST), Ending(complete=True)),
        (stream(PIECE, LAST, USAGE, "[DONE]"), Ending(complete=True, tokens=Tokens(3, 5))),
        (stream(LAST, USAGE), Ending(complete=True, tokens=Tokens(3, 5))),
        (
            stream(LAST | {"usage": {"prompt_tokens": 2.5, "completion_tokens": 5}}),
            Ending(complete=True, tokens=Tokens(None, 5)),
        ),
        (stream(LAST | {"usage": "none", "type": 5, "object": []}), Ending(complete=True)),
        (stream({"choices": ["x", {"finish_reason": "stop"}]}), Ending(complete=True)),
        (stream({"type": "error", "usage": 5}), Ending(complete=True, failed=True)),
        (stream(USAGE, PIECE), Ending(tokens=Tokens(3, 5))),
        (stream(USAGE, {"usage": {"prompt_tokens": 4}}), Ending(tokens=Tokens(4, None))),
        (stream({"error": {"message": "boom"}}), Ending(complete=True, failed=True)),
        (stream({"error": "boom"}), Ending(complete=True, failed=True)),
        (stream({"type": "error", "message": "boom"}), Ending(complete=True, failed=True)),
        (stream({"message": "boom"}, name="error"), Ending(complete=True, failed=True)),
        (stream({"error": None, "choices": []}), Ending()),
        (stream({"type": None} | LAST), Ending(complete=True)),
        (stream({"type": "response.output_text.delta", "delta": "a"}), Ending()),
        (
            stream({"type": "response.completed", "response": {"usage": {"input_tokens": 1, "output_tokens": 2}}}),
            Ending(complete=True, tokens=Tokens(1, 2)),
        ),
        (stream({"type": "response.incomplete", "response": {"usage": None}}), Ending(complete=True)),
        (stream({"type": "response.failed", "response": {}}), Ending(complete=True, failed=True)),
        (stream("{broken", "null", '"x"', "[" * 5000, LAST), Ending(complete=True)),
        (b'data: {"type":"\xff"}\n\n' + stream(LAST), Ending(complete=True)),
        (stream(PIECE).replace(b"\n\n", b"\r\n\r\n") + b"data: [DONE]\r\r", Ending(complete=True)),
    ],
)
def test_how_a_stream_ended(tail: bytes, ending: Ending) -> None:
    assert ending_of(tail) == ending


@unhurried
@given(st.lists(st.binary(), max_size=4))
def test_any_bytes_are_an_ending(parts: list[bytes]) -> None:
    tail = b"".join(b"data: " + part + b"\n\n" for part in parts)
    assert isinstance(ending_of(tail), Ending)
    assert ending_of(tail + b"data: [DONE]\n\n").complete


@pytest.mark.parametrize("figure", ["-1", "1e400", "1" + "0" * 30, "2.5", '"7"', "[]", "true", '{"a":1}', "null"])
def test_nonsense_is_not_told_and_nothing_fails(figure: str) -> None:
    usage = (
        f'{{"prompt_tokens":{figure},"completion_tokens":{figure},"prompt_tokens_details":{{"cached_tokens":3}}}}'
    )
    assert tokens_of(f'{{"usage":{usage}}}'.encode()) == Tokens()
    assert ending_of(f'data: {{"usage":{usage}}}\n\n'.encode()).tokens == Tokens()
