"""Where our parser and h11 may differ, each with its reason. Anything else is a fault of ours.

``excuses`` names what lets us refuse a request that h11 takes; where it names something, we must refuse.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from support.h11_reader import Seen, plain_sizes


@dataclass(frozen=True)
class Difference:
    """``applies``: whether it holds for a request that h11 has read. ``plain``: the same request as h11 takes it.
    ``why``: it is right as it is. ``always``: where it applies, we never take the request.
    """

    name: str
    why: str
    example: bytes
    applies: Callable[[Seen], bool] | None = None
    plain: Callable[[bytes], bytes] | None = None
    always: bool = True


def post(*lines: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    """A request with a Host, these header lines and this body, whatever they say."""
    return b"\r\n".join([b"POST / HTTP/" + version, b"Host: x", *lines, b"", body])


CHUNKED = b"Transfer-Encoding: chunked"
_CONTROL = re.compile(rb"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]")
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
_EXTENSION_VALUE = rb"=%b*(?:%b)?" % (_TOKEN, _QUOTED)
_SIZE_LINE = re.compile(
    rb"[0-9A-Fa-f]+(?:(?:;%b*(?:%b)?)*;(?:%b+(?:%b)?|%b))?"
    % (_TOKEN, _EXTENSION_VALUE, _TOKEN, _EXTENSION_VALUE, _EXTENSION_VALUE)
)
"""Extensions in RFC 9112's form without white space; parts may be missing, which changes no framing."""
_HOST = re.compile(rb"([-0-9A-Za-z._~%!$&'()*+;=]*|\[[0-9A-Fa-f:.]+\])(:[0-9]*)?")


def _target(seen: Seen) -> bytes:
    return seen.head.target if seen.head else b""


def _is_1_0(seen: Seen) -> bool:
    return seen.head is not None and seen.head.http_version == b"1.0"


def _sizes(seen: Seen) -> list[bytes]:
    return seen.size_lines() if seen.field(b"transfer-encoding") else []


STRICTER = (
    Difference(
        "bare LF",
        "RFC 9112, 2.2 lets a reader take it for an end of line, or not: two readers, two kinds of requests.",
        b"GET / HTTP/1.1\nHost: x\n\n",
        lambda seen: re.search(rb"(?<!\r)\n", seen.raw_head) is not None,
    ),
    Difference(
        "bare LF behind the chunks",
        "The same in the last line of a chunked body.",
        post(CHUNKED, body=b"0\r\n\n"),
        lambda seen: bool(_sizes(seen)) and re.search(rb"0[^\n]*\r\n\n\Z", seen.raw_body) is not None,
    ),
    Difference(
        "folded line",
        "RFC 9112, 5.2: a server must refuse it, or unfold it as h11 does.",
        post(b"X: a\r\n b"),
        lambda seen: re.search(rb"\n[ \t]", seen.raw_head) is not None,
    ),
    Difference(
        "control character",
        "RFC 9110, 5.5 forbids it; h11 takes it for the sake of some cookies.",
        post(b"X: a\x01b"),
        lambda seen: _CONTROL.search(seen.raw_head) is not None,
    ),
    Difference(
        "version",
        "We speak 1.1 and 1.0 only; h11 takes any two digits.",
        b"GET / HTTP/1.2\r\nHost: x\r\n\r\n",
        lambda seen: seen.head is not None and seen.head.http_version not in (b"1.1", b"1.0"),
    ),
    Difference(
        "target",
        "We are no proxy: only /path and * lead anywhere here; h11 leaves targets to its user.",
        b"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
        lambda seen: not _target(seen).startswith(b"/") and _target(seen) != b"*",
    ),
    Difference(
        "fragment",
        "RFC 9110, 7.1: never sent; a path that two readers cut at two places gets round rules.",
        b"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n",
        lambda seen: b"#" in _target(seen),
    ),
    Difference(
        "long method",
        "No method has more than 24 letters.",
        b"A" * 25 + b" / HTTP/1.1\r\nHost: x\r\n\r\n",
        lambda seen: seen.head is not None and len(seen.head.method) > 24,
    ),
    Difference(
        "host",
        "RFC 9112, 3.2: a bad Host must be refused; a comma may stand between two that somebody joined.",
        b"GET / HTTP/1.1\r\nHost: x, y\r\n\r\n",
        lambda seen: _HOST.fullmatch(seen.field(b"host") or b"") is None,
    ),
    Difference(
        "two lengths",
        "RFC 9110, 8.6 lets a reader merge equal ones, or refuse; nobody but an attacker sends them.",
        post(b"Content-Length: 3, 3", body=b"abc"),
        lambda seen: len(seen.lines(b"content-length")) > 1 or b"," in b"".join(seen.lines(b"content-length")),
    ),
    Difference(
        "length and chunked",
        "RFC 9112, 6.1 lets a reader believe the chunks, or refuse: this is request smuggling itself.",
        post(b"Content-Length: 3", CHUNKED, body=b"0\r\n\r\n"),
        lambda seen: bool(seen.lines(b"content-length") and seen.lines(b"transfer-encoding")),
    ),
    Difference(
        "chunked under HTTP/1.0",
        "RFC 9112, 6.1: treat it as faulty framing, since what stands between may not know of chunks.",
        post(CHUNKED, body=b"0\r\n\r\n", version=b"1.0"),
        lambda seen: _is_1_0(seen) and seen.field(b"transfer-encoding") is not None,
    ),
    Difference(
        "huge length",
        "What does not fit into 64 bits; Python's numbers have no end.",
        post(b"Content-Length: %d" % 2**64),
        lambda seen: int(seen.field(b"content-length") or b"0") >= 2**64,
    ),
    Difference(
        "huge chunk",
        "The same for a chunk.",
        post(CHUNKED, body=b"10000000000000000\r\n"),
        lambda seen: any(int(line.partition(b";")[0], 16) >= 2**64 for line in _sizes(seen)),
    ),
    Difference(
        "chunk extension",
        "RFC 9112, 7.1.1 has a grammar, and white space in it that nobody sends; h11 takes anything up to CRLF.",
        post(CHUNKED, body=b"3;a\x00\r\nabc\r\n0\r\n\r\n"),
        lambda seen: any(not _SIZE_LINE.fullmatch(line) for line in _sizes(seen)),
    ),
    Difference(
        "tab behind a coding",
        "llhttp refuses it, though not beside an upgrade; RFC 9112, 6.1 lets a server refuse any coding.",
        post(b"Transfer-Encoding: chunked\t", body=b"0\r\n\r\n"),
        lambda seen: any(re.search(rb"\t *\r\Z", line) for line in seen.raw_lines(b"transfer-encoding")),
        always=False,
    ),
    Difference(
        "trailers",
        "h11 takes them and we refuse: nobody here wants them, and they could pose as headers.",
        post(CHUNKED, body=b"0\r\nX: y\r\n\r\n"),
        lambda seen: seen.trailers,
    ),
)
"""h11 takes it and we never do."""


def _without_blank_lines(data: bytes) -> bytes:
    match = re.match(rb"(?:\r?\n)*(?:\r\Z)?", data)  # at the end half of one may stand
    assert match
    return data[match.end() :]


def _without_non_ascii(data: bytes) -> bytes:
    line, found, rest = data.partition(b"\r\n")
    method, space, target = line.partition(b" ")
    return method + space + re.sub(rb"[\x80-\xff]", b"x", target) + found + rest


def _without_zeros(data: bytes) -> bytes:
    head, found, body = data.partition(b"\r\n\r\n")
    head = re.sub(rb"(?im)^(content-length:[ \t]*)0+(?=[0-9]+[ \t]*\r?$)", rb"\1", head)
    if re.search(rb"(?im)^transfer-encoding:[ \t]*chunked[ \t]*\r?$", head):
        body = plain_sizes(body)
    return head + found + body


MILDER = (
    Difference(
        "empty lines before a request",
        "RFC 9112, 2.2: a server should ignore them.",
        b"\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
        plain=_without_blank_lines,
    ),
    Difference(
        "UTF-8 in a target",
        "curl and browsers' scripts send it as it is; it cannot be taken for an end of anything.",
        b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n",
        plain=_without_non_ascii,
    ),
    Difference(
        "leading zeros",
        "They are digits and change no number; h11 counts 20 digits.",
        post(b"Content-Length: " + b"0" * 30 + b"3", body=b"abc"),
        plain=_without_zeros,
    ),
)
"""We take it and h11 does not, unless it is put plainly."""


STAYS = (
    Difference(
        "keep-alive under HTTP/1.0",
        "A client may ask for it, and is told; h11 always closes there.",
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        lambda seen: _is_1_0(seen) and b"keep-alive" in b",".join(seen.lines(b"connection")).lower(),
    ),
)
"""Who is thought to use the connection again."""


ALLOWED = (*STRICTER, *MILDER, *STAYS)


def excuses(seen: Seen) -> list[str]:
    """The allowed differences that make us refuse what h11 has seen so."""
    return [each.name for each in STRICTER if each.applies and seen.head and each.applies(seen)]


def must_refuse(seen: Seen) -> list[str]:
    """Those of them that leave no choice."""
    return [each.name for each in STRICTER if each.always and each.name in excuses(seen)]


def plainly(data: bytes) -> bytes:
    """The request without what h11 refuses and we take."""
    for each in MILDER:
        if each.plain:
            data = each.plain(data)
    return data


def may_disagree_on_staying(seen: Seen) -> bool:
    """Whether the two may differ in who would use the connection again."""
    return any(each.applies(seen) for each in STAYS if each.applies)
