"""What is too much is refused, quickly and with a time to come again; places are given back, however calls end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
import requests

from chatgpt_platform.simulator.server import Behaviour
from support.fleet import SHAPE_NAMES, SHAPES, ask, call, calls, fleet, up
from support.gateway import Running, wait_until
from support.ways import WAYS

WAYS = WAYS[:1]  # but for those that are marked
SHAPED = pytest.mark.parametrize(("api", "stream"), SHAPES, ids=SHAPE_NAMES)
FOR_EVER = Behaviour(latency=60)
BRIEFLY = {"CHATGPT_LOAD__WAIT": "100ms"}


@contextmanager
def occupied(running: Running, count: int) -> Iterator[ExitStack]:
    """So many calls are under way, whose callers leave at the end, or before by closing the stack."""
    before = sum(calls(running).values())
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(call(running))
        wait_until(lambda: sum(calls(running).values()) == before + count)
        yield stack


@pytest.mark.every_way
def test_more_than_all_that_may_be_under_way() -> None:
    with (
        fleet(up("only", FOR_EVER), CHATGPT_LOAD__CALLS="3", **BRIEFLY) as running,
        occupied(running, 3),
    ):
        for api, stream in SHAPES:
            outcome = ask(running, api, stream=stream, headers={"Accept-Language": "en"})
            assert (outcome.status, outcome.failure) == (503, 503)
            assert outcome.headers["retry-after"] == "1"
            assert "too busy" in outcome.reason
        for path in ("/healthz", "/readyz"):
            assert requests.get(running.url + path, timeout=10).status_code == 200
        wait_until(lambda: len(running.records()) == 6)
        shed = [record for record in running.records() if record["status"] == 503]
        assert [(record["attempts"], record["upstream"]) for record in shed] == [(0, None)] * 4
        assert all("no place was free within 0.1 s" in record["error"] for record in shed)
        assert calls(running) == {"only": 3}


def test_without_a_queue_it_is_refused_at_once() -> None:
    settings = {"CHATGPT_LOAD__CALLS": "1", "CHATGPT_LOAD__QUEUE": "0", "CHATGPT_LOAD__WAIT": "20s"}
    with fleet(up("only", FOR_EVER), **settings) as running, occupied(running, 1):
        outcome = ask(running, "openai")
        assert (outcome.status, outcome.headers["retry-after"]) == (503, "20")
        wait_until(lambda: len(running.records()) == 1)
        assert "too many calls wait already" in running.records()[0]["error"]


def test_who_waits_goes_on_in_its_turn() -> None:
    settings = {"CHATGPT_LOAD__CALLS": "1", "CHATGPT_LOAD__WAIT": "20s"}
    with fleet(up("only", FOR_EVER), **settings) as running, ThreadPoolExecutor(4) as pool:
        with occupied(running, 1):
            asked = []
            for number, (api, stream) in enumerate(SHAPES):
                asked.append(pool.submit(ask, running, api, stream=stream, user=str(number)))
                wait_until(lambda: len(running.service.load.queue) == len(asked))
            running.simulator.behaviour = Behaviour(tokens=1)
        assert all(each.result().good for each in asked)
        wait_until(lambda: len(running.records()) == 5)
        assert [record["attempts"] for record in running.records()] == [1] * 5
        paths = [record["path"] for record in running.records()[1:]]
        assert paths == ["/api", "/api", "/v1/chat/completions", "/v1/chat/completions"]


def test_one_client_alone_does_not_fill_the_queue() -> None:
    settings = {"CHATGPT_LOAD__CALLS": "1", "CHATGPT_LOAD__WAIT": "20s", "CHATGPT_LOAD__QUEUE": "8"}
    proxy = {"CHATGPT_SERVER__TRUSTED_PROXIES": "127.0.0.1"}
    with (
        fleet(up("only", FOR_EVER), **settings, **proxy) as running,
        ThreadPoolExecutor(4) as pool,
        occupied(running, 1),
    ):
        queue = running.service.load.queue
        greedy = {"X-Forwarded-For": "192.0.2.1"}
        asked = [pool.submit(ask, running, "openai", headers=greedy) for _ in range(2)]
        wait_until(lambda: len(queue) == 2)
        assert ask(running, "openai", headers=greedy).status == 503
        asked.append(pool.submit(ask, running, "openai", headers={"X-Forwarded-For": "192.0.2.2"}))
        wait_until(lambda: len(queue) == 3)
        running.simulator.behaviour = Behaviour(tokens=1)
        for task in list(running.simulator.under_way):
            running.service.loop.call_soon_threadsafe(task.cancel)  # the call that occupies the place fails
        running.expected = ["bad_upstream", "only"]
        assert all(each.result().good for each in asked)


def test_the_calls_of_one_client() -> None:
    settings = {"CHATGPT_LOAD__CALLS_PER_CLIENT": "2", "CHATGPT_SERVER__TRUSTED_PROXIES": "127.0.0.1"}
    with fleet(up("only", FOR_EVER), **settings, **BRIEFLY) as running, occupied(running, 2):
        assert ask(running, "openai").status == 503
        running.simulator.behaviour = Behaviour(tokens=1)
        assert ask(running, "openai", headers={"X-Forwarded-For": "192.0.2.1"}).good
        assert ask(running, "openai").status == 503


def test_an_upstream_that_is_full_is_passed_over_or_waited_for() -> None:
    ups = (up("first", FOR_EVER, concurrency=1), up("spare", priority=1, concurrency=1))
    with fleet(*ups, CHATGPT_LOAD__WAIT="20s") as running, ThreadPoolExecutor(1) as pool:
        with occupied(running, 1):
            assert ask(running, "openai").good
            assert calls(running) == {"first": 1, "spare": 1}
            running.simulators["spare"].behaviour = FOR_EVER
            with occupied(running, 1):
                asked = pool.submit(ask, running, "platform", stream=True)
                wait_until(lambda: len(running.service.load.queue) == 1)
                assert calls(running) == {"first": 1, "spare": 2}
                for simulator in running.simulators.values():
                    simulator.behaviour = Behaviour(tokens=1)
            assert asked.result().good
        assert running.simulators["spare"].stats.calls == 3


def test_an_upstream_that_stays_full_is_503() -> None:
    with fleet(up("only", FOR_EVER, concurrency=2), **BRIEFLY) as running, occupied(running, 2):
        for api, stream in SHAPES:
            outcome = ask(running, api, stream=stream)
            assert (outcome.status, outcome.headers["retry-after"]) == (503, "1")
        assert calls(running) == {"only": 2}


@pytest.mark.every_way
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("cap", ["calls", "concurrency"])
def test_who_leaves_while_waiting_is_not_asked_for(cap: str, stream: bool) -> None:
    only = up("only", FOR_EVER, concurrency=int(cap == "concurrency"))
    calls_cap = {"CHATGPT_LOAD__CALLS": "1"} if cap == "calls" else {}
    with fleet(only, CHATGPT_LOAD__WAIT="20s", **calls_cap) as running:
        with occupied(running, 1):
            leaver = call(running, stream=stream)
            wait_until(lambda: len(running.service.load.queue) == 1)
            leaver.close()
            wait_until(lambda: len(running.service.load.queue) == 0)
            record = running.record()
            assert (record["status"], record["attempts"], record["upstream"]) == (499, 0, None)
            wait_until(lambda: running.service.load.under_way == 1)
        wait_until(lambda: running.held() == {})
        assert calls(running) == {"only": 1}


ENDS = ["", "500", "401", "429-ms", "503-bare", "no-answer", "reset", "cut-mid", "stall", "error-first",
        "error-later", "no-done", "bad-json", "html", "long-head", "silence-after-done"]  # fmt: skip


@pytest.mark.parametrize("fault", ENDS)
def test_places_are_given_back_after_every_kind_of_end(fault: str) -> None:
    quick = {"first_byte": "150ms", "idle": "150ms"}
    settings = {"CHATGPT_LOAD__CALLS": "1", "CHATGPT_LOAD__CALLS_PER_CLIENT": "1", "CHATGPT_LOAD__QUEUE": "0"}
    only = up("only", fail=fault, concurrency=1, timeouts=quick)
    with fleet(only, CHATGPT_RETRIES__ATTEMPTS="2", **settings) as running:
        running.expected = ["only", "upstream", "does not work"]
        for api, stream in SHAPES:
            ask(running, api, stream=stream)
            wait_until(lambda: running.held() == {})
        running.simulator.behaviour = Behaviour(tokens=1)
        wait_until(lambda: ask(running, "openai").good, pause=0.05)


@SHAPED
@pytest.mark.parametrize("when", ["while the upstream is silent", "in mid-stream"])
def test_places_are_given_back_when_callers_leave(when: str, api: str, stream: bool) -> None:
    behaviour = Behaviour(tokens=1000, interval=0.02) if when == "in mid-stream" else FOR_EVER
    with fleet(up("only", behaviour, concurrency=1), CHATGPT_LOAD__CALLS="1", **BRIEFLY) as running:
        with call(running, api, stream=stream) as leaver:
            wait_until(lambda: running.simulator.stats.under_way == 1)
            if when == "in mid-stream" and stream:
                assert leaver.recv(300)
        wait_until(lambda: running.simulator.stats.cancelled == 1)
        wait_until(lambda: running.held() == {})
        running.simulator.behaviour = Behaviour(tokens=1)
        assert ask(running, api, stream=stream).good


def test_a_burst_far_beyond_what_is_allowed() -> None:
    settings = {"CHATGPT_LOAD__CALLS": "5", "CHATGPT_LOAD__QUEUE": "20", "CHATGPT_LOAD__WAIT": "10s"}
    began = time.monotonic()
    with (
        fleet(up("only", Behaviour(latency=0.1, tokens=1)), **settings) as running,
        ThreadPoolExecutor(60) as pool,
    ):
        outcomes = list(pool.map(lambda _: ask(running, "openai"), range(60)))
        statuses = [outcome.status for outcome in outcomes]
        assert set(statuses) == {200, 503}
        assert statuses.count(200) == sum(calls(running).values()) >= 10
        wait_until(lambda: running.held() == {})
    assert time.monotonic() - began < 10


def test_a_list_of_models_takes_a_place_too_and_gives_it_back() -> None:
    with fleet(up("only"), CHATGPT_LOAD__CALLS="1", CHATGPT_LOAD__QUEUE="0") as running:
        for _ in range(2):
            assert requests.get(running.url + "/v1/models", timeout=10).status_code == 200
        wait_until(lambda: running.held() == {})
        running.simulator.behaviour = FOR_EVER
        with occupied(running, 1):
            assert requests.get(running.url + "/v1/models", timeout=10).status_code == 503


def test_refused_calls_hold_nothing() -> None:
    with fleet(up("only", models=["gpt-*"]), CHATGPT_LOAD__CALLS="1", CHATGPT_LOAD__QUEUE="0") as running:
        for _ in range(2):
            assert ask(running, "openai", model="other").status == 404
            bad = requests.post(running.url + "/v1/chat/completions", data=b"{", timeout=10)
            assert bad.status_code == 400
        assert running.held() == {}
        assert ask(running, "openai").good
