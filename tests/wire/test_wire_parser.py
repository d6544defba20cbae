"""What the parser reads: each kind of request, the same however it is cut. Its refusals are next door."""

from __future__ import annotations

import pytest

from chatgpt_platform.wire.head import Limits
from chatgpt_platform.wire.parser import RequestParser
from support.parsed import Outcome, Request, assert_cuts_do_not_matter, bytewise, parse, parse_pieces

GET = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\n\r\n"


def request_of(*lines: bytes, first: bytes = b"GET / HTTP/1.1", body: bytes = b"") -> bytes:
    """A request with a Host and these header lines."""
    return b"\r\n".join([first, b"Host: example.org", *lines, b"", body])


def only(outcome: Outcome) -> Request:
    """The one request that was read, and nothing besides."""
    assert (outcome.refused, outcome.begun) == (False, False), outcome
    (request,) = outcome.requests
    return request


def test_a_plain_request() -> None:
    request = only(assert_cuts_do_not_matter(b"GET /a?b=c HTTP/1.1\r\nHost: x\r\nAccept:  */* \r\n\r\n"))
    assert (request.method, request.target, request.minor, request.body) == ("GET", b"/a?b=c", 1, b"")
    assert request.lines == ((b"host", b"x"), (b"accept", b"*/*"))
    assert request.keep_alive


@pytest.mark.parametrize(
    "method", [b"OPTIONS", b"PROPFIND", b"QUERY", b"FOO", b"get", b"CONNECT", b"a!#$%&'*+.^_`|~-9z", b"M" * 24]
)
def test_any_token_is_a_method(method: bytes) -> None:
    assert only(assert_cuts_do_not_matter(request_of(first=method + b" / HTTP/1.1"))).method == method.decode()


@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"*",
        b"/?",
        b"//x",
        b"/a%20b?c=%zz",
        "/你好?q=é".encode(),
        b"/\xff\xfe",
        b"/!\"$&'()*+,;=:@[]{}|\\^`<>~",
    ],
)
def test_targets_as_they_are(target: bytes) -> None:
    """Raw UTF-8 included, which curl sends."""
    assert only(assert_cuts_do_not_matter(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % target)).target == target


def test_header_lines_are_kept_and_joined() -> None:
    data = request_of(b"X-A: 1", b"x-b:", b"X-a:\t2 3\t", b"X_C: \xe4\x80", b"X-B: , ")
    parser = RequestParser(Limits())
    head, rest = parser.head(data)
    assert head is not None
    assert (parser.complete, rest) == (True, b"")
    assert head.lines == [
        (b"host", b"example.org"), (b"x-a", b"1"), (b"x-b", b""), (b"x-a", b"2 3"), (b"x_c", b"\xe4\x80"),
        (b"x-b", b","),
    ]  # fmt: skip
    assert head.fields == {b"host": b"example.org", b"x-a": b"1, 2 3", b"x-b": b", ,", b"x_c": b"\xe4\x80"}
    parser.close()
    assert_cuts_do_not_matter(data)


@pytest.mark.parametrize(
    "host", [b"", b"x", b"x:", b"x:80", b"127.0.0.1:8000", b"[::1]", b"[fe80::1]:80", b"a_b.example", b"%C3%A9"]
)
def test_hosts(host: bytes) -> None:
    assert only(assert_cuts_do_not_matter(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host)).field(b"host") == host


@pytest.mark.parametrize(
    ("lines", "minor", "stays"),
    [
        ([], 1, True),
        ([b"Connection: close"], 1, False),
        ([b"Connection: CLOSE"], 1, False),
        ([b"Connection: keep-alive, close"], 1, False),
        ([b"Connection: x", b"connection:\tclose "], 1, False),
        ([b"Connection: closed"], 1, True),
        ([b"Connection: close-x"], 1, True),
        ([b"Connection: upgrade"], 1, True),
        ([], 0, False),
        ([b"Connection: keep-alive"], 0, True),
        ([b"Connection: Keep-Alive, x"], 0, True),
        ([b"Connection: close"], 0, False),
    ],
)
def test_who_would_stay(lines: list[bytes], minor: int, stays: bool) -> None:
    data = request_of(*lines, first=b"GET / HTTP/1.%d" % minor)
    request = only(assert_cuts_do_not_matter(data))
    assert (request.keep_alive, request.minor) == (stays, minor)


def test_http_1_0_needs_no_host() -> None:
    assert only(assert_cuts_do_not_matter(b"GET / HTTP/1.0\r\n\r\n")).lines == ()


@pytest.mark.parametrize("length", [b"3", b"003", b" 3 ", b"\t3\t", b"0" * 40 + b"3"])
def test_a_body_by_its_length(length: bytes) -> None:
    data = request_of(b"Content-Length:" + length, first=b"POST / HTTP/1.1", body=b"a\r\n")
    assert only(assert_cuts_do_not_matter(data)).body == b"a\r\n"


def test_a_length_of_nothing() -> None:
    assert only(assert_cuts_do_not_matter(request_of(b"Content-Length: 0"))).body == b""


def test_the_greatest_length_is_one_of_64_bits() -> None:
    parser = RequestParser(Limits())
    head, rest = parser.head(request_of(b"Content-Length: %d" % (2**64 - 1), body=b"begin"))
    assert head is not None
    assert (head.length, rest, parser.complete) == (2**64 - 1, b"begin", False)
    assert parser.body(rest) == (b"begin", b"")
    parser.close()


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked", b"CHUNKED", b"chunked "])
@pytest.mark.parametrize(
    ("body", "content"),
    [
        (b"0\r\n\r\n", b""),
        (b"000\r\n\r\n", b""),
        (b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
        (b"0003\r\nabc\r\n1\r\nd\r\n0\r\n\r\n", b"abcd"),
        (b"a\r\n0123456789\r\nA\r\nabcdefghij\r\n0\r\n\r\n", b"0123456789abcdefghij"),
        (b'3;x\r\nabc\r\n0;y=z;q="a;b\\""\r\n\r\n', b"abc"),
        # Content that looks like the end, like an empty line, like another request.
        (b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
        (b"4\r\n\r\n\r\n\r\n2\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n\r\n"),
        (b"12\r\nGET / HTTP/1.1\r\n\r\n\r\n0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"),
    ],
)
def test_a_chunked_body(body: bytes, content: bytes, coding: bytes) -> None:
    data = request_of(b"Transfer-Encoding: " + coding, first=b"POST / HTTP/1.1", body=body)
    request = only(assert_cuts_do_not_matter(data))
    assert (request.body, request.end) == (content, len(data))


def test_what_the_head_says_of_the_body() -> None:
    for lines, length in (
        ([], 0), ([b"Content-Length: 7"], 7), ([b"Transfer-Encoding: chunked"], None),
    ):  # fmt: skip
        parser = RequestParser(Limits())
        head, _ = parser.head(request_of(*lines))
        assert head is not None
        assert head.length == length
        assert parser.complete is (length == 0)
        parser.close()


@pytest.mark.parametrize(
    ("value", "minor", "expects"),
    [(b"100-continue", 1, True), (b"100-Continue", 1, True), (b"100-continue", 0, False), (b"200-ok", 1, False),
     (b"", 1, False)],
)  # fmt: skip
def test_who_waits_to_be_asked(value: bytes, minor: int, expects: bool) -> None:
    parser = RequestParser(Limits())
    data = request_of(b"Expect: " + value, b"Content-Length: 1", first=b"POST / HTTP/1.%d" % minor)
    head, _ = parser.head(data)
    assert head is not None
    assert head.expects_continue is expects
    parser.close()


UPGRADES = (b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings")


@pytest.mark.parametrize("more", [b"", GET, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"])
@pytest.mark.parametrize(
    ("line", "body", "content"),
    [
        (b"X: y", b"", b""),
        (b"Content-Length: 0", b"", b""),
        (b"Content-Length: 5", b"a\r\n\r\n", b"a\r\n\r\n"),
        (b"Transfer-Encoding: chunked", b"5\r\nGET /\r\n0\r\n\r\n", b"GET /"),
        (b"Transfer-Encoding: chunked", b"0\r\n\r\n", b""),
    ],
)
def test_an_upgrade_is_read_like_any_request(line: bytes, body: bytes, content: bytes, more: bytes) -> None:
    """llhttp takes it as ended by its head; then its body would be read as the next request."""
    data = request_of(*UPGRADES, line, first=b"POST / HTTP/1.1", body=body)
    outcome = assert_cuts_do_not_matter(data + more)
    assert not outcome.refused
    first, *others = outcome.requests
    assert (first.body, first.end) == (content, len(data))
    assert first.field(b"upgrade") == b"h2c"
    assert len(others) == bool(more)


@pytest.mark.parametrize("blank", [b"\r\n", b"\r\n\r\n\r\n", b"\n", b"\r\n" * 512])
def test_empty_lines_before_a_request_are_nothing(blank: bytes) -> None:
    parser = RequestParser(Limits())
    assert parser.head(blank) == (None, b"")
    assert not parser.begun
    parser.close()
    outcome = parse(blank + GET + blank + GET + blank)
    assert [(request.target, outcome.refused, outcome.begun) for request in outcome.requests] == [
        (b"/", False, False)
    ] * 2
    if len(blank) < 100:
        assert_cuts_do_not_matter(blank + GET + blank + GET + blank)


def test_pipelined_requests_are_given_back() -> None:
    """One step takes one head, or one body, and no more."""
    post = request_of(b"Content-Length: 3", first=b"POST /2 HTTP/1.1", body=b"abc")
    chunked = CHUNKED + b"1\r\nx\r\n0\r\n\r\n"
    parser = RequestParser(Limits())
    head, rest = parser.head(GET + post + chunked)
    assert head is not None
    assert (parser.complete, rest) == (True, post + chunked)
    parser.next()
    assert not parser.begun
    head, rest = parser.head(rest)
    assert head is not None
    assert (head.target, parser.complete, rest) == (b"/2", False, b"abc" + chunked)
    assert parser.body(rest) == (b"abc", chunked)
    assert parser.complete
    parser.next()
    assert parser.head(chunked + GET)[1] == b"1\r\nx\r\n0\r\n\r\n" + GET
    assert parser.body(b"1\r\nx\r\n0\r\n\r\n" + GET) == (b"x", GET)
    parser.close()


def test_many_pipelined_requests_however_they_are_cut() -> None:
    parts = [
        GET,
        request_of(b"Content-Length: 3", first=b"POST /2 HTTP/1.1", body=b"abc"),
        CHUNKED + b"3\r\n\r\n\r\r\n1;x\r\nz\r\n0\r\n\r\n",
        b"\r\n" + GET,
        request_of(*UPGRADES, b"Content-Length: 2", first=b"PUT /3 HTTP/1.1", body=b"\r\n"),
        b"HEAD /last HTTP/1.0\r\n\r\n",
    ]
    data = b"".join(parts)
    outcome = assert_cuts_do_not_matter(data + b"never read")
    assert [request.body for request in outcome.requests] == [b"", b"abc", b"\r\n\rz", b"", b"\r\n", b""]
    ends = [sum(len(each) for each in parts[: count + 1]) for count in range(len(parts))]
    assert [request.end for request in outcome.requests] == ends
    assert [request.keep_alive for request in outcome.requests] == [True] * 5 + [False]


def test_a_large_body_in_pieces() -> None:
    body = bytes(range(256)) * 1024
    plain = request_of(b"Content-Length: %d" % len(body), body=body) + GET
    chunks = b"".join(b"%x\r\n%b\r\n" % (size, body[:size]) for size in (1, 15, 16, 255, 4096, len(body)))
    for data in (plain, CHUNKED + chunks + b"0\r\n\r\n" + GET):
        whole = parse(data)
        assert len(whole.requests) == 2
        for size in (7, 1000, 65536):
            pieces = [data[at : at + size] for at in range(0, len(data), size)]
            assert parse_pieces(pieces) == whole


def test_what_has_begun() -> None:
    for data in (
        b"G",
        b"GET / HTTP/1.1",
        GET[:-1],
        request_of(b"Content-Length: 2", body=b"x"),
        CHUNKED,
        CHUNKED + b"0\r\n",
    ):
        for pieces in ([data], bytewise(data)):
            outcome = parse_pieces(pieces)
            assert (outcome.begun, outcome.refused, outcome.requests) == (True, False, ())
