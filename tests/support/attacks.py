"""Requests that try to be two, to be none, or to cost too much: what the gateway must refuse, in tables.

Each would, if it were taken, reach the upstream: it asks for an answer of a model, and so does what it hides.
"""

from __future__ import annotations

from dataclasses import dataclass

JSON = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"x"}],"prompt":"x"}'
SMUGGLED = b"GET /chatgpt?prompt=smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
GOOD = b"GET /chatgpt?prompt=x HTTP/1.1\r\nHost: x\r\n\r\n"
FIRST_LINES = {"platform": b"POST /api HTTP/1.1", "openai": b"POST /v1/chat/completions HTTP/1.1"}
TYPE = b"Content-Type: application/json"

_LENGTH = b"Content-Length: %d" % len(JSON)
_CHUNKED = b"Transfer-Encoding: chunked"
_SIZE = b"%x\r\n" % len(JSON)
_IN_CHUNKS = _SIZE + JSON + b"\r\n0\r\n\r\n"
_CHUNKS_AND_MORE = b"0\r\n\r\n" + SMUGGLED
_LENGTH_OF_BOTH = b"Content-Length: %d" % len(_CHUNKS_AND_MORE)


@dataclass(frozen=True)
class Attack:
    """``lines``: header lines, put below Host and Content-Type. ``head``: instead of all header lines."""

    lines: tuple[bytes, ...] = ()
    body: bytes = JSON
    status: int = 400
    head: bytes | None = None

    def data(self, first: bytes) -> bytes:
        head = b"\r\n".join((b"Host: x", TYPE, *self.lines)) if self.head is None else self.head
        return first + b"\r\n" + head + b"\r\n\r\n" + self.body


def _with(*lines: bytes, body: bytes = JSON + SMUGGLED, status: int = 400) -> Attack:
    return Attack(lines, body, status)


def _length(value: bytes) -> Attack:
    return _with(b"Content-Length: " + value)


def _coding(value: bytes) -> Attack:
    return _with(b"Transfer-Encoding: " + value, body=_IN_CHUNKS + SMUGGLED)


def _chunks(body: bytes, status: int = 400) -> Attack:
    return _with(_CHUNKED, body=body, status=status)


def _line(line: bytes) -> Attack:
    return _with(line, _LENGTH)


def _host(*lines: bytes) -> Attack:
    return Attack(head=b"\r\n".join((*lines, TYPE, _LENGTH)))


N = b"%d" % len(JSON)

FRAMING = {
    "CL.TE": _with(_LENGTH_OF_BOTH, _CHUNKED, body=_CHUNKS_AND_MORE),
    "TE.CL": _with(_CHUNKED, b"Content-Length: 4", body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)),
    "CL.TE with a length of 0": _with(b"Content-Length: 0", _CHUNKED, body=_IN_CHUNKS + SMUGGLED),
    "CL.TE with an equal length": _with(b"Content-Length: %d" % len(_IN_CHUNKS), _CHUNKED, body=_IN_CHUNKS),
    "CL.CL": _with(_LENGTH, b"Content-Length: %d" % (len(JSON) + len(SMUGGLED))),
    "CL.CL the same": _with(_LENGTH, _LENGTH),
    "CL.CL, the first 0": _with(b"Content-Length: 0", _LENGTH),
    "CL.CL in other letters": _with(_LENGTH, b"CONTENT-LENGTH: 0"),
    "CL.TE behind a space": _with(_LENGTH_OF_BOTH, b"Transfer-Encoding : chunked", body=_CHUNKS_AND_MORE),
    "CL.TE behind a vertical tab": _with(_LENGTH_OF_BOTH, b"Transfer-Encoding:\x0bchunked", body=_CHUNKS_AND_MORE),
    "CL.TE behind a bare LF": _with(_LENGTH_OF_BOTH, b"X: y\n" + _CHUNKED, body=_CHUNKS_AND_MORE),
    "CL.TE behind a bare CR": _with(_LENGTH_OF_BOTH, b"X: y\r" + _CHUNKED, body=_CHUNKS_AND_MORE),
    "CL.TE behind a NUL": _with(_LENGTH_OF_BOTH, b"X: y\0" + _CHUNKED, body=_CHUNKS_AND_MORE),
    "CL.TE folded": _with(_LENGTH_OF_BOTH, b"Transfer-Encoding:\r\n chunked", body=_CHUNKS_AND_MORE),
    "CL.TE folded with a tab": _with(_LENGTH_OF_BOTH, b"X: y\r\n\t" + _CHUNKED, body=_CHUNKS_AND_MORE),
    "CL.TE with a space before": _with(_LENGTH_OF_BOTH, b" " + _CHUNKED, body=_CHUNKS_AND_MORE),
    "CL.TE with no colon": _with(_LENGTH_OF_BOTH, b"Transfer-Encoding chunked", body=_CHUNKS_AND_MORE),
    "CL.TE identity": _with(_LENGTH, b"Transfer-Encoding: identity"),
    "CL.TE empty": _with(_LENGTH, b"Transfer-Encoding:"),
    "TE.TE": _with(_CHUNKED, b"Transfer-Encoding: x", body=_IN_CHUNKS),
    "TE.TE turned": _with(b"Transfer-Encoding: x", _CHUNKED, body=_IN_CHUNKS),
    "TE.TE the same": _with(_CHUNKED, _CHUNKED, body=_IN_CHUNKS),
    "an upgrade, CL.TE": _with(
        b"Connection: Upgrade", b"Upgrade: h2c", _LENGTH_OF_BOTH, _CHUNKED, body=_CHUNKS_AND_MORE
    ),
    "an upgrade, TE.CL behind it": _with(
        _CHUNKED, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", _LENGTH, body=_IN_CHUNKS
    ),
    "an upgrade, TE.TE": _with(
        b"Connection: Upgrade", b"Upgrade: websocket", b"Transfer-Encoding: gzip, chunked", body=_IN_CHUNKS
    ),
    "an upgrade with bad chunks": _with(b"Connection: Upgrade", b"Upgrade: h2c", _CHUNKED, body=b"x\r\n"),
    "a close, CL.TE": _with(b"Connection: close", _LENGTH_OF_BOTH, _CHUNKED, body=_CHUNKS_AND_MORE),
    "an expectation, CL.TE": _with(b"Expect: 100-continue", _LENGTH_OF_BOTH, _CHUNKED, body=_CHUNKS_AND_MORE),
    **{
        f"length {value!r}": _length(value)
        for value in (
            b"+" + N, b"-" + N, b"-0", b"-1", N + b"," + N, N + b", " + N, N + b",", b"," + N, N + b" " + N,
            b"0x%x" % len(JSON), N + b".0", N + b"e0", b"1_0", b"", b" ", b"ten",
            b'"' + N + b'"', N + b";", N + b"\0",
            b"\0" + N, N + b"\x0b", b"\x0c" + N, b"%d" % (2**64 + len(JSON)), b"%d" % 2**64,
            b"9" * 400, N + b"\r",
            b"-%d" % (2**64 - len(JSON)), "\N{FULLWIDTH DIGIT ONE}".encode(),
            b"\xb2", N + b"\r\n 0", N + b"#", b"1 0",
            b"NaN", b"inf", b"0b11", b"--1", b"+-1", N + b"\t" + N, N + b"\x85", b"%" + N,
        )
    },
    **{
        f"coding {value!r}": _coding(value)
        for value in (
            b"identity", b"gzip", b"x", b"", b"gzip, chunked", b"chunked, gzip", b"chunked, chunked",
            b"identity, chunked",
            b"chunked, identity", b"chunked,", b",chunked", b", chunked", b"chunked;", b"chunked;q=0.5",
            b'"chunked"',
            b"xchunked", b"chunkedx", b"chunk", b"chunked chunked", b"chunked\0", b"\0chunked", b"chunked\x0b",
            b"\x0cchunked", b"chunked\r\n ,x", b"chun\r\n ked", b"chunked\r", b"\xa0chunked", b"chunked\xa0",
            "ｃhunked".encode(), "chun\N{KELVIN SIGN}ed".encode(), b"chunked/1", b"(chunked)", b"'chunked'",
            b"chunked\x85",
        )
    },
}  # fmt: skip

CHUNKS = {
    f"chunks {body!r}": _chunks(body)
    for body in (
        b"+" + _IN_CHUNKS, b"-" + _IN_CHUNKS, b"0x" + _IN_CHUNKS, b" " + _IN_CHUNKS, b"\t" + _IN_CHUNKS,
        b"\0" + _IN_CHUNKS, b"\n" + _IN_CHUNKS, b"\r\n" + _IN_CHUNKS, b";" + _IN_CHUNKS, b"g" + _IN_CHUNKS,
        b"-1\r\n" + SMUGGLED, b"-0\r\n\r\n" + SMUGGLED, b"0 \r\n\r\n" + SMUGGLED, b"0\n\r\n" + SMUGGLED,
        b"0\r\n\n" + SMUGGLED, b"0\r\n\rX\r\n" + SMUGGLED, b"0\n\n" + SMUGGLED, b"0;\r\n\r\n" + SMUGGLED,
        b"0;a\nb\r\n\r\n" + SMUGGLED, b"0;a\0\r\n\r\n" + SMUGGLED, b'0;a="\r\n\r\n' + SMUGGLED,
        b"0\r\n" + SMUGGLED, b"0\r\nX: y\r\n\r\n" + SMUGGLED, b"0\r\nContent-Length: 9\r\n\r\n" + SMUGGLED,
        b"0\r\nHost: y\r\n\r\n" + SMUGGLED, b"0\r\nTransfer-Encoding: chunked\r\n\r\n" + SMUGGLED,
        b"0\r\nAuthorization: Bearer x\r\n\r\n" + SMUGGLED, b"0\r\n X\r\n\r\n", b"0\r\nX\r\n\r\n",
        b"0\r\n: y\r\n\r\n",
        b"0\r\nX : y\r\n\r\n", b"10000000000000000\r\n" + SMUGGLED,
        b"%x\r\n" % (2**64 + len(JSON)) + _IN_CHUNKS,
        b"f" * 17 + b"\r\n", b"f" * 400 + b"\r\n", b"%d.0\r\n" % len(JSON), b"1_0\r\n", b"\xb2\r\n",
        b"1,1\r\nx\r\n",
        _SIZE + JSON + b"x\r\n0\r\n\r\n", _SIZE + JSON + b"0\r\n\r\n", _SIZE + JSON + b"\n0\r\n\r\n",
        _SIZE + JSON + b"\r0\r\n\r\n", _SIZE + JSON[:-1] + b"\r\n0\r\n\r\n", _SIZE + JSON + b"\r\n\r\n",
        _SIZE + JSON + b"\r\n" + SMUGGLED, _SIZE + JSON + b"XX0\r\n\r\n" + SMUGGLED,
        _SIZE[:-2] + b"\n" + JSON + b"\r\n0\r\n\r\n", _SIZE[:-2] + b"\r\r\n" + JSON, _SIZE[:-2] + b" \r\n" + JSON,
        _SIZE[:-2] + b"\0\r\n" + JSON, _SIZE[:-2] + b" ;x\r\n" + JSON, _SIZE[:-2] + b";a\rb\r\n" + JSON, JSON,
        SMUGGLED,
        b"1;" + b"x" * 20_000 + b"\r\n", b"0" * 20_000,
    )
}  # fmt: skip

LINES = {
    f"line {line!r}": _line(line)
    for line in (
        b"X : y", b"X\t: y", b" X: y", b"\tX: y", b": y", b"X", b"X\0: y", b"X\x01: y", b"X\x7f: y",
        b"X\x80: y",
        b"X Y: z", b"X(: y", b"X,: y", b"X/Y: z", b'"X": y', b"X=: y", b"{X}: y", b"[X]: y", b"X@: y",
        b"X\\: y",
        b"X: a\0b", b"X: a\x01b", b"X: a\x08b", b"X: a\x0bb", b"X: a\x0cb", b"X: a\x1b[31mb", b"X: a\x7fb",
        b"X: a\rb", b"X: a\nb", b"X: a\r", b"X: a\n", b"X: a\n\n" + SMUGGLED, b"X: a\r\r\n" + SMUGGLED,
        b"X:\r\n a",
        b"X: a\r\n b", b"X: a\r\n\tb", b"X: a\r\n ", b"\rX: y", b"\nX: y", b"X\r: y", b"X\n: y",
        b"X: a\n\rb: c",
        b"X: a\rContent-Length: 0", b"X: a\nContent-Length: 0", b"Content-Length\0: 0", b"Content-Length : 0",
        b"Content-Length\t: 0", b"Content Length: 0", b"\xc2\xa0Content-Length: 0",
        b"Content-Length\xc2\xad: 0",
        b"\0", b"\x16\x03\x01", b"HTTP/1.1 200 OK", b"GET / HTTP/1.1", SMUGGLED[:-4].replace(b"\r\n", b"\n"),
        b"Host: x",
        b"Host: y", b"hOST:", b"\xef\xbb\xbfX: y", b"X\xe2\x80\xa8: y",
    )
}  # fmt: skip

HOSTS = {
    "no Host": _host(),
    "two Hosts": _host(b"Host: x", b"Host: y"),
    "two equal Hosts": _host(b"Host: x", b"host: x"),
    "an empty Host and one": _host(b"Host:", b"Host: x"),
    "a Host with an underscore in its name": _host(b"H_ost: x"),
    "a Host behind a space": _host(b"Host : x"),
    "a folded Host": _host(b"Host:\r\n x"),
    **{
        f"Host {host!r}": _host(b"Host: " + host)
        for host in (
            b"x, y", b"x,y", b"x y", b"u@x", b"u:p@x", b"x/", b"http://x", b"x:80:80", b"x:a", b"x:-1",
            b"x:+80",
            b"[::1", b"::1", b"[x]", b"[]", b"x#", b"x?y", b"<x>", b'"x"', b"x\\y", b"x\0", b"x\ty",
            b"\xc3\xa9", b"x|y",
            b"x\x1b", b"[::1]x", b"{x}", b"^", b"`", b"x;\ty",
        )
    },
}  # fmt: skip

SIZES = {
    "a long header": Attack((b"X: " + b"y" * 70_000,), b"", 431),
    "long header lines": Attack((b"X: " + b"y" * 7000,) * 10, b"", 431),
    "a long name": Attack((b"X" * 70_000 + b": y",), b"", 431),
    "a header without end": Attack((b"X: " + b"y" * 200_000,), b"", 431),
    "many headers": Attack((b"X: y",) * 130, b"", 431),
    "many empty headers": Attack((b"X:",) * 5000, b"", 431),
    "a megabyte of a key": Attack((b"Authorization: Bearer " + b"k" * 1_000_000,), b"", 431),
    "a long body": Attack((b"Content-Length: 100000000",), b"", 413),
    "a long body of 64 bits": Attack((b"Content-Length: %d" % (2**64 - 1),), SMUGGLED, 413),
    "a long body that comes": Attack((b"Content-Length: 100000",), b"x" * 100_000, 413),
    "a long chunked body": Attack((_CHUNKED,), b"8000\r\n" + b"x" * 0x8000 + b"\r\n", 413),
    "a long body in short chunks": Attack((_CHUNKED,), b"1\r\nx\r\n" * 20_000, 413),
    "a long body that nobody invited": Attack((b"Expect: 100-continue", b"Content-Length: 100000"), SMUGGLED, 413),
    "a chunk of 64 bits": Attack((_CHUNKED,), b"ffffffffffffffff\r\n" + b"x" * 20_000, 413),
}

RAW = {
    f"{data[:50]!r}": data
    for data in (
        # Other protocols.
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)), b"\x80.\x01\x03\x01\0\x15",
        b"\x15\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\4\0\0\0\0\0", b"SSH-2.0-OpenSSH_9\r\n", b"EHLO x\r\n",
        b"\x05\x01\0",
        b"\x04\x01\0\x50\x7f\0\0\x01\0", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + GOOD,
        b"*1\r\n$4\r\nPING\r\n", b"{}\r\n",
        b"\r\n\r\n\0\r\nQUIT\n" + GOOD, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"RTSP / RTSP/1.0\r\n\r\n",
        b"\0" * 100, b"\xff" * 100, b"GIOP\x01\x02", b"<?xml?>\r\n", b"SOURCE / ICE/1.0\r\n\r\n",
        # Request lines.
        b"GET\r\n\r\n", b"GET /\r\n\r\n", b"GET / \r\n\r\n", b"GET  / HTTP/1.1\r\n", b"GET /  HTTP/1.1\r\n",
        b" " + GOOD,
        b"\t" + GOOD, b"GET\t/ HTTP/1.1\r\n", b"GET /\tHTTP/1.1\r\n", b"GET / HTTP/1.1 \r\n",
        b"GET / HTTP/1.1\t\r\n",
        b"GET / HTTP/1.1 x\r\n", b"GET / x HTTP/1.1\r\n", b"GET /\x0b HTTP/1.1\r\n", b"GET /\0 HTTP/1.1\r\n",
        b"GET /\x7f HTTP/1.1\r\n", b"GET /\r HTTP/1.1\r\n", b"GET /\n HTTP/1.1\r\n", b"GET\0/ HTTP/1.1\r\n",
        b"\0GET / HTTP/1.1\r\n", b"G\xc3\x89T / HTTP/1.1\r\n", b"G(T / HTTP/1.1\r\n", b"GET: / HTTP/1.1\r\n",
        b"\xff" + GOOD,
        b"A" * 25 + b" / HTTP/1.1\r\n", b"A" * 5000, b"\xef\xbb\xbf" + GOOD, b"GET / HTTP/1.1\rHost: x\r\n\r\n",
        GOOD.replace(b"\r\n", b"\n") + b"\n", GOOD.replace(b"\r\n", b"\r"), GOOD.replace(b"\r\n", b"\n\r"),
        b"GET / HTTP/1.1\nHost: x\r\n\r\n", b"GET /chatgpt?prompt=x HTTP/1.1\r\rHost: x\r\n\r\n",
        # Versions.
        *(GOOD.replace(b"HTTP/1.1", version) for version in (
            b"HTTP/2.0", b"HTTP/2", b"HTTP/0.9", b"HTTP/1.2", b"HTTP/1.10", b"HTTP/11", b"HTTP/1,1",
            b"http/1.1",
            b"HTTP/+1.1", b"HTTP/01.1", b"HTTP/1.01", b"HTTP /1.1", b"HTTP/ 1.1", b"HTTP/-1.1", b"HTTPS/1.1",
            b"HTTP/1.",
            b"HTTP/.1", b"HTTP/1.1.1", b"HTTP/1.\xb1", b"XHTTP/1.1", b"HTTP/9.9", b"",
        )),
        # Targets.
        *(GOOD.replace(b"/chatgpt?prompt=x", target) for target in (
            b"http://x/chatgpt?prompt=x", b"https://x/chatgpt?prompt=x", b"HTTP://x", b"http:/chatgpt", b"//",
            b"x:443", b"x", b"chatgpt?prompt=x", b"?prompt=x", b"**", b"*/chatgpt", b"\\chatgpt", b"#",
            b"/chatgpt?prompt=x#", b"/#/../chatgpt?prompt=x", b"file:///etc/passwd", b"javascript:1",
            b"[::1]:443",
            b"@x/", b".", b"..", b";", b"", b"\xc3\xa9", b"/chatgpt?prompt=a b", b"127.0.0.1:22",
        ) if target != b"//"),
        b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n" + SMUGGLED,
        b"CONNECT http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT [::1]:443 HTTP/1.1\r\nHost: x\r\n\r\n" + SMUGGLED,
    )
}  # fmt: skip
"""Whole connections of which nothing is a request."""
