"""Estimates against a real tokenizer, and that nothing in a body makes them fail or fall short."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt_platform.gateway.estimate import (
    AUDIO,
    FILE,
    HELD,
    IMAGE,
    IMAGE_MOST,
    MESSAGE,
    TEMPLATE,
    completion_tokens,
    most_prompt_tokens,
    prompt_tokens,
    quick_prompt_tokens,
    text_tokens,
)
from chatgpt_platform.gateway.text_rule import WHOLE
from support.said import SAID, Said

NODE = Path(__file__).parents[1] / "node"
ACCOUNTING = Path(__file__).parents[2] / "docs" / "accounting.md"
PICTURE = "data:image/png;base64," + "iVBORw0KGgo" * 3000
MOST_MINI_ERROR, OVERALL_ERROR, OLD_ERROR = 0.22, 0.02, 0.25  # docs/accounting.md names them

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(
    [
        "messages",
        "prompt",
        "input",
        "instructions",
        "tools",
        "functions",
        "text",
        "role",
        "content",
        "type",
        "name",
        "image_url",
        "input_audio",
        "file_id",
        "output",
        "id",
        "model",
        "arguments",
        "tool_calls",
        "conversation",
        "previous_response_id",
    ]
)
bodies = st.recursive(
    values,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=6),
    max_leaves=20,
).map(lambda value: json.dumps(value).encode())


def encoded(*, ascii_only: bool = False, **members: Any) -> bytes:
    return json.dumps(members, ensure_ascii=ascii_only, separators=(",", ":")).encode()


def asked(content: Any, **more: Any) -> bytes:
    return encoded(model="gpt-4o-mini", messages=[{"role": "user", "content": content}], **more)


def error(said: Said) -> float:
    return text_tokens(said.text) / said.o200k - 1


# --- the rule, against the tokenizer


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.skipif(not (NODE / "node_modules").is_dir(), reason="npm could not install the tokenizer")
def test_the_figures_are_those_of_a_real_tokenizer() -> None:
    done = subprocess.run(
        ["node", "tokens.mjs"], cwd=NODE, input=json.dumps([said.text for said in SAID]),
        capture_output=True, encoding="utf-8", timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[said.o200k, said.cl100k] for said in SAID]


@pytest.mark.parametrize("said", SAID, ids=lambda said: said.kind)
def test_each_kind_of_text_is_estimated_within_its_bound(said: Said) -> None:
    assert abs(error(said)) <= MOST_MINI_ERROR


def test_all_texts_together_are_estimated_closely() -> None:
    total = sum(text_tokens(said.text) for said in SAID)
    assert abs(total / sum(said.o200k for said in SAID) - 1) <= OVERALL_ERROR
    assert -OLD_ERROR <= total / sum(said.cl100k for said in SAID) - 1 <= 0  # before gpt-4o other scripts had more


@pytest.mark.parametrize("said", SAID, ids=lambda said: said.kind)
def test_the_documentation_has_the_errors(said: Said) -> None:
    assert f"| {said.kind} | {error(said):+.0%} |" in ACCOUNTING.read_text("utf-8")


def test_a_long_text_is_read_in_places() -> None:
    text = "\n".join(said.text for said in SAID) * 40
    assert len(text) > 10 * WHOLE
    exact = 40 * sum(said.o200k for said in SAID)
    assert abs(text_tokens(text) / exact - 1) <= 2 * MOST_MINI_ERROR
    assert text_tokens(SAID[0].text * 2000) == pytest.approx(2000 * SAID[0].o200k, rel=MOST_MINI_ERROR)


@given(st.text())
def test_a_text_has_a_token_unless_it_is_empty(text: str) -> None:
    assert (text_tokens(text) == 0) == (text == "")


# --- bodies


def test_what_is_no_text_has_figures_of_its_own() -> None:
    assert prompt_tokens(asked("")) == 2 * MESSAGE + 1
    for content, figure in (
        ([{"type": "image_url", "image_url": {"url": PICTURE}}], IMAGE),
        ([{"type": "input_audio", "input_audio": {"data": "UklGR" * 5000, "format": "wav"}}], AUDIO),
        ([{"type": "file", "file": {"file_data": PICTURE}}], FILE),
    ):
        assert prompt_tokens(asked(content)) == 2 * MESSAGE + 1 + figure


@pytest.mark.parametrize("said", SAID, ids=lambda said: said.kind)
def test_one_text_has_about_as_many_tokens_wherever_it_stands(said: Said) -> None:
    rule = text_tokens(said.text)
    for body in (
        asked(said.text),
        asked([{"type": "text", "text": said.text}]),
        encoded(messages=[{"role": "user", "content": said.text}], ascii_only=True),
        encoded(prompt=said.text),
        encoded(prompt=[said.text]),
        encoded(input=said.text),
        encoded(input=[{"role": "user", "content": [{"type": "input_text", "text": said.text}]}]),
        encoded(input=[{"type": "function_call_output", "call_id": "1", "output": said.text}]),
        encoded(input=[], instructions=said.text),
        encoded(model="text-embedding-3-small", input=[said.text]),
    ):
        assert 0 <= prompt_tokens(body) - rule <= 2 * MESSAGE + 1


def test_tokens_are_counted_where_a_prompt_has_them() -> None:
    assert prompt_tokens(encoded(prompt=[15496, 995])) == 2
    assert prompt_tokens(encoded(model="text-embedding-3-small", input=[[1, 2, 3], [4]])) == 4


def test_tools_count_as_text() -> None:
    tools = [{"type": "function", "function": {"name": "weather", "description": "The weather of a town."}}]
    assert 20 <= prompt_tokens(asked("Hi", tools=tools)) - prompt_tokens(asked("Hi")) <= 40


@given(bodies | st.binary())
def test_no_body_makes_an_estimate_fail(body: bytes) -> None:
    assert prompt_tokens(body) >= 0
    assert 0 <= quick_prompt_tokens(body) <= most_prompt_tokens(body)


@pytest.mark.parametrize("body", [b"", b"{", b'"\\ud800"', b'{"input":"\\ud800"}', b"[" * 100_000])
def test_neither_do_unusual_ones(body: bytes) -> None:
    assert prompt_tokens(body) >= 0
    assert most_prompt_tokens(body) >= quick_prompt_tokens(body)


@pytest.mark.parametrize("said", SAID, ids=lambda said: said.kind)
def test_the_quick_figure_is_of_the_same_size_as_the_rules(said: Said) -> None:
    body = asked(said.text * 4)
    assert 0.25 <= quick_prompt_tokens(body) / prompt_tokens(body) <= 4


def test_pictures_and_sounds_are_no_text_to_the_quick_figure() -> None:
    picture = asked([{"type": "image_url", "image_url": {"url": PICTURE}}] * 3)
    assert 3 * IMAGE <= quick_prompt_tokens(picture) <= 3 * IMAGE + 200
    sound = asked([{"type": "input_audio", "input_audio": {"data": "UklGR" * 9000, "format": "wav"}}])
    assert quick_prompt_tokens(sound) <= IMAGE + 200


def test_what_only_looks_like_a_picture_does_not_make_the_quick_figure_large() -> None:
    body = asked(";base64," * 5000)
    assert quick_prompt_tokens(body) <= len(body)


# --- what cannot be exceeded


@pytest.mark.parametrize("said", SAID, ids=lambda said: said.kind)
def test_no_text_has_more_tokens_than_the_most(said: Said) -> None:
    most = max(said.o200k, said.cl100k)
    for ascii_only in (False, True):
        assert most_prompt_tokens(encoded(messages=[{"content": said.text}], ascii_only=ascii_only)) >= most
        assert most_prompt_tokens(encoded(input=said.text, ascii_only=ascii_only)) >= most


REFERENCES: list[tuple[bytes, int]] = [
    (encoded(input="a", previous_response_id="resp_1"), HELD),
    (encoded(input="a", conversation="conv_1"), HELD),
    (encoded(input="a", conversation={"id": "conv_1"}), HELD),
    (encoded(prompt={"id": "pmpt_1", "variables": {}}), HELD),
    (encoded(input=[{"type": "item_reference", "id": "msg_1"}]), HELD),
    (encoded(input=[{"id": "msg_1"}]), HELD),
    (encoded(input=[{"content": [{"type": "input_file", "file_id": "file_1"}]}] * 2), 2 * HELD),
    (encoded(input=[{"content": [{"type": "input_file", "file_url": "http://127.0.0.1/a.pdf"}]}]), HELD),
    (encoded(input=[{"content": [{"type": "input_file", "file_data": "JVBERi0"}]}]), HELD),
    (encoded(messages=[{"role": "assistant", "audio": {"id": "audio_1"}}]), HELD),
    (encoded(input="a", tools=[{"type": "web_search"}]), HELD),
    (encoded(input="a", tools="none"), HELD),
    (asked("a", web_search_options={}), HELD),
    (asked([{"type": "image_url", "image_url": {"url": "http://127.0.0.1/a.png"}}] * 2), 2 * IMAGE_MOST),
    (encoded(input=[{"content": [{"type": "input_image", "image_url": "http://127.0.0.1/a"}]}]), IMAGE_MOST),
    (json.dumps({"messages": [{"content": [{"image_url": "http://a"}]}]}, indent=1).encode(), IMAGE_MOST),
    (encoded(input="a", conversation="conv_1").replace(b"conv", b"\\u0063onv", 1), HELD),
    (asked([{"image_url": "http://a"}]).replace(b"image_url", b"im\\u0061ge\\u005Furl"), IMAGE_MOST),
]


@pytest.mark.parametrize(("body", "figure"), REFERENCES)
def test_what_a_body_refers_to_has_the_most_of_it(body: bytes, figure: int) -> None:
    assert most_prompt_tokens(body) == len(body) + TEMPLATE + figure


@pytest.mark.parametrize(("one", "other"), list(combinations(REFERENCES[:2] + REFERENCES[10:13], 2)))
def test_references_add_up(one: tuple[bytes, int], other: tuple[bytes, int]) -> None:
    body = json.dumps(json.loads(one[0]) | json.loads(other[0])).encode()
    named = len({"previous_response_id", "conversation", "tools", "web_search_options"} & set(json.loads(body)))
    assert most_prompt_tokens(body) == len(body) + TEMPLATE + named * HELD


def test_a_picture_in_the_body_has_the_most_of_one_and_not_its_bytes() -> None:
    body = asked([{"type": "image_url", "image_url": {"url": PICTURE}}, {"type": "text", "text": "What is it?"}])
    assert IMAGE_MOST < most_prompt_tokens(body) < IMAGE_MOST + TEMPLATE + 200


def test_what_only_looks_like_a_reference_costs_nothing_more() -> None:
    for body in (
        asked('{"previous_response_id": "a", "image_url": "b", "file_id": "c"}'),
        asked("a", tools=[{"type": "function", "function": {"name": "image"}}], tool_choice="auto"),
        encoded(input="a", previous_response_id=None, conversation=None, tools=None),
        encoded(messages=[{"role": "tool", "tool_call_id": "call_1", "content": "a"}]),
        asked("caf\u00e9"),
        encoded(input=[{"type": "message", "id": "msg_1", "role": "assistant", "content": "a"}]),
    ):
        assert most_prompt_tokens(body) == len(body) + TEMPLATE


@given(st.text(), st.booleans())
def test_the_most_is_never_less_than_the_bytes_of_the_text(text: str, ascii_only: bool) -> None:
    body = encoded(ascii_only=ascii_only, input=text)
    assert most_prompt_tokens(body) >= len(text.encode("utf-8", "replace"))


VAST = {
    "one text": {"messages": [{"role": "user", "content": SAID[0].text * 20_000}]},
    "a picture": {"messages": [{"content": [{"type": "image_url", "image_url": {"url": PICTURE * 300}}]}]},
    "messages": {"messages": [{"role": "user", "content": "a"}] * 300_000},
    "pictures": {"messages": [{"content": [{"type": "image_url", "image_url": "a"}] * 250_000}]},
    "tokens": {"prompt": [1] * 5_000_000},
    "quotes": {"input": '"' * 4_000_000},
    "tools": {"input": "a", "tools": [{"type": "function"}] * 450_000},
}


@pytest.mark.parametrize("members", VAST.values(), ids=VAST)
def test_a_vast_body_does_not_hold_up_everybody_else(members: dict[str, Any]) -> None:
    body = encoded(**members)
    assert len(body) > 8_000_000
    start = time.monotonic()
    figures = quick_prompt_tokens(body), prompt_tokens(body), most_prompt_tokens(body)
    assert time.monotonic() - start < 5  # a tenth of a second, on a machine with nothing else to do
    assert min(figures) > 0


# --- answers


def test_a_piece_is_a_token_unless_its_text_is_longer() -> None:
    assert completion_tokens(0, 0) == 0
    assert completion_tokens(100, 420) == 100
    assert completion_tokens(3, 0) == 3  # of a tool call, whose text is not in the answer's
    assert completion_tokens(2, 4000) == 1000
    assert completion_tokens(0, 400) == 100


@given(st.integers(0, 10**6), st.integers(0, 10**9))
def test_an_answer_has_no_fewer_tokens_than_pieces(pieces: int, text_bytes: int) -> None:
    tokens = completion_tokens(pieces, text_bytes)
    assert tokens >= pieces
    assert completion_tokens(pieces, text_bytes + 1) >= tokens
