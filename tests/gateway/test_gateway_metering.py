"""The tokens of a call: the upstream's figures, or the gateway's for those that are missing."""

from __future__ import annotations

import json

import pytest

from chatgpt_platform.access.address import Client
from chatgpt_platform.gateway import endpoints, estimate, metering
from chatgpt_platform.gateway.call import Call, HeadNotes
from chatgpt_platform.gateway.endpoints import Endpoint
from chatgpt_platform.gateway.source import EventSource
from chatgpt_platform.gateway.usage import Ending, Tokens, tokens_of
from chatgpt_platform.observe.access import Record
from chatgpt_platform.upstream import client as upstream
from chatgpt_platform.upstream.connection import Request
from chatgpt_platform.upstream.response import Response

BODY = json.dumps(
    {"model": "m", "messages": [{"role": "user", "content": "How many words are in this?"}]}
).encode()
PROMPT = estimate.prompt_tokens(BODY)
TEXT = "Eight words are in what I say here."


def call(endpoint: Endpoint = endpoints.CHAT) -> Call:
    record = Record(0.0, "r", "192.0.2.1", "POST", "/v1/x")
    client = Client("192.0.2.1", "192.0.2.1", allowed=True)
    call = Call(endpoint, "POST", "", "", {}, client, record, 0.0, HeadNotes())
    call.body = BODY
    return call


Told = tuple[int | None, int | None, int | None, str]


def told(of: Call) -> Told:
    record = of.record
    return record.prompt_tokens, record.completion_tokens, record.cached_tokens, record.usage


def answer(**members: object) -> bytes:
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": TEXT}}], **members}).encode()


COUNTED = estimate.text_tokens(TEXT)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 4}, (9, 4, None, "reported")),
        (
            {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 5}},
            (9, 4, 5, "reported"),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 50}},
            (9, 4, 9, "reported"),
        ),
        ({"input_tokens": 9, "output_tokens": 0}, (9, 0, None, "reported")),
        ({"input_tokens": 9}, (9, COUNTED, None, "estimated")),
        ({"completion_tokens": 4}, (PROMPT, 4, None, "estimated")),
        ({"prompt_tokens": 0, "completion_tokens": 0}, (PROMPT, COUNTED, None, "estimated")),
        ({"prompt_tokens": -9, "completion_tokens": 4}, (PROMPT, 4, None, "estimated")),
        ({"prompt_tokens": 9.5, "completion_tokens": 10**30}, (PROMPT, COUNTED, None, "estimated")),
        ({"prompt_tokens": "9", "completion_tokens": 4}, (PROMPT, 4, None, "estimated")),
        ("none", (PROMPT, COUNTED, None, "estimated")),
        (None, (PROMPT, COUNTED, None, "estimated")),
    ],
)
def test_a_json_answer(usage: object, expected: Told) -> None:
    asked, body = call(), answer(usage=usage)
    metering.answered(asked, tokens_of(body), body)
    assert told(asked) == expected


def test_what_has_no_completion() -> None:
    asked = call(endpoints.EMBEDDINGS)
    metering.answered(asked, Tokens(9, None), b'{"data":[]}')
    assert told(asked) == (9, None, None, "reported")
    asked = call(endpoints.EMBEDDINGS)
    metering.answered(asked, Tokens(), b'{"data":[]}')
    assert told(asked) == (PROMPT, None, None, "estimated")


def test_what_has_no_tokens() -> None:
    for endpoint in (endpoints.MODERATIONS, endpoints.MODELS):
        asked = call(endpoint)
        metering.answered(asked, Tokens(), b'{"results":[]}')
        metering.broken_off(asked, response(0))
        assert told(asked) == (None, None, None, "none")


def source(pieces: int, size: int, told_at: int = 0) -> EventSource:
    made = EventSource(response(200), release_long=True)
    made.pieces, made.text_bytes, made.told_at = pieces, size, told_at
    return made


ALL = estimate.completion_tokens(20, 100)


@pytest.mark.parametrize(
    ("ending", "told_at", "expected"),
    [
        (Ending(complete=True, tokens=Tokens(9, 21, 4)), 20, (9, 21, 4, "reported")),
        (Ending(complete=True, tokens=Tokens(9, 21, 4)), 0, (9, 21, 4, "reported")),
        (Ending(complete=True), 0, (PROMPT, ALL, None, "estimated")),
        (Ending(complete=True, tokens=Tokens(0, 0)), 20, (PROMPT, ALL, None, "estimated")),
        (Ending(complete=True, tokens=Tokens(9)), 20, (9, ALL, None, "estimated")),
        # Left or broken off.
        (Ending(), 0, (PROMPT, ALL, None, "estimated")),
        (Ending(tokens=Tokens(9, 21)), 20, (9, 21, None, "reported")),
        (Ending(tokens=Tokens(9, 1, 2)), 1, (9, ALL, 2, "estimated")),
        (Ending(tokens=Tokens(9, 10**6)), 1, (9, 10**6, None, "estimated")),
    ],
)
def test_a_stream(ending: Ending, told_at: int, expected: Told) -> None:
    asked = call()
    metering.streamed(asked, source(20, 100, told_at), ending)
    assert told(asked) == expected


def test_a_stream_without_a_piece() -> None:
    asked = call()
    metering.streamed(asked, source(0, 0), Ending(complete=True, tokens=Tokens(9, 0)))
    assert told(asked) == (9, 0, None, "reported")


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        (b'...","usage":{"prompt_tokens":9,"completion_tokens":7}}', (9, 7, None, "reported")),
        (
            b'"usage": {"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":3},"completion_tokens":7}}',
            (9, 7, 3, "reported"),
        ),
        (b'..."usage":{"prompt_tokens":9,"compl', (PROMPT, estimate.completion_tokens(0, 99), None, "estimated")),
    ],
)
def test_an_answer_that_was_too_long_to_be_held(tail: bytes, expected: Told) -> None:
    asked = call()
    metering.passed_on(asked, tail, 99)
    assert told(asked) == expected


def test_a_call_that_was_never_answered() -> None:
    asked = call()
    metering.broken_off(asked, response(0))
    assert told(asked) == (PROMPT, None, None, "estimated")
    asked.record.prompt_tokens = 1
    metering.broken_off(asked, response(0))  # what is known stays
    assert asked.record.prompt_tokens == 1


def response(status: int, kind: str = "") -> Response:
    client = upstream.Client("http://127.0.0.1:9", upstream.Timeouts(1, 1, 1, 1))
    made = Response(client, Request(b"", b"", False, 0.0), None)
    made.status, made.fields = status, {b"content-type": kind.encode()}
    return made


@pytest.mark.parametrize(
    ("status", "kind", "begun"),
    [
        (0, "", True),
        (200, "application/json; charset=utf-8", True),
        (200, "text/event-stream", True),
        (200, "text/html", False),
        (307, "application/json", False),
        (400, "application/json", False),
        (503, "text/event-stream", False),
    ],
)
def test_which_upstream_may_have_begun(status: int, kind: str, *, begun: bool) -> None:
    asked = call()
    metering.broken_off(asked, response(status, kind))
    assert told(asked)[3] == ("estimated" if begun else "none")
