"""The keys of one upstream: they take turns, rest when they are busy, and are set aside when they do not work."""

from __future__ import annotations

import json

import pytest

from chatgpt_platform.simulator.server import Behaviour
from support.fleet import SHAPE_NAMES, SHAPES, ask, calls, fleet, scripted, up
from support.gateway import Running, wait_until
from support.scripted import Peer
from support.ways import WAYS

WAYS = WAYS[:1]  # what is tested is the same on all
SHAPED = pytest.mark.parametrize(("api", "stream"), SHAPES, ids=SHAPE_NAMES)


def used(running: Running, name: str = "only") -> list[str]:
    """The keys that the upstream was sent, in turn."""
    return [request.key for request in running.simulators[name].seen]


def rested(running: Running, name: str = "only") -> None:
    """As if the time for which its keys rest, or are set aside, were over."""
    (upstream,) = (each for each in running.service.fleet.upstreams if each.name == name)
    for key in upstream.keys.keys:
        key.ready_at = 0.0


def test_they_take_turns() -> None:
    with fleet(up("only", api_keys=["k1", "k2", "k3"])) as running:
        assert all(ask(running, "openai").good for _ in range(7))
        assert used(running) == ["k1", "k2", "k3", "k1", "k2", "k3", "k1"]


@SHAPED
@pytest.mark.parametrize(("bad", "why"), [("wrong-1", "401, it was refused"), ("broke-1", "429, no credit left")])
def test_one_that_does_not_work_is_set_aside_and_said_so_once(bad: str, why: str, api: str, stream: bool) -> None:
    with fleet(up("only", api_keys=[bad, "k2"])) as running:
        running.expected = [f"only: key 1 does not work ({why}): it is set aside"]
        assert all(ask(running, api, stream=stream).good for _ in range(3))
        assert used(running) == [bad, "k2", "k2", "k2"]
        assert running.output().count("does not work") == 1
        wait_until(lambda: len(running.records()) == 3)
        first, *others = running.records()
        status = "401" if bad == "wrong-1" else "429"
        assert (first["attempts"], first["reason"], first["error"]) == (2, f"only key 1: {status}", None)
        assert {(each["attempts"], each["reason"]) for each in others} == {(1, None)}


def test_402_means_no_credit_as_well() -> None:
    async def script(peer: Peer) -> None:
        body = b'{"error":{"message":"Insufficient Balance"}}'
        if b"Bearer k1" not in await peer.request():
            body = b'{"choices":[{"message":{"content":"hey"}}]}'
        status = b"402 Payment Required" if b"Balance" in body else b"200 OK"
        head = b"Content-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        await peer.send(b"HTTP/1.1 %b\r\n%b%b" % (status, head, body))
        peer.end()

    with scripted(script) as server, fleet(up("only", url=server.url, api_keys=["k1", "k2"])) as running:
        running.expected = ["only: key 1 does not work (402, no credit left): it is set aside"]
        assert [ask(running, "openai").status for _ in range(2)] == [200, 200]
        assert len(server.peers) == 3


@SHAPED
def test_one_that_is_busy_rests(api: str, stream: bool) -> None:
    with fleet(up("only", api_keys=["busy-1", "k2"])) as running:
        assert all(ask(running, api, stream=stream).good for _ in range(3))
        assert used(running) == ["busy-1", "k2", "k2", "k2"]
        wait_until(lambda: len(running.records()) == 3)
        assert running.records()[0]["reason"] == "only key 1: 429"


@SHAPED
def test_while_all_rest_nobody_is_asked(api: str, stream: bool) -> None:
    with fleet(up("only", api_keys=["busy-1", "busy-2"])) as running:
        outcome = ask(running, api, stream=stream)
        assert outcome.status == 429
        assert "Rate limit reached" in outcome.reason or api == "platform"
        assert calls(running) == {"only": 2}
        for _ in range(2):
            again = ask(running, api, stream=stream)
            assert again.status == 429
            assert 5 <= int(again.headers["retry-after"]) <= 7, "the soonest"
            assert again.reason
        assert calls(running) == {"only": 2}
        wait_until(lambda: len(running.records()) == 3)
        assert [each["attempts"] for each in running.records()] == [2, 0, 0]
        assert running.records()[2]["upstream"] == "only"
        assert "rest" in running.records()[2]["error"]


def test_the_soonest_of_all_upstreams_is_told() -> None:
    ups = (up("short", fail="429"), up("long", fail="429-long", priority=1))
    with fleet(*ups) as running:
        outcome = ask(running, "openai")
        assert (outcome.status, outcome.headers["retry-after"]) == (429, "7")
        assert int(ask(running, "platform").headers["retry-after"]) <= 7
        assert calls(running) == {"long": 1, "short": 1}


def test_a_key_that_has_rested_is_used_again() -> None:
    with fleet(up("only", fail="429-ms", api_keys=["k1"])) as running:
        assert ask(running, "openai").status == 429
        running.simulator.behaviour = Behaviour()
        wait_until(lambda: ask(running, "openai").good, pause=0.05)
        assert calls(running) == {"only": 2}


def test_while_its_keys_rest_another_upstream_takes_the_calls() -> None:
    with fleet(up("first", api_keys=["busy-1"]), up("spare", priority=1)) as running:
        for api, stream in SHAPES:
            assert ask(running, api, stream=stream).good
        assert calls(running) == {"first": 1, "spare": 4}


def test_a_key_set_aside_is_tried_again_by_one_call_and_said_to_work() -> None:
    with fleet(up("only", fail="401", api_keys=["k1", "k2"])) as running:
        running.expected = ["key 1 does not work", "key 2 does not work", "key 1 works again", "key 2 works again"]
        assert ask(running, "openai").status == 401
        assert used(running) == ["k1", "k2"]
        running.simulator.behaviour = Behaviour()
        rested(running)
        assert [ask(running, "openai").status for _ in range(4)] == [200] * 4
        assert used(running)[2:] == ["k1", "k2", "k1", "k2"]
        assert running.output().count("works again") == 2


@SHAPED
def test_where_none_works_the_caller_sees_why_and_it_goes_on_by_itself(api: str, stream: bool) -> None:
    with fleet(up("only", api_keys=["wrong-1"])) as running:
        running.expected = ["key 1 does not work (401, it was refused): it is the only one, and used all the same"]
        for _ in range(2):
            outcome = ask(running, api, stream=stream)
            assert (outcome.status, outcome.failure) == (401, 401)
            assert "wrong-1" not in outcome.body
        assert calls(running) == {"only": 2}
        assert running.output().count("does not work") == 1
        wait_until(lambda: len(running.records()) == 2)
        assert all(each["error"] for each in running.records())


def test_an_upstream_without_a_key_that_works_comes_last() -> None:
    with fleet(up("first", api_keys=["wrong-1", "broke-2"]), up("spare", priority=1)) as running:
        running.expected = ["first: key 1 does not work", "first: key 2 does not work"]
        assert all(ask(running, "platform").good for _ in range(3))
        assert calls(running) == {"first": 2, "spare": 3}


def test_no_more_keys_than_attempts_are_tried() -> None:
    keys = [f"busy-{number}" for number in range(6)]
    with fleet(up("only", api_keys=keys), CHATGPT_RETRIES__ATTEMPTS="3") as running:
        assert ask(running, "openai").status == 429
        assert used(running) == keys[:3]
        record = running.record()
        assert (record["attempts"], record["reason"]) == (3, "only key 1: 429; only key 2: 429")
        assert json.dumps(record).count("busy-") == 0
