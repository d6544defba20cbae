"""The circuit breaker: an upstream that is down is left alone, tried by one call, and taken back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from chatgpt_platform.simulator.server import Behaviour
from chatgpt_platform.upstream import breaker
from chatgpt_platform.upstream.breaker import FAILURES, FIRST
from support.fleet import SHAPE_NAMES, SHAPES, ask, call, calls, fleet, up
from support.gateway import Running, wait_until
from support.ways import WAYS

WAYS = WAYS[:1]  # what is tested is the same on all
SHAPED = pytest.mark.parametrize(("api", "stream"), SHAPES, ids=SHAPE_NAMES)
SOON = 0.15
ONCE = {"CHATGPT_RETRIES__ATTEMPTS": "1"}
DOWN = f"is taken to be down, and left alone for {FIRST:g} s: "
NOISE = ["answered 500", "is taken to be down", "answers again", "upstream_failed", "upstream_down"]


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again after ``SOON`` seconds."""
    monkeypatch.setattr(breaker, "FIRST", SOON)


def trip(running: Running) -> None:
    """Let the first upstream fail until it is left alone."""
    running.expected = NOISE
    for _ in range(FAILURES):
        ask(running, "openai")


def state(running: Running) -> str:
    """Of the first upstream's breaker."""
    return running.service.fleet.upstreams[0].breaker.state(running.service.loop.time()).value


@SHAPED
def test_an_upstream_that_is_down_is_not_asked(api: str, stream: bool) -> None:
    with fleet(up("only", fail="500"), **ONCE) as running:
        trip(running)
        outcome = ask(running, api, stream=stream, headers={"Accept-Language": "en"})
        assert (outcome.status, outcome.failure) == (503, 503)
        assert outcome.headers["retry-after"] == "1"
        assert outcome.reason == (
            "The model service failed with status 500. Please try again later. It is tried again in 1 s."
        )
        assert calls(running) == {"only": FAILURES}
        wait_until(lambda: len(running.records()) == FAILURES + 1)
        record = running.records()[-1]
        assert (record["upstream"], record["attempts"]) == ("only", 0)
        assert "known to be down" in record["error"]
        assert running.output().count("only: " + DOWN + "upstream_failed") == 1


@pytest.mark.parametrize("fault", ["refuse", "reset", "html", "cut-mid"])
def test_whatever_the_failure_is(fault: str) -> None:
    with fleet(up("only", fail=fault), **ONCE) as running:
        trip(running)
        running.expected += ["only", "bad_upstream", "upstream_"]
        assert ask(running, "openai").status == 503
        assert calls(running) == {"only": 0 if fault == "refuse" else FAILURES}


@pytest.mark.parametrize("fault", ["401", "429-bare", "403", "404"])
def test_what_is_the_callers_or_a_keys_fault_does_not_count(fault: str) -> None:
    with fleet(up("only", fail=fault), **ONCE) as running:
        running.expected = ["key 1 does not work"]
        for _ in range(FAILURES + 1):
            assert ask(running, "openai").status == int(fault[:3])
        assert state(running) == "closed"


def test_failures_that_are_not_in_a_row_do_not_count() -> None:
    with fleet(up("only"), **ONCE) as running:
        running.expected = NOISE
        for _ in range(FAILURES):
            running.simulator.behaviour = Behaviour(fail="500")
            assert ask(running, "openai").status == 500
            running.simulator.behaviour = Behaviour(tokens=1)
            assert ask(running, "openai").good
        assert state(running) == "closed"


@pytest.mark.usefixtures("soon")
def test_another_takes_over_meanwhile_and_gives_back() -> None:
    with fleet(up("first", fail="500"), up("spare", priority=1), **ONCE) as running:
        trip(running)
        for api, stream in SHAPES:
            assert ask(running, api, stream=stream).good
        assert calls(running) == {"first": FAILURES, "spare": 4}
        running.simulators["first"].behaviour = Behaviour(tokens=1)
        wait_until(lambda: ask(running, "openai").good and state(running) == "closed", pause=0.05)
        assert calls(running)["first"] == FAILURES + 1
        assert "first: answers again" in running.output()


@pytest.mark.usefixtures("soon")
def test_one_call_alone_tries_whether_it_is_back() -> None:
    with fleet(up("only", fail="500"), **ONCE) as running:
        trip(running)
        running.simulator.behaviour = Behaviour(tokens=1, latency=0.3)
        wait_until(lambda: state(running) == "half-open")
        with ThreadPoolExecutor(20) as pool:
            outcomes = list(pool.map(lambda _: ask(running, "openai"), range(20)))
        statuses = [outcome.status for outcome in outcomes]
        assert (statuses.count(200), statuses.count(503)) == (1, 19)
        assert calls(running) == {"only": FAILURES + 1}
        assert all("retry-after" in outcome.headers for outcome in outcomes if outcome.status == 503)
        assert state(running) == "closed"
        assert ask(running, "openai").good


def test_a_failure_of_that_call_leaves_it_alone_for_longer() -> None:
    with fleet(up("only", fail="500"), **ONCE) as running:
        trip(running)
        wait_until(lambda: state(running) == "half-open")
        assert ask(running, "openai").status == 500
        assert state(running) == "open"
        opens_in = running.service.fleet.upstreams[0].breaker.opens_in
        assert FIRST < opens_in(running.service.loop.time()) <= 2 * FIRST
        assert ask(running, "openai").status == 503
        assert calls(running) == {"only": FAILURES + 1}


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("when", ["before the first byte", "in mid-stream"])
def test_a_caller_who_leaves_while_it_tries_does_not_leave_it_stuck(when: str, stream: bool) -> None:
    with fleet(up("only", fail="500"), **ONCE) as running:
        trip(running)
        mid = when == "in mid-stream"
        running.simulator.behaviour = Behaviour(tokens=1000, interval=0.05) if mid else Behaviour(latency=30)
        wait_until(lambda: state(running) == "half-open")
        with call(running, stream=stream) as leaver:
            wait_until(lambda: calls(running) == {"only": FAILURES + 1})
            if mid and stream:
                assert leaver.recv(100)
        wait_until(lambda: running.simulator.stats.cancelled == 1)
        running.simulator.behaviour = Behaviour(tokens=1)
        wait_until(lambda: running.held() == {})
        assert ask(running, "openai").good
        assert state(running) == "closed"


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("fault", ["401", "429", "busy-first"])
def test_a_refusal_while_it_tries_does_not_leave_it_stuck(fault: str) -> None:
    with fleet(up("only", fail="500", api_keys=["k1", "k2"]), **ONCE) as running:
        trip(running)
        running.expected += ["does not work", "works again"]
        running.simulator.behaviour = Behaviour(fail=fault)
        wait_until(lambda: state(running) == "half-open")
        assert ask(running, "openai", stream=True).status in (401, 429)
        running.simulator.behaviour = Behaviour(tokens=1)
        assert ask(running, "openai").good
        assert state(running) == "closed"


def test_streams_that_break_off_count_although_they_began_well() -> None:
    with fleet(up("only", fail="cut-mid"), **ONCE) as running:
        running.expected = ["upstream_broke_off", "is taken to be down"]
        for _ in range(FAILURES):
            assert not ask(running, "openai", stream=True).whole
        assert ask(running, "openai", stream=True).status == 503
        assert calls(running) == {"only": FAILURES}


def test_one_that_can_be_reached_again_is_not_held_up_by_a_slow_answer() -> None:
    with fleet(up("only", fail="refuse"), **ONCE) as running:
        trip(running)
        running.expected += ["upstream_unreachable", "can be reached again"]
        running.simulator.behaviour = Behaviour(tokens=1, latency=1)
        wait_until(lambda: state(running) == "half-open")
        slow = call(running)
        wait_until(lambda: state(running) == "closed")
        assert calls(running)["only"] <= 1, "not by an answer"
        slow.close()
        running.simulator.behaviour = Behaviour(tokens=1)
        assert ask(running, "openai").good


def test_who_has_nobody_left_looks_whether_it_is_back() -> None:
    with fleet(up("first", fail="500"), up("spare", fail="503-bare", priority=1)) as running:
        running.expected = [*NOISE, "spare"]
        for _ in range(FAILURES):
            ask(running, "openai")
        running.service.fleet.upstreams[0].breaker._until += 60
        running.simulators["first"].behaviour = Behaviour(tokens=1)
        before = calls(running)
        assert ask(running, "openai").good
        after = calls(running)
        assert (after["first"] - before["first"], after["spare"] - before["spare"]) == (1, 2)
        record = running.records()[-1]
        assert (record["upstream"], record["attempts"], record["reason"]) == ("first", 3, "spare: 503; spare: 503")
