"""A mixed run of calls without keys: the callers' account, the simulator's and the access log's, side by side."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from chatgpt_platform.simulator.server import Behaviour
from support.accounts import alike, burst, make, mixed, number_of, statuses, totals
from support.fleet import fleet, up
from support.gateway import gateway, wait_until
from support.ways import WAYS as ALL_WAYS

WAYS = ALL_WAYS[:1]
NOBODY = {"": ""}


@pytest.mark.every_way
def test_what_callers_saw_is_what_the_simulator_generated() -> None:
    plan = mixed(200, NOBODY, Random(1))
    with gateway({}, Behaviour(tokens=9)) as running:
        seen = asyncio.run(make(running.port, plan, at_once=20))
        wait_until(lambda: len(running.records()) == len(plan))
        records = {record["request_id"]: record for record in running.records()}
        generated = running.simulator.stats.tokens
    assert statuses(seen) == {200: 200}
    assert all(one.whole and not one.failure for one in seen)
    streams = [one for one in seen if one.planned.stream]
    plain = [one for one in seen if not one.planned.stream]
    assert len(streams) > 50
    assert len(plain) > 50
    assert sum(one.pieces for one in streams) + sum(one.completion or 0 for one in plain) == generated
    reported = [one for one in seen if one.completion is not None]
    assert {one.planned.kind for one in reported if one.planned.stream} == {
        "chat", "completions", "platform", "responses",
    }  # fmt: skip
    for one in reported:
        assert one.completion == min(9, one.planned.most)
        assert one.completion == one.pieces or not one.planned.stream
        record = records[one.request_id]
        assert (one.prompt, one.completion) == (record["prompt_tokens"], record["completion_tokens"])
    total = totals(seen)[""]
    assert (total.calls, total.whole, total.left, total.failed) == (200, 200, 0, 0)
    assert total.completion == sum(one.completion or 0 for one in reported)


def test_callers_leave_where_the_plan_says() -> None:
    plan = alike(30, "", "", stream=True, leaves=3, most=400)
    with gateway({}, Behaviour(tokens=400, interval=0.01)) as running:
        seen = asyncio.run(make(running.port, plan, at_once=10))
        wait_until(lambda: running.simulator.stats.cancelled == 30)
        wait_until(lambda: len(running.records()) == 30)
    assert all(one.left and not one.whole and not one.failure for one in seen)
    # The first event brings no text; several may come in one piece.
    assert all(2 <= one.pieces < 20 for one in seen)


def test_callers_of_json_leave_before_they_are_answered() -> None:
    plan = alike(10, "", "", leaves=0, moment=0.05)
    with gateway({}, Behaviour(latency=20)) as running:
        seen = asyncio.run(burst(running.port, plan))
        wait_until(lambda: running.simulator.stats.cancelled == 10)
    assert [(one.left, one.status) for one in seen] == [(True, 0)] * 10


def test_the_same_plan_again() -> None:
    keys = {"alice": "key-of-alice", "bob": "key-of-bob"}
    plan = mixed(300, keys, Random(5), leaving=0.3)
    assert plan == mixed(300, keys, Random(5), leaving=0.3)
    assert {one.holder for one in plan} == set(keys)
    assert 50 < sum(one.leaves is not None for one in plan) < 150
    assert "key-of-alice" not in repr(plan)


def test_a_burst_is_there_at_once() -> None:
    with gateway({}, Behaviour(latency=60)) as running:

        async def watch() -> None:
            making = asyncio.create_task(burst(running.port, alike(100, "", "")), name="burst")
            async with asyncio.timeout(20):
                while running.simulator.stats.under_way < 100:  # noqa: ASYNC110 - in another thread
                    await asyncio.sleep(0.01)
            making.cancel()
            await asyncio.wait({making})

        asyncio.run(watch())
        wait_until(lambda: running.simulator.stats.cancelled == 100)


def test_each_upstream_with_faults_of_its_own() -> None:
    sound = up("sound", Behaviour(tokens=5), models=["sound"])
    faults = Behaviour(fail="reset-mid,cut-event,error-later,no-done,500,bad-json", tokens=5)
    with fleet(sound, up("faulty", faults, models=["faulty"])) as running:
        running.expected += ["faulty"]
        plan = mixed(200, NOBODY, Random(3), models=["sound", "faulty"])
        seen = asyncio.run(make(running.port, plan, at_once=20))
        bodies = [request.body for request in running.simulators["sound"].seen]
    assert all(one.whole for one in seen if one.planned.model == "sound")
    broken = [one for one in seen if one.planned.model == "faulty"]
    assert any(one.status == 200 and one.failure for one in broken)
    assert {number_of(body) for body in bodies} == {
        one.planned.number for one in seen if one.planned.model == "sound"
    }
