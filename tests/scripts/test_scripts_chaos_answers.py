"""scripts/chaos.py: what callers got, read byte by byte; each malformed answer is found out."""

import json
from typing import Any

import pytest

from chaos_answers import Kind, Outcome, read
from chaos_load import End

DELTA = {"choices": [{"delta": {"content": "call-0000001"}}]}
PIECE = {"delta": "call-0000001"}
SUCCESS = {"code": 200, "msg": "success", "data": {"response": "call-0000001"}, "current_response": "call-0000001"}
FAILURE = {"code": 502, "msg": "failed", "data": {"response": "sorry"}}
ERROR = {"error": {"message": "sorry", "type": "x", "param": None, "code": None}}
WHOLE = b"0\r\n\r\n"
DONE = b"data: [DONE]\n\n"
HEARTBEAT = b": still here\n\n"


def event(document: Any) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def chunks(*pieces: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


def plain(document: Any, status: int = 200, more: bytes = b"", short: int = 0) -> bytes:
    body = json.dumps(document).encode()
    head = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
    return head + body[: len(body) - short] + more


def stream_of(api: str, raw: bytes) -> Outcome:
    return read(api, raw, End.CLOSED, stream=True)


@pytest.mark.parametrize(
    ("api", "good"), [("openai", [event(DELTA)]), ("platform", [event(PIECE), event(SUCCESS)])]
)
def test_a_good_stream(api: str, good: list[bytes]) -> None:
    outcome = stream_of(api, chunks(HEARTBEAT, *good, HEARTBEAT, DONE) + WHOLE)
    assert outcome == Outcome(Kind.GOOD, 200, "call-0000001")
    for size in (1, 7):  # however it is cut
        text = b"".join([HEARTBEAT, *good, DONE])
        cut = [text[at : at + size] for at in range(0, len(text), size)]
        assert stream_of(api, chunks(*cut) + WHOLE) == outcome


@pytest.mark.parametrize(("api", "error"), [("openai", ERROR), ("platform", FAILURE)])
def test_a_stream_that_broke_off_well(api: str, error: Any) -> None:
    first = event(DELTA if api == "openai" else PIECE)
    assert stream_of(api, chunks(first, event(error))) == Outcome(Kind.BROKEN, 200)
    assert stream_of(api, chunks(HEARTBEAT, event(error))).kind is Kind.BROKEN
    assert stream_of(api, chunks(first, event(error)) + WHOLE) == Outcome(Kind.BROKEN, 200, clean=True)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "no head"),
        (b"HTTP/1.1 200 OK\r\n", "no head"),
        (chunks(event(DELTA)), "errors at []"),
        (chunks(event(DELTA)) + WHOLE, "errors at []"),
        (chunks(event(DELTA), DONE), "no final chunk"),
        (chunks(event(DELTA), DONE, event(DELTA)) + WHOLE, "[DONE] at [1]"),
        (chunks(event(DELTA), DONE, DONE) + WHOLE, "[DONE] at [1, 2]"),
        (chunks(event(ERROR), DONE) + WHOLE, "errors at [0]"),
        (chunks(event(ERROR), event(ERROR)), "errors at [0, 1]"),
        (chunks(event(ERROR), event(DELTA)), "errors at [0]"),
        (chunks(event(DELTA)[:-1]), "the last event is torn"),
        (chunks(event(DELTA)[:-2]), "the last line is torn"),
        (chunks(event(DELTA)[:-1] + HEARTBEAT, DONE) + WHOLE, "a comment within an event"),
        (chunks(b"data: {broken\n\n", DONE) + WHOLE, "no JSON"),
        (chunks(event(DELTA), DONE) + WHOLE + b"HTTP/1.1 200 OK", "behind the final chunk"),
        (chunks(event(DELTA), DONE)[:-4], "torn chunk"),
        (chunks(event(DELTA), DONE) + b"zz\r\n", "torn chunk"),
        (chunks(b"data: \xff\n\n"), "not UTF-8"),
    ],
)
def test_a_stream_that_is_found_out(raw: bytes, why: str) -> None:
    outcome = stream_of("openai", raw)
    assert outcome.kind is Kind.WRONG
    assert why in outcome.why


def test_a_platform_stream_whose_end_does_not_fit() -> None:
    outcome = stream_of("platform", chunks(event(PIECE), event(PIECE), event(SUCCESS), DONE) + WHOLE)
    assert outcome.kind is Kind.WRONG


def test_odd_ways_of_writing_a_stream() -> None:
    for text in (
        event(DELTA).replace(b"\n", b"\r\n"),
        event(DELTA).replace(b"\n", b"\r"),
        event(DELTA).replace(b"data: ", b"data:"),
        b"id: 7\n" + event(DELTA),
        b"\xef\xbb\xbf" + event(DELTA),
        event(DELTA).replace(b"data: {", b"data: {\ndata: "),
    ):
        assert stream_of("openai", chunks(text, DONE) + WHOLE).kind is Kind.GOOD


def test_json() -> None:
    answer = {"choices": [{"message": {"content": "call-0000001"}}]}
    for api, good, bad in (("openai", answer, ERROR), ("platform", SUCCESS, FAILURE)):
        for stream in (False, True):
            assert read(api, plain(good), End.WHOLE, stream=stream) == Outcome(Kind.GOOD, 200, "call-0000001")
            assert read(api, plain(bad, 502), End.WHOLE, stream=stream) == Outcome(Kind.FAILED, 502)


@pytest.mark.parametrize(
    ("api", "raw", "why"),
    [
        ("openai", plain(ERROR, 200), "status 200"),
        ("openai", plain({"choices": []}), "IndexError"),
        ("openai", plain([], 200), "no object"),
        ("openai", plain({"detail": "x"}, 500), "status 500"),
        ("openai", plain(ERROR, 502, more=b"x"), "Content-Length"),
        ("openai", plain(ERROR, 502, short=1), "Content-Length"),
        ("openai", b"HTTP/1.1 502 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", "without its final chunk"),
        ("platform", plain(ERROR, 502), "status 502"),
        ("platform", plain(FAILURE, 503), "code 502"),
        ("platform", plain({**SUCCESS, "code": 500}), "neither success nor failure"),
    ],
)
def test_json_that_is_found_out(api: str, raw: bytes, why: str) -> None:
    outcome = read(api, raw, End.WHOLE, stream=False)
    assert outcome.kind is Kind.WRONG
    assert why in outcome.why


def test_what_an_upstream_broke_may_come_as_it_was() -> None:
    raw = chunks(b"data: {broken\n\n", DONE) + WHOLE
    assert read("openai", raw, End.CLOSED, stream=True, lax=True).kind is Kind.GOOD
    assert read("openai", chunks(b"data: {broken\n\n"), End.CLOSED, stream=True, lax=True).kind is Kind.WRONG
