"""The event that is there for the usage alone is taken out, however the bytes come, and nothing else is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatgpt_platform.gateway.blocks import Remover, texts_in
from chatgpt_platform.upstream.sse import Framer

TOLD = {"prompt_tokens": 3, "completion_tokens": 5}


def event(**members: object) -> bytes:
    return f"data: {json.dumps(members)}\n\n".encode()


def piece(text: str = "a", **members: object) -> bytes:
    return event(choices=[{"index": 0, "delta": {"content": text}, "finish_reason": None}], **members)


EXTRA = event(id="c-1", object="chat.completion.chunk", choices=[], usage=TOLD)
DONE = b"data: [DONE]\n\n"
COMMENT = b": still there\n\n"


def removed(*pieces: bytes) -> bytes:
    """What is left of a stream that came in these pieces."""
    framer, remover = Framer(), Remover()
    came = b"".join(remover.feed(block) for data in pieces if (block := framer.feed(data)))
    return came + remover.feed(framer.flush())


@pytest.mark.parametrize(
    "extra",
    [
        EXTRA,
        event(choices=None, usage=TOLD),
        event(choices=[], usage={}),
        event(choices=[], usage=TOLD, error=None, obfuscation="x", system_fingerprint=None, timings={"n": 1}),
        event(choices=[], usage=TOLD, prompt_filter_results=[]),
        event(choices=[], usage={"prompt_tokens": "many", "prompt_tokens_details": {"cached_tokens": 1.5}}),
        b"event: chunk\n" + EXTRA,
        b"id: 7\nretry: 3000\n" + EXTRA,
        EXTRA.replace(b"data: ", b"data:"),
        EXTRA.replace(b"data: {", b"data: {\ndata: "),
        EXTRA + b"\n\n",
        EXTRA + EXTRA,
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_the_extra_event_is_taken_out(extra: bytes, end: bytes) -> None:
    before, after = piece().replace(b"\n", end), DONE.replace(b"\n", end)
    assert removed(before + extra.replace(b"\n", end) + after) == before + after


@pytest.mark.parametrize(
    "other",
    [
        piece(usage=TOLD),
        piece(usage=None),
        event(choices=[], usage=None),
        event(choices=[]),
        event(usage=TOLD),
        event(choices=[], usage="none"),
        event(choices=[], usage=TOLD, error={"message": "no"}),
        event(choices=[], usage=TOLD, prompt_filter_results=[{"prompt_index": 0}]),
        b"event: error\n" + EXTRA,
        event(type="response.completed", response={"usage": TOLD, "choices": []}),
        piece('{"choices": [], "usage": {}}'),
        b': "choices":[],"usage":{}\n\n',
        b'data: {"choices":[],"usage":{\n\n',
        b'data: {"choices":[],"usage":{"a":"\xff"}}}\n\n',
        b'data: {"choices":[],"usage":' + b'{"a":' * 2000 + b"1" + b"}" * 2001 + b"\n\n",
        b"\xef\xbb\xbf" + piece(usage=TOLD),
        COMMENT,
        DONE,
    ],
)
def test_nothing_else_is(other: bytes) -> None:
    assert removed(piece() + other + DONE) == piece() + other + DONE
    assert removed(other + EXTRA + other) == other + other


def test_comments_within_it_stay() -> None:
    for end in (b"\n", b"\r\n", b"\r"):
        extra = (b": one\n" + EXTRA.removesuffix(b"\n") + b": two\n\n").replace(b"\n", end)
        assert removed(piece() + extra + DONE) == piece() + b": one\n: two\n\n".replace(b"\n", end) + DONE


parts = st.lists(
    st.sampled_from([piece(), piece("b", usage=TOLD), piece(usage=None), COMMENT, event(choices=[], usage=None)]),
    max_size=4,
)


@settings(deadline=None)
@given(parts, parts, st.sampled_from([b"\n", b"\r\n", b"\r"]), st.data())
def test_in_every_split_the_rest_is_as_it_came(
    before: list[bytes], after: list[bytes], end: bytes, data: st.DataObject
) -> None:
    whole = b"".join([*before, EXTRA, *after, DONE]).replace(b"\n", end)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=8)))
    pieces = [whole[left:right] for left, right in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert removed(*pieces) == b"".join([*before, *after, DONE]).replace(b"\n", end)


def test_byte_by_byte_and_at_each_single_cut() -> None:
    for end in (b"\n", b"\r\n", b"\r"):
        before, extra, after = (each.replace(b"\n", end) for each in (piece(), EXTRA, piece("b") + DONE))
        whole = before + extra + after
        assert removed(*(whole[at : at + 1] for at in range(len(whole)))) == before + after
        for at in range(1, len(whole)):
            assert removed(whole[:at], whole[at:]) == before + after


def test_nothing_is_held_back() -> None:
    remover = Remover()
    assert remover.feed(piece()) == piece()
    assert remover.feed(EXTRA) == b""
    assert remover.feed(DONE) == DONE


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_are_a_block(block: bytes) -> None:
    for data in (block, block + EXTRA, b'"usage" "choices":[]' + block):
        assert isinstance(Remover().feed(data), bytes)
        assert min(texts_in(data)) >= 0


@pytest.mark.parametrize(
    ("block", "texts"),
    [
        (piece("abc"), (1, 3)),
        (piece("abc").replace(b": ", b":"), (1, 3)),
        (piece(""), (0, 0)),
        (piece("é"), (1, 3)),  # \u00e9: taken for three bytes, as most characters that are escaped have
        (piece("a\nb"), (1, 3)),
        (piece('"'), (1, 1)),
        (piece("a") + piece("bc"), (2, 3)),
        (event(choices=[{"text": "abcd"}]), (1, 4)),
        (event(choices=[{"delta": {"content": "", "reasoning_content": "hm"}}]).replace(b": ", b":"), (1, 2)),
        (event(choices=[{"delta": {"tool_calls": [{"function": {"arguments": "{}"}}]}}]), (1, 2)),
        (event(choices=[{"delta": {"role": "assistant"}}]), (0, 0)),
        (event(type="response.output_text.delta", delta="abc"), (1, 3)),
        (event(type="response.function_call_arguments.delta", delta="abc"), (1, 3)),
        (event(type="response.output_text.done", text="abc"), (0, 0)),
        (event(type="response.completed", response={"output": [{"content": [{"text": "abc"}]}]}), (0, 0)),
        (b'data: {"choices":[{"delta":{"content":"the beginning of a lo', (1, 21)),
        (COMMENT, (0, 0)),
        (DONE, (0, 0)),
    ],
)
def test_generated_text_is_counted(block: bytes, texts: tuple[int, int]) -> None:
    assert texts_in(block) == texts
