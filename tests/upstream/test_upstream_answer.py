"""Answers read from bytes: whole, cut at every byte, and in every way wrong."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt_platform.upstream.answer import KEEP_ALIVE, MAX_HEAD, Answer, BadAnswer

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@dataclass
class Read:
    """What was read of one stream of bytes."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    complete: bool
    reusable: bool


def read(*parts: bytes, head_only: bool = False) -> Read:
    answer = Answer()
    answer.expect(head_only=head_only)
    body = b""
    for part in parts:
        answer.feed(part)
        body += answer.take()
    return Read(answer.status, answer.headers, body, answer.complete, answer.reusable)


def sized(body: bytes, *lines: bytes, start: bytes = OK) -> bytes:
    head = b"".join(line + b"\r\n" for line in lines)
    return start + head + b"Content-Length: %d\r\n\r\n" % len(body) + body


WHOLE = {
    "sized": (sized(b"hello"), 200, b"hello", True),
    "empty": (sized(b""), 200, b"", True),
    "chunked": (CHUNKED + b"3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", 200, b"hello", True),
    "trailers": (CHUNKED + b"1\r\nx\r\n0\r\nKeep-Alive: timeout=1\r\n\r\n", 200, b"x", True),
    "any case": (OK + b"TRANSFER-encoding: Chunked\r\n\r\n0\r\n\r\n", 200, b"", True),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    "not modified": (b"HTTP/1.1 304 X\r\nContent-Length: 5\r\n\r\n", 304, b"", True),
    "interim": (b"HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 103 X\r\nLink: x\r\n\r\n" + sized(b"a"), 200, b"a", True),
    "closing": (sized(b"a", b"Connection: close"), 200, b"a", False),
    "1.0": (sized(b"a", start=b"HTTP/1.0 200 OK\r\n"), 200, b"a", False),
    "1.0 kept": (sized(b"a", b"Connection: keep-alive", start=b"HTTP/1.0 200 OK\r\n"), 200, b"a", False),
    "no reason": (sized(b"a", start=b"HTTP/1.1 599\r\n"), 599, b"a", True),
    "identity": (sized(b"a", b"Content-Encoding: Identity"), 200, b"a", True),
    "compressed error": (sized(b"a", b"Content-Encoding: gzip", start=b"HTTP/1.1 500 X\r\n"), 500, b"a", True),
}


@pytest.mark.parametrize("name", WHOLE)
def test_cut_at_any_byte(name: str) -> None:
    data, status, body, reusable = WHOLE[name]
    whole = read(data)
    assert (whole.status, whole.body, whole.complete, whole.reusable) == (status, body, True, reusable)
    for at in range(1, len(data)):
        assert read(data[:at], data[at:]) == whole
    assert read(*(data[at : at + 1] for at in range(len(data)))) == whole


@given(st.sampled_from(sorted(WHOLE)), st.lists(st.integers(min_value=1, max_value=150), max_size=10))
def test_cut_anyhow(name: str, cuts: list[int]) -> None:
    data = WHOLE[name][0]
    borders = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    assert read(*(data[a:b] for a, b in pairwise(borders))) == read(data)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8))
def test_chunks_joined_are_the_body(pieces: list[bytes]) -> None:
    data = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    assert read(CHUNKED + data).body == b"".join(pieces)


@given(
    st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=5), st.sets(st.integers(0, 400), max_size=4)
)
def test_a_chunk_between_two_others_may_go_by(pieces: list[bytes], cuts: set[int]) -> None:
    """What is left of a chunk is known wherever the bytes are cut, or not said; never said wrongly."""
    chunks = [b"%X\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    whole = CHUNKED + b"".join(chunks)
    borders = {len(CHUNKED) + len(b"".join(chunks[:number])) for number in range(len(chunks) + 1)}
    edges = [0, *sorted(cut for cut in cuts if 0 < cut < len(whole)), len(whole)]
    answer = Answer()
    answer.expect(head_only=False)
    for left, right in pairwise(edges):
        answer.feed(whole[left:right])
        assert (answer.left_of_chunk == 0) <= (right in borders)
    if len(edges) == 2:
        assert answer.left_of_chunk == 0
    # As if one had gone by, the next is read.
    answer.feed(b"1\r\nx\r\n0\r\n\r\n")
    assert answer.complete
    assert answer.take() == b"".join(pieces) + b"x"
    assert answer.left_of_chunk == -1


def test_headers_are_in_lower_case_in_order_and_doubled_where_they_were() -> None:
    answer = read(sized(b"", b"X-A: 1", b"Set-Cookie: a", b"set-cookie:b \t", b"X-Empty:"))
    assert answer.headers == [
        (b"x-a", b"1"), (b"set-cookie", b"a"), (b"set-cookie", b"b"), (b"x-empty", b""), (b"content-length", b"0"),
    ]  # fmt: skip


def test_an_end_of_input_may_be_the_end() -> None:
    answer = Answer()
    answer.feed(OK + b"\r\npart")
    assert not answer.complete
    assert answer.finish()
    assert not answer.reusable
    for unfinished in (OK, sized(b"hello")[:-1], CHUNKED + b"1\r\nx\r\n"):
        answer = Answer()
        answer.feed(unfinished)
        assert not answer.finish()


@pytest.mark.parametrize("head", [sized(b"")[:-5] + b"5\r\n\r\n", CHUNKED, OK + b"\r\n"])
def test_the_answer_to_head_has_no_body(head: bytes) -> None:
    assert read(head, head_only=True) == read(head, b"stray", head_only=True)
    answer = read(head, head_only=True)
    assert (answer.body, answer.complete, answer.reusable) == (b"", True, False)


@pytest.mark.parametrize("surplus", [b"x", b"H", sized(b"second"), b"\0" * 100])
@pytest.mark.parametrize("line", [b"X: y", b"Connection: close"])
def test_what_follows_the_end_costs_only_the_connection(surplus: bytes, line: bytes) -> None:
    answer = read(sized(b"first", line) + surplus)
    assert (answer.body, answer.complete, answer.reusable) == (b"first", True, False)


def test_one_after_another() -> None:
    answer = Answer()
    for number in range(3):
        answer.expect(head_only=False)
        answer.feed(sized(b"%d" % number, b"Keep-Alive: timeout=9" if number == 1 else b"X: y"))
        assert (answer.take(), answer.complete, answer.reusable) == (b"%d" % number, True, True)
        assert answer.keep_alive == (8 if number == 1 else KEEP_ALIVE)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"timeout=5, max=100", 4), (b"max=3,Timeout = 30", 29), (b"timeout=1", 0), (b"timeout=0", -1),
     (b"timeout=9999999999", KEEP_ALIVE), (b"timeout=999999", 60), (b"timeout=x", KEEP_ALIVE),
     (b"xtimeout=9", KEEP_ALIVE)],
)  # fmt: skip
def test_keep_alive(value: bytes, seconds: float) -> None:
    answer = Answer()
    answer.feed(sized(b"", b"Keep-Alive: " + value))
    assert answer.keep_alive == seconds


BAD = {
    "two lengths": OK + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "a list of lengths": OK + b"Content-Length: 1, 1\r\n\r\nx",
    "signed length": OK + b"Content-Length: +1\r\n\r\nx",
    "negative length": OK + b"Content-Length: -1\r\n\r\nx",
    "huge length": OK + b"Content-Length: 99999999999999999999\r\n\r\nx",
    "length and chunked": OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n",
    "gzip, chunked": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "gzip": OK + b"Transfer-Encoding: gzip\r\n\r\nx",
    "identity": OK + b"Transfer-Encoding: identity\r\n\r\nx",
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked under 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "signed chunk": CHUNKED + b"+1\r\nx\r\n0\r\n\r\n",
    "endless chunk size": CHUNKED + b"1" * 40 + b"\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "folded": OK + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "space before colon": OK + b"Content-Length : 0\r\n\r\n",
    "NUL": OK + b"X: a\0b\r\n\r\n",
    "HTML": b"<html>502</html>",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x46",
    "HTTP/2": b"\0\0\x12\x04\0\0\0\0\0",
    "RTSP": b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "SSH": b"SSH-2.0-x\r\n",
    "2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "0.9": b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    "1.9": b"HTTP/1.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    "status 99": b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n",
    "status 600": b"HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n",
    "status 20": b"HTTP/1.1 20 X\r\n\r\n",
    "101": b"HTTP/1.1 101 X\r\n\r\n",
    "101 upgrade": b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81",
    "endless interim": b"HTTP/1.1 100 X\r\n\r\n" * 9,
    "gzip body": sized(b"x", b"Content-Encoding: gzip"),
    "second coding": sized(b"x", b"Content-Encoding: identity", b"Content-Encoding: br"),
    "many headers": sized(b"", *[b"X: y"] * 200),
    "large head": sized(b"", *[b"X: " + b"y" * 1000] * 66),
    "endless value": OK + b"X: " + b"y" * (MAX_HEAD + 1),
    "endless reason": b"HTTP/1.1 200 " + b"y" * (MAX_HEAD + 1),
    "endless trailer": CHUNKED + b"1\r\nx\r\n" + b"0\r\nX: " + b"y" * (MAX_HEAD + 1),
    "endless chunk extension": CHUNKED + b"1\r\nx\r\n" + b"1;" + b"y" * (MAX_HEAD + 1),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused_wherever_it_is_cut(name: str) -> None:
    data = BAD[name]
    with pytest.raises(BadAnswer) as caught:
        # By the first 300 bytes singly: callbacks then see their pieces one at a time.
        read(*(data[at : at + 1] for at in range(min(300, len(data)))), data[300:], b"\r\n")
    assert str(caught.value)
    if not name.startswith("endless "):
        with pytest.raises(BadAnswer):
            read(data)


def test_what_came_before_the_fault_is_kept() -> None:
    answer = Answer()
    with pytest.raises(BadAnswer):
        answer.feed(CHUNKED + b"5\r\nhello\r\nnonsense\r\n")
    assert answer.status == 200
    assert answer.take() == b"hello"


def test_eight_interim_answers_are_skipped() -> None:
    assert read(b"HTTP/1.1 102 X\r\nKeep-Alive: timeout=50\r\n\r\n" * 8 + sized(b"x")).body == b"x"


def test_two_hundred_headers_are_taken() -> None:
    assert len(read(sized(b"", *[b"X: y"] * 199)).headers) == 200
