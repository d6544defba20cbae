"""One call, sent again: how often, how soon, and when not at all."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from chatgpt_platform.simulator.server import Behaviour
from support.fleet import SHAPE_NAMES, SHAPES, ask, call, calls, fleet, scripted, up
from support.gateway import wait_until
from support.scripted import Peer, Script
from support.ways import WAYS

WAYS = WAYS[:1]  # what is tested is the same on all
SHAPED = pytest.mark.parametrize(("api", "stream"), SHAPES, ids=SHAPE_NAMES)
WHOLE = b'{"choices":[{"message":{"content":"hey"},"finish_reason":"stop"}]}'
JSON = b"Content-Type: application/json\r\n"


def answer(status: bytes = b"200 OK", body: bytes = WHOLE, head: bytes = b"") -> bytes:
    return b"HTTP/1.1 %b\r\n%b%bContent-Length: %d\r\n\r\n%b" % (status, JSON, head, len(body), body)


def in_turn(*answers: bytes, times: list[float] | None = None) -> Script:
    """Answers each request, on whatever connection, with the next of these; with nothing once they are used up."""
    left = list(answers)

    async def script(peer: Peer) -> None:
        with suppress(asyncio.IncompleteReadError):
            while True:
                await peer.request()
                if times is not None:
                    times.append(asyncio.get_running_loop().time())
                if not left:
                    await peer.gone()
                    return
                await peer.send(left.pop(0))

    return script


BUSY_NOW = answer(b"503 Service Unavailable", b'{"error":{"message":"overloaded"}}')


@SHAPED
def test_the_same_upstream_is_asked_again(api: str, stream: bool) -> None:
    with (
        scripted(in_turn(BUSY_NOW, BUSY_NOW, answer())) as server,
        fleet(up("only", url=server.url)) as running,
    ):
        outcome = ask(running, api, stream=stream)
        assert (outcome.status, outcome.failure) == (200, None)
        record = running.record()
        assert (record["attempts"], record["reason"]) == (3, "only: 503; only: 503")
        assert record["error"] is None
        assert len({request for peer in server.peers for request in peer.requests}) == 1, "each time the same"


@SHAPED
@pytest.mark.parametrize("attempts", [1, 3])
def test_at_most_so_often(attempts: int, api: str, stream: bool) -> None:
    with fleet(up("only", fail="503-bare"), CHATGPT_RETRIES__ATTEMPTS=str(attempts)) as running:
        running.expected = ["upstream_failed", "answered 503"]
        outcome = ask(running, api, stream=stream)
        assert outcome.status == (503 if api == "openai" else 502)
        assert outcome.whole
        assert "overloaded" in outcome.reason or "status 503" in outcome.reason
        assert calls(running) == {"only": attempts}
        record = running.record()
        assert record["attempts"] == attempts
        assert (record["reason"] or "").count("only: 503") == attempts - 1
        assert "503" in record["error"]


@pytest.mark.parametrize(
    "fault", ["500", "502", "504", "408", "reset", "close", "bad-head", "length-short", "html"]
)
def test_never_where_it_may_have_been_acted_on(fault: str) -> None:
    with fleet(up("only", fail=fault)) as running:
        running.expected = ["upstream_", "bad_upstream", "only"]
        for api, stream in SHAPES[:3]:
            assert ask(running, api, stream=stream).failure is not None
        assert calls(running) == {"only": 3}
        wait_until(lambda: len(running.records()) == 3)
        assert [record["attempts"] for record in running.records()] == [1, 1, 1]


def test_a_silent_upstream_is_not_asked_twice_but_with_retry_unsafe_another_is() -> None:
    times = {"first_byte": "300ms"}
    for unsafe in (False, True):
        ups = (up("mute", fail="no-answer", timeouts=times, retry_unsafe=unsafe), up("spare", priority=1))
        with fleet(*ups) as running:
            running.expected = ["upstream_timeout"]
            outcome = ask(running, "openai")
            assert outcome.status == (200 if unsafe else 504)
            assert calls(running) == {"mute": 1, "spare": int(unsafe)}
            wait_until(lambda: running.simulators["mute"].stats.cancelled == 1)


@pytest.mark.parametrize(("seconds", "again"), [(b"0.2", True), (b"5", False)])
def test_its_retry_after_is_obeyed_by_the_same_call(seconds: bytes, again: bool) -> None:
    times: list[float] = []
    later = answer(b"503 Busy", b'{"error":{"message":"later"}}', b"Retry-After: %b\r\n" % seconds)
    with (
        scripted(in_turn(later, answer(), times=times)) as server,
        fleet(up("only", url=server.url)) as running,
    ):
        running.expected = [] if again else ["answered 503"]
        outcome = ask(running, "openai")
        if again:
            assert outcome.good
            assert times[1] - times[0] >= 0.19
        else:
            assert (outcome.status, outcome.reason) == (503, "later")
            assert outcome.headers["retry-after"] == "5"
            assert len(times) == 1


def test_who_asked_to_be_left_alone_is_not_asked_while_another_can() -> None:
    with fleet(up("first", fail="503"), up("spare", priority=1)) as running:
        assert all(ask(running, "openai").good for _ in range(3))
        assert calls(running) == {"first": 1, "spare": 3}


def test_not_beyond_the_total_time() -> None:
    later = answer(b"503 Busy", b'{"error":{"message":"later"}}', b"Retry-After: 0.6\r\n")
    with (
        scripted(in_turn(later, answer())) as server,
        fleet(up("only", url=server.url, timeouts={"total": "500ms"})) as running,
    ):
        running.expected = ["answered 503"]
        outcome = ask(running, "openai")
        assert (outcome.status, outcome.reason) == (503, "later")
        assert running.record()["attempts"] == 1


def test_not_to_one_whose_total_time_is_over() -> None:
    slow = Behaviour(fail="503-bare", latency=0.3)
    with fleet(up("slow", slow), up("quick", priority=1, timeouts={"total": "200ms"})) as running:
        running.expected = ["answered 503"]
        outcome = ask(running, "openai")
        assert outcome.status == 503
        assert "overloaded" in outcome.reason
        assert calls(running) == {"slow": 1, "quick": 0}


@pytest.mark.parametrize("end", ["cut", "stall", "garbage"])
@pytest.mark.parametrize("status", [b"503 Busy", b"429 Busy"])
def test_not_after_a_refusal_that_is_not_complete(status: bytes, end: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        head = b"HTTP/1.1 %b\r\n%bTransfer-Encoding: chunked\r\n\r\n" % (status, JSON)
        await peer.send(head + b'9\r\n{"error":\r\n')
        if end == "garbage":
            await peer.send(b"nonsense\r\n")
        if end == "cut":
            peer.end()
        else:
            await peer.gone()

    with scripted(script) as server:
        ups = (up("first", url=server.url, timeouts={"idle": "150ms"}), up("spare", priority=1))
        with fleet(*ups) as running:
            running.expected = ["upstream_broke_off", "upstream_timeout", "bad_upstream"]
            for api, stream in SHAPES:
                assert ask(running, api, stream=stream).status == (504 if end == "stall" else 502)
            assert calls(running) == {"spare": 0}
            assert len(server.peers) == len(SHAPES)


def test_a_refusal_in_another_form_is_one_all_the_same() -> None:
    page = b"<html>busy</html>"
    html = b"HTTP/1.1 503 Busy\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (len(page), page)
    bare = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    with scripted(in_turn(html, bare, answer())) as server, fleet(up("only", url=server.url)) as running:
        assert ask(running, "openai").good
        assert running.record()["reason"] == "only: 503; only: 503"


def test_the_total_time_goes_on_from_the_first_attempt() -> None:
    later = answer(b"503 Busy", b'{"error":{"message":"later"}}', b"Retry-After: 0.4\r\n")
    began = time.monotonic()
    with (
        scripted(in_turn(later)) as server,
        fleet(up("only", url=server.url, timeouts={"total": "800ms"})) as running,
    ):
        running.expected = ["total timeout"]
        outcome = ask(running, "openai")
        assert outcome.status == 504
        assert time.monotonic() - began < 1.15, "not 0.4 s and 0.8 s more"
        assert running.record()["attempts"] == 2


@pytest.mark.parametrize("percent", [0, 20])
def test_an_outage_does_not_double_the_upstreams_work(percent: int) -> None:
    count = 100
    behaviour = Behaviour(fail="503-bare", latency=0.3)  # so that all are under way before the first fails
    with fleet(up("a", behaviour), up("b", behaviour), CHATGPT_RETRIES__BUDGET=str(percent)) as running:
        running.expected = ["answered 503", "is taken to be down"]
        with ThreadPoolExecutor(count) as pool:
            outcomes = list(pool.map(lambda _: ask(running, "openai"), range(count)))
        assert {outcome.status for outcome in outcomes} == {503}
        sent = sum(calls(running).values())
        assert sent <= count * (1 + percent / 100) + (
            15 if percent else 5
        )  # some before the first failure is known
        wait_until(lambda: len(running.records()) == count)
        assert sum(record["attempts"] for record in running.records()) == sent


def test_the_budget_is_a_share_of_the_calls() -> None:
    count = 100
    with (
        scripted(in_turn(*[BUSY_NOW, answer()] * count)) as server,  # so its breaker stays closed
        fleet(up("half", url=server.url)) as running,
    ):
        running.expected = ["answered 503"]
        began = time.monotonic()
        statuses = [ask(running, "openai").status for _ in range(count)]
        seconds = time.monotonic() - began
        wait_until(lambda: len(running.records()) == count)
        again = sum(record["attempts"] == 2 for record in running.records())
        assert 10 + 0.2 * count - 1 <= again <= 10 + 0.2 * count + seconds
        assert 503 not in statuses[:10], "a few calls may be sent again at any time"
        refused = [each for each in running.records() if each["status"] == 503]
        assert {each["reason"] for each in refused} == {"half: 503; not sent again: the retry budget is used up"}


def test_a_sound_spare_takes_whatever_another_fails() -> None:
    count = 60
    with (
        scripted(in_turn(*[BUSY_NOW, answer()] * count)) as server,
        fleet(up("half", url=server.url), up("spare", priority=1), CHATGPT_RETRIES__BUDGET="1") as running,
    ):
        assert all(ask(running, "openai").good for _ in range(count))
        assert calls(running) == {"spare": count / 2}


def test_the_caller_sees_the_last_real_error() -> None:
    said = answer(b"500 Broken", b'{"error":{"message":"the words of the second"}}')
    with (
        scripted(in_turn(said, said, said, said)) as server,
        fleet(up("first", fail="503-bare"), up("second", url=server.url, priority=1)) as running,
    ):
        running.expected = ["answered 500"]
        for api, stream in SHAPES:
            outcome = ask(running, api, stream=stream)
            if api == "openai":
                assert (outcome.status, outcome.reason) == (500, "the words of the second")
            else:
                assert outcome.status == 502
                assert "500" in outcome.reason
        wait_until(lambda: len(running.records()) == 4)
        for record in running.records():
            assert (record["upstream"], record["reason"], record["attempts"]) == ("second", "first: 503", 2)


@pytest.mark.parametrize("api", ["platform", "openai"])
def test_the_last_of_several_that_cannot_be_reached(api: str) -> None:
    with fleet(
        up("a", fail="503-bare"), up("b", fail="refuse", priority=1), CHATGPT_RETRIES__ATTEMPTS="2"
    ) as running:
        running.expected = ["upstream_unreachable"]
        outcome = ask(running, api, headers={"Accept-Language": "en"})
        assert (outcome.status, outcome.reason) == (502, "The model service cannot be reached.")
        record = running.record()
        assert (record["upstream"], record["reason"], record["attempts"]) == ("b", "a: 503", 2)


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("api", ["platform", "openai"])
@pytest.mark.parametrize(("fault", "status"), [("503-bare", 503), ("401", 401), ("429", 429), ("quota", 429)])
def test_a_callers_own_key_goes_nowhere_else(fault: str, status: int, api: str, stream: bool) -> None:
    own = "sk-own-of-a-caller"
    ups = (up("first", fail=fault, api_keys=["first-1", "first-2"]), up("spare", priority=1))
    with fleet(*ups, CHATGPT_ACCESS__CALLER_KEYS="true", CHATGPT_RETRIES__ATTEMPTS="3") as running:
        running.expected = ["answered 503"]
        outcome = ask(running, api, stream=stream, headers={"Authorization": f"Bearer {own}"})
        assert outcome.status == (502 if (api, status) == ("platform", 503) else status)
        first = running.simulators["first"]
        assert {request.key for request in first.seen} == {own}
        assert calls(running) == {"first": 3 if status == 503 else 1, "spare": 0}
        first.behaviour = Behaviour()
        assert ask(running, api, stream=stream).good
        assert first.seen[-1].key == "first-1", "what a caller's key met says nothing of the owner's"
        assert own not in running.output()


@pytest.mark.parametrize("fault", ["overloaded-first", "busy-first"])
def test_an_error_as_a_streams_first_event_can_be_sent_again(fault: str) -> None:
    with fleet(up("first", fail=fault), up("spare", priority=1)) as running:
        for api in ("platform", "openai"):
            assert ask(running, api, stream=True).good
        assert calls(running)["spare"] == 2
        wait_until(lambda: len(running.records()) == 2)
        assert running.records()[0]["reason"] == f"first: {503 if fault == 'overloaded-first' else 429}"


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_who_leaves_during_the_pause_is_not_asked_for(stream: bool) -> None:
    times: list[float] = []
    later = answer(b"503 Busy", b'{"error":{"message":"later"}}', b"Retry-After: 0.2\r\n")
    with (
        scripted(in_turn(later, answer(), times=times)) as server,
        fleet(up("only", url=server.url)) as running,
    ):
        connection = call(running, stream=stream)
        upstream = running.service.fleet.upstreams[0]
        wait_until(lambda: len(times) == 1 and upstream.rests_until > 0)
        connection.close()
        record = running.record()
        assert (record["status"], record["attempts"], record["reason"]) == (499, 1, "only: 503")
        assert running.held() == {}
        time.sleep(0.3)  # past the pause
        assert len(times) == 1


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_who_leaves_while_the_connection_is_made_is_not_asked_for(stream: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.read(1)
        begun.set()
        await peer.gone()

    begun = threading.Event()
    with scripted(script) as server:
        url = server.url.replace("http://", "https://")  # whose handshake is not answered
        with fleet(up("first", url=url), up("spare", priority=1)) as running:
            connection = call(running, stream=stream)
            assert begun.wait(10)
            connection.close()
            record = running.record()
            assert (record["status"], record["attempts"]) == (499, 1)
            wait_until(lambda: running.held() == {})
            assert calls(running) == {"spare": 0}


def test_each_upstream_is_asked_in_its_own_words() -> None:
    with fleet(up("a", fail="503-bare"), up("b", priority=1, rename={"gpt-4o-mini": "other"})) as running:
        assert ask(running, "openai", user="me").good
        first, second = (running.simulators[name].seen[-1] for name in "ab")
        assert json.loads(first.body) | {"model": "other"} == json.loads(second.body)
        assert (first.key, second.key) == ("a-1", "b-1")
        assert running.record()["model"] == "gpt-4o-mini"
