"""Events on bytes, held against a slow model written from the specification."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt_platform.upstream.sse import Event, Framer, encode, events

STREAMS = st.lists(
    st.sampled_from(
        [
            b"\r",
            b"\n",
            b"\r\n",
            b"\n\n",
            b"data: a",
            b"data:b",
            b"data",
            b"data: ",
            b":c",
            b"event: x",
            b"id: 1",
            "data: \u2028é".encode(),
        ]
    ),
    max_size=30,
).map(b"".join)


def model(stream: bytes) -> list[Event]:
    """Line by line; an event whose empty line is missing at the very end still counts."""
    found: list[Event] = []
    name, lines = b"", list[bytes]()
    for line in [*re.split(rb"\r\n|\r|\n", stream), b""]:
        if line == b"":
            if lines:
                found.append(Event(name or b"message", b"\n".join(lines)))
            name, lines = b"", []
        elif not line.startswith(b":"):
            field, _, value = line.partition(b":")
            value = value[1:] if value.startswith(b" ") else value
            if field == b"data":
                lines.append(value)
            elif field == b"event":
                name = value
    return found


@given(STREAMS, st.lists(st.integers(0, 200), max_size=8))
def test_any_cut_gives_the_same_events_and_the_same_bytes(stream: bytes, cuts: list[int]) -> None:
    framer = Framer()
    places = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    blocks = [framer.feed(stream[start:end]) for start, end in pairwise(places)]
    blocks.append(framer.flush())
    assert b"".join(blocks) == stream
    assert [event for block in blocks for event in events(block)] == model(stream)
    assert framer.held == 0


@given(STREAMS)
def test_what_is_fed_ends_at_a_border(stream: bytes) -> None:
    framer = Framer()
    whole = framer.feed(stream)
    assert re.fullmatch(rb"(?s:.*)(\n\n|\r\r\n?|\n\r\n?)|", whole)
    assert framer.held == len(stream) - len(whole)


@given(st.binary(max_size=100))
def test_text_never_forges_an_event(data: bytes) -> None:
    (event,) = events(encode(b"{" + data))
    assert event == Event(b"message", (b"{" + data).replace(b"\r\n", b"\n").replace(b"\r", b"\n"))


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (b"\xef\xbb\xbfdata: a\n\n", [Event(b"message", b"a")]),
        (b": hello\n\n", []),
        (b"event: x\n\n", []),
        (b"event: error\ndata: {}\n\n", [Event(b"error", b"{}")]),
        (b"data: a\ndata: b\n\n", [Event(b"message", b"a\nb")]),
        ("data: a\u2028b\n\n".encode(), [Event(b"message", "a\u2028b".encode())]),
        (b"data: [DONE]", [Event(b"message", b"[DONE]")]),
    ],
)
def test_examples(block: bytes, expected: list[Event]) -> None:
    assert list(events(block)) == expected
