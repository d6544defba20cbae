"""Chunks are framed as HTTP has them, and where one ends is seen without a parser, or left unsaid."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt_platform.wire import framing
from chatgpt_platform.wire.chunks import Chunks

payloads = st.binary(min_size=1, max_size=1100) | st.sampled_from([b"\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n"])
FOREIGN = [b"A\r\n0123456789\r\n", b"0001\r\nx\r\n", b"1;a=b\r\nx\r\n", b"1 \r\nx\r\n"]
"""Chunks as others may write them."""


@given(st.lists(payloads, max_size=5))
def test_what_is_framed_is_read_again(pieces: list[bytes]) -> None:
    chunks, read = Chunks(), b""
    rest = b"".join(map(framing.chunk, pieces)) + b"0\r\n\r\n"
    while not chunks.complete:
        piece, rest = chunks.read(rest)
        read += piece
    assert (read, rest) == (b"".join(pieces), b"")


@given(st.binary(min_size=1, max_size=1100))
def test_the_first_line_of_a_chunk_by_its_length(payload: bytes) -> None:
    whole = framing.chunk(payload)
    line = framing.SIZE_LINES.get(len(whole))
    assert line is None or whole == line + payload + b"\r\n"
    assert (line is None) == (len(payload) >= 1024)


@given(st.lists(payloads, max_size=4), st.lists(st.integers(0, 5000), max_size=3))
def test_what_is_left_of_a_chunk(pieces: list[bytes], cuts: list[int]) -> None:
    whole, ends, lines = b"", [0], []
    for piece in pieces:
        begin = len(whole)
        whole += framing.chunk(piece)
        ends.append(len(whole))
        lines.append(range(begin + 1, len(whole) - len(piece) - 2))
    left, at = 0, 0
    for cut in [*sorted({cut % (len(whole) + 1) for cut in cuts}), len(whole)]:
        left, at = framing.left_of_chunk(whole[at:cut], left), cut
        if any(cut in line for line in lines):
            assert left == -1
            return
        assert left == next(end for end in ends if end >= cut) - cut


@pytest.mark.parametrize("ending", [b"0\r\n\r\n", b"0\r\n", b"00\r\n\r\n", b"x", b"-1\r\n", b"\r\n", *FOREIGN[2:]])
def test_what_a_glance_does_not_tell(ending: bytes) -> None:
    assert framing.left_of_chunk(framing.chunk(b"abc") + ending) == -1
    assert framing.left_of_chunk(b"c\r\n" + ending, 3) == -1


@pytest.mark.parametrize("foreign", FOREIGN[:2])
def test_sizes_of_any_hexadecimal_digits_are_read(foreign: bytes) -> None:
    assert framing.left_of_chunk(foreign) == 0
    assert framing.left_of_chunk(foreign[:-1]) == 1
