"""Each fault, byte by byte, over a raw socket."""

from __future__ import annotations

import http.client
import json
import re
import select
import socket
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from chatgpt_platform.simulator.faults import FAULTS
from chatgpt_platform.simulator.server import Behaviour
from support.simulated import CHAT, HEADERS, KEY, Simulated, simulated

PAGE = Path(__file__).parents[2] / "docs" / "simulator.md"
ROW = re.compile(r"^\| `([a-z0-9-]+)` \| (.+) \|$", re.MULTILINE)
PATHS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": dict(CHAT),
    "/v1/completions": {"model": "x", "prompt": "hi"},
    "/v1/responses": {"model": "x", "input": "hi"},
}


def post(running: Simulated, path: str = "/v1/chat/completions", **members: object) -> http.client.HTTPResponse:
    """One call with a client that forgives nothing and follows nothing."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    body = json.dumps({**PATHS[path], **members})
    connection.request("POST", path, body, {**HEADERS, "Connection": "close"})
    return connection.getresponse()


def events_of(text: bytes) -> list[Any]:
    """The JSON of each event but ``[DONE]``."""
    found = [line.removeprefix(b"data: ") for line in text.split(b"\n") if line.startswith(b"data: ")]
    return [json.loads(data) for data in found if data != b"[DONE]"]


def received(connection: socket.socket) -> bytes:
    """All bytes until the connection ends; a reset raises ConnectionResetError."""
    got = b""
    while piece := connection.recv(1 << 16):
        got += piece
    return got


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "status", "retry_after"),
    [
        ("401", 401, None),
        ("403", 403, None),
        ("404", 404, None),
        ("408", 408, None),
        ("429", 429, "7"),
        ("429-bare", 429, None),
        ("429-soon", 429, "1"),
        ("429-long", 429, "3600"),
        ("429-junk", 429, "-1,x"),
        ("429-ms", 429, None),
        ("quota", 429, None),
        ("500", 500, None),
        ("500-wait", 500, "7"),
        ("502", 502, None),
        ("502-wait", 502, "7"),
        ("503", 503, "7"),
        ("503-bare", 503, None),
        ("503-soon", 503, "1"),
        ("504", 504, None),
        ("504-wait", 504, "7"),
        ("529", 529, None),
    ],
)
def test_an_error_status(fault: str, status: int, retry_after: str | None, stream: bool) -> None:
    with simulated(Behaviour(fail=fault)) as running, post(running, stream=stream) as answer:
        assert answer.status == status
        assert answer.headers["Retry-After"] == retry_after
        error = json.loads(answer.read())["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        if fault == "429":
            assert answer.headers["x-ratelimit-remaining-requests"] == "0"
        if fault == "429-ms":
            assert answer.headers["retry-after-ms"] == "300"
        if fault == "quota":
            assert error["code"] == error["type"] == "insufficient_quota"


def test_pages_and_redirects() -> None:
    with simulated(Behaviour(fail="html")) as running:
        for fault, status in (("html", 200), ("html-error", 502)):
            running.simulator.behaviour = Behaviour(fail=fault)
            with post(running) as answer:
                assert (answer.status, answer.headers["Content-Type"]) == (status, "text/html")
                assert answer.read().startswith(b"<!DOCTYPE html>")
        running.simulator.behaviour = Behaviour(fail="redirect")
        with post(running) as answer:
            assert answer.status == 307
            assert answer.headers["Location"] == "http://redirected.invalid/v1/chat/completions"


@pytest.mark.parametrize("stream", [False, True])
def test_no_byte_at_all(stream: bool) -> None:
    with simulated(Behaviour(fail="close")) as running:
        with running.ask(stream=stream) as connection:
            assert received(connection) == b""
        running.simulator.behaviour = Behaviour(fail="reset")
        with running.ask(stream=stream) as connection, pytest.raises(ConnectionResetError):
            received(connection)
        running.simulator.behaviour = Behaviour(fail="no-answer")
        with running.ask(stream=stream) as connection:
            assert not select.select([connection], [], [], 0.2)[0]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("fault", ["stall", "reset-mid", "cut-mid", "cut-event"])
def test_a_stream_that_breaks(fault: str, path: str) -> None:
    with simulated(Behaviour(fail=fault, tokens=20)) as running:
        with running.ask(path, **PATHS[path], stream=True) as connection:
            got = until_broken(connection, fault)
        assert got.startswith(b"HTTP/1.1 200")
        assert not got.endswith(b"0\r\n\r\n"), "no final chunk"
        assert b"[DONE]" not in got
        assert b"completed" not in got
        assert 0 < running.simulator.stats.tokens < 20
        whole = got.count(b"data: ") == got.count(b"\n\n")
        assert whole == (fault != "cut-event")


@pytest.mark.parametrize("fault", ["stall", "reset-mid", "cut-mid", "cut-event"])
def test_a_body_that_breaks(fault: str) -> None:
    with simulated(Behaviour(fail=fault, tokens=20)) as running, running.ask() as connection:
        got = until_broken(connection, fault)
        head, _, body = got.partition(b"\r\n\r\n")
        declared = re.search(rb"Content-Length: (\d+)", head)
        assert declared is not None
        assert len(body) == int(declared[1]) // 2


def until_broken(connection: socket.socket, fault: str) -> bytes:
    """What arrived, and that the connection then does what ``fault`` says."""
    got = b""
    if fault == "stall":
        while select.select([connection], [], [], 0.3)[0]:
            piece = connection.recv(1 << 16)
            assert piece, "it was closed"
            got += piece
        return got
    try:
        while piece := connection.recv(1 << 16):
            got += piece
    except ConnectionResetError:
        assert fault == "reset-mid"
    else:
        assert fault != "reset-mid"
    return got


@pytest.mark.parametrize("path", PATHS)
def test_no_done(path: str) -> None:
    with simulated(Behaviour(fail="no-done")) as running, post(running, path, stream=True) as answer:
        text = answer.read()  # raises IncompleteRead if it does not end cleanly
        assert b"[DONE]" not in text
        assert not re.search(rb'"finish_reason":"', text)
        assert not any(event.get("type") == "response.completed" for event in events_of(text))
        assert len(events_of(text)) > 5


@pytest.mark.parametrize("path", PATHS)
def test_broken_json(path: str) -> None:
    with simulated(Behaviour(fail="bad-json")) as running:
        with post(running, path) as answer, pytest.raises(ValueError, match="line 1"):
            json.loads(answer.read())
        with post(running, path, stream=True) as answer:
            lines = [line[6:] for line in answer.read().split(b"\n") if line.startswith(b"data: ")]
        broken = [line for line in lines if line != b"[DONE]" and not is_json(line)]
        assert len(broken) == 1
        assert len(lines) > 5


def is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
def test_broken_utf8(path: str, stream: bool) -> None:
    with simulated(Behaviour(fail="bad-utf8")) as running, post(running, path, stream=stream) as answer:
        text = answer.read()
        assert text.count(b"\xff") == 1
        text.replace(b"\xff", b"").decode()
        with pytest.raises(UnicodeDecodeError):
            text.decode()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
def test_characters_cut_between_chunks(path: str, stream: bool) -> None:
    with (
        simulated(Behaviour(fail="split-utf8")) as running,
        running.ask(path, **PATHS[path], stream=stream) as connection,
    ):
        got = b""
        while not got.endswith(b"0\r\n\r\n"):
            got += connection.recv(1 << 16)
        chunks = list(chunks_of(got.partition(b"\r\n\r\n")[2]))
        assert "漢字" in b"".join(chunks).decode()
        assert any(not is_utf8(chunk) for chunk in chunks)


def chunks_of(body: bytes) -> list[bytes]:
    """The chunks of RFC 9112, section 7.1."""
    found = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        found.append(rest[:length])
        body = rest[length + 2 :]
    return found


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_odd_ways_of_writing_a_stream() -> None:
    with simulated(Behaviour(fail="comments")) as running:
        with post(running, stream=True) as answer:
            text = answer.read()
        assert text.startswith(b": keep-alive\n\ndata: ")
        assert text.count(b": keep-alive\n\n") == text.count(b"data: ")
        running.simulator.behaviour = Behaviour(fail="crlf")
        with post(running, stream=True) as answer:
            text = answer.read()
        assert text.endswith(b"data: [DONE]\r\n\r\n")
        assert text.count(b"\n") == text.count(b"\r\n")
        running.simulator.behaviour = Behaviour(fail="u2028")
        with post(running, stream=True) as answer:
            assert "\u2028".encode() in answer.read()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("fault", ["error-first", "error-later", "echo-key"])
def test_an_error_event(fault: str, path: str) -> None:
    with simulated(Behaviour(fail=fault)) as running, post(running, path, stream=True) as answer:
        assert answer.status == 200
        text = answer.read()
        *before, last = events_of(text)
        assert bool(before) == (fault == "error-later")
        assert b"[DONE]" not in text
        error = last if path == "/v1/responses" else last["error"]
        assert error["message"]
        assert error["code"]
        if path == "/v1/responses":
            assert (last["type"], last["sequence_number"]) == ("error", len(before))


@pytest.mark.parametrize("stream", [False, True])
def test_an_echoed_key(stream: bool) -> None:
    with simulated(Behaviour(fail="echo-key")) as running, post(running, stream=stream) as answer:
        assert answer.status == (200 if stream else 400)
        assert answer.headers["openai-organization"] == KEY
        assert KEY.encode() in answer.read()


@pytest.mark.parametrize("stream", [False, True])
def test_a_long_line(stream: bool) -> None:
    with simulated(Behaviour(fail="long-line")) as running, post(running, stream=stream) as answer:
        length = longest = 0
        while piece := answer.read(1 << 16):
            line, *rest = piece.split(b"\n")
            longest = max(longest, length + len(line))
            length = len(rest[-1]) if rest else length + len(line)
        assert longest > 100_000_000


def test_a_bomb() -> None:
    with simulated(Behaviour(fail="gzip-bomb")) as running:
        with post(running, stream=True) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert answer.read(2) == b"\x1f\x8b"
        with post(running) as answer:
            packed = answer.read()
    assert len(packed) < 2_000_000
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
    length = sum(len(inflate.decompress(packed[at : at + 4096])) for at in range(0, len(packed), 4096))
    assert length == 1 << 30
    assert inflate.eof, "the checksum is right"


def test_what_is_missing() -> None:
    with simulated(Behaviour(fail="empty-choices")) as running:
        with post(running) as answer:
            assert json.loads(answer.read())["choices"] == []
        with post(running, "/v1/responses", stream=True) as answer:
            events = events_of(answer.read())
            assert [event["type"] for event in events][-1] == "response.completed"
            assert events[-1]["response"]["output"] == []
        running.simulator.behaviour = Behaviour(fail="null-content")
        with post(running) as answer:
            assert json.loads(answer.read())["choices"][0]["message"]["content"] is None
        with post(running, stream=True) as answer:
            deltas = [event["choices"][0]["delta"] for event in events_of(answer.read())]
            assert {delta.get("content") for delta in deltas} == {None}
        with post(running, "/v1/responses") as answer:
            assert json.loads(answer.read())["output"][0]["content"][0]["text"] is None
        running.simulator.behaviour = Behaviour(fail="no-usage")
        for path in PATHS:
            for stream in (False, True):
                options = {"stream_options": {"include_usage": True}} if stream else {}
                with post(running, path, stream=stream, **options) as answer:
                    assert b'"usage"' not in answer.read()


def test_silence_after_done() -> None:
    with simulated(Behaviour(fail="silence-after-done")) as running, running.ask(stream=True) as connection:
        got = b""
        while b"[DONE]\n\n" not in got:
            got += connection.recv(1 << 16)
        assert not select.select([connection], [], [], 0.2)[0]
        stats = running.simulator.stats
        assert (stats.served, stats.under_way, stats.cancelled) == (1, 0, 0)


def test_the_page_names_each_fault_as_the_table_does() -> None:
    assert ROW.findall(PAGE.read_text("utf-8")) == [(name, fault.help) for name, fault in FAULTS.items()]


ASKED: Any = {"stream": True, "stream_options": {"include_usage": True}}


def told(running: Simulated, path: str = "/v1/chat/completions", **members: Any) -> list[Any]:
    """What each event of a stream, or the answer, has as its usage."""
    with post(running, path, **members) as answer:
        body = answer.read()
    documents = events_of(body) if members.get("stream") else [json.loads(body)]
    return [each.get("response", each).get("usage") for each in documents]


def test_usage_is_told_in_different_ways() -> None:
    with simulated(Behaviour(fail="no-stream-usage", tokens=2)) as running:
        assert told(running, **ASKED) == [None] * 4
        assert told(running)[0]["completion_tokens"] == 2
        assert told(running, "/v1/responses", stream=True)[-1]["output_tokens"] == 2
        running.simulator.behaviour = Behaviour(fail="usage-each", tokens=2)
        for members in ({"stream": True}, ASKED):
            assert [usage["completion_tokens"] for usage in told(running, **members)] == [0, 1, 2, 2]
        running.simulator.behaviour = Behaviour(fail="cached")
        long = [{"role": "user", "content": "one two three four"}]
        for usage in (told(running, messages=long)[0], told(running, messages=long, **ASKED)[-1]):
            assert usage["prompt_tokens_details"]["cached_tokens"] == usage["prompt_tokens"] // 2 > 0
        usage = told(running, "/v1/responses", input="one two three four")[0]
        assert usage["input_tokens_details"]["cached_tokens"] == 2


def test_stream_options_can_be_refused() -> None:
    with simulated(Behaviour(fail="no-stream-options")) as running:
        with post(running, **ASKED) as answer:
            assert answer.status == 400
            assert "stream_options" in json.loads(answer.read())["error"]["message"]
        assert told(running, stream=True)[-1] is None
        stats = running.simulator.stats
        assert (stats.prompt_tokens, stats.completion_tokens > 0) == (1, True)


@pytest.mark.parametrize("fault", ["500", "error-first", "echo-key", "busy-first", "html", "close", "empty"])
def test_nothing_is_generated_for_an_error(fault: str) -> None:
    with simulated(Behaviour(fail=fault)) as running:
        for stream in (False, True):
            with suppress(OSError, http.client.HTTPException), post(running, stream=stream) as answer:
                answer.read()
        stats = running.simulator.stats
        assert (stats.prompt_tokens, stats.completion_tokens) == (0, 0)
