"""Our parser against h11: the same requests, with the same ends, or a reason why not.

Where two readers of one connection disagree on where a request ends, the bytes between the two ends can be
smuggled past the one as the other's next request. So every difference must be in ``support.differences``; and
what is there is no mere excuse: where it says that we are stricter, we must refuse.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support import differences
from support.differences import ALLOWED, CHUNKED, STAYS, STRICTER, Difference, excuses, plainly, post
from support.h11_reader import Seen, State, read
from support.odd_requests import Option, build
from support.parsed import Outcome, Request, assert_cuts_do_not_matter, bytewise, essence, parse, parse_pieces

EXAMPLES = 2500
RANDOM = 10_000

ENDINGS = (b"\r\n\r\n", b"\r\nHost: x\r\n\r\n", b"\nHost: x\r\n\r\n", b": x\r\nHost: x\r\n\r\n")


def compare(data: bytes) -> Outcome:
    """Fails where the two differ without a good reason. The outcome is ours."""
    ours = parse(data)
    at = 0
    for request in ours.requests:
        seen = read(data[at:])
        if seen.state is State.REFUSED:
            seen = read(plainly(data[at:]))
        assert seen.state is State.WHOLE, f"we take what h11 does not, at {at}: {request}"
        assert len(data) - seen.left == request.end, f"two ends: {request.end} is ours, h11: {seen}"
        assert differences.must_refuse(seen) == [], f"we should have refused at {at}"
        assert_equal(request, seen)
        at = request.end
    if ours.requests and not ours.requests[-1].keep_alive:
        return ours
    seen = read(data[at:])
    if seen.state is State.REFUSED:
        seen = read(plainly(data[at:]))
    if not ours.refused:
        assert seen.state is State.WAITING, f"we wait for more, h11: {seen}"
        return ours
    if seen.state is State.WAITING and not excuses(seen):
        # h11 looks at whole lines, or whole heads, and we at each byte. So see what would have become of it.
        for ending in ENDINGS:
            seen = read(plainly(data[at:]) + ending)
            assert seen.state is not State.WHOLE or excuses(seen), (
                f"refused ({ours.reason}) too soon at {at}: {seen}"
            )
        return ours
    assert seen.state is State.REFUSED or excuses(seen), f"we refuse at {at} ({ours.reason}), h11: {seen}"
    return ours


def assert_equal(request: Request, seen: Seen) -> None:
    head = seen.head
    assert head is not None
    assert (request.method.encode(), request.body) == (head.method, seen.body)
    assert re.sub(rb"[\x80-\xff]", b"x", request.target) == re.sub(rb"[\x80-\xff]", b"x", head.target)
    assert b"1.%d" % request.minor == head.http_version
    assert [_plain_line(*line) for line in request.lines] == [_plain_line(*line) for line in head.headers]
    if not differences.may_disagree_on_staying(seen):
        assert request.keep_alive == seen.keep_alive, "one would stay and one would not"


def _plain_line(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    if name == b"content-length":
        return name, value.lstrip(b"0") or b"0"
    return name, value.lower() if name == b"transfer-encoding" else value


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
LENGTH, SIZE, AND_CHUNKS = b"%d" % len(SMUGGLED), b"%x" % len(SMUGGLED), b"%d" % (len(SMUGGLED) + 5)
IN_CHUNKS = SIZE + b"\r\n" + SMUGGLED + b"\r\n0\r\n\r\n"
CLASSICS = {
    "CL.TE": post(b"Content-Length: " + AND_CHUNKS, CHUNKED, body=b"0\r\n\r\n" + SMUGGLED),
    "TE.CL": post(CHUNKED, b"Content-Length: 4", body=IN_CHUNKS),
    "CL.CL": post(b"Content-Length: 0", b"Content-Length: " + LENGTH, body=SMUGGLED),
    "CL.0": post(b"Content-Length: " + LENGTH, body=SMUGGLED),
    "a GET with a body": post(b"Content-Length: " + LENGTH, body=SMUGGLED).replace(b"POST", b"GET"),
    "a body under HTTP/1.0": post(
        b"Connection: keep-alive", b"Content-Length: " + LENGTH, body=SMUGGLED, version=b"1.0"
    ),
    "TE.TE": post(CHUNKED, b"Transfer-Encoding: x", b"Content-Length: 4", body=IN_CHUNKS),
    "TE behind a space": post(
        b"Content-Length: " + AND_CHUNKS, b"Transfer-Encoding : chunked", body=b"0\r\n\r\n" + SMUGGLED
    ),
    "TE behind a tab": post(
        b"Content-Length: " + AND_CHUNKS, b"Transfer-Encoding:\tchunked", body=b"0\r\n\r\n" + SMUGGLED
    ),
    "TE in a folded line": post(
        b"Content-Length: " + AND_CHUNKS, b"X: y\r\n " + CHUNKED, body=b"0\r\n\r\n" + SMUGGLED
    ),
    "TE behind a bare LF": post(
        b"Content-Length: " + AND_CHUNKS, b"X: y\n" + CHUNKED, body=b"0\r\n\r\n" + SMUGGLED
    ),
    "TE behind a bare CR": post(
        b"Content-Length: " + AND_CHUNKS, b"X: y\r" + CHUNKED, body=b"0\r\n\r\n" + SMUGGLED
    ),
    "TE with an underscore": post(b"Transfer_Encoding: chunked", body=SMUGGLED),
    "a length with an underscore": post(b"Content_Length: " + LENGTH, body=SMUGGLED),
    "a length in another line": post(b"X: y\r\n\tContent-Length: " + LENGTH, body=SMUGGLED),
    "a length with a sign": post(b"Content-Length: +" + LENGTH, body=SMUGGLED),
    "an octal length": post(b"Content-Length: 0" + LENGTH, body=SMUGGLED),
    "a length that wraps": post(b"Content-Length: %d" % (2**64 + len(SMUGGLED)), body=SMUGGLED),
    "a length that wraps in 32 bits": post(b"Content-Length: %d" % 2**32, body=SMUGGLED),
    "a chunk that wraps": post(CHUNKED, body=b"100000000000000" + IN_CHUNKS),
    "a chunk in an extension": post(CHUNKED, body=b"3;\nabc\r\n0\r\n\r\n" + SMUGGLED),
    "an extension in two lines": post(CHUNKED, body=b'3;x="\r\nabc\r\n0\r\n\r\n' + SMUGGLED),
    "a chunk that spills": post(CHUNKED, body=b"3\r\nabcd\r\n0\r\n\r\n" + SMUGGLED),
    "a chunk without its end": post(CHUNKED, body=b"3\r\nabc0\r\n\r\n" + SMUGGLED),
    "a chunk with two bytes for its end": post(CHUNKED, body=b"2\r\nabXX0\r\n\r\n" + SMUGGLED),
    "a request in the trailers": post(CHUNKED, body=b"0\r\n" + SMUGGLED),
    "a length in the trailers": post(CHUNKED, body=b"0\r\nContent-Length: 35\r\n\r\n" + SMUGGLED),
    "chunks under HTTP/1.0": post(CHUNKED, body=b"0\r\n\r\n" + SMUGGLED, version=b"1.0"),
    "an upgrade with a body": post(
        b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"Content-Length: " + LENGTH, body=SMUGGLED
    ),
    "an upgrade with chunks": post(b"Connection: Upgrade", b"Upgrade: websocket", CHUNKED, body=IN_CHUNKS),
    "CONNECT with a body": b"CONNECT / HTTP/1.1\r\nHost: x\r\nContent-Length: 35\r\n\r\n" + SMUGGLED,
    "two Hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "behind a close": post(b"Connection: close", body=SMUGGLED),
    "behind an expectation": post(b"Expect: 100-continue", b"Content-Length: " + LENGTH, body=SMUGGLED),
    "behind no end of a head": b"GET / HTTP/1.1\r\nHost: x\r\n\n" + SMUGGLED,
    "a request in a header": post(b"X: y\r\n\r\n" + SMUGGLED[:-4]),
}


@pytest.mark.parametrize("data", CLASSICS.values(), ids=CLASSICS)
def test_classic_smuggling(data: bytes) -> None:
    compare(data)
    compare(SMUGGLED + data + SMUGGLED)
    assert_cuts_do_not_matter(data)


@pytest.mark.parametrize("difference", ALLOWED, ids=[each.name for each in ALLOWED])
def test_each_difference_is_one(difference: Difference) -> None:
    """Else its entry would have no business here."""
    ours, theirs = parse(difference.example), read(difference.example)
    assert difference.why
    if difference in STAYS:
        assert difference.applies
        assert difference.applies(theirs)
        assert ours.requests[0].keep_alive is not theirs.keep_alive
    elif difference in STRICTER:
        assert excuses(theirs) == [difference.name]
        assert ours.refused
        assert theirs.state is not State.REFUSED
    else:
        assert len(ours.requests) == 1
        assert theirs.state is State.REFUSED
    compare(difference.example)


@st.composite
def inputs(draw: st.DrawFn) -> bytes:
    def choose(options: Sequence[Option], /) -> Option:
        return draw(st.sampled_from(options))

    return build(choose)


def check(data: bytes) -> None:
    """Against h11, and against ourselves where each byte comes on its own."""
    assert essence(parse_pieces(bytewise(data))) == essence(compare(data))


@settings(max_examples=EXAMPLES)
@given(inputs())
def test_generated_requests(data: bytes) -> None:
    check(data)


def test_more_of_them_in_less_time() -> None:
    """Without what Hypothesis adds to a choice: what fails here it can make small."""
    choices = random.Random(20240229)
    for _ in range(RANDOM):
        check(build(choices.choice))


def test_the_payloads_mean_what_they_say() -> None:
    assert len(SMUGGLED) == 35
    assert [request.body for request in parse(CLASSICS["CL.0"]).requests] == [SMUGGLED]
    assert [request.body for request in parse(CLASSICS["an upgrade with chunks"]).requests] == [SMUGGLED]


@pytest.mark.parametrize("blank", [b"\r", b"\r\r\n", b"\r\n\r"])
def test_a_bare_cr_before_a_request(blank: bytes) -> None:
    """RFC 9112, 2.2."""
    assert parse(blank + SMUGGLED).status == 400


@pytest.mark.parametrize(("version", "value", "stays"), [(b"1.1", b"close", True), (b"1.0", b"keep-alive", False)])
def test_proxy_connection_is_no_header_of_ours(version: bytes, value: bytes, stays: bool) -> None:
    """RFC 9112, C.2.2."""
    outcome = parse(post(b"Proxy-Connection: " + value, version=version))
    assert outcome.requests[0].keep_alive is stays
