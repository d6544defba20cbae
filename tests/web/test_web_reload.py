"""Other settings while calls wait, pause and stream: none fails, and what upstreams have shown is not
forgotten."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from chatgpt_platform.simulator.server import Behaviour
from support.fleet import SHAPES, ask, call, calls, fleet, scripted, up
from support.gateway import Running, settings_of, wait_until
from support.scripted import Peer
from support.ways import WAYS

WAYS = WAYS[:1]  # what is tested is the same on all


def reload(running: Running, **environment: str) -> None:
    """Put these settings in place, beside those that hold."""

    async def apply() -> None:
        running.service.apply(settings_of({**running.environment, **environment}), running.logs)
        running.server.rebuild()

    running.background.run(apply())


def without(running: Running, name: str, **changes: object) -> str:
    """The upstreams but this one, or with these changes of its settings."""
    upstreams = json.loads(running.environment["CHATGPT_UPSTREAMS"])
    if changes:
        return json.dumps([{**each, **changes} if each["name"] == name else each for each in upstreams])
    return json.dumps([each for each in upstreams if each["name"] != name])


def test_calls_that_wait_for_an_upstream_that_goes() -> None:
    ups = (up("old", Behaviour(latency=60), concurrency=1), up("new", priority=1, models=["none"]))
    with fleet(*ups, CHATGPT_LOAD__WAIT="20s") as running, ThreadPoolExecutor(len(SHAPES)) as pool:
        (old, _) = running.service.fleet.upstreams
        with call(running):
            wait_until(lambda: calls(running)["old"] == 1)
            asked = [pool.submit(ask, running, api, stream=stream) for api, stream in SHAPES]
            wait_until(lambda: len(running.service.load.queue) == len(SHAPES))
            reload(running, CHATGPT_UPSTREAMS=without(running, "old").replace("none", "*"))
            running.simulators["old"].behaviour = Behaviour(tokens=2)
            assert ask(running, "openai").good
            assert calls(running) == {"old": 1, "new": 1}
        assert all(each.result().good for each in asked)
        assert calls(running) == {"old": 5, "new": 1}
        wait_until(lambda: old.under_way == 0)


def test_a_stream_of_an_upstream_that_goes() -> None:
    ups = (up("old", Behaviour(tokens=40, interval=0.01)), up("new", priority=1))
    with fleet(*ups) as running, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, running, "openai", stream=True)
        wait_until(lambda: running.simulators["old"].stats.tokens > 3)
        reload(running, CHATGPT_UPSTREAMS=without(running, "old"))
        assert asked.result().good
        assert ask(running, "openai").good
        assert calls(running) == {"old": 1, "new": 1}


def test_a_call_that_pauses_before_it_is_sent_again() -> None:
    async def script(peer: Peer) -> None:
        with suppress(asyncio.IncompleteReadError):
            await peer.request()
            await peer.send(b"HTTP/1.1 503 Busy\r\nRetry-After: 0.3\r\nContent-Length: 0\r\n\r\n")
            await peer.request()
            body = b'{"choices":[{"message":{"content":"hey"}}]}'
            head = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            await peer.send(b"HTTP/1.1 200 OK\r\n" + head + body)
            await peer.gone()

    # On another connection it would be 503 again: the call goes on with the upstream, and its connection, as
    # before.
    with scripted(script) as server, fleet(up("old", url=server.url), up("new", models=["none"])) as running:
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(ask, running, "platform")
            wait_until(lambda: running.service.fleet.upstreams[0].rests_until > 0)
            reload(running, CHATGPT_LOAD__WAIT="3s")
            assert asked.result().good
        assert running.record()["attempts"] == 2


def test_what_an_unchanged_upstream_has_shown_is_remembered() -> None:
    ups = (
        up("down", fail="500"),
        up("keys", api_keys=["busy-1", "wrong-2", "k3"], priority=1),
        up("new", priority=2),
    )
    with fleet(*ups, CHATGPT_RETRIES__ATTEMPTS="3") as running:
        running.expected = ["answered 500", "is taken to be down", "key 2 does not work"]
        for _ in range(5):
            assert ask(running, "openai").status == 500
        assert ask(running, "openai").good
        before = calls(running)
        reload(running, CHATGPT_UPSTREAMS=without(running, "new", priority=3))
        assert ask(running, "openai").good
        assert calls(running) == {**before, "keys": before["keys"] + 1}
        assert running.simulators["keys"].seen[-1].key == "k3"
        assert running.output().count("does not work") == 1
        reload(running, CHATGPT_UPSTREAMS=without(running, "down", weight=2))
        assert ask(running, "openai").status == 500, "one that was changed is a new one"


def test_more_places_are_taken_at_once_by_those_who_wait() -> None:
    settings = {"CHATGPT_LOAD__CALLS": "1", "CHATGPT_LOAD__WAIT": "20s"}
    with (
        fleet(up("only", Behaviour(latency=60)), **settings) as running,
        ThreadPoolExecutor(1) as pool,
        call(running),
    ):
        wait_until(lambda: calls(running) == {"only": 1})
        running.simulator.behaviour = Behaviour(tokens=1)
        asked = pool.submit(ask, running, "openai")
        wait_until(lambda: len(running.service.load.queue) == 1)
        reload(running, CHATGPT_LOAD__CALLS="2")
        assert asked.result(10).good
