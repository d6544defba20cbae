"""What the parser refuses, with which status, and its limits exactly at the border."""

from __future__ import annotations

import pytest

from chatgpt_platform.wire.head import BadRequest, Limits
from chatgpt_platform.wire.parser import RequestParser
from support.parsed import assert_cuts_do_not_matter, bytewise, parse, parse_pieces

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


def assert_refused(data: bytes, status: int = 400, limits: Limits | None = None) -> None:
    """Refused with this status however it is cut, with nothing of it read, also behind a good request."""
    outcome = assert_cuts_do_not_matter(data, limits)
    assert (outcome.status, outcome.requests) == (status, ())
    behind = parse(GET + data, limits)
    assert (behind.status, len(behind.requests)) == (status, 1)


@pytest.mark.parametrize(
    "line",
    [
        b"", b"GET", b"GET /", b"GET / ", b"GET / HTTP/1.1 ", b" GET / HTTP/1.1", b"GET  / HTTP/1.1",
        b"GET /  HTTP/1.1",
        b"GET\t/ HTTP/1.1", b"GET /\tHTTP/1.1", b"GET / HTTP/1.1\t", b"GET /a b HTTP/1.1", b"GET / HTTP/1.1 x",
        b"GET / HTTP/2.0", b"GET / HTTP/0.9", b"GET / HTTP/1.2", b"GET / HTTP/1.10", b"GET / HTTP/11",
        b"GET / HTTP/1,1",
        b"GET / HTTP/1.", b"GET / http/1.1", b"GET / HTTP /1.1", b"GET / HTTP/ 1.1", b"GET / HTTP/+1.1",
        b"GET / HTTP/01.1",
        b"GET / RTSP/1.0", b"GET / ICE/1.0", b"SOURCE / ICE/1.0", b"PRI * HTTP/2.0",
        b"GET http://x/ HTTP/1.1", b"GET https://x HTTP/1.1", b"GET x HTTP/1.1", b"GET x:80 HTTP/1.1",
        b"GET ? HTTP/1.1",
        b"CONNECT x:443 HTTP/1.1", b"GET ** HTTP/1.1", b"GET */ HTTP/1.1", b"GET \\ HTTP/1.1",
        b"GET /#a HTTP/1.1", b"GET /a\0b HTTP/1.1", b"GET /a\x0bb HTTP/1.1", b"GET /a\x7fb HTTP/1.1",
        b"GET /a\rb HTTP/1.1",
        b"GET /\n HTTP/1.1", b"GET / HTTP/1.1\rX: y", b"GET / HTTP/1.1\nX: y",
        b"G\xc3\xa9T / HTTP/1.1", b"G(T / HTTP/1.1", b"G\0T / HTTP/1.1", b"\xef\xbb\xbfGET / HTTP/1.1",
        b"M" * 25 + b" / HTTP/1.1",
    ],
)  # fmt: skip
def test_request_lines(line: bytes) -> None:
    if line:
        assert_refused(line + b"\r\nHost: x\r\n\r\n")


@pytest.mark.parametrize(
    "data",
    [b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", b"\x80.\x01\x03\x01", b"\0", b"SSH-2.0-OpenSSH_9\r\n", b"{}\r\n",
             b"GET / HTTP/1.1\n", b"GET /\r\n", b"HTTP/1.1 200 OK\r\n", b"EHLO x\r\n", b"\x04\x01\0\x50", b" ",
             b"\t"]
)  # fmt: skip
def test_what_is_no_http_is_refused_at_once(data: bytes) -> None:
    """Without waiting for what will never come. Only an end of line is waited for."""
    outcome = parse(data)
    if data.endswith(b"\n") and not data.endswith(b"\r\n"):
        outcome = parse(data + b"x")
    assert (outcome.status, outcome.requests) == (400, ())


@pytest.mark.parametrize(
    "line",
    [
        b"X : y", b"X\t: y", b" X: y", b"\tX: y", b": y", b"X", b"X y: z", b"X(: y", b"X\0: y", b"X\x01: y",
        b"X\x80: y", b"X\xc3\xa9: y",
        b'"X": y', b"X,: y", b"X/: y", b"[X]: y", b"X\r: y", b"X\n: y", b"X: a\0b", b"X: a\x01b", b"X: a\x0bb",
        b"X: a\x7fb",
        b"X: a\rb", b"X: a\nb", b"X: a\n", b"X: a\r", b"X: a\n\r", b"X: a\r\r", b"X: a\r\n b", b"X: a\r\n\tb",
        b"X:\r\n b", b"X: a\r\n ", b"\nX: y",
        b"\rX: y", b"X: a\nY: b", b"X: a\rY: b", b"X: \x1b[31m",
    ],
)  # fmt: skip
def test_header_lines(line: bytes) -> None:
    assert_refused(b"GET / HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n\r\n")
    assert_refused(b"GET / HTTP/1.1\r\n" + line + b"\r\nHost: x\r\n\r\n")


@pytest.mark.parametrize(
    "host",
    [b"x, y", b"x,y", b"x y", b"x@y", b"u:p@x", b"x/", b"http://x", b"x:80:80", b"x:a", b"x:-1", b"[::1",
     b"::1", b"[x]", b"[]", b"x#", b"x?",
     b"\xc3\xa9", b"<x>", b"x\\y", b'"x"'],
)  # fmt: skip
def test_hosts(host: bytes) -> None:
    for version in (b"1.1", b"1.0"):
        assert_refused(b"GET / HTTP/%b\r\nHost: %b\r\n\r\n" % (version, host))


@pytest.mark.parametrize(
    "lines", [b"", b"X-Host: x\r\n", b"Host: x\r\nHost: x\r\n", b"Host: x\r\nhost: y\r\n", b"Host:\r\nHost: x\r\n"]
)
def test_not_one_host(lines: bytes) -> None:
    assert_refused(b"GET / HTTP/1.1\r\n" + lines + b"\r\n")
    if lines.startswith(b"Host"):
        assert_refused(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n" + lines + b"\r\n")


@pytest.mark.parametrize(
    "length",
    [b"", b" ", b"+3", b"-3", b"-0", b"3,3", b"3, 3", b"3,", b"3 3", b"3;", b"0x3", b"3.0", b"3e0", b"1_0",
     b"three", b'"3"', b"\xb2", b"\xd9\xa3",
     b"\x0b3", b"3\0", b"3\r", b"%d" % 2**64, b"9" * 100, b"-%d" % (2**64 - 3)],
)  # fmt: skip
def test_lengths(length: bytes) -> None:
    assert_refused(POST + b"Content-Length: %b\r\n\r\nabc" % length)


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 3\r\nContent-Length: 3\r\n", b"Content-Length: 3\r\nX: y\r\ncontent-length: 4\r\n",
        b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        b"Content-Length: 3\r\nTransfer-Encoding: identity\r\n",
        b"Transfer-Encoding: identity\r\n", b"Transfer-Encoding: gzip\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked, gzip\r\n", b"Transfer-Encoding: chunked, chunked\r\n",
        b"Transfer-Encoding: chunked,\r\n",
        b"Transfer-Encoding: , chunked\r\n", b"Transfer-Encoding: chunked;q=1\r\n",
        b'Transfer-Encoding: "chunked"\r\n',
        b"Transfer-Encoding: xchunked\r\n", b"Transfer-Encoding: chunkedx\r\n", b"Transfer-Encoding: chunk\r\n",
        b"Transfer-Encoding:\r\n", b"Transfer-Encoding: \x0bchunked\r\n", b"Transfer-Encoding: chunked\0\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("upgrade", [b"", b"Connection: upgrade\r\nUpgrade: h2c\r\n"])
def test_framing_that_two_readers_might_read_in_two_ways(lines: bytes, upgrade: bytes) -> None:
    assert_refused(POST + upgrade + lines + b"\r\n3\r\nabc\r\n0\r\n\r\n")
    assert_refused(POST + lines + upgrade + b"\r\n3\r\nabc\r\n0\r\n\r\n")


def test_chunked_under_http_1_0() -> None:
    assert_refused(b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    "body",
    [
        b"+3\r\nabc\r\n", b"-3\r\nabc\r\n", b"0x3\r\nabc\r\n", b" 3\r\nabc\r\n", b"3 \r\nabc\r\n",
        b"3\t\r\nabc\r\n", b"3 ;x\r\nabc\r\n",
        b"g\r\nabc\r\n", b"\r\nabc\r\n", b"3\nabc\r\n", b"3\r\r\nabc\r\n", b"3\rabc\r\n", b"3\r\nabc\n",
        b"3\r\nabc\r0\r\n\r\n", b"3\r\nabcd\r\n",
        b"3\r\nab\r\n0\r\n\r\n", b"3\r\nabc0\r\n\r\n", b"3\r\nabc\r\n\r\n", b"3;x\ny\r\nabc\r\n",
        b"3;x\0\r\nabc\r\n", b"3;x\ry\r\nabc\r\n",
        b"3;\x80\r\nabc\r\n", b'3;x="y\r\nabc\r\n', b"10000000000000000\r\nabc\r\n",
        b"ffffffffffffffff0\r\nabc\r\n", b"1_0\r\nabc", b"3.\r\nabc",
        b"0\r\nX: y\r\n\r\n", b"0\r\nContent-Length: 3\r\n\r\n", b"0\r\n X\r\n\r\n", b"0\r\nX\r\n\r\n",
        b"0\r\n\n", b"0\n\r\n", b"0\r\n\rx", b"0\r\nGET",
        b"-0\r\n\r\n", b"0;\x01\r\n\r\n", b"\xef\xbc\x93\r\nabc\r\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("upgrade", [b"", b"Connection: upgrade\r\nUpgrade: h2c\r\n"])
def test_chunks(body: bytes, upgrade: bytes) -> None:
    data = POST + upgrade + b"Transfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"
    assert_refused(data)


def test_the_longest_target() -> None:
    limits = Limits(target=50)
    for path, status in ((b"/" + b"a" * 49, 0), (b"/" + b"a" * 50, 414), (b"/" + b"a" * 5000, 414)):
        outcome = assert_cuts_do_not_matter(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path[:500], limits)
        assert outcome.status == status
    assert len(parse(b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 65535)).requests) == 1
    assert parse(b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 65536)).status == 414


def test_a_target_without_end_is_refused_soon() -> None:
    parser = RequestParser(Limits(target=1000))
    came = 0
    with pytest.raises(BadRequest) as caught:
        for piece in (b"GET /", *[b"a" * 10] * 1000):
            came += len(piece)
            parser.head(piece)
    assert caught.value.status == 414
    assert came < 1100
    assert parser.partial.method == "GET"
    assert parser.partial.target.startswith(b"/aaa")
    parser.close()


def test_the_longest_head() -> None:
    lines = b"Host: x\r\nX: y\r\n\r\n"
    for size, status in ((len(lines), 0), (len(lines) - 1, 431)):
        for path in (b"/", b"/" + b"a" * 100):  # the target has its own limit
            data = b"GET %b HTTP/1.1\r\n%b" % (path, lines)
            assert assert_cuts_do_not_matter(data, Limits(headers=size)).status == status


def test_a_head_without_end_is_refused_soon() -> None:
    for piece in (b"X: y\r\n", b"X", b"X: " + b"a" * 100 + b"\r\n"):
        parser = RequestParser(Limits(headers=1000, count=10**6))
        parser.head(b"GET / HTTP/1.1\r\nHost: x\r\n" + (b"X: " if piece == b"X" else b""))
        with pytest.raises(BadRequest) as caught:
            for _ in range(1100):
                parser.head(piece)
        assert caught.value.status == 431
        parser.close()


def test_the_most_header_lines() -> None:
    for count, status in ((3, 0), (2, 431)):
        data = b"GET / HTTP/1.1\r\nHost: x\r\nX: y\r\nX: z\r\n\r\n"
        assert assert_cuts_do_not_matter(data, Limits(count=count)).status == status


def test_bodies_do_not_count_as_heads() -> None:
    limits = Limits(headers=40, count=2)
    data = POST + b"Content-Length: 2000\r\n\r\n" + b"X: y\r\n\r\n" * 250
    outcome = parse(data + data, limits)
    assert (outcome.status, len(outcome.requests)) == (0, 2)


def test_framing_without_content_does_not_go_on_for_ever() -> None:
    assert parse_pieces([b"\r\n"] * 10_000).status == 400
    endless = [b"1;x", *[b"y" * 100] * 1000]
    assert parse_pieces([CHUNKED, *endless]).status == 400
    # What is long in all, but brings content on its way, is no attack.
    outcome = parse_pieces([CHUNKED, *[b"1;%b\r\nx\r\n" % (b"y" * 1000)] * 100, b"0\r\n\r\n"])
    assert (outcome.status, len(outcome.requests)) == (0, 1)


def test_what_is_known_of_a_head_that_cannot_be_read() -> None:
    parser = RequestParser(Limits())
    with pytest.raises(BadRequest) as caught:
        parser.head(b"PUT /a HTTP/1.1\r\nHost: x\r\nX-A: b\r\nX-B: c\r\nX : y\r\n\r\n")
    assert (parser.partial.method, parser.partial.target) == ("PUT", b"/a")
    assert not parser.partial.keep_alive
    assert "/a" not in str(caught.value), "nothing of a request goes into a log this way"
    parser.close()


def test_single_bytes_never_take_more_than_their_line() -> None:
    """No state is kept from one request to the next."""
    outcome = parse_pieces(bytewise(GET * 3 + b"GET / HTTP/1.1\r\nX : y\r\n\r\n"))
    assert (outcome.status, len(outcome.requests)) == (400, 3)
