"""What was used, to the token: streams are asked for it, callers see nothing of that, and the record tells it."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import requests
from openai import BadRequestError, OpenAI

from chatgpt_platform.gateway import estimate
from chatgpt_platform.simulator.server import Behaviour
from support.fleet import SHAPES, ask, call, calls, fleet, question, scripted, up
from support.gateway import Running, gateway, wait_until
from support.scripted import Peer, Script

MESSAGES: Any = [{"role": "user", "content": "Hello there"}]
ASKED: Any = {"include_usage": True}


def sdk(running: Running) -> OpenAI:
    return OpenAI(base_url=running.url + "/v1", api_key="placeholder", max_retries=0)


def seen(running: Running, name: str = "") -> list[dict[str, Any]]:
    """The bodies that a simulator was sent."""
    simulator = running.simulators[name] if name else running.simulator
    return [json.loads(request.body) for request in simulator.seen]


def records(running: Running, count: int) -> list[dict[str, Any]]:
    wait_until(lambda: len(running.records()) >= count)
    return running.records()


def figures(record: dict[str, Any]) -> tuple[int | None, int | None, str]:
    return record["prompt_tokens"], record["completion_tokens"], record.get("usage", "reported")


def generated(running: Running) -> tuple[int, int]:
    """What the simulators say, prompts and answers."""
    stats = [each.stats for each in running.simulators.values()]
    return sum(each.prompt_tokens for each in stats), sum(each.completion_tokens for each in stats)


# Streams that tell their usage.


def test_the_sdk_sees_no_usage_unless_it_asks() -> None:
    with gateway(behaviour=Behaviour(tokens=7)) as running, sdk(running) as client:
        plain = list(client.chat.completions.create(model="m", messages=MESSAGES, stream=True))
        assert all(chunk.choices for chunk in plain)
        assert not any(chunk.usage for chunk in plain)
        asked = list(
            client.chat.completions.create(model="m", messages=MESSAGES, stream=True, stream_options=ASKED)
        )
        assert [bool(chunk.choices) for chunk in asked] == [True] * len(plain) + [False]
        assert asked[-1].usage
        told = asked[-1].usage.prompt_tokens, asked[-1].usage.completion_tokens
        texts = list(client.completions.create(model="m", prompt="Hello there", stream=True))
        assert all(chunk.choices for chunk in texts)
        list(client.completions.create(model="m", prompt="Hello there", stream=True, stream_options=ASKED))
        list(client.responses.create(model="m", input="Hello there", stream=True))
        lines = records(running, 5)
        assert {figures(line) for line in lines} == {(*told, "reported")}
        assert (sum(line["prompt_tokens"] for line in lines), 5 * 7) == generated(running)


def test_the_body_is_changed_in_that_member_only() -> None:
    turns = b'[{"role":"user","content":"hi"}]'
    body = b'{ "stream":true, "model":"m","n":1.0, "x":[1e2,{"a" : null}], "messages":' + turns + b"%b}"
    added: dict[str, object] = {"include_usage": True}
    with gateway() as running:
        for options, sent in (
            (b"", added),
            (b',"stream_options":null', added),
            (b',"stream_options":{"include_usage":false,"y":[2.50]}', {**added, "y": [2.5]}),
            (b',"stream_options":{"include_usage":true}', added),
        ):
            requests.post(running.url + "/v1/chat/completions", data=body % options, headers=TYPE)
            got = running.simulator.seen[-1].body
            assert json.loads(got)["stream_options"] == sent
            assert b'"n":1.0' in got
            assert b"1e2" in got
            assert {**json.loads(got), "stream_options": 0} == {**json.loads(body % b""), "stream_options": 0}
        unasked = body.replace(b"true", b"false", 1) % b""
        requests.post(running.url + "/v1/chat/completions", data=unasked, headers=TYPE)
        assert running.simulator.seen[-1].body == unasked
        requests.post(running.url + "/v1/responses", json={"model": "m", "input": "hi", "stream": True})
        assert "stream_options" not in seen(running)[-1]


TYPE = {"Content-Type": "application/json"}


def test_options_of_a_wrong_type_are_the_upstreams_to_refuse() -> None:
    with gateway() as running:
        wrong: list[Any] = ["yes", [], {"include_usage": "yes"}]
        for options in wrong:
            outcome = ask(running, "openai", stream=True, stream_options=options)
            assert (outcome.status, outcome.failure) == (400, 400)
            assert seen(running)[-1]["stream_options"] == options
        assert running.simulator.stats.calls == 3
        assert {figures(record) for record in records(running, 3)} == {(None, None, "reported")}


PIECE = b'data: {"choices":[{"index":0,"delta":{"content":"hey"},"finish_reason":null}],"usage":null}\n\n'
SECOND = PIECE.replace(b"hey", b"you")
LAST = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}\n\n'
EXTRA = b'data: {"choices":[],"usage":{"prompt_tokens":70,"completion_tokens":9}}\n\n'
DONE = b"data: [DONE]\n\n"
COMMENT = b": working\n\n"
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Splits:
    """An upstream that sends ``whole`` in two chunks, the second when the test has all it can of the first."""

    def __init__(self, whole: bytes) -> None:
        self._whole = whole
        self.cut = 0
        self.go_on = asyncio.Event()
        self.loop: asyncio.AbstractEventLoop

    async def __call__(self, peer: Peer) -> None:
        self.loop = asyncio.get_running_loop()
        with suppress(asyncio.IncompleteReadError):
            while True:
                await peer.request()
                await peer.send(SSE + chunk(self._whole[: self.cut]))
                await self.go_on.wait()
                self.go_on.clear()
                await peer.send(chunk(self._whole[self.cut :]) + b"0\r\n\r\n")


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_in_every_split_the_extra_event_stays_out_and_no_other_waits(end: bytes) -> None:
    before, extra, after = (
        each.replace(b"\n", end) for each in (PIECE + SECOND + COMMENT + LAST, EXTRA, COMMENT + DONE)
    )
    whole, came_first = before + extra + after, len(before)
    script = Splits(whole)
    with scripted(script) as server, fleet(up("odd", url=server.url + "/v1")) as running:
        cuts = [*range(came_first - 2, came_first + len(extra) + 3, 5), came_first, came_first + len(extra)]
        for script.cut in cuts:
            with requests.post(
                running.url + "/v1/chat/completions", json=question("openai", stream=True), stream=True
            ) as answer:
                got = b""
                pieces = answer.iter_content(None)
                ready = len(before) if script.cut >= came_first else len(before) - len(LAST.replace(b"\n", end))
                while len(got) < ready:
                    got += next(pieces)
                script.loop.call_soon_threadsafe(script.go_on.set)
                got += b"".join(pieces)
            assert got == before + after, script.cut
        for record in records(running, len(cuts)):
            assert figures(record) == (70, 9, "reported")


# Upstreams that tell otherwise, or nothing.


@pytest.mark.parametrize("fault", ["usage-each", "cached", "crlf", "cr", "two-lines", "fields", "comments", "bom"])
def test_figures_are_the_upstreams_whatever_its_form(fault: str) -> None:
    with fleet(up("odd", fail=fault)) as running:
        for api, stream in SHAPES:
            outcome = ask(running, api, stream=stream)
            assert outcome.good
            extra = [event for event in outcome.events if '"choices":[]' in event.replace(" ", "")]
            assert extra == []
        for path, body in (("/v1/completions", {"prompt": "hi"}), ("/v1/responses", {"input": "hi"})):
            for stream in (False, True):
                answer = requests.post(running.url + path, json={"model": "m", "stream": stream, **body})
                assert answer.ok
        lines = records(running, 8)
        assert {line.get("usage", "reported") for line in lines} == {"reported"}
        assert generated(running) == (
            sum(line["prompt_tokens"] for line in lines), sum(line["completion_tokens"] for line in lines)
        )  # fmt: skip


def test_cached_tokens_are_told() -> None:
    long = [{"role": "user", "content": "one two three four five six"}]
    with fleet(up("odd", fail="cached")) as running:
        for stream in (False, True):
            assert ask(running, "openai", stream=stream, messages=long).good
            requests.post(
                running.url + "/v1/responses", json={"model": "m", "input": "one two three", "stream": stream}
            )
        for line in records(running, 4):
            assert line["cached_tokens"] == line["prompt_tokens"] // 2 > 0


@pytest.mark.parametrize("fault", ["no-usage", "no-stream-usage"])
def test_an_upstream_that_tells_none_is_estimated(fault: str) -> None:
    with fleet(up("odd", Behaviour(fail=fault, tokens=12))) as running:
        for number, (api, stream) in enumerate(SHAPES, 1):
            outcome = ask(running, api, stream=stream)
            assert outcome.good
            line = records(running, number)[-1]
            if fault == "no-stream-usage" and not stream:
                assert figures(line)[1:] == (12, "reported")
                continue
            assert line["usage"] == "estimated"
            text = text_of(api, outcome.events, outcome.body)
            exact = estimate.text_tokens(text) if not stream else None
            counted = estimate.completion_tokens(12, len(text.encode()))
            assert line["completion_tokens"] == (counted if exact is None else exact)
            assert line["prompt_tokens"] == estimate.prompt_tokens(running.simulator.seen[-1].body)


def text_of(api: str, events: list[str], body: str) -> str:
    """What was said in an answer."""
    if not events:
        answer = json.loads(body)
        return str(answer["data"]["response"] if api == "platform" else answer["choices"][0]["message"]["content"])
    data = [json.loads(event) for event in events if event != "[DONE]"]
    if api == "platform":
        return "".join(each.get("delta", "") for each in data)
    return "".join(each["choices"][0]["delta"].get("content") or "" for each in data)


def test_an_embedding_without_usage() -> None:
    with fleet(up("odd", fail="no-usage")) as running:
        assert requests.post(running.url + "/v1/embeddings", json={"model": "m", "input": "some words"}).ok
        assert requests.post(running.url + "/v1/moderations", json={"input": "some words"}).ok
        first, second = records(running, 2)
        assert figures(first)[1:] == (None, "estimated")
        assert first["prompt_tokens"] > 0
        assert figures(second) == (None, None, "reported")


# Upstreams that refuse to be asked.

TOLD = "odd: does not take stream_options"


def test_an_upstream_that_refuses_to_be_asked_is_asked_once() -> None:
    with fleet(
        up("odd", fail="no-stream-options"), CHATGPT_RETRIES__BUDGET="0", CHATGPT_RETRIES__ATTEMPTS="1"
    ) as (running):
        running.expected = [TOLD]
        for api, stream in [("openai", True), *SHAPES, ("openai", True)]:
            assert ask(running, api, stream=stream).good
        first, *others = records(running, 6)
        assert (first["attempts"], first["reason"]) == (2, "odd: 400, it does not take stream_options")
        assert {(line["attempts"], line["reason"]) for line in others} == {(1, None)}
        assert [line.get("usage") for line in (first, *others) if line["stream"]] == ["estimated"] * 4
        assert [bool(body.get("stream_options")) for body in seen(running)] == [True, *[False] * 6]
        assert running.output().count(TOLD) == 1
        assert running.held() == {}


def test_one_that_is_never_to_be_asked_is_not() -> None:
    with fleet(up("odd", fail="no-stream-options", stream_usage=False)) as running:
        for api, stream in SHAPES:
            assert ask(running, api, stream=stream).good
        assert not any("stream_options" in body for body in seen(running))


def test_the_callers_own_options_are_its_own() -> None:
    with fleet(up("odd", fail="no-stream-options")) as running, sdk(running) as client:
        with pytest.raises(BadRequestError, match="stream_options"):
            client.chat.completions.create(model="m", messages=MESSAGES, stream=True, stream_options=ASKED)
        assert running.simulator.stats.calls == 1
        with pytest.raises(BadRequestError, match="stream_options"):
            client.chat.completions.create(
                model="m", messages=MESSAGES, stream=True, stream_options={"include_obfuscation": False}
            )
        assert [body["stream_options"] for body in seen(running)[1:]] == [
            {"include_obfuscation": False, "include_usage": True}, {"include_obfuscation": False},
        ]  # fmt: skip
        assert ask(running, "openai", stream=True).good, "those refusals told nothing of ours"
        running.expected = [TOLD]


REFUSED = b'{"error":{"message":"bad input: what are stream_options?"}}'
JSON = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"


def answering(status: bytes, body: bytes) -> Script:
    async def script(peer: Peer) -> None:
        with suppress(asyncio.IncompleteReadError):
            while True:
                await peer.request()
                await peer.send(JSON % (status, len(body), body))

    return script


@pytest.mark.parametrize("status", [b"400 Bad Request", b"422 Unprocessable Entity"])
def test_words_that_repeat_the_prompt_tell_nothing_of_the_upstream(status: bytes) -> None:
    with scripted(answering(status, REFUSED)) as server, fleet(up("odd", url=server.url + "/v1")) as running:
        for _ in range(2):
            outcome = ask(running, "openai", stream=True)
            assert outcome.body == REFUSED.decode()
        assert {line["attempts"] for line in records(running, 2)} == {2}
        bodies = [request.partition(b"\r\n\r\n")[2] for peer in server.peers for request in peer.requests]
        assert [b"stream_options" in body for body in bodies] == [True, False, True, False]
        assert {figures(line) for line in records(running, 2)} == {(None, None, "reported")}


def test_the_next_upstream_is_asked_again() -> None:
    """The first refuses to be asked, and then fails for another reason."""
    answers = iter([(b"400 Bad Request", REFUSED), (b"503 Service Unavailable", b'{"error":{"message":"full"}}')])

    async def script(peer: Peer) -> None:
        with suppress(asyncio.IncompleteReadError):
            while True:
                await peer.request()
                status, body = next(answers)
                await peer.send(JSON % (status, len(body), body))

    spare = up("spare", priority=1)
    with scripted(script) as server, fleet(up("odd", url=server.url + "/v1"), spare) as running:
        outcome = ask(running, "openai", stream=True)
        assert outcome.good
        assert not any('"choices":[]' in event for event in outcome.events)
        assert seen(running, "spare")[0]["stream_options"] == {"include_usage": True}
        (line,) = records(running, 1)
        assert (line["attempts"], line["upstream"], figures(line)[1:]) == (3, "spare", (3, "reported"))


# Callers that leave, upstreams that break off.


class Paused:
    """An upstream that answers as far as ``sent``, and then waits until nobody is there, or breaks off."""

    def __init__(self, sent: bytes, *, breaks: bool = False) -> None:
        self._sent = sent
        self._breaks = breaks
        self.asked = threading.Event()
        self.body = b""

    async def __call__(self, peer: Peer) -> None:
        self.body = (await peer.request()).partition(b"\r\n\r\n")[2]
        await peer.send(self._sent)
        self.asked.set()
        if self._breaks:
            peer.end()
        else:
            await peer.gone()


@contextmanager
def paused(sent: bytes, *, breaks: bool = False) -> Iterator[tuple[Running, Paused]]:
    script = Paused(sent, breaks=breaks)
    with scripted(script) as server, fleet(up("odd", url=server.url + "/v1")) as running:
        yield running, script


def leave_after(connection: socket.socket, size: int, border: bytes = b"you") -> None:
    """Take what there is to the last piece, and go."""
    got = b""
    while border not in got or len(got) < size:
        got += connection.recv(65536)
    connection.close()


def told(piece: bytes, tokens: int) -> bytes:
    """A piece that tells the usage so far."""
    return piece.replace(b"null}\n", b'{"prompt_tokens":70,"completion_tokens":%d}}\n' % tokens)


@pytest.mark.parametrize("api", ["openai", "platform"])
def test_a_caller_that_leaves_is_charged_for_what_came(api: str) -> None:
    sent = SSE + b"".join(map(chunk, [PIECE, PIECE, SECOND]))
    with paused(sent) as (running, script):
        leave_after(call(running, api, stream=True), 0)
        (line,) = records(running, 1)
        assert line["status"] == 499
        counted = estimate.completion_tokens(3, len("heyheyyou"))
        assert figures(line) == (estimate.prompt_tokens(script.body), counted, "estimated")


def test_or_for_what_the_upstream_said_along_the_way() -> None:
    with paused(SSE + b"".join(map(chunk, [told(PIECE, 40), told(PIECE, 41), told(SECOND, 42)]))) as (running, _):
        leave_after(call(running, stream=True), 0)
        (line,) = records(running, 1)
        assert (line["status"], *figures(line)) == (499, 70, 42, "reported")


def test_a_stream_that_breaks_off_counts_as_far_as_it_came() -> None:
    sent = SSE + b"".join(map(chunk, [PIECE, SECOND]))
    with paused(sent, breaks=True) as (running, script):
        running.expected = ["odd: "]
        assert not ask(running, "openai", stream=True).whole
        (line,) = records(running, 1)
        counted = estimate.completion_tokens(2, len("heyyou"))
        assert figures(line) == (estimate.prompt_tokens(script.body), counted, "estimated")


@pytest.mark.parametrize("stream", [False, True])
def test_before_the_answer_only_the_prompt_is_known(*, stream: bool) -> None:
    with paused(b"") as (running, script):
        connection = call(running, stream=stream)
        assert script.asked.wait(20)
        connection.close()
        (line,) = records(running, 1)
        assert line["status"] == 499
        assert figures(line) == (estimate.prompt_tokens(script.body), None, "estimated")


HALF = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"choices":'


def test_a_json_answer_that_breaks_off() -> None:
    with paused(HALF, breaks=True) as (running, script):
        running.expected = ["odd: "]
        assert ask(running, "openai").status == 502
        (line,) = records(running, 1)
        assert figures(line) == (estimate.prompt_tokens(script.body), None, "estimated")


@pytest.mark.parametrize("fault", ["500", "404", "error-first", "html", "refuse", "redirect"])
def test_what_was_never_begun_is_not_counted(fault: str) -> None:
    with fleet(up("odd", fail=fault)) as running:
        running.expected = ["odd: "]
        for stream in (False, True):
            ask(running, "platform", stream=stream)
        for line in records(running, 2):
            assert figures(line) == (None, None, "reported"), "none, which is not told"
        assert generated(running) == (0, 0)


def test_an_answer_too_long_to_be_held_tells_its_usage() -> None:
    body = b'{"data":[{"embedding":"%b"}],"usage":{"prompt_tokens":70,"total_tokens":70}}' % (b"x" * 5_000_000)
    asked = {"model": "m", "input": "hi"}
    with scripted(answering(b"200 OK", body)) as server, fleet(up("odd", url=server.url + "/v1")) as running:
        assert requests.post(running.url + "/v1/embeddings", json=asked).content == body
        (line,) = records(running, 1)
        assert figures(line) == (70, None, "reported")


# All together.


def test_the_record_and_the_upstreams_agree_to_the_last_token() -> None:
    with fleet(up("a"), up("b", fail="usage-each"), up("c", fail="cached")) as running:
        asked = [
            ask(running, api, stream=stream, max_tokens=number % 5 + 1, **options)
            for number in range(6)
            for api, stream in SHAPES
            for options in ([{}, {"stream_options": ASKED}] if stream and api == "openai" else [{}])
        ]
        assert all(outcome.good for outcome in asked)
        lines = records(running, len(asked))
        assert min(calls(running).values()) > 5
        assert {line.get("usage", "reported") for line in lines} == {"reported"}
        assert generated(running) == (
            sum(line["prompt_tokens"] for line in lines), sum(line["completion_tokens"] for line in lines)
        )  # fmt: skip
