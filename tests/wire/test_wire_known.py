"""A head that came before is read at a glance, and what is read is what a parser that knows nothing reads."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatgpt_platform.wire.head import Limits
from chatgpt_platform.wire.known import Known, LastKnown
from chatgpt_platform.wire.parser import RequestParser
from support.parsed import essence, in_two, parse, parse_pieces

LENGTH, ADDRESSES = b"Content-Length: %b", b"X-Forwarded-For: %b"
ODD = b"X-Forwarded-For: unknown"
ORDERS = [
    (LENGTH,), (LENGTH, ADDRESSES), (ADDRESSES, LENGTH), (ADDRESSES, LENGTH, ADDRESSES),
    (ADDRESSES, ODD, LENGTH), (LENGTH, ODD, ADDRESSES), (ODD, LENGTH),
]  # fmt: skip


def request(order: tuple[bytes, ...], figure: bytes, addresses: bytes, body: bytes) -> bytes:
    given = {LENGTH: figure, ADDRESSES: addresses}
    lines = [line % given[line] if line in given else line for line in order]
    return b"\r\n".join([b"POST /a HTTP/1.1", b"Host: x", *lines, b"Accept: */*", b"", body])


def first(order: tuple[bytes, ...]) -> bytes:
    return request(order, b"2", b"198.51.100.7, 10.0.0.1", b"{}")


bodies = st.binary(max_size=20)
junk = st.binary(max_size=12)
figures = st.one_of(st.just(b""), st.integers(0, 20).map(lambda figure: b"%d" % figure), junk)
lists = st.one_of(st.sampled_from([b"203.0.113.9", b"2001:db8::1, 10.0.0.2", b" 1.2.3.4 ", b"", b"x" * 300]), junk)


@given(st.sampled_from(ORDERS), figures, lists, bodies)
@example(ORDERS[2], b"3", b"1.2.3.4\r\nX-Evil: 1", b"abc")
@example(ORDERS[1], b"3\r\nX-Evil: 1", b"1.2.3.4", b"abc")
@example(ORDERS[1], b"0000000000000000003", b"1.2.3.4", b"abc")
@example(ORDERS[1], b"3", b"1.2.3.4\x00", b"abc")
@example(ORDERS[1], b"3", b"1.2.3.4\n", b"abc")
def test_another_of_its_kind(order: tuple[bytes, ...], figure: bytes, addresses: bytes, body: bytes) -> None:
    other = request(order, figure, addresses, body)
    expected = essence(parse(other))
    last = LastKnown()
    parse(first(order), last=last)
    assert essence(parse(other, last=last)) == expected, "on another connection"
    before, both = parse(first(order)), parse(first(order) + other)
    assert both.requests[:1] == before.requests
    moved = [(each.lines, each.fields, each.body) for each in both.requests[1:]]
    alone = [(each.lines, each.fields, each.body) for each in parse(other).requests]
    assert moved == alone, "on the same connection"
    assert both.status == parse(other).status


@given(st.sampled_from(ORDERS), st.data())
def test_a_head_that_differs_elsewhere(order: tuple[bytes, ...], data: st.DataObject) -> None:
    whole = first(order)
    at = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.binary(max_size=2))
    other = whole[:at] + byte + whole[at + 1 :]
    last = LastKnown()
    parse(whole, last=last)
    assert essence(parse(other, last=last)) == essence(parse(other))


@pytest.mark.parametrize("order", ORDERS)
def test_cuts_do_not_matter(order: tuple[bytes, ...]) -> None:
    other = request(order, b"3", b"203.0.113.9", b"abc")
    expected = essence(parse(other))
    for pieces in in_two(other):
        last = LastKnown()
        parse(first(order), last=last)
        assert essence(parse_pieces(pieces, last=last)) == expected


def head_of(parser: RequestParser, data: bytes) -> object:
    head, rest = parser.head(data)
    assert head is not None
    assert parser.take(rest) or parser.body(rest)
    assert parser.complete
    parser.next()
    return head


def test_the_same_head_is_the_same_object_with_its_memo() -> None:
    order = ORDERS[1]
    parser = RequestParser(Limits())
    known, _ = parser.head(first(order))
    assert known is not None
    parser.body(b"{}")
    parser.next()
    known.memo = memo = object()
    again, rest = parser.head(request(order, b"3", b"203.0.113.9", b"abc"))
    assert again is known
    assert again.memo is memo
    assert (again.length, again.fields[b"x-forwarded-for"], rest) == (3, b"203.0.113.9", b"abc")


def test_connections_share_what_was_made_of_a_head_but_not_the_head() -> None:
    last = LastKnown()
    one, two = (RequestParser(Limits(), last) for _ in range(2))
    here, _ = one.head(first(ORDERS[1]))
    assert here is not None
    here.memo = memo = object()
    there, _ = two.head(request(ORDERS[1], b"3", b"203.0.113.9", b"abc"))
    assert there is not None
    assert there is not here
    assert there.memo is memo
    assert (here.length, here.fields[b"x-forwarded-for"]) == (2, b"198.51.100.7, 10.0.0.1")
    assert (there.length, there.fields[b"x-forwarded-for"]) == (3, b"203.0.113.9")


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1 \r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        first(ORDERS[3]),
        first(ORDERS[4]),
        first(ORDERS[5]),
    ],
)
def test_what_is_not_remembered(data: bytes) -> None:
    last = LastKnown()
    assert len(parse(data, last=last).requests) == 1
    assert last.known is None


@pytest.mark.interpreted("replaces a function of ours")
def test_a_connection_of_ever_different_heads_stops_to_remember(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[bytes] = []

    def counted(head: object, sent: bytes, *_: int) -> None:
        looked.append(sent)

    monkeypatch.setattr(Known, "of", counted)
    parser = RequestParser(Limits())
    for number in range(20):
        head_of(parser, b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx" % number)
    assert len(looked) == 3


def test_no_repr_shows_a_header() -> None:
    last = LastKnown()
    parse(first(ORDERS[0]).replace(b"Accept: */*", b"Authorization: Bearer test-key-1"), last=last)
    assert last.known is not None
    assert "test-key-1" not in repr(last.known)
    assert "test-key-1" not in repr(last.known.head)
