"""Streams as other services send them, and silences."""

from __future__ import annotations

import json
import re
import select
from typing import Any

import pytest
import requests

from chatgpt_platform.simulator.server import Behaviour
from support.simulated import CHAT, HEADERS, Simulated, simulated


def post(running: Simulated, path: str = "/chat/completions", **members: object) -> requests.Response:
    body = {**CHAT, "input": "hi", **members}
    return requests.post(running.base_url + path, json=body, headers=HEADERS, timeout=20)


def streamed(fault: str, path: str = "/chat/completions") -> bytes:
    with simulated(Behaviour(fail=fault, silence=0.05, tokens=6)) as running:
        answer = post(running, path, stream=True)
        assert answer.status_code == 200
        return re.sub(rb'"created":\d+', b'"created":0', answer.content)


def plain(fault: str) -> tuple[int, Any]:
    with simulated(Behaviour(fail=fault, tokens=6)) as running:
        answer = post(running)
        return answer.status_code, answer.json()


def events_of(text: bytes) -> list[Any]:
    found = [line.removeprefix(b"data: ") for line in text.split(b"\n") if line.startswith(b"data: ")]
    return [json.loads(data) for data in found if data != b"[DONE]"]


SOUND = streamed("")


@pytest.mark.parametrize(
    ("fault", "back"),
    [
        ("cr", (b"\r", b"\n")),
        ("no-space", (b"data:", b"data: ")),
        ("two-lines", (b"data: {\ndata: ", b"data: {")),
        ("fields", (b"id: 7\nretry: 3000\n", b"")),
        ("bom", (b"\xef\xbb\xbf", b"")),
        ("pauses", (b"", b"")),
        ("silent-start", (b"", b"")),
    ],
)
def test_the_same_stream_written_in_another_way(fault: str, back: tuple[bytes, bytes]) -> None:
    told = streamed(fault)
    assert (told == SOUND) == (fault in ("pauses", "silent-start"))
    assert (told.replace(*back) if back[0] else told) == SOUND


def test_a_stream_without_borders_is_one_event() -> None:
    told = streamed("no-border")
    assert b"\n\n" not in told
    assert told.split() == SOUND.split()


def test_what_stands_before_and_behind_a_stream() -> None:
    first = events_of(streamed("filters"))[0]
    assert first["choices"] == []
    assert first["prompt_filter_results"]
    assert streamed("only-done") == b"data: [DONE]\n\n"
    assert streamed("late-events").partition(b"[DONE]\n\n")[2].startswith(b'data: {"id":"late"')


@pytest.mark.parametrize(("fault", "code"), [("busy-first", 429), ("overloaded-first", 503)])
def test_a_first_event_that_stands_for_a_status(fault: str, code: int) -> None:
    (event,) = events_of(streamed(fault))
    assert event["error"]["code"] == code
    (flat,) = events_of(streamed(fault, "/responses"))
    assert (flat["type"], flat["code"]) == ("error", code)
    assert plain(fault)[0] == code


def test_errors_of_other_services() -> None:
    told = streamed("named-error")
    assert told.endswith(b"\n\n")
    assert b"\n\nevent: error\ndata: " in told
    *before, error = events_of(told)
    assert len(before) > 2
    assert error["error"]["type"] == "overloaded_error"
    *before, error = events_of(streamed("flat-error"))
    assert len(before) > 2
    assert (error["object"], error["code"]) == ("error", 500)
    assert [plain(fault)[0] for fault in ("named-error", "flat-error")] == [529, 500]


def test_other_replies() -> None:
    _, document = plain("tool-calls")
    (choice,) = document["choices"]
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"][0]["function"]["name"] == "lookup"
    assert choice["finish_reason"] == "tool_calls"
    events = events_of(streamed("tool-calls"))
    assert any(event["choices"][0]["delta"].get("tool_calls") for event in events)
    _, document = plain("reasoning")
    assert document["choices"][0]["message"]["reasoning_content"]
    assert document["choices"][0]["message"]["content"]
    _, document = plain("length")
    assert document["choices"][0]["finish_reason"] == "length"
    assert events_of(streamed("length"))[-1]["choices"][0]["finish_reason"] == "length"


def test_a_wrong_content_type() -> None:
    with simulated(Behaviour(fail="wrong-type")) as running:
        for stream in (False, True):
            answer = post(running, stream=stream)
            assert answer.headers["content-type"].startswith("text/plain")
            assert b'"choices"' in answer.content


@pytest.mark.parametrize("stream", [False, True])
def test_a_head_whose_body_is_long_in_coming(stream: bool) -> None:
    with (
        simulated(Behaviour(fail="silent-start", silence=600)) as running,
        running.ask(stream=stream) as connection,
    ):
        assert connection.recv(1 << 16).endswith(b"\r\n\r\n")
        assert not select.select([connection], [], [], 0.2)[0]


def test_a_pause() -> None:
    with simulated(Behaviour(fail="pauses", silence=600)) as running, running.ask(stream=True) as connection:
        got = b""
        while got.count(b"data: ") < 4:
            got += connection.recv(1 << 16)
        assert not select.select([connection], [], [], 0.2)[0]
        assert running.simulator.stats.tokens == 3
