"""Upstreams that answer what the simulator never would, byte for byte: nothing leaks, nothing is misread."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import pytest
import requests

from support.background import Background
from support.gateway import KEY, Running, gateway
from support.scripted import Peer, RawServer

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
PIECE = b'data: {"choices":[{"delta":{"content":"hey"},"finish_reason":null}]}\n\n'
LAST = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":9}}\n\n'
DONE = b"data: [DONE]\n\n"


@contextmanager
def answering(*parts: bytes, head: bytes = b"", status: bytes = b"200 OK", key: str = KEY) -> Iterator[Running]:
    """A gateway whose upstream sends these parts, each in a packet of its own, and closes properly."""

    async def script(peer: Peer) -> None:
        with suppress(asyncio.IncompleteReadError):
            await peer.request()
            await peer.send(b"HTTP/1.1 %b\r\nConnection: close\r\n%b\r\n" % (status, head))
            for part in parts:
                await peer.send(part)
                await asyncio.sleep(0.01)
        peer.end()

    with Background() as background:
        server = RawServer(script)
        background.run(server.__aenter__())
        try:
            with gateway({"BASE_URL": server.url + "/v1"}, key=key) as running:
                yield running
        finally:
            background.run(server.__aexit__(None, None, None))
            background.run(asyncio.sleep(0.02))  # the transports' own ends


def ask(running: Running, *, stream: bool = False, headers: dict[str, str] | None = None) -> requests.Response:
    url = running.url + "/v1/chat/completions"
    return requests.post(url, json={**CHAT, "stream": stream}, headers=headers, stream=stream)


def text_of(answer: requests.Response) -> str:
    got = b""
    with suppress(requests.exceptions.ChunkedEncodingError), answer:
        for piece in answer.iter_content(None):
            got += piece
    return got.decode()


JSON = b"Content-Type: application/json\r\n"
SSE = b"Content-Type: text/event-stream\r\n"
ESCAPED = KEY.replace("-", "\\u002d")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (b"200 OK", {"error": {"message": f"no {KEY}"}}),
        (b"200 OK", {"error": f"no {KEY}"}),
        (b"400 Bad Request", {"error": {"message": f"no {KEY}", "param": KEY}}),
        (b"401 Unauthorized", {"error": {"message": f"no {KEY}"}}),
    ],
)
def test_a_key_in_an_error_body_is_masked(status: bytes, body: dict[str, object]) -> None:
    for data in (json.dumps(body), json.dumps(body).replace(KEY, ESCAPED)):
        head = JSON + b"x-ratelimit-key: %b\r\nopenai-organization: %b\r\n" % (KEY.encode(), KEY.encode())
        with answering(data.encode(), head=head, status=status) as running:
            running.expected = ["key 1 does not work (401, it was refused)"]
            answer = ask(running)
            shown = text_of(answer)
            assert KEY not in str(answer.headers)
            assert KEY not in shown
            assert KEY not in json.dumps(json.loads(shown))
            assert "***" in shown


@pytest.mark.parametrize(
    "events",
    [
        [PIECE, b'data: {"error":{"message":"no %b"}}\n\n' % KEY.encode()],
        [PIECE, b'data: {"\\u0065rror":{"message":"no %b"}}\n\n' % KEY.encode()],
        [PIECE, b'event: error\ndata: {"type":"error","message":"no %b"}\n\n' % KEY.encode()],
        [PIECE, b'data: {"type":"response.failed","response":{"error":{"message":"%b"}}}\n\n' % KEY.encode()],
        [b'data: {"\\u0065rror":{"message":"no %b"}}\n\n' % KEY.encode()],
    ],
)
def test_a_key_in_an_error_event_is_masked(events: Sequence[bytes]) -> None:
    with answering(*events, DONE, head=SSE) as running:
        running.expected = ["openai: "]
        answer = ask(running, stream=True)
        assert (answer.status_code == 200) is (len(events) == 2)
        shown = text_of(answer)
        assert KEY not in shown
        assert "***" in shown


def test_a_callers_own_key_is_not_logged_either() -> None:
    own = "test-key-of-a-caller"
    head = JSON + b"x-request-id: r-" + own.encode() + b"\r\n"
    with answering(b'{"choices":[]}', head=head, key="") as running:
        ask(running, headers={"Authorization": f"Bearer {own}"}).close()
        assert running.record()["upstream_request_id"] == "r-***"
        assert own not in running.output()


def test_an_upstreams_words_may_repeat_the_prompt_and_are_not_logged() -> None:
    body = b'{"error":{"message":"cannot handle: my private words"}}'
    with answering(body, head=JSON, status=b"500 Internal Server Error") as running:
        running.expected = ["the upstream answered 500"]
        answer = requests.post(running.url + "/api", json={"prompt": "my private words"})
        assert answer.status_code == 502
        assert running.record()["error"]
        assert "private" not in running.output()


def test_half_an_event_is_dropped_before_the_error_event() -> None:
    with answering(PIECE, b'data: {"choices":[{"del', head=SSE) as running:
        running.expected = ["upstream_broke_off"]
        events = [event for event in text_of(ask(running, stream=True)).split("\n\n") if event]
        assert [set(json.loads(event.removeprefix("data: "))) for event in events] == [{"choices"}, {"error"}]


def test_a_last_event_without_its_empty_line_is_whole() -> None:
    with answering(PIECE, LAST, DONE.rstrip(), head=SSE) as running:
        answer = ask(running, stream=True)
        assert text_of(answer).endswith("data: [DONE]\n\n")
        assert running.record()["error"] is None


def test_comments_after_the_end_do_not_hide_it() -> None:
    with answering(PIECE, LAST, *[b": still here\n\n"] * 6, head=SSE) as running:
        assert "error" not in text_of(ask(running, stream=True))
        assert running.record()["error"] is None


def test_usage_that_comes_early_is_accounted() -> None:
    with answering(USAGE, *[PIECE] * 8, LAST, DONE, head=SSE) as running:
        text_of(ask(running, stream=True))
        record = running.record()
        assert (record["prompt_tokens"], record["completion_tokens"]) == (7, 9)


def test_without_usage_the_pieces_of_text_are_counted() -> None:
    role = b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'
    with answering(b": hello\n\n", role, *[PIECE] * 3, LAST, DONE, head=SSE) as running:
        text_of(ask(running, stream=True))
        assert running.record()["completion_tokens"] == 3


@pytest.mark.parametrize("figure", ["1.5", "1e999", '"many"'])
def test_odd_figures_do_not_spoil_an_answer(figure: str) -> None:
    body = f'{{"choices":[{{"message":{{"content":"hey"}}}}],"usage":{{"prompt_tokens":{figure}}}}}'
    with answering(body.encode(), head=JSON) as running:
        assert ask(running).status_code == 200
    with answering(body.encode(), head=JSON) as running:
        answer = requests.post(running.url + "/api", json={"prompt": "hi"})
        assert (answer.status_code, answer.json()["current_response"]) == (200, "hey")


def test_an_error_in_json_under_another_type_is_answered_as_json() -> None:
    head = b"Content-Type: text/html\r\n"
    with answering(b'{"error":{"message":"<b>no</b>"}}', head=head, status=b"400 Bad Request") as running:
        answer = ask(running)
        assert answer.status_code == 400
        assert answer.headers["content-type"].startswith("application/json")


def test_a_retry_after_date_becomes_seconds_on_the_platform_api() -> None:
    head = JSON + b"Retry-After: Wed, 01 Jan 2020 00:00:00 GMT\r\n"
    with answering(b'{"error":{"message":"busy"}}', head=head, status=b"429 Too Many Requests") as running:
        answer = requests.post(running.url + "/api", json={"prompt": "hi"})
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1"), "a date gone by says nothing"


def test_a_wrong_base_url_is_not_called_an_unknown_model() -> None:
    with answering(b'{"error":{"message":"Invalid URL"}}', head=JSON, status=b"404 Not Found") as running:
        answer = requests.post(running.url + "/api", json={"prompt": "hi"}, headers={"Accept-Language": "en"})
        assert answer.status_code == 400
        assert "Invalid URL" in answer.json()["data"]["response"]
        assert "know this model" not in answer.text


@pytest.mark.parametrize("together", [True, False])
def test_what_comes_after_done_is_not_said(together: bool) -> None:
    parts = [PIECE + DONE + PIECE] if together else [PIECE, DONE, PIECE]
    with answering(*parts, head=b"Content-Type: text/event-stream\r\n") as running:
        question = {"prompt": "hi", "stream": True}
        said = text_of(requests.post(running.url + "/chatgpt", json=question, stream=True))
    assert said.count('"delta"') == 1
    assert '"content":"hey"}' in said
    assert said.endswith("data: [DONE]\n\n")
