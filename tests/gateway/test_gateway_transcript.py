from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatgpt_platform.gateway.transcript import of_answer, of_events
from chatgpt_platform.upstream.sse import encode

unhurried = settings(deadline=None)

texts = st.text(st.characters(exclude_categories=["Cs"]))


def block(*data: object) -> bytes:
    return b"".join(encode(json.dumps(item, ensure_ascii=False).encode()) for item in data)


def chat(text: str) -> object:
    return {"choices": [{"delta": {"content": text}}]}


def completion(text: str) -> object:
    return {"choices": [{"text": text}]}


def response(text: str) -> object:
    return {"type": "response.output_text.delta", "delta": text}


@unhurried
@given(st.lists(st.tuples(st.sampled_from([chat, completion, response]), texts)))
def test_what_was_said_is_the_pieces_put_together(pieces: list[tuple[type, str]]) -> None:
    said = block(*(make(text) for make, text in pieces)) + b"data: [DONE]\n\n"
    assert of_events(said) == "".join(text for _, text in pieces)


@pytest.mark.parametrize(
    "event",
    [
        *(None, 5, "x", [], {}, {"choices": None}, {"choices": []}, {"choices": [None]}, {"choices": {"a": 1}}),
        *({"choices": [{}]}, {"choices": [{"delta": None}]}, {"choices": [{"delta": {"content": None}}]}),
        *({"choices": [{"delta": {"content": [1]}}]}, {"choices": [{"text": 5}]}, {"type": "response.created"}),
        *({"type": "response.output_text.delta"}, {"type": "response.output_text.delta", "delta": None}),
        *(
            {"type": "response.output_text.delta", "delta": {"x": 1}},
            {"type": "response.output_text.done", "text": "x"},
        ),
    ],
)
def test_events_without_text_say_nothing(event: object) -> None:
    assert of_events(block(chat("a"), event, chat("b"))) == "ab"


@pytest.mark.parametrize(
    "data",
    [b"{broken", b"\xff", b'{"x":"\xff"}', pytest.param(b"[" * 100_000, id="depth"), b'{"x":"\\ud800......."}'],
)
def test_broken_events_say_nothing(data: bytes) -> None:
    assert of_events(block(chat("a")) + encode(data) + block(chat("b"))) == "ab"


@unhurried
@given(st.binary())
def test_any_bytes_say_something_or_nothing(data: bytes) -> None:
    assert isinstance(of_events(data) + of_events(encode(data)), str)


def test_all_that_was_generated_for_an_answer() -> None:
    call = {"function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": "one", "reasoning_content": "two", "tool_calls": [call]}
    chat = {"choices": [{"message": message, "finish_reason": "stop", "logprobs": {"content": [{"token": "x"}]}}]}
    assert sorted(of_answer(json.dumps(chat).encode()).split("\n")) == ["one", "two", "{}"]
    assert of_answer(b'{"choices":[{"text":"a"},{"text":"b"}]}') == "a\nb"
    output = [{"content": [{"type": "output_text", "text": "a"}]}, {"type": "function_call", "arguments": "b"}]
    whole = json.dumps({"instructions": "no", "text": {"format": {"type": "text"}}, "output": output})
    assert of_answer(whole.encode()) == "a\nb"


@unhurried
@given(st.binary() | st.sampled_from([b"[]", b"{", b'{"choices":5,"output":{"a":[1,null]}}', b"[" * 9000]))
def test_what_cannot_be_read_holds_no_text(body: bytes) -> None:
    assert of_answer(body) == ""
