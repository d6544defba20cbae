"""Signs of life in streams that are silent: where they stand, whom they are for, and what they forbid."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import openai
import pytest
import requests
from openai import OpenAI

from chatgpt_platform.simulator.server import Behaviour
from chatgpt_platform.web.transaction import HEARTBEAT
from support.fleet import MESSAGES, PATHS, Outcome, ask, call, calls, fleet, scripted, up
from support.gateway import Running, wait_until
from support.scripted import Peer
from support.ways import WAYS

WAYS = WAYS[:1]  # but for those that are marked
APIS = pytest.mark.parametrize("api", list(PATHS))
OFTEN = {"CHATGPT_SERVER__HEARTBEAT": "40ms"}
SILENCE = 0.15  # seconds: a few heartbeats
SLOW = Behaviour(latency=SILENCE, tokens=3)
PIECE = b'data: {"choices":[{"index":0,"delta":{"content":"hey"},"finish_reason":null}]}\n\n'
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


def has_broken_off(outcome: Outcome, status: int) -> bool:
    """Whether a head, comments and one error event came, and no proper end. ``status``: on the platform API."""
    assert (outcome.status, outcome.whole, len(outcome.events)) == (200, False, 1)
    assert outcome.headers["content-type"].startswith("text/event-stream")
    assert outcome.comments >= 1
    assert outcome.body.startswith(HEARTBEAT.decode())
    assert outcome.reason
    return outcome.failure in (0, status)


@contextmanager
def slowly(*parts: bytes, kind: bytes = b"text/event-stream") -> Iterator[Running]:
    """A gateway whose upstream sends these parts, each after a silence."""

    async def script(peer: Peer) -> None:
        with suppress(asyncio.IncompleteReadError):
            await peer.request()
            head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: %b\r\n\r\n" % kind
            for part in (head + parts[0], *parts[1:]):
                await asyncio.sleep(SILENCE)
                await peer.send(part)
        peer.end()

    with scripted(script) as server, fleet(up("only", url=server.url), **OFTEN) as running:
        yield running


@pytest.mark.every_way
@APIS
def test_before_the_first_event(api: str) -> None:
    with fleet(up("only", SLOW), **OFTEN) as running:
        outcome = ask(running, api, stream=True)
        assert outcome.good
        assert outcome.comments >= 1
        assert outcome.body.startswith(HEARTBEAT.decode())
        assert outcome.headers["cache-control"] == "no-cache"
        record = running.record()
        assert (record["status"], record["error"], record["attempts"]) == (200, None, 1)
        assert record["first_byte_ms"] >= 1000 * SILENCE, "of the answer, not of a heartbeat"


@APIS
def test_while_nothing_comes_at_all(api: str) -> None:
    with fleet(up("only", Behaviour(latency=60)), **OFTEN) as running:
        with call(running, api, stream=True) as leaver:
            got = b""
            while got.count(HEARTBEAT) < 2:
                more = leaver.recv(4096)
                assert more
                got += more
            assert got.startswith(b"HTTP/1.1 200")
        wait_until(lambda: running.simulator.stats.cancelled == 1)
        assert running.record()["status"] == 499


@APIS
def test_in_mid_stream(api: str) -> None:
    with fleet(up("only", Behaviour(fail="pauses", silence=SILENCE, tokens=8)), **OFTEN) as running:
        outcome = ask(running, api, stream=True)
        assert outcome.good
        assert outcome.comments >= 2
        assert not outcome.body.startswith(":")
        for event in outcome.events[:-1]:
            json.loads(event)


@APIS
def test_only_between_events(api: str) -> None:
    with slowly(PIECE, b'data: {"choices":[{"index":0,"del', b'ta":{"content":"ho"}}]}\n\n' + END) as running:
        outcome = ask(running, api, stream=True)
        assert outcome.good
        assert outcome.comments >= 2
        said = [event for event in outcome.events if "ho" in event]
        assert said, outcome.body


def test_not_within_a_long_event_that_is_passed_on_in_parts() -> None:
    long = b'data: {"choices":[{"index":0,"delta":{"content":"' + b"x" * 1_200_000
    with slowly(PIECE + long, b'"}}]}\n\n', END) as running:
        outcome = ask(running, "openai", stream=True)
        assert outcome.good
        (event,) = (event for event in outcome.events if "xxx" in event)
        assert len(json.loads(event)["choices"][0]["delta"]["content"]) == 1_200_000


@pytest.mark.every_way
@APIS
def test_after_one_a_failure_is_an_event_and_nothing_is_sent_again(api: str) -> None:
    check_that_nothing_is_sent_again("503-bare", 502, api)


@APIS
@pytest.mark.parametrize(
    ("fault", "status"), [("401", 401), ("429", 429), ("reset", 502), ("overloaded-first", 502)]
)
def test_whatever_the_failure_is(fault: str, status: int, api: str) -> None:
    check_that_nothing_is_sent_again(fault, status, api)


def check_that_nothing_is_sent_again(fault: str, status: int, api: str) -> None:
    failing = Behaviour(fail=fault, latency=SILENCE)
    with fleet(up("first", failing, retry_unsafe=True), up("spare", priority=1), **OFTEN) as running:
        running.expected = ["upstream", "first: "]
        assert has_broken_off(ask(running, api, stream=True), status)
        assert calls(running) == {"first": 1, "spare": 0}
        record = running.record()
        assert (record["status"], record["attempts"], record["upstream"]) == (200, 1, "first")
        assert record["error"]


@APIS
def test_one_within_the_pause_before_a_retry_ends_it(api: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 503 Busy\r\nRetry-After: 0.3\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        peer.end()

    with scripted(script) as server, fleet(up("only", url=server.url), **OFTEN) as running:
        running.expected = ["upstream_failed"]
        assert has_broken_off(ask(running, api, stream=True), 502)
        assert len(server.peers) == 1
        record = running.record()
        assert record["attempts"] == 1
        assert "503" in record["error"]


@APIS
def test_they_do_not_prolong_the_upstreams_time(api: str) -> None:
    with fleet(up("only", Behaviour(fail="no-answer"), timeouts={"first_byte": "200ms"}), **OFTEN) as running:
        running.expected = ["upstream_timeout"]
        assert has_broken_off(ask(running, api, stream=True), 504)
        wait_until(lambda: running.simulator.stats.cancelled == 1)
        assert "first_byte" in running.record()["error"]


@APIS
def test_a_whole_answer_to_a_streamed_question_after_one(api: str) -> None:
    whole = b'{"choices":[{"message":{"role":"assistant","content":"hey"},"finish_reason":"stop"}]}'
    with slowly(whole, kind=b"application/json") as running:
        outcome = ask(running, api, stream=True)
        if api == "platform":
            assert outcome.good
            assert json.loads(outcome.events[-2])["current_response"] == "hey"
            assert running.record()["error"] is None
        else:
            running.expected = ["upstream_no_stream"]
            assert has_broken_off(outcome, 502)


@pytest.mark.parametrize("stream", [False, True], ids=["json", "off"])
@APIS
def test_none_for_json_and_none_where_they_are_off(api: str, stream: bool) -> None:
    heartbeat = {"CHATGPT_SERVER__HEARTBEAT": "0s"} if stream else OFTEN
    slow = Behaviour(latency=SILENCE, tokens=2)
    with fleet(up("first", slow), **heartbeat) as running:
        outcome = ask(running, api, stream=stream)
        assert outcome.good
        assert ":" not in outcome.body[:1]
        assert outcome.comments == 0
        running.simulator.behaviour = Behaviour(latency=SILENCE, fail="500")
        running.expected = ["answered 500", "upstream_failed"]
        assert ask(running, api, stream=stream).status == (500 if api == "openai" else 502)


def test_none_for_what_is_never_streamed() -> None:
    with fleet(up("only", SLOW), **OFTEN) as running:
        asked = {"model": "text-embedding-3-small", "input": "hi", "stream": True}
        answer = requests.post(running.url + "/v1/embeddings", json=asked, timeout=10)
        assert answer.status_code == 200
        assert answer.json()["data"]


def test_the_official_sdk_reads_through_them() -> None:
    with (
        fleet(up("only", SLOW), **OFTEN) as running,
        OpenAI(base_url=running.url + "/v1", api_key="x", max_retries=0) as made,
    ):
        asked: dict[str, Any] = {"model": "gpt-4o-mini", "messages": MESSAGES, "stream": True}
        chunks = made.chat.completions.create(**asked)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        running.expected = ["bad_upstream"]
        for fault, words in {"404": "Not found", "reset": "cannot be used"}.items():
            running.simulator.behaviour = Behaviour(latency=SILENCE, fail=fault)
            with pytest.raises(openai.APIError, match=words):
                list(made.chat.completions.create(**asked))


def test_a_call_that_waits_for_a_place_is_kept_alive_too() -> None:
    limits = {"CHATGPT_LOAD__CALLS": "1", "CHATGPT_LOAD__WAIT": "200ms", "CHATGPT_LOAD__QUEUE": "10"}
    with fleet(up("only", Behaviour(latency=60)), **OFTEN, **limits) as running:
        with call(running, stream=False):
            wait_until(lambda: calls(running) == {"only": 1})
            outcome = ask(running, "openai", stream=True)
            assert has_broken_off(outcome, 503)
            assert "too busy" in outcome.reason
        running.simulator.behaviour = SLOW
        wait_until(lambda: running.held() == {})
        with call(running, stream=False):
            wait_until(lambda: calls(running) == {"only": 2})
            assert ask(running, "platform", stream=True).good
