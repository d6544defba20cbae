"""Requests as they should be, and as an attacker would send them: a grammar, and ways to spoil what it makes.

    build(random.choice)          # bytes of one connection, as random as the choices

The choices are the caller's, so that Hypothesis can make, shrink and remember them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol, TypeVar

Option = TypeVar("Option")


class Choose(Protocol):
    """Picks one of several."""

    def __call__(self, options: Sequence[Option], /) -> Option: ...


# The first of each is the plain one: Hypothesis shrinks towards it.
METHODS = (b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"CONNECT", b"PRI", b"M-SEARCH", b"get", b"A" * 24)
ODD_METHODS = (
    b"",
    b"A" * 25,
    b"G(T",
    b"G\0T",
    b"\xff",
    b" GET",
    b"GET ",
    b"\r\nGET",
    b"\nGET",
    b"\rGET",
    b"GE\tT",
)
TARGETS = (b"/", b"/a?b=c", b"*", b"//x", b"/%00", b"/a;b", b"/\xc3\xa9", b"/?\xff", b"/[]{}|\\^")
ODD_TARGETS = (
    b"", b"http://x/", b"https://x", b"x:443", b"/#a", b"#", b"/ /", b"/\t", b"/\0", b"/\x7f", b"?a", b"**", b"x",
    b"/\r\n", b"/ HTTP/1.1\r\nX: y", b"\xc3\xa9", b" /", b"/ ",
)  # fmt: skip
VERSIONS = (b"HTTP/1.1", b"HTTP/1.0")
ODD_VERSIONS = (
    b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.10", b"HTTP/1", b"http/1.1", b"HTTP/1.1 ", b"HTTP/1.1\t", b"",
    b"RTSP/1.0", b"HTTP/+1.1", b"HTTP/1.\xb1", b" HTTP/1.1",
)  # fmt: skip
HOSTS = (b"x", b"", b"x:80", b"[::1]:80", b"a.example", b"x%41")
ODD_HOSTS = (
    b"x, y",
    b"x y",
    b"u@x",
    b"x/",
    b"x#",
    b"[::1",
    b"x:a",
    b"x\0",
    b"\xc3\xa9",
    b"x:80:80",
    b"[x]",
    b"\tx\t",
)
LINES = (
    b"X: y", b"X:", b"X:y ", b"Accept:\t*/*\t", b"X_Y: z", b"Connection: close", b"Connection: keep-alive",
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c", b"Upgrade: websocket\r\nConnection: upgrade",
    b"Expect: 100-continue", b"Connection: a, close", b"X: \xe9", b"Proxy-Connection: close", b"Trailer: X",
    b"Keep-Alive: max=1", b"X-Content-Length: 3", b"X: Transfer-Encoding: chunked", b"TE: trailers",
)  # fmt: skip
ODD_LINES = (
    b"X : y", b" X: y", b"X", b": y", b"X: a\x01b", b"X: a\0b", b"X: a\rb", b"X: a\nb", b"X: a\r\n b", b"X\t: y",
    b"X: a\r", b"X: \x0b", b"X: a\x7f", b"X(: y", b"\xffX: y", b"Host: z", b"X: y\n", b"\rX: y", b"X: a\x85",
    b"Content_Length: 5", b"Content-Length : 5", b"Transfer-Encoding : chunked", b"Transfer_Encoding: chunked",
    b"X: y\r\n\tTransfer-Encoding: chunked", b"Connection: close\r\n x", b"Host:\r\n x", b"Connection: cl\0ose",
)  # fmt: skip
CODINGS = (b"chunked", b"Chunked", b"chunked ", b"\tchunked")
ODD_CODINGS = (
    b"identity", b"gzip, chunked", b"chunked, chunked", b"chunked, identity", b"xchunked", b"chunked;q=1",
    b'"chunked"', b"", b"\x0bchunked", b"chunked\0", b"chunked\r", b"chu\r\n nked", b",chunked", b"chunked,",
    b"chunked\r\nTransfer-Encoding: identity", b"\xa0chunked", b"chunke\xc4\x91", b"chunked\r\nContent-Length: 3",
)  # fmt: skip
ODD_NUMBERS = (
    b"+3", b"-3", b"-0", b"3,3", b"3, 3", b"3,4", b"3 3", b"0x3", b"3.0", b"3e0", b"1_0", b"", b"\xb2",
    b"003", b"0" * 30 + b"3", b"9" * 19, b"9" * 20, b"9" * 21, b"%d" % 2**63, b"%d" % 2**64, b"%d" % (2**64 + 3),
    b"ffffffffffffffff", b"10000000000000003", b"00000000000000003", b"3;", b"3\0", b"\x0b3", b"3\r", b"3\n",
    b" 3",
    b"3 ", b"4", b"2", b"0", b"3\r\nContent-Length: 3", b"3\r\nContent-Length: 4",
)  # fmt: skip
CONTENTS = (b"", b"abc", b"\r\n", b"0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"a" * 17, b"\0\xff\n")
EXTENSIONS = (b"", b";x", b";x=y", b';x="y; \t\\" "', b";x;y=z", b";x=")
ODD_EXTENSIONS = (
    b" ", b"\t", b";", b"; x", b";x ", b" ;x", b";x=y z", b';x="y', b";x\ny", b";x\ry", b";\0", b";\xff", b";;x",
    b";=",
    b';x="\x01"', b";x\x7f", b';x="\xe9"', b";x=(", b';a="b"c', b"x",
)  # fmt: skip
ODD_ENDS = (b"\n", b"\r", b"", b"\r\r\n", b"\n\r", b" \r\n", b"\r\n ")
TRAILERS = (
    b"X: y\r\n",
    b"Content-Length: 3\r\n",
    b"X : y\r\n",
    b" X\r\n",
    b"GET / HTTP/1.1\r\n",
    b"\n",
    b"X: a\n",
)
INSERTED = (
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b"\0", b"\x0b", b"\x0c", b"\x1b", b"\x7f", b"\x80", b"\xff",
    b":", b",", b"+", b"-", b"0", b"1", b"f", b"x", b";", b'"', b"\\", b"#", b"/", b"\r\n ", b"\r\nHost: z",
    b"\n\n", b"\r\nTransfer-Encoding: chunked", b"\r\nContent-Length: 3", b"\r\nConnection: close", b"0\r\n\r\n",
    b"\x85", b"\xa0", b" HTTP/1.1", b"0000000000000000000000",
)  # fmt: skip
_MARKS = re.compile(rb"[\r\n:; /,0-9]|(?<=[\n ])\w")


def build(choose: Choose) -> bytes:
    """What a client sends on one connection: up to three requests, spoilt up to three times."""
    data = b"".join(_request(choose, odd=choose((False, False, True))) for _ in range(choose((1, 1, 2, 3))))
    data += choose((b"", b"", b"", b"\r\n", b"G", b"\x16\x03\x01"))
    for _ in range(choose((0, 0, 0, 1, 1, 2, 3))):
        data = _spoilt(choose, data)
    return data


def _of(choose: Choose, plain: Sequence[bytes], unusual: Sequence[bytes], odd: bool) -> bytes:
    return choose(unusual) if odd and choose((0, 0, 0, 0, 0, 1)) else choose(plain)


def _request(choose: Choose, *, odd: bool) -> bytes:
    first = b"%b %b %b" % (
        _of(choose, METHODS, ODD_METHODS, odd),
        _of(choose, TARGETS, ODD_TARGETS, odd),
        _of(choose, (*VERSIONS[:1] * 3, *VERSIONS), ODD_VERSIONS, odd),
    )
    lines = [_of(choose, LINES, ODD_LINES, odd) for _ in range(choose((0, 1, 2)))]
    lines.insert(choose((0, len(lines))), b"Host: " + _of(choose, HOSTS, ODD_HOSTS, odd))
    framing, body = _framed(choose, odd=odd)
    at = choose((len(lines), 0))
    lines[at:at] = framing
    if odd and choose((0, 0, 0, 0, 0, 0, 1)):
        lines = lines[1:]  # perhaps without a Host
    end = choose(ODD_ENDS) if odd and choose((0, 0, 0, 0, 0, 0, 1)) else b"\r\n"
    return first + b"\r\n" + end.join([*lines, b"\r\n"]) + body if lines else first + b"\r\n\r\n" + body


def _framed(choose: Choose, *, odd: bool) -> tuple[list[bytes], bytes]:
    """Header lines that frame a body, and the body."""
    kind = choose(("none", "length", "chunked", "chunked", "both" if odd else "length"))
    if kind == "none":
        return [], b""
    content = choose(CONTENTS)
    length = b"Content-Length: " + _of(choose, [b"%d" % len(content)], ODD_NUMBERS, odd)
    if kind == "length":
        return [length], content
    coding = choose((b"Transfer-Encoding: ", b"transfer-encoding:")) + _of(choose, CODINGS, ODD_CODINGS, odd)
    chunked = b"".join(_chunk(choose, choose(CONTENTS[1:]), odd=odd) for _ in range(choose((0, 1, 2))))
    last = choose((b"0", b"0", b"000", b"00;x=y"))
    trailer = choose(TRAILERS) if odd and choose((False, False, False, True)) else b""
    chunked += last + b"\r\n" + trailer + b"\r\n"
    if kind == "chunked":
        return [coding], chunked
    return choose(([length, coding], [coding, length])), choose((chunked, content))


def _chunk(choose: Choose, content: bytes, *, odd: bool) -> bytes:
    size = _of(choose, [choose((b"%x", b"%X", b"00%x")) % len(content)], ODD_NUMBERS, odd)
    extension = _of(choose, EXTENSIONS, ODD_EXTENSIONS, odd)
    end = _of(choose, [b"\r\n"], ODD_ENDS, odd)
    return size + extension + end + content + _of(choose, [b"\r\n"], ODD_ENDS, odd)


def _spoilt(choose: Choose, data: bytes) -> bytes:
    """Changed in one place, as a rule one that means something."""
    marks = [match.start() for match in _MARKS.finditer(data)]
    at = choose(marks or [0])
    lines = data.split(b"\r\n")
    match choose(("insert", "insert", "remove", "change", "repeat", "swap", "digits", "cut", "end", "flip")):
        case "insert":
            at += choose((0, 1))
            return data[:at] + choose(INSERTED) + data[at:]
        case "remove":
            return data[:at] + data[at + choose((1, 1, 2, 4, 9)) :]
        case "change":
            return data[:at] + choose(INSERTED) + data[at + 1 :]
        case "flip":
            return (
                data[:at] + bytes([data[at] ^ choose((1, 2, 4, 8, 16, 32, 64, 128))]) + data[at + 1 :]
                if data
                else b""
            )
        case "repeat":
            which = choose(range(len(lines)))
            return b"\r\n".join([*lines[: which + 1], *lines[which:]])
        case "swap":
            one, other = choose(range(len(lines))), choose(range(len(lines)))
            lines[one], lines[other] = lines[other], lines[one]
            return b"\r\n".join(lines)
        case "digits":
            found = choose(list(re.finditer(rb"\d+|\Z", data)))
            return data[: found.start()] + choose(ODD_NUMBERS) + data[found.end() :]
        case "end":
            ends = [place for place in range(len(data)) if data.startswith(b"\r\n", place)] or [0]
            place = choose(ends)
            return data[:place] + choose(ODD_ENDS) + data[place + 2 :]
        case _:
            return data[: choose(range(len(data) + 1))]
